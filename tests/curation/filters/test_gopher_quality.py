from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from curation.document import Document, Drop
from curation.filters.gopher_quality import GopherQuality

Make = Callable[..., Document]


def prose(count: int, *instead: str) -> str:
    """One line of `count` words, two stop words the last of them; the first are `instead`, the rest have 5 letters."""
    return " ".join([*instead, *["words"] * (count - 2 - len(instead)), "the", "of"])


def judged(page: Document, **options: object) -> Drop | None:
    """The drop, or None where the very same page was kept."""
    verdict = GopherQuality(**options)(page)  # type: ignore[arg-type]
    if isinstance(verdict, Drop):
        return verdict
    assert verdict is page
    return None


@pytest.mark.parametrize(
    ("count", "drop"),
    [
        (49, Drop("too_few_words", 49, 50)),
        (50, None),
        (100_000, None),
        (100_001, Drop("too_many_words", 100_001, 100_000)),
    ],
)
def test_words(document: Make, count: int, drop: Drop | None) -> None:
    assert judged(document(prose(count), language="en")) == drop


@pytest.mark.parametrize(
    ("words", "drop"),
    [
        (["abc"] * 50, None),
        (["abc"] * 49 + ["ab"], Drop("words_too_short", 2.98, 3.0)),
        (["a" * 10] * 50, None),
        (["a" * 10] * 49 + ["a" * 11], Drop("words_too_long", 10.02, 10.0)),
    ],
)
def test_mean_word_length(document: Make, words: Sequence[str], drop: Drop | None) -> None:
    assert judged(document(" ".join(words)), language="en", min_stop_words=0) == drop


@pytest.mark.parametrize("language", [None, "", "xx", "zh", "ja", "ko", "th", "hi", "am", "vi"])
def test_mean_word_length_is_asked_of_languages_that_write_letters(document: Make, language: str | None) -> None:
    for word in ("ab", "abcdefghijk"):
        assert judged(document(f"{word} " * 50, language=language), min_stop_words=0) is None
        assert judged(document(f"{word} " * 50, language="fi"), min_stop_words=0) is not None


@pytest.mark.parametrize("symbol", ["-", "–", "|", "•", "😀", "###", "?!", "。"])
def test_what_has_neither_letter_nor_digit_is_no_word(document: Make, symbol: str) -> None:
    text = prose(49) + f" {symbol}" * 10
    assert judged(document(text), max_symbol_ratio=1.0) == Drop("too_few_words", 49, 50)
    assert judged(document(f"{text} 2"), max_symbol_ratio=1.0) is None


@pytest.mark.parametrize(
    ("instead", "drop"),
    [
        (["#tag5"] * 5, None),
        (["#tag5"] * 6, Drop("hashes", 0.12, 0.1)),
        (["##x##", "#yyyy"], None),
        (["##x##", "##y##"], Drop("hashes", 0.16, 0.1)),
        (["word…"] * 5, None),
        (["word…"] * 6, Drop("ellipses", 0.12, 0.1)),
        (["wor..."] * 5, None),
        (["wor..."] * 6, Drop("ellipses", 0.12, 0.1)),
        (["wor..."] * 3 + ["word…"] * 3, Drop("ellipses", 0.12, 0.1)),
        (["wor.."] * 6, None),
        (["#tag5"] * 5 + ["word…"] * 5, None),  # each symbol has a ratio of its own
    ],
)
def test_symbols(document: Make, instead: list[str], drop: Drop | None) -> None:
    assert judged(document(prose(50, *instead), language="en")) == drop


@pytest.mark.parametrize("word", ["12345", "?-?-?", "😀😀😀"])
def test_words_without_a_letter(document: Make, word: str) -> None:
    assert judged(document(prose(50, *[word] * 10)), min_words=39) is None
    assert judged(document(prose(50, *[word] * 11)), min_words=39) == Drop("not_alphabetic", 0.78, 0.8)


@pytest.mark.parametrize("word", ["1234é", "語語語語", "1234a"])
def test_a_letter_of_any_script_is_a_letter(document: Make, word: str) -> None:
    assert judged(document(prose(50, *[word] * 48))) is None


@pytest.mark.parametrize(
    ("text", "drop"),
    [
        ("words " * 50, Drop("too_few_stop_words", 0, 2)),
        ("the " + "words " * 49, Drop("too_few_stop_words", 1, 2)),
        ("the The THE " + "words " * 49, Drop("too_few_stop_words", 1, 2)),  # distinct ones count
        ('"the, (OF) ' + "words " * 49, None),
        ("other oft " + "words " * 49, Drop("too_few_stop_words", 0, 2)),
        ("The Of " + "words " * 49, None),
    ],
)
def test_stop_words(document: Make, text: str, drop: Drop | None) -> None:
    assert judged(document(text, language="en")) == drop


def test_dclm_counts_the_same_stop_word_again(document: Make) -> None:
    page = document("the the " + "words " * 49, language="en")
    assert judged(page, distinct_stop_words=False) is None
    assert judged(page, distinct_stop_words=False, min_stop_words=3) == Drop("too_few_stop_words", 2, 3)


def test_dclm_adds_the_symbols_up(document: Make) -> None:
    page = document(prose(50, *["#tag5"] * 3, *["word…"] * 3), language="en")
    assert judged(page) is None
    assert judged(page, sum_symbols=True) == Drop("hashes", 0.12, 0.1)


@pytest.mark.parametrize("language", [None, "", "und", "jbo"])
def test_a_language_without_stop_words_is_not_held_to_them(document: Make, language: str | None) -> None:
    page = document("words " * 50, language=language)
    assert judged(page) is None
    assert judged(page, min_words=51) == Drop("too_few_words", 50, 51)
    assert judged(page, language="en") == Drop("too_few_stop_words", 0, 2)


def test_the_language_of_every_document() -> None:
    assert GopherQuality().reads == ("language",)
    assert GopherQuality(language="en").reads == ()


def test_prose_is_kept(document: Make, prose: tuple[str, str]) -> None:
    language, text = prose
    assert judged(document(text, language=language)) is None
    assert judged(document(text)) is None


def test_word_salad_is_dropped_in_its_language(document: Make, prose: tuple[str, str]) -> None:
    """The words of another language are no stop words of this one."""
    language, _ = prose
    if language not in ("zh", "ja"):  # they share Chinese characters that are stop words in both
        other = document("本棚 " * 60 if language != "ja" else "shelf " * 60, language=language)
        assert judged(other, min_mean_word_length=0.0) == Drop("too_few_stop_words", 0, 2)


@pytest.mark.parametrize("language", ["zh", "ja", "th", "lo", "km", "my"])
def test_words_are_counted_without_spaces(document: Make, language: str) -> None:
    text = {"zh": "朋友", "ja": "図書館", "th": "ภาษา", "lo": "ພາສາ", "km": "ខ្ញុំ", "my": "စာအုပ်"}[language]
    assert judged(document(f"{text} " * 49, language=language)) == Drop("too_few_words", 49, 50)
    assert judged(document(f"{text} " * 50, language=language)) == Drop("too_few_stop_words", 0, 2)
    assert judged(document(text, language=language), min_words=1, min_stop_words=0) is None


def lines(*counted: tuple[int, str]) -> str:
    return "\n".join(line for count, line in counted for _ in range(count))


@pytest.mark.parametrize("bullet", ["•", "‣", "▪", "●", "-", "*"])
def test_bullet_lines(document: Make, bullet: str) -> None:
    item, plain = f"  {bullet} five written words within items", "the words of a plain line"
    assert judged(document(lines((9, item), (1, plain)))) is None
    assert judged(document(lines((91, item), (9, plain)))) == Drop("bullet_lines", 0.91, 0.9)


@pytest.mark.parametrize("ellipsis", ["…", "..."])
def test_ellipsis_lines(document: Make, ellipsis: str) -> None:
    open_, plain = f"the words of a line with no end{ellipsis}  ", "the words of a plain line with an end."
    assert judged(document(lines((3, open_), (7, plain)))) is None
    assert judged(document(lines((31, open_), (69, plain)))) == Drop("ellipsis_lines", 0.31, 0.3)


def test_blank_lines_are_no_lines(document: Make) -> None:
    item, plain = "- written words within items", "the words of a plain line"
    assert judged(document(lines((91, item), (9, plain), (900, " \t")))) == Drop("bullet_lines", 0.91, 0.9)


def test_only_the_end_and_the_beginning_of_a_line_count(document: Make) -> None:
    assert judged(document(lines((20, "some - words … go on here"), (20, "the words of a plain line")))) is None


def test_every_threshold_can_be_moved(document: Make) -> None:
    text = "\n".join([prose(40, "#tag5", "12345", "word…"), "- some words", "some words…", *["more words"] * 3])
    page = document(text, language="en")
    assert judged(page) is None
    assert judged(page, min_words=51) == Drop("too_few_words", 50, 51)
    assert judged(page, max_words=49) == Drop("too_many_words", 50, 49)
    assert judged(page, min_mean_word_length=4.9) == Drop("words_too_short", 4.82, 4.9)
    assert judged(page, max_mean_word_length=4.8) == Drop("words_too_long", 4.82, 4.8)
    assert judged(page, max_symbol_ratio=0.01) == Drop("hashes", 0.0196, 0.01)
    assert judged(page, max_symbol_ratio=0.03) == Drop("ellipses", 0.0392, 0.03)
    assert judged(page, min_alphabetic_words=0.97) == Drop("not_alphabetic", 0.9608, 0.97)
    assert judged(page, min_stop_words=3) == Drop("too_few_stop_words", 2, 3)
    assert judged(page, max_bullet_lines=0.1) == Drop("bullet_lines", 0.1667, 0.1)
    assert judged(page, max_ellipsis_lines=0.1) == Drop("ellipsis_lines", 0.1667, 0.1)


def test_nothing_at_all_has_too_few_words(document: Make) -> None:
    assert judged(document("")) == Drop("too_few_words", 0, 50)
    assert judged(document(" \n\t"), min_words=1) == Drop("too_few_words", 0, 1)


def test_defaults_are_the_papers() -> None:
    """Rae et al. 2021, appendix A.1.1, figure for figure."""
    assert GopherQuality() == GopherQuality(
        min_words=50,
        max_words=100_000,
        min_mean_word_length=3,
        max_mean_word_length=10,
        max_symbol_ratio=0.1,
        max_bullet_lines=0.9,
        max_ellipsis_lines=0.3,
        min_alphabetic_words=0.8,
        min_stop_words=2,
        sum_symbols=False,
        distinct_stop_words=True,
        bullets=("•", "‣", "▪", "●", "-", "*"),
        language="",
    )
