"""Documents that are nearly the same: MinHash with banded buckets (Broder 1997; FineWeb's settings by default)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.hashing import splitmix64
from curation.words import words

EMPTY = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Drop a document when a bucket it shares holds a smaller document. Buckets alone decide: no clusters are formed.

    A pair of similarity s shares a bucket with probability 1 - (1 - s^rows)^bands. The defaults are FineWeb's (Penedo
    et al. 2024, section 3.4): word 5-grams, 14 bands of 8, so 0.77 at s = 0.75 and 0.92 at 0.8. Since no two survivors
    share a bucket, no survivor that is held out has such a near duplicate in training.
    """

    unit: ClassVar[str] = "bands"
    keep: ClassVar[str] = "smallest"
    group_files: ClassVar[int] = 0

    ngram: int = 5
    bands: int = 14
    rows: int = 8

    def __post_init__(self) -> None:
        if min(self.ngram, self.bands, self.rows) < 1:
            raise RecipeError("dedup near: ngram, bands and rows are at least 1")

    def hashes(self, document: Document) -> np.ndarray:
        """One hash a band: uint64 [bands]; [0] for a document with no words."""
        signature = minhash(shingles(document.text, self.ngram), self.bands * self.rows)
        return band_hashes(signature, self.bands) if len(signature) else EMPTY

    def units(self, document: Document) -> int:
        return self.bands if words(document.text) else 0

    def apply(self, document: Document, survives: np.ndarray) -> tuple[Document | Drop, int]:
        """The very document, or a Drop that says in how many bands a smaller one had the same bucket."""
        kept = int(survives.sum())
        if kept == len(survives):
            return document, kept
        return Drop("near_duplicate", len(survives) - kept, 0), kept


def shingles(text: str, ngram: int) -> np.ndarray:
    """Hashes of the distinct word n-grams of the lower-cased text: uint64 [n-grams].

    A text of fewer words than n is one shingle. Words are hashed once (CRC-32 of their UTF-8 bytes) and combined by a
    polynomial over 2^64, so no n-gram string is ever built.
    """
    tokens = [zlib.crc32(word.encode()) for word in words(text.lower())]
    if not tokens:
        return EMPTY
    hashed = splitmix64(np.array(tokens, dtype=np.uint64))
    length = min(ngram, len(hashed))
    windows = np.lib.stride_tricks.sliding_window_view(hashed, length)
    weights = splitmix64(np.arange(1, length + 1, dtype=np.uint64)) | np.uint64(1)
    return np.unique((windows * weights).sum(axis=1, dtype=np.uint64))


@lru_cache(maxsize=4)
def permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd multipliers and offsets of `count` affine maps over 2^64: two arrays uint64 [count]."""
    drawn = splitmix64(np.arange(2 * count, dtype=np.uint64))
    return drawn[:count] | np.uint64(1), drawn[count:]


def minhash(hashes: np.ndarray, count: int) -> np.ndarray:
    """The signature: for each affine map, the smallest image of the hashes. uint64 [count], or empty for no hashes."""
    if not len(hashes):
        return EMPTY
    multipliers, offsets = permutations(count)
    signature = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(hashes), 4096):  # bounds the intermediate matrix for very long documents
        chunk = splitmix64(hashes[start : start + 4096])
        np.minimum(signature, (chunk[:, None] * multipliers + offsets).min(axis=0), out=signature)
    return signature


def band_hashes(signature: np.ndarray, bands: int) -> np.ndarray:
    """Hash each band of the signature together with its number: uint64 [bands]."""
    rows = signature.reshape(bands, -1)
    mixed = splitmix64(np.arange(bands, dtype=np.uint64))
    for column in rows.T:
        mixed = splitmix64(mixed ^ column)
    return mixed
