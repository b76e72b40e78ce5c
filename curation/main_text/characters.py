"""What the characters of a block say about it, whatever its script: words, marks, capitals, ends of sentences."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curation.languages import CLOSERS, SENTENCE_ENDS
from curation.main_text.vocabulary import TEXT_CATEGORIES

COLUMNS = (
    "length",  # in characters, those of scripts that need few of them as 2.5: about equal for equal contents
    "words",  # of scripts without spaces 0.4 a character
    "linked",  # share of bytes
    "links",
    "commas",
    "sentences",  # ends of one with a space behind it
    "digits",  # share of characters, as the next
    "capitals",
    "ends_sentence",
    "ends_colon",
    "emphasised",
    "breaks",
    "images",
    "inputs",
    "kind",
    "first",  # class of the first character
    "separators",
    "word_length",
    "longest_word",
    "copyright",
    "quotes",
    "dense",  # share of characters of scripts that need few
    "copies",  # blocks of the page with this very text
    "in_title",  # share of its words
    "of_title",  # share of the title's words
    "last",  # class of the last character
    "least_odds",  # of its first words, as learned
    "most_odds",
    "mean_odds",
    "first_odds",
    "hidden",
    *(f"{name}_at" for name in TEXT_CATEGORIES),  # place of its first word of this category, FIRST_WORDS for none
)
FIRST_WORDS = 12  # of a block, which are looked up
_TITLE_WORDS = 60
_ANNOUNCED = COLUMNS.index("read_at")

_LETTER, _DIGIT, _UPPER, _COMMA, _END, _CLOSER, _SPACE, _SEPARATOR, _DENSE, _QUOTE, _BULLET, _OPENER = (
    1 << bit for bit in range(12)
)


@functools.cache
def character_classes() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """uint16[65536] each: bits of a character, and its lower case."""
    bits, lower = np.zeros(1 << 16, np.uint16), np.arange(1 << 16, dtype=np.uint16)
    for code in range(1 << 16):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] in "LM":
            bits[code] = _LETTER
            if category in ("Lu", "Lt"):
                bits[code] |= _UPPER
                small = character.lower()
                lower[code] = ord(small) if len(small) == 1 else code
        elif category == "Nd":
            bits[code] = _LETTER | _DIGIT
        elif category[0] == "Z":
            bits[code] = _SPACE
        elif category in ("Pi", "Pf"):
            bits[code] = _QUOTE
        elif category == "Ps":
            bits[code] = _OPENER
    for flag, characters in (
        (_COMMA, ",;、，；،؛"),
        (_END, SENTENCE_ENDS + "…"),
        (_CLOSER, CLOSERS + "“)]）"),
        (_SPACE, "\n\t "),
        (_SEPARATOR, "|•·»›/→▸▶"),
        (_QUOTE, '"„“”«»「」『』'),
        (_BULLET, "•-*·●›»►–>▪■○✓✔"),
    ):
        for character in characters:
            if ord(character) < 1 << 16:
                bits[ord(character)] |= flag
    # Kana, CJK ideographs, and the scripts of South-East Asia that put no space between words; Hangul has spaces.
    for first, last in ((0x3041, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x0E01, 0x0EFF), (0x1000, 0x109F)):
        for code in range(first, last + 1):
            if bits[code] & _LETTER:
                bits[code] |= _DENSE
    return bits, lower


@njit(cache=True, nogil=True)
def _code(text, at, end):  # type: ignore[no-untyped-def]
    """The character at a place of UTF-8, and its bytes; beyond the basic plane U+4E00, a letter that has no case."""
    first = int(text[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return ((first & 31) << 6) | (int(text[at + 1]) & 63), 2
    if first < 0xF0:
        return ((first & 15) << 12) | ((int(text[at + 1]) & 63) << 6) | (int(text[at + 2]) & 63), 3
    return 0x4E00 if first == 0xF0 and int(text[at + 1]) >= 0xA0 else 0x25A0, 4


@njit(cache=True, nogil=True)
def title_words(title, bits, lower):  # type: ignore[no-untyped-def]
    """Hashes of the first words of a title: uint32[words]."""
    found = np.zeros(_TITLE_WORDS, np.uint32)
    count, at, inside, value = 0, 0, False, np.uint32(2166136261)
    while at <= len(title) and count < _TITLE_WORDS:
        code, step = (32, 1) if at == len(title) else _code(title, at, len(title))
        if bits[code] & _LETTER:
            value = np.uint32((value ^ np.uint32(lower[code])) * np.uint32(16777619))
            inside = True
        elif inside:
            found[count] = value
            count += 1
            inside, value = False, np.uint32(2166136261)
        at += step
    return found[:count]


@njit(cache=True, nogil=True)
def find(keys, value):  # type: ignore[no-untyped-def]
    """The slot of a hash in a table with linear probing and a size that is a power of two; -1 if it is not there."""
    mask = len(keys) - 1
    slot = int(value) & mask
    while keys[slot] != 0:
        if keys[slot] == value:
            return slot
        slot = (slot + 1) & mask
    return -1


@njit(cache=True, nogil=True)
def count_characters(text, starts, ends, title, keys, odds, categories, bits, lower, rows, words):  # type: ignore[no-untyped-def]
    """Fill the columns of each block that come from its characters; `words` [blocks, FIRST_WORDS] gets its first ones.

    `title` holds hashes of words; `keys`, `odds`, `categories` are a table of words.
    """
    kinds = len(COLUMNS) - _ANNOUNCED
    for block in range(len(starts)):
        row = rows[block]
        row[_ANNOUNCED : _ANNOUNCED + kinds] = words.shape[1]
        at, end = starts[block], ends[block]
        characters = dense = digits = capitals = commas = sentences = separators = quotes = count = longest = length = 0
        ended, sentence_open, copyrighted, first, last = False, False, 0, 0, 32
        least, most, total, known, first_odds = 0.0, 0.0, 0.0, 0, 0.0
        in_title, value = 0, np.uint32(2166136261)
        while at <= end:
            if length and at < end and 97 <= text[at] <= 122:  # most of a page: a small letter inside a word
                last = int(text[at])
                value = np.uint32((value ^ np.uint32(last)) * np.uint32(16777619))
                length += 1
                characters += 1
                at += 1
                continue
            code, step = (32, 1) if at == end else _code(text, at, end)
            is_ = bits[code]
            if is_ & _LETTER:
                value = np.uint32((value ^ np.uint32(lower[code])) * np.uint32(16777619))
                length += 1
                ended = sentence_open = False
                if is_ & _DIGIT:
                    digits += 1
                elif is_ & _UPPER:
                    capitals += 1
                elif is_ & _DENSE:
                    dense += 1
            else:
                if length:
                    longest = max(longest, length)
                    if count < words.shape[1]:
                        words[block, count] = value
                        slot = find(keys, value)
                        if slot >= 0:
                            known += 1
                            total += odds[slot]
                            least, most = min(least, odds[slot]), max(most, odds[slot])
                            if count == 0:
                                first_odds = odds[slot]
                            announced = categories[slot]
                            for kind in range(kinds if announced else 0):
                                if (announced >> kind) & 1 and row[_ANNOUNCED + kind] > count:
                                    row[_ANNOUNCED + kind] = count
                    if count < _TITLE_WORDS:
                        for word in title:
                            if word == value:
                                in_title += 1
                                break
                    count += 1
                    length, value = 0, np.uint32(2166136261)
                if is_ & _SPACE:
                    if sentence_open and at < end:
                        sentences += 1
                    sentence_open = False
                elif is_ & _END:
                    ended = sentence_open = True
                    if code >= 0x3000:
                        sentences += 1
                elif not is_ & _CLOSER:
                    ended = sentence_open = False
                commas += (is_ & _COMMA) != 0
                separators += (is_ & _SEPARATOR) != 0
                quotes += (is_ & _QUOTE) != 0
                if code == 0xA9:
                    copyrighted = 1
            if at < end:
                characters += 1
                if not is_ & _SPACE:
                    last = code
                    if first == 0:
                        first = _first_class(code, is_)
            at += step
        row[0] = characters + 1.5 * dense
        row[1] = count + 0.4 * dense
        row[4] = commas
        row[5] = sentences
        row[6] = digits / max(1, characters)
        row[7] = capitals / max(1, characters)
        row[8] = ended
        row[9] = last == 0x3A or last == 0xFF1A
        row[15] = first
        row[16] = separators
        row[17] = characters / max(1, count)
        row[18] = longest
        row[19] = copyrighted
        row[20] = quotes
        row[21] = dense / max(1, characters)
        row[23] = in_title / max(1, min(count, _TITLE_WORDS))
        row[24] = in_title / max(1, len(title))
        row[25] = _last_class(last, bits[last])
        row[26] = least
        row[27] = most
        row[28] = total / max(1, known)
        row[29] = first_odds


@njit(cache=True, nogil=True)
def _first_class(code, is_):  # type: ignore[no-untyped-def]
    if is_ & _DIGIT:
        return 1
    if is_ & _LETTER:
        return 3 if is_ & _UPPER else 2
    if is_ & _BULLET:
        return 4
    if code == 0xA9:
        return 5
    if is_ & _OPENER:
        return 6
    return 7 if is_ & _QUOTE else 8


@njit(cache=True, nogil=True)
def _last_class(code, is_):  # type: ignore[no-untyped-def]
    if is_ & _DIGIT:
        return 2
    if is_ & _LETTER:
        return 1 if is_ & _UPPER else 0
    if code == 0x2E:
        return 3
    return 4 if is_ & _END else 5
