"""CCNet's two normal forms of text, to the bit: the key of a paragraph, and what its language models read.

Wenzek et al. 2020, sections 3.1 and 3.3, as their code does it, which is not always as the paper says: the key keeps
accents and ASCII punctuation, and the language models read a whole document as one line.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

# What CCNet calls punctuation, and what a language model reads in its place. The key deletes these characters.
# U+FF11 stands here as CCNet has it, though it is a digit and has become "0" before the table is used.
PUNCTUATION = {
    "，": ",",
    "。": ".",
    "、": ",",
    "„": '"',
    "”": '"',
    "“": '"',
    "«": '"',
    "»": '"',
    "１": '"',
    "」": '"',
    "「": '"',
    "《": '"',
    "》": '"',
    "´": "'",
    "∶": ":",
    "：": ":",
    "？": "?",
    "！": "!",
    "（": "(",
    "）": ")",
    "；": ";",
    "–": "-",
    "—": " - ",
    "．": ". ",
    "～": "~",
    "’": "'",
    "…": "...",
    "━": "-",
    "〈": "<",
    "〉": ">",
    "【": "[",
    "】": "]",
    "％": "%",
    "►": "-",
}

_CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
_DIGITS: list[str] = []  # \d: every decimal digit of Unicode, but "0" itself
_MARKS: list[str] = []  # what NFD parts from its letter
for _character in map(chr, range(1, sys.maxunicode + 1)):
    _category = unicodedata.category(_character)
    if _category == "Nd" and _character != "0":
        _DIGITS.append(_character)
    elif _category == "Mn":
        _MARKS.append(_character)

_KEY = str.maketrans({**dict.fromkeys((*PUNCTUATION, *_CONTROLS), ""), **dict.fromkeys(_DIGITS, "0")})
# No value below holds a character that is itself replaced, so the order in which they are replaced does not matter.
_MODEL = {**dict.fromkeys((*_CONTROLS, *_MARKS), ""), **PUNCTUATION, **dict.fromkeys(_DIGITS, "0")}
_MODEL_ASCII = str.maketrans({character: value for character, value in _MODEL.items() if character.isascii()})


def paragraph_key_text(line: str) -> str:
    """The text that a paragraph is deduplicated by: stripped, lower case, digits to 0.

    `PUNCTUATION` and control characters are deleted. Accents, ASCII punctuation and inner spaces stay.
    """
    return line.strip().lower().translate(_KEY)


def _paragraph_digest(line: str) -> bytes:
    # surrogatepass: a lone surrogate cannot come from decoded bytes, but it can come from JSON and must not stop us.
    return hashlib.sha1(paragraph_key_text(line).encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:8]


def paragraph_hash(line: str) -> int:
    """The first 8 bytes of the SHA-1 of the key, little-endian: an unsigned 64-bit number. Blank lines have one too."""
    return int.from_bytes(_paragraph_digest(line), "little")


def paragraph_hashes(lines: Iterable[str]) -> npt.NDArray[np.uint64]:
    """`paragraph_hash` of each line, in order, as a uint64 array of shape (lines,)."""
    return np.frombuffer(b"".join(map(_paragraph_digest, lines)), dtype="<u8").astype(np.uint64, copy=False)


def normalize(text: str, *, newline: str = "") -> str:
    """What CCNet's language models read: stripped, lower case, no accents, digits to 0, ASCII punctuation, no controls.

    The result is decomposed (NFD) and is one line: CCNet deletes newlines with the other controls, so that the last
    word of a line and the first of the next are glued together. `newline=" "` mends that: our own recipes do so.
    """
    text = text.strip()
    if newline:
        text = text.replace("\n", newline)
    text = text.lower()
    if not text.isascii():
        # str.translate is fast on ASCII text alone. Elsewhere, replacing the few characters that do occur is cheaper.
        text = unicodedata.normalize("NFD", text)
        for character in _MODEL.keys() & set(text):
            text = text.replace(character, _MODEL[character])
        return text
    return text.translate(_MODEL_ASCII)
