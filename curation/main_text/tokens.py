"""Compiled parts of the scanner: names and attributes of tags.

Every function takes its numbers as int64. `page` is the page, uint8[n], valid UTF-8; `text` is where text goes; `m`,
int64, has everything that changes while a page is scanned, and `out`, int32, what is found (layout.py).
"""

# ruff: noqa: SIM110 (numba compiles loops)
# mypy: disable-error-code="no-untyped-def, assignment"

from __future__ import annotations

import numpy as np
from numba import njit

from curation.main_text import layout as at
from curation.main_text import tags
from curation.main_text.tags import CUSTOM, LAST_WORDY, MAX_NAMES

# Without reference counts of arrays, which are atomic and took two thirds of the time, and without entries from Python,
# which took a part of the time to compile.
_OPTIONS = {"_nrt": False, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
compiled = njit(**_OPTIONS)
inlined = njit(**_OPTIONS, forceinline=True)

LESS_THAN, GREATER = np.int64(60), np.int64(62)

BASIS, PRIME = 0xCBF29CE484222325 - (1 << 64), 0x100000001B3  # FNV-1a, in int64, which wraps
_MOST_PROBES = 32  # of a table that the page fills: its names may be made to collide

# Tables that do not change are compiled in.
_TAG_KEYS, _TAG_VALUES = tags.name_table({name: i for i, name in enumerate(tags.TAGS) if name}, 1024)
_ATTRIBUTE_KEYS, _ATTRIBUTE_VALUES = tags.name_table({name: i for i, name in enumerate(tags.ATTRIBUTES) if name}, 256)
_TAG_MASK, _ATTRIBUTE_MASK = len(_TAG_KEYS) - 1, len(_ATTRIBUTE_KEYS) - 1
# Of bytes in tags: 1 white space, 2 what else ends a name, 4 letters (for words), 8 capitals.
IN_TAG = np.zeros(256, np.uint8)
IN_TAG[[9, 10, 12, 13, 32]] = 1
IN_TAG[[ord("/"), ord(">")]] = 2
IN_TAG[ord("a") : ord("z") + 1] = 4
IN_TAG[ord("A") : ord("Z") + 1] = 12
IN_TAG[128:] = 4
ENDS_NAME = 3  # bits of IN_TAG

DISPLAY_NONE, VISIBILITY_HIDDEN, TRUE, LICENSE, LD_JSON, SCRIPT_NAME = map(np.int64, range(6))
_PATTERNS = [b"display:none", b"visibility:hidden", b"true", b"license", b"ld+json", b"script"]
_PATTERN_BYTES = np.array([list(pattern.ljust(20, b"\0")) for pattern in _PATTERNS], np.uint8)
_PATTERN_SIZES = np.array([len(pattern) for pattern in _PATTERNS], np.int64)

ONE, _CHUNK = np.uint64(1), np.uint64(16)


@inlined
def find(page, begin, stop, byte):
    """The first place of a byte from `begin` on; `stop` if there is none."""
    i, end = np.uint64(begin), np.uint64(stop)  # unsigned, so that no index counts from the end
    what = np.uint8(byte)
    while i + _CHUNK <= end:
        hit = False
        for k in range(_CHUNK):
            hit |= page[i + k] == what
        if hit:
            break
        i += _CHUNK
    while i < end and page[i] != what:
        i += ONE
    return np.int64(i)


@inlined
def read_name(page, begin, stop, m):
    """The end of a name that begins there; its hash goes to KEY, whether it has a hyphen to HYPHEN."""
    i, end = np.uint64(begin), np.uint64(stop)
    key, hyphen = BASIS, 0
    while i < end:
        c = page[i]
        kind = IN_TAG[c]
        if kind & ENDS_NAME:
            break
        if kind & 8:
            c |= np.uint8(32)
        if c == 45:
            hyphen = 1
        key = (key ^ np.int64(c)) * PRIME
        i += ONE
    m[at.KEY], m[at.HYPHEN] = key, hyphen
    return np.int64(i)


@inlined
def number_of_name(m):
    """The number of the name that was read: its place in TAGS, or the next free one if it is new to this page."""
    key = m[at.KEY]
    slot = key & _TAG_MASK
    while _TAG_KEYS[slot] != 0:
        if _TAG_KEYS[slot] == key:
            return np.int64(_TAG_VALUES[slot])
        slot = (slot + 1) & _TAG_MASK
    slot = key & (MAX_NAMES - 1)
    probes = 0
    while m[at.OTHER_KEYS + slot] != 0 and probes < _MOST_PROBES:
        if m[at.OTHER_KEYS + slot] == key:
            return m[at.OTHER_VALUES + slot]
        slot = (slot + 1) & (MAX_NAMES - 1)
        probes += 1
    number = m[at.NAMES]
    if number == MAX_NAMES - 1 or probes == _MOST_PROBES:  # all that are left share a number
        return np.int64(MAX_NAMES - 1)
    m[at.NAMES] += 1
    m[at.OTHER_KEYS + slot], m[at.OTHER_VALUES + slot] = key, number
    m[at.BITS + number] = CUSTOM if m[at.HYPHEN] else 0
    return number


@inlined
def read_attributes(page, begin, stop, out, m):
    """Read the attributes of a tag from behind its name to behind its ">", whose place it returns; -1: the page ends.

    SEEN gets a bit for each attribute of ATTRIBUTES that is there, PLACES where its value begins and ends (of two with
    one name the first counts), CLOSED whether the tag ends in "/>", WORD the end of its words in `out`.
    """
    i, end = np.uint64(begin), np.uint64(stop)
    seen = 0
    m[at.CLOSED], m[at.WORD] = 0, m[at.WORDS]
    most = min(m[at.WORDS] + at.MAX_WORDS, m[at.MOST_WORDS])
    while i < end:
        c = page[i]
        if c == 62:
            m[at.SEEN] = seen
            return np.int64(i + ONE)
        kind = IN_TAG[c]
        if kind & ENDS_NAME:  # white space and "/"
            m[at.CLOSED] = c == 47
            i += ONE
            continue
        m[at.CLOSED] = 0
        key = BASIS
        first = i
        while i < end:
            c = page[i]
            kind = IN_TAG[c]
            if kind & ENDS_NAME or (c == 61 and i > first):
                break
            if kind & 8:
                c |= np.uint8(32)
            key = (key ^ np.int64(c)) * PRIME
            i += ONE
        while i < end and IN_TAG[page[i]] == 1:
            i += ONE
        from_ = to = i
        if i < end and page[i] == 61:
            i += ONE
            while i < end and IN_TAG[page[i]] == 1:
                i += ONE
            from_ = i
            if i < end and (page[i] == 34 or page[i] == 39):
                from_ = i + ONE
                to = np.uint64(find(page, np.int64(from_), stop, np.int64(page[i])))
                i = to + ONE
            else:
                while i < end and page[i] != 62 and IN_TAG[page[i]] != 1:
                    i += ONE
                to = i
        slot = key & _ATTRIBUTE_MASK
        while _ATTRIBUTE_KEYS[slot] != 0 and _ATTRIBUTE_KEYS[slot] != key:
            slot = (slot + 1) & _ATTRIBUTE_MASK
        number = np.int64(_ATTRIBUTE_VALUES[slot])
        if number and not seen >> number & 1:
            seen |= 1 << number
            m[at.PLACES + 2 * number], m[at.PLACES + 2 * number + 1] = from_, to
            if number <= LAST_WORDY:
                read_words(page, np.int64(from_), np.int64(to), most, out, m)
    return -1


@compiled
def read_words(page, begin, stop, most, out, m):
    """Hash the words of an attribute: letters, cut at other bytes and where a capital follows a small letter."""
    i, end = np.uint64(begin), np.uint64(stop)
    count = m[at.WORD]
    while i < end:
        if not IN_TAG[page[i]] & 4:
            i += ONE
            continue
        value = 0x811C9DC5
        small = False
        while i < end:
            c = page[i]
            kind = IN_TAG[c]
            capital = kind & 8 != 0
            if not kind & 4 or (capital and small):
                break
            small = not capital
            if capital:
                c |= np.uint8(32)
            value = ((value ^ np.int64(c)) * 0x01000193) & 0xFFFFFFFF
            i += ONE
        if count < most:
            out[m[at.AT_WORDS] + count] = value - (value >> 31 << 32)  # the same bits, signed
            count += 1
        else:
            m[at.LOST_WORDS] += 1
    m[at.WORD] = count


@compiled
def has_pattern(page, attribute, which, m):
    """Is the pattern in the value of an attribute, white space left out and capitals as small letters? No if absent."""
    if not m[at.SEEN] >> attribute & 1:
        return False
    size = _PATTERN_SIZES[which]
    i, end = m[at.PLACES + 2 * attribute], m[at.PLACES + 2 * attribute + 1]
    while i < end:
        j, k = i, 0
        while j < end and k < size:
            c = page[j]
            if IN_TAG[c] & 8:
                c |= np.uint8(32)
            if c == _PATTERN_BYTES[which, k]:
                k += 1
            elif k == 0 or IN_TAG[c] != 1:
                break
            j += 1
        if k == size:
            return True
        i += 1
    return False


@compiled
def is_script(page, i, end):
    """Does "script" stand at i as the name of a tag?"""
    if i + 6 >= end or not IN_TAG[page[i + 6]] & ENDS_NAME:
        return False
    for k in range(6):
        if page[i + k] | np.uint8(32) != _PATTERN_BYTES[SCRIPT_NAME, k]:
            return False
    return True


@inlined
def starts_markup(page, i, end):
    """Does "<" at i begin a tag, a comment or the like, or is it a character?"""
    if i + 1 >= end:
        return False
    c = page[i + 1]
    return 97 <= (c | np.uint8(32)) <= 122 or c == 33 or c == 63 or (c == 47 and i + 2 < end)
