from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from curation.languages import (
    SENTENCE_ENDS,
    WITHOUT_SPACES,
    ends_sentence,
    sentence_ends,
    stop_words,
    writes_letters,
)
from curation.stop_words import STOP_WORDS
from curation.words import is_unspaced, split_words

PROSE = tomllib.loads((Path(__file__).parent / "prose.toml").read_text(encoding="utf-8"))
CCNET = (
    "af ar az be bg bn ca cs da de el en es et fa fi fr gu he hi hr hu hy id is it ja ka kk km kn ko lt lv mk ml mn mr "
    "my ne nl no pl pt ro ru uk zh"
)


def test_gophers_own() -> None:
    assert stop_words("en") == {"the", "be", "to", "of", "and", "that", "have", "with"}


def test_every_language_of_ccnet_has_stop_words() -> None:
    assert [language for language in CCNET.split() if not stop_words(language)] == []


@pytest.mark.parametrize("language", sorted(STOP_WORDS))
def test_the_table(language: str) -> None:
    found = STOP_WORDS[language]
    assert len(found) >= 8
    assert all(word == word.lower() and split_words(word) == [word] for word in found)


def test_no_language_is_listed_twice() -> None:
    from curation.stop_words import _TABLE

    codes = [line.split()[0] for line in _TABLE.strip().splitlines()]
    assert codes == sorted(set(codes))


@pytest.mark.parametrize("language", [None, "", "xx", "jbo", "en_US"])
def test_what_is_not_listed_is_not_known(language: str | None) -> None:
    assert stop_words(language) == frozenset()
    assert sentence_ends(language) == ""
    assert not writes_letters(language)


@pytest.mark.parametrize("language", ["th", "lo"])
def test_languages_without_marks(language: str) -> None:
    assert sentence_ends(language) == ""
    assert stop_words(language)


@pytest.mark.parametrize("language", sorted(PROSE))
def test_prose_ends_in_marks_that_are_known(language: str) -> None:
    for line in PROSE[language].strip().splitlines():
        assert ends_sentence(line, sentence_ends(language)) == (language not in ("th", "lo"))


@pytest.mark.parametrize(
    ("line", "language", "ends"),
    [
        ("他走了。", "zh", True),
        ("“他走了。”", "zh", True),
        ("他走了，", "zh", False),
        ("वह गया।", "hi", True),
        ("وہ گیا۔", "ur", True),
        ("هل ذهب؟", "ar", True),
        ("ሄደ።", "am", True),
        ("ሄደ፡፡", "am", True),
        ("გავიდა.)", "ka", True),
        ("Ποιος;", "el", True),
        ("Who;", "en", False),
        ("Գնաց:", "hy", True),
        ("Went:", "en", False),
        ("སོང།", "bo", True),
        ("«Il est parti.»", "fr", True),
        ("", "fr", False),
        ("”", "fr", False),
        ("Il est parti…", "fr", False),
    ],
)
def test_ends(line: str, language: str, ends: bool) -> None:
    assert ends_sentence(line, sentence_ends(language)) is ends


def test_the_marks_are_unicodes() -> None:
    regex = pytest.importorskip("regex")
    assert len(set(SENTENCE_ENDS)) == len(SENTENCE_ENDS) == 172
    newer = {mark for mark in SENTENCE_ENDS if not regex.fullmatch(r"\p{Sentence_Terminal}", mark)}
    assert all(regex.fullmatch(r"\p{Cn}", mark) for mark in newer)  # of a Unicode that this regex does not know yet


def test_languages_without_spaces_are_those_whose_prose_is_in_such_a_script() -> None:
    """Among those of which we have prose; Tibetan, Cantonese and Wu are like them."""
    unspaced = {language for language, text in PROSE.items() if sum(map(is_unspaced, text)) > len(text) / 2}
    assert unspaced == WITHOUT_SPACES & set(PROSE) >= {"zh", "ja", "th", "lo", "km", "my"}
    assert {"bo", "yue", "wuu"} < WITHOUT_SPACES
    assert not any(map(writes_letters, WITHOUT_SPACES))


def test_letters() -> None:
    assert all(map(writes_letters, ("en", "de", "ru", "el", "ar", "he", "ka", "hy", "fi", "tr")))
    assert not any(map(writes_letters, ("zh", "ja", "ko", "th", "lo", "km", "my", "bo", "hi", "ta", "am", "vi", "ur")))
