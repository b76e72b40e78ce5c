from __future__ import annotations

import re
import sys
from itertools import pairwise
from unicodedata import category

import pytest

from curation.dedup.near import tokens
from curation.scripts import UNSPACED, UNSPACED_CLASS
from curation.words import is_unspaced, split_words
from models.reference_score import TOKEN

SCRIPTS = (
    *("Thai", "Lao", "Tibetan", "Myanmar", "Khmer", "Tai_Le", "New_Tai_Lue", "Tai_Tham", "Javanese"),
    *("Hiragana", "Katakana", "Bopomofo", "Han"),
)
# A letter of each block.
LETTERS = "กກཀကꧠꩠក᧠ᥐᦀᨠꦏ々〡〱〸あカㇰｱ\U0001b000\U0001aff0ㄅㆠ㐀中\uf900\U00020000\U00030000"


def test_the_table_is_unicodes() -> None:
    """All letters of these scripts, but for one mark of Old Chinese, and no letter of another script."""
    regex = pytest.importorskip("regex")
    everything = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    ours = regex.compile("[" + "".join(rf"\p{{Script={script}}}" for script in SCRIPTS) + "]")
    letters = [character for character in regex.findall(r"\p{L}", everything) if ours.match(character)]
    inside = re.compile(f"[{UNSPACED_CLASS}]")
    assert {hex(ord(letter)) for letter in letters if not inside.match(letter)} <= {
        hex(code) for code in (0x16FE3, *range(0x16FF0, 0x16FFF))
    }
    others = regex.compile(r"[\p{Script=Common}\p{Script=Inherited}]")
    known = (c for c in inside.findall(everything) if category(c) != "Cn")
    assert [hex(ord(c)) for c in known if not ours.match(c) and not others.match(c)] == []


def test_no_code_point_stands_in_two_rows() -> None:
    assert all(last < first for (_, last), (first, _) in pairwise(sorted(UNSPACED)))
    assert all(first <= last for first, last in UNSPACED)


@pytest.mark.parametrize("letter", LETTERS)
def test_all_who_split_texts_know_them(letter: str) -> None:
    assert is_unspaced(letter)
    assert tokens(f"a{letter}{letter}b") == ["a", letter, letter, "b"]
    assert re.findall(TOKEN, f"ab{letter}{letter}cd") == ["ab", letter, letter, "cd"]
    assert split_words(f"{letter}\u200b{letter}") == [letter, letter]  # where words have spaces it parts none


@pytest.mark.parametrize("mark", "、。〜（！，")
def test_the_punctuation_of_east_asia_is_no_letter(mark: str) -> None:
    assert not re.match(f"[{UNSPACED_CLASS}]", mark)
    assert tokens(f"中{mark}{mark}") == ["中", mark * 2]
    assert re.findall(TOKEN, f"中{mark}") == ["中"]
    assert is_unspaced(mark)


@pytest.mark.parametrize("text", ["한국어", "አማርኛ", "हिन्दी", "русский", "tiếng", "ᄒᆞᆫ", "ﾡ"])
def test_the_others_have_spaces(text: str) -> None:
    assert tokens(text) == split_words(text) == [text]
    assert not any(map(is_unspaced, text))
