"""The integer hashes that order, bucket and name things. Keyed by what they are given, never by the process."""

from __future__ import annotations

import hashlib

import numpy as np


def hash64(text: str) -> int:
    """The first 8 bytes of a BLAKE2b of the UTF-8 bytes, little-endian: 0 to 2^64 - 1. Lone surrogates do no harm."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def folded(text: str) -> str:
    """In lower case, white space collapsed: what is left of a text where writing does not count."""
    return " ".join(text.lower().split())


def splitmix64(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), element by element: uint64 [...] to uint64 [...]."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
