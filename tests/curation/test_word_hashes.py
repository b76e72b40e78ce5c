from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import word_hashes as module
from curation.scripts import UNSPACED
from curation.word_hashes import ngram_hashes, word_hashes

DELETED = {*"'`\u2018\u2019\u201b\u02bc\u02bb", *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0))}


def slow_words(text: str) -> list[str]:
    """The same words, character by character, as strings."""
    found: list[str] = []
    inside = alone = False
    for character in unicodedata.normalize("NFKC", text.replace("\u00b4", "'")).casefold():
        category = unicodedata.category(character)
        unspaced = any(first <= ord(character) <= last for first, last in UNSPACED)
        if category == "Cf" or character in DELETED:
            continue
        if category[0] not in "LMN":
            inside = False
        elif unspaced and category[0] == "M" and inside:
            found[-1] += character
            alone = True
        elif inside and not alone and not unspaced:
            found[-1] += character
        else:
            found.append(character)
            inside, alone = True, unspaced
    return found


def assert_same_words(text: str) -> None:
    expected = slow_words(text)
    hashes = word_hashes(text)
    assert hashes.dtype == np.uint64
    assert len(hashes) == len(expected)
    # Each word hashes as it does alone, and different words differently.
    by_word = dict(zip(expected, hashes.tolist(), strict=True))
    assert [by_word[word] for word in expected] == hashes.tolist()
    assert len(set(by_word.values())) == len(by_word)
    for word, hash_ in by_word.items():
        if unicodedata.normalize("NFKC", word).casefold() == word:
            assert word_hashes(word).tolist() == [hash_]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("...", []),
        ("x", ["x"]),
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("don't don\u2019t DONT 'quoted'", ["dont", "dont", "dont", "quoted"]),
        ("state-of-the-art has_close_elements", ["state", "of", "the", "art", "has", "close", "elements"]),
        ("one\u2014two/three\r\nfour\u00a0five", ["one", "two", "three", "four", "five"]),
        ("3.14 + x2 = 1,000", ["3", "14", "x2", "1", "000"]),
        ("soft\u00adhyphen zero\u200bwidth \u202ebidi", ["softhyphen", "zerowidth", "bidi"]),
        ("Ｆｕｌｌ　ｗｉｄｔｈ ﬁne", ["full", "width", "fine"]),
        ("e\u0301te\u0301 \u00e9t\u00e9", ["été", "été"]),
        ("Straße STRASSE ΟΔΟΣ οδός", ["strasse", "strasse", "οδοσ", "οδόσ"]),
        ("हिन्दी में लिखा", ["हिन्दी", "में", "लिखा"]),
        ("日本語です。abc語x", ["日", "本", "語", "で", "す", "abc", "語", "x"]),
        ("ที่นี่a", ["ที่", "นี่", "a"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("👩🏽‍🚀 go", ["go"]),
        ("1\ufe0f\u20e32 one\ufe0ftwo 葛\U000e0100葛", ["1\u20e32", "onetwo", "葛", "葛"]),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    assert slow_words(text) == words
    assert_same_words(text)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    assert_same_words(text)


@given(st.text(alphabet="aA' -\n語あ\u3099ี่ก\u0301é\u200b\u00ad.9", max_size=40))
def test_any_text_of_awkward_characters(text: str) -> None:
    assert_same_words(text)


def test_anagrams_and_places_matter() -> None:
    words = ["ab", "ba", "abc", "cab", "bca", "a", "aa", "aaa", "listen", "silent", "10", "01", "0", "00"]
    assert len({int(word_hashes(word)[0]) for word in words}) == len(words)


@pytest.mark.parametrize("block", [20, 33, 64])
def test_long_texts_are_cut_between_words(small_blocks: Callable[[int], None], block: int) -> None:
    text = "Some words, of which no-one's is cut in two: élan 日本. " * 40
    whole = word_hashes(text).tolist()
    small_blocks(block)
    assert word_hashes(text).tolist() == whole
    assert len(word_hashes("x" * 200)) == -(-200 // block)  # no place to cut it


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    def set_block(characters: int) -> None:
        monkeypatch.setattr(module, "_BLOCK", characters)
        module._powers.cache_clear()

    yield set_block
    module._powers.cache_clear()


@pytest.mark.parametrize("n", [1, 2, 13])
def test_ngrams_are_equal_where_their_words_are(n: int) -> None:
    rng = np.random.default_rng(n)
    words = [f"w{number}" for number in rng.integers(0, 3, 400)]
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    hashes = ngram_hashes(word_hashes(" ".join(words)), n)
    assert hashes.dtype == np.uint64
    assert len(hashes) == len(grams)
    by_gram = dict(zip(grams, hashes.tolist(), strict=True))
    assert [by_gram[gram] for gram in grams] == hashes.tolist()
    assert len(set(by_gram.values())) == len(by_gram)


@pytest.mark.parametrize("count", [1, 7, 8, 19, 20, 21, 33, 34, 100])
def test_ngrams_of_long_texts_and_of_several_lengths(small_blocks: Callable[[int], None], count: int) -> None:
    words = word_hashes(" ".join(f"w{number % 17}" for number in range(count)))
    lengths = (2, 7, 8)
    whole = [ngram_hashes(words, n).tolist() for n in lengths]
    small_blocks(20)
    assert [ngram_hashes(words, n).tolist() for n in lengths] == whole
    assert sorted(ngram_hashes(words, *lengths).tolist()) == sorted(hash_ for hashes in whole for hash_ in hashes)


def test_no_ngram_of_too_few_words() -> None:
    words = word_hashes("a b c")
    assert ngram_hashes(words, 4).tolist() == []
    assert len(ngram_hashes(words, 3)) == 1
    for n in (0, 1001):
        with pytest.raises(ValueError, match="1 to 1000"):
            ngram_hashes(words, n)
    # A short one is not the beginning of a longer one.
    assert not set(ngram_hashes(words, 2).tolist()) & set(ngram_hashes(words, 1).tolist())


def test_hashes_are_even_over_their_bits() -> None:
    hashes = ngram_hashes(word_hashes(" ".join(f"word{n}" for n in range(4000))), 5)
    for bit in (0, 1, 31, 62, 63):
        assert 0.45 < np.mean((hashes >> np.uint64(bit)) & np.uint64(1)) < 0.55
