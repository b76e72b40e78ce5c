"""Hashes of words and of n-grams of words, from code points in bulk: no word is ever a string of its own.

What counts is what two copies of a sentence still share when pages, extractors and editors have had their way with it.
A text is put into NFKC and case-folded. Letters, digits and combining marks make words; all else parts them, but for
apostrophes and characters that are not seen (soft hyphens, joiners, variation selectors, marks of direction), which
are deleted: "don't" is one word and "state-of-the-art" four. In scripts that put no space between words, a character
with its combining marks is a word. Line breaks are like any other white space.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curation.hashing import splitmix64
from curation.scripts import UNSPACED

Hashes = npt.NDArray[np.uint64]

# What a character is to a word.
_PARTS, _JOINS, _ALONE, _MARK, _DELETED = range(5)  # _MARK: of a script without spaces, stays with its character

_APOSTROPHES = "'`\u2018\u2019\u201b\u02bc\u02bb"
_INVISIBLE = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))  # variation selectors; the others are of category Cf
LONGEST = 1000  # words of an n-gram
_BLOCK = 1 << 18  # characters that are looked at together: what bounds memory, and stays near the cache


def word_hashes(text: str) -> Hashes:
    """A hash of each word, in order: uint64 [words]. A word of more than 262,144 characters may count as several."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.replace("\u00b4", "'"))
    return np.concatenate([np.empty(0, dtype=np.uint64), *(_of_block(block) for block in _blocks(text.casefold()))])


def ngram_hashes(words: Hashes, *lengths: int) -> Hashes:
    """A hash of each n-gram of one of these lengths: uint64 [n-grams]; of one length, max(0, words - n + 1), in order.

    Two different ones have equal hashes by chance alone, once in 2^60 pairs or less, also when their lengths differ.
    """
    longest, shortest = max(lengths), min(lengths)
    if not 1 <= shortest <= longest <= LONGEST:
        raise ValueError(f"n-grams of {longest} words: they have 1 to {LONGEST}")
    powers, inverse = _powers()
    sums = [np.empty(0, dtype=np.uint64)]
    step = _BLOCK - longest + 1
    for start in range(0, len(words) - shortest + 1, step):
        mine = words[start : start + _BLOCK]
        total = np.zeros(len(mine) + 1, dtype=np.uint64)
        np.cumsum(mine * powers[: len(mine)], out=total[1:])
        last = start + _BLOCK >= len(words)
        for n in lengths:
            count = len(mine) - n + 1 if last else step
            if count > 0:
                sums.append((total[n : n + count] - total[:count]) * inverse[:count])
        if last:
            break
    return splitmix64(np.concatenate(sums))


def _blocks(text: str) -> Iterator[str]:
    """Stretches of a text that end at a space, where there is one."""
    start = 0
    while len(text) - start > _BLOCK:
        end = max(text.rfind(" ", start, start + _BLOCK), text.rfind("\n", start, start + _BLOCK)) + 1
        end = end or start + _BLOCK
        yield text[start:end]
        start = end
    yield text[start:]


def _of_block(text: str) -> Hashes:
    """A word is a polynomial over 2^64 in its code points' own hashes; words are differences of one running sum."""
    if text.isascii():
        characters = np.frombuffer(text.encode(), dtype=np.uint8)
    else:
        characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    kinds = _kinds()[characters]
    seen = kinds != _DELETED
    if not seen.all():
        characters, kinds = characters[seen], kinds[seen]
    joins = kinds == _JOINS
    starts, ends = np.empty((2, len(kinds)), dtype=bool)
    starts[:1], starts[1:] = joins[:1], joins[1:] > joins[:-1]
    if kinds.max(initial=0) > _JOINS:
        starts |= kinds == _ALONE
        starts[1:] |= (kinds[1:] == _MARK) & (kinds[:-1] == _PARTS)
        starts[:1] |= kinds[:1] == _MARK
        ends[:-1] = (kinds[:-1] != _PARTS) & (starts[1:] | (kinds[1:] == _PARTS))
        ends[-1:] = kinds[-1:] != _PARTS
    else:
        ends[:-1], ends[-1:] = joins[:-1] > joins[1:], joins[-1:]
    first, last = np.flatnonzero(starts), np.flatnonzero(ends)
    powers, inverse = _powers()
    total = np.cumsum(_codes()[characters] * powers[: len(characters)], dtype=np.uint64)
    before = np.where(first > 0, total[first - 1], np.uint64(0)) if len(first) else total[:0]
    return splitmix64((total[last] - before) * inverse[first])


@lru_cache(maxsize=1)
def _codes() -> Hashes:
    """A hash of each code point: uint64 [0x110000]."""
    return splitmix64(np.arange(0x110000, dtype=np.uint64))


@lru_cache(maxsize=1)
def _powers() -> tuple[Hashes, Hashes]:
    """Powers of an odd number and of its inverse, modulo 2^64: two arrays uint64 [_BLOCK]."""
    base = 0xD1342543DE82EF95  # Steele and Vigna 2021: no small structure in its powers
    arrays = []
    for number in (base, pow(base, -1, 1 << 64)):
        steps = np.full(_BLOCK, number, dtype=np.uint64)
        steps[0] = 1
        arrays.append(np.cumprod(steps, dtype=np.uint64))
    return arrays[0], arrays[1]


@lru_cache(maxsize=1)
def _kinds() -> npt.NDArray[np.uint8]:
    """What each code point is to a word: uint8 [0x110000]."""
    kinds = np.zeros(0x110000, dtype=np.uint8)
    by_category = {"L": _JOINS, "M": _JOINS, "N": _JOINS}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        kinds[code] = _DELETED if category == "Cf" else by_category.get(category[0], _PARTS)
    for first, last in UNSPACED:
        part = kinds[first : last + 1]
        marks = [unicodedata.category(chr(code))[0] == "M" for code in range(first, last + 1)]
        part[part == _JOINS] = np.where(marks, _MARK, _ALONE)[part == _JOINS]
    kinds[list(_INVISIBLE)] = _DELETED
    kinds[[ord(character) for character in _APOSTROPHES]] = _DELETED
    return kinds
