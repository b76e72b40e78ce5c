"""Character references (HTML Standard, 13.2.5.72 to 13.2.5.80) as tables for the scanner."""

from __future__ import annotations

from html.entities import html5

import numpy as np
from numpy.typing import NDArray

from curation.main_text.tags import hash_name

SLOTS = 1 << 13
LONGEST = max(map(len, html5))  # characters, with the semicolon
LONGEST_BARE = max(len(name) for name in html5 if not name.endswith(";"))


def named() -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(int64[SLOTS], int32[SLOTS, 2]): hash of the name with its semicolon if it has one, and its characters.

    Collisions go to the next slot; 0 is an empty slot, and a second character of 0 is none.
    """
    keys, characters = np.zeros(SLOTS, np.int64), np.zeros((SLOTS, 2), np.int32)
    for name, text in html5.items():
        key = hash_name(name)
        slot = key & (SLOTS - 1)
        while keys[slot]:
            slot = (slot + 1) & (SLOTS - 1)
        keys[slot] = key
        characters[slot, : len(text)] = [ord(character) for character in text]
    return keys, characters


def windows_1252() -> NDArray[np.int32]:
    """int32[32]: what numeric references to 0x80 ... 0x9F mean; 0 for a control."""
    return np.array([ord(bytes([i]).decode("cp1252", "replace")) % 0xFFFD for i in range(0x80, 0xA0)], np.int32)
