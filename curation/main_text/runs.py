"""Compiled parts of the scanner: character references, and runs of text with white space collapsed."""

# mypy: disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.main_text import layout as at
from curation.main_text import references
from curation.main_text.tokens import BASIS, ONE, PRIME, compiled, inlined, starts_markup

# How a run of text is read. (numba compiles a function anew for each Python number that it is called with.)
AS_IT_STANDS, PRE, MARKUP, REFERENCES = (np.int64(number) for number in (0, 1, 2, 4))

_REFERENCE_KEYS, _CHARACTERS = references.named()
_REFERENCE_MASK = len(_REFERENCE_KEYS) - 1
_LONGEST_NAME = references.LONGEST
_LONGEST_BARE = references.LONGEST_BARE  # of those that need no semicolon
_WINDOWS_1252 = references.windows_1252()
PLAIN, WHITE, AMPERSAND, LESS, CONTROL, LEAD = range(6)  # classes of bytes in text; LEAD: may begin white space


def _classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[:32] = table[127] = CONTROL
    table[[9, 10, 11, 12, 13, 32]] = WHITE
    table[ord("&")], table[ord("<")] = AMPERSAND, LESS
    table[[0xC2, 0xE1, 0xE2, 0xE3, 0xEF]] = LEAD
    return table


CLASSES = _classes()


@compiled
def _read_reference(page, i, end):
    """(position behind it, first character, second or 0) of the reference at i, where "&" is; (i, 0, 0) for none."""
    j = i + 1
    if j < end and page[j] == 35:
        j += 1
        base = 10
        if j < end and page[j] | np.uint8(32) == 120:
            base = 16
            j += 1
        first, code = j, 0
        while j < end:
            c = np.int64(page[j])
            digit = c - 48
            if digit < 0 or digit > 9:
                c |= 32
                if base == 10 or c < 97 or c > 102:
                    break
                digit = c - 87
            code = min(code * base + digit, 0x110000)
            j += 1
        if j == first:
            return i, 0, 0
        if j < end and page[j] == 59:
            j += 1
        if 128 <= code < 160:
            code = np.int64(_WINDOWS_1252[code - 128])
        return j, code, 0
    key = BASIS
    best, best_slot = i, 0
    limit = min(end, i + 1 + _LONGEST_NAME)
    while j < limit:
        c = page[j]
        if not (97 <= (c | np.uint8(32)) <= 122 or 48 <= c <= 57 or c == 59):
            break
        key = (key ^ np.int64(c)) * PRIME
        j += 1
        if c == 59 or j - i <= _LONGEST_BARE + 1:
            slot = key & _REFERENCE_MASK
            while _REFERENCE_KEYS[slot] != 0 and _REFERENCE_KEYS[slot] != key:
                slot = (slot + 1) & _REFERENCE_MASK
            if _REFERENCE_KEYS[slot] != 0:
                best, best_slot = j, slot
        if c == 59:
            break
    if best == i:
        return i, 0, 0
    return best, np.int64(_CHARACTERS[best_slot, 0]), np.int64(_CHARACTERS[best_slot, 1])


@inlined
def _is_space(code):
    """What str.isspace says of what may stand in a text."""
    if code < 0x1680:
        return code == 32 or 9 <= code <= 13 or code == 0x85 or code == 0xA0
    if 0x2000 <= code <= 0x205F:
        return code <= 0x200A or code == 0x2028 or code == 0x2029 or code == 0x202F or code == 0x205F
    return code == 0x3000 or code == 0x1680


@inlined
def _is_nothing(code):
    """Controls, what is no character, and what shows nothing: soft hyphen, U+200B, U+2060, U+FEFF."""
    if code < 0xAE:
        return code < 32 or 0x7F <= code < 0xA0 or code == 0xAD
    return (
        (code == 0x200B or code == 0x2060 or code == 0xFEFF)
        or (0xD800 <= code < 0xE000 or 0xFDD0 <= code < 0xFDF0)
        or (code & 0xFFFE == 0xFFFE or code >= 0x110000)
    )


@compiled
def _put(code, text, pos):
    """Write a character in UTF-8; returns the position behind it."""
    if code < 0x80:
        text[pos] = code
        return pos + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for k in range(size - 1, 0, -1):
        text[pos + k] = 0x80 | (code & 63)
        code >>= 6
    text[pos] = (0xF00 >> size & 0xFF) | code
    return pos + size


@compiled
def run(page, begin, stop, how, element, kind, text, m):
    """Add text to the block, up to a tag (MARKUP) or to the end; returns where it stopped."""
    i, end = np.uint64(begin), np.uint64(stop)
    pos, start, pending = np.uint64(m[at.POS]), np.uint64(m[at.START]), m[at.PENDING]
    before = pos
    pre = how & PRE
    while i < end:
        c = page[i]
        byte_class = CLASSES[c]
        code = -1
        if byte_class == WHITE:
            i += ONE
            if not pre:
                if pending == at.NOTHING:
                    pending = at.SPACE
                continue
            if c == 13 and i < end and page[i] == 10:
                continue
            code = 9 if c == 9 else 32 if c == 32 else 10
        elif byte_class == LESS:
            if how & MARKUP and starts_markup(page, np.int64(i), stop):
                break
        elif byte_class == AMPERSAND:
            if how & REFERENCES:
                j, first, second = _read_reference(page, np.int64(i), stop)
                if np.uint64(j) > i:
                    i = np.uint64(j)
                    code = first
                    if second and not _is_space(second):
                        if pending != at.NOTHING and pos > start:
                            text[pos] = 10 if pending == at.NEWLINE else 32
                            pos += ONE
                        pending = at.NOTHING
                        pos = np.uint64(_put(code, text, np.int64(pos)))
                        code = second
        elif byte_class == CONTROL:
            i += ONE
            continue
        elif byte_class == LEAD and i + ONE < end:
            second = np.int64(page[i + ONE])
            if c == 0xC2:
                code = second
                i += np.uint64(2)
            elif i + np.uint64(2) < end and (
                (c == 0xE2 and second <= 0x81)
                or (c == 0xE3 and second == 0x80)
                or (c == 0xE1 and second == 0x9A)
                or (c == 0xEF and second >= 0xB7)
            ):
                code = np.int64(c & np.uint8(15)) << 12 | (second & 63) << 6 | np.int64(page[i + np.uint64(2)]) & 63
                i += np.uint64(3)
        if code >= 0:
            if _is_space(code):
                if not pre:
                    if pending == at.NOTHING:
                        pending = at.SPACE
                    continue
                code = 9 if code == 9 else 10 if code < 14 or code == 0x85 or code == 0x2028 or code == 0x2029 else 32
            elif _is_nothing(code):
                continue
        if pending != at.NOTHING:
            if pos > start:
                text[pos] = 10 if pending == at.NEWLINE else 32
                pos += ONE
            pending = at.NOTHING
        if code >= 0:
            pos = np.uint64(_put(code, text, np.int64(pos)))
            continue
        text[pos] = c
        pos += ONE
        i += ONE
        while i < end:
            c = page[i]
            if CLASSES[c] != PLAIN and (c != 32 or i + ONE >= end or CLASSES[page[i + ONE]] != PLAIN):
                break
            text[pos] = c
            pos += ONE
            i += ONE
    if pos > before:
        if before == start:
            m[at.BLOCK_ELEMENT], m[at.BLOCK_KIND], m[at.BLOCK_PRE] = element, kind, pre
        if m[at.LINK_OPEN] > 0:
            m[at.LINKED] += np.int64(pos - before)
        if m[at.EMPHASIS_OPEN] > 0:
            m[at.EMPHASISED] += np.int64(pos - before)
    m[at.POS], m[at.PENDING] = pos, pending
    return np.int64(i)
