from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.normalize import PUNCTUATION, normalize, paragraph_hash, paragraph_hashes, paragraph_key_text

# Output of CCNet's own functions.
GOLDEN = [
    ("", "", 957977401221134810),
    ("  ", "", 0x0D4B6B5EEEA339DA),
    ("Hello, World! 2019", "hello, world! 0000", 11674755562747009314),
    ("Prix : 3 €", "prix : 0 €", 2683654937916399782),
    ("«Déjà vu» – 12", "déjà vu  00", 10432904479750263852),
    ("Deja vu  00", "deja vu  00", 10081842969624713112),
    ("٣٤ عام", "00 عام", 3540366838030796572),
    ("１２３", "000", 11531306602475876234),
    ("a\tb", "ab", 980172844625372122),
    ("A\u00a0B", "a\u00a0b", 9040983858374059427),
    ("„Zitat“…", "zitat", 12246750443673276770),
]


@pytest.mark.parametrize(("line", "key", "hash"), GOLDEN)
def test_paragraph_key_is_ccnets(line: str, key: str, hash: int) -> None:
    assert paragraph_key_text(line) == key
    assert paragraph_hash(line) == hash


def test_paragraph_hashes_is_paragraph_hash_of_each() -> None:
    hashes = paragraph_hashes(line for line, _, _ in GOLDEN)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [hash for _, _, hash in GOLDEN]
    assert paragraph_hashes([]).shape == (0,)


def test_normalize_is_ccnets() -> None:
    text = "Hello, World!\nSecond line 42 — «Déjà vu»…"
    assert normalize(text) == 'hello, world!second line 00  -  "deja vu"...'
    assert normalize(text, newline=" ") == 'hello, world! second line 00  -  "deja vu"...'


def test_there_are_34_punctuation_marks() -> None:
    assert "".join(PUNCTUATION) == "，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►"


# The same rules one after the other, as plainly as they can be said.
DIGIT = re.compile(r"\d")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def slow_key(line: str) -> str:
    line = DIGIT.sub("0", line.strip().lower())
    return CONTROL.sub("", "".join(c for c in line if c not in PUNCTUATION))


def slow_normalize(text: str) -> str:
    text = unicodedata.normalize("NFD", text.strip().lower())
    text = DIGIT.sub("0", "".join(c for c in text if unicodedata.category(c) != "Mn"))
    return CONTROL.sub("", "".join(PUNCTUATION.get(c, c) for c in text))


awkward = st.text(st.one_of(st.characters(), st.sampled_from([*PUNCTUATION, *"0129 \n\t\r\x00\x1c\x85\xa0éÉİßﬁ각ệ٣"])))


@given(awkward)
def test_fast_is_slow(text: str) -> None:
    assert paragraph_key_text(text) == slow_key(text)
    assert normalize(text) == slow_normalize(text)
    assert "\n" not in normalize(text, newline=" ")


def test_every_character_alone_and_beside_others() -> None:
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in ("Cn", "Co", "Lo"):
            continue
        assert paragraph_key_text(character) == slow_key(character)
        assert normalize(character) == slow_normalize(character)
        text = f"aé1{character}\x01—é"
        assert paragraph_key_text(text) == slow_key(text)
        assert normalize(text) == slow_normalize(text)


def test_a_lone_surrogate_has_a_hash() -> None:
    assert paragraph_hash("a\ud800") != paragraph_hash("a")
