"""Documents that are nearly the same: MinHash with banded buckets (Broder 1997; FineWeb's settings by default)."""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from curation.dedup.verdict import starts_of
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.hashing import splitmix64
from curation.scripts import UNSPACED, UNSPACED_CLASS

EMPTY = np.empty(0, dtype=np.uint64)
MAPS_AT_ONCE, HASHES_AT_ONCE = 64, 1024  # keeps the images near the cache, however long a document is

_MARKS = "".join(
    chr(code)
    for first, last in UNSPACED
    if first < 0x20000
    for code in range(first, last + 1)
    if unicodedata.category(chr(code)).startswith("M")
)
_HAS_UNSPACED = re.compile(f"[{UNSPACED_CLASS}]")
_TOKEN = re.compile(rf"[{UNSPACED_CLASS}][{_MARKS}]*|[^\s{UNSPACED_CLASS}]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Drop a document when a bucket it shares holds a smaller document. Buckets alone decide: no clusters are formed.

    A pair of similarity s shares a bucket with probability 1 - (1 - s^rows)^bands. The defaults are FineWeb's (Penedo
    et al. 2024, section 3.4): word 5-grams, 14 bands of 8, so 0.77 at s = 0.75 and 0.92 at 0.8. Other published
    settings, and what they find, stand in docs/dedup.md. Since no two survivors share a bucket, no survivor that is
    held out has such a near duplicate in training.
    """

    unit: ClassVar[str] = "bands"

    ngram: int = 5
    bands: int = 14
    rows: int = 8
    keep: str = "smallest"  # or "newest"

    def __post_init__(self) -> None:
        if min(self.ngram, self.bands, self.rows) < 1:
            raise RecipeError("dedup near: ngram, bands and rows are at least 1")
        if self.keep not in ("smallest", "newest"):
            raise RecipeError(f"dedup near: keep must be one of smallest, newest, not {self.keep!r}")

    def hashes(self, document: Document) -> np.ndarray:
        """One hash a band: uint64 [bands]; [0] for a document with no words."""
        signature = minhash(shingles(document.text, self.ngram), self.bands * self.rows)
        return band_hashes(signature, self.bands) if len(signature) else EMPTY

    def units(self, document: Document) -> int:
        return self.bands if document.text.strip() else 0

    def apply(self, document: Document, survives: np.ndarray) -> tuple[Document | Drop, int]:
        """The very document, or a Drop that says in how many bands a better one had the same bucket."""
        kept = int(survives.sum())
        if kept == len(survives):
            return document, kept
        return Drop("near_duplicate", len(survives) - kept, 0), kept


def tokens(text: str) -> list[str]:
    """What n-grams are made of: words as white space separates them; in scripts without spaces, single characters.

    A character has its combining marks with it. It is the script that decides, not the language, because a page may
    hold several and its language may not be known yet.
    """
    return _TOKEN.findall(text) if _HAS_UNSPACED.search(text) else text.split()


def shingles(text: str, ngram: int) -> np.ndarray:
    """Hashes of the distinct n-grams of the lower-cased text's tokens: uint64 [n-grams].

    A text of fewer tokens than n is one shingle. Tokens are hashed once (CRC-32 of their UTF-8 bytes) and combined by a
    polynomial over 2^64, so no n-gram string is ever built.
    """
    codes = [zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in tokens(text.lower())]
    if not codes:
        return EMPTY
    hashed = splitmix64(np.array(codes, dtype=np.uint64))
    length = min(ngram, len(hashed))
    count = len(hashed) - length + 1
    weights = splitmix64(np.arange(1, length + 1, dtype=np.uint64)) | np.uint64(1)
    ngrams = np.zeros(count, dtype=np.uint64)
    for place, weight in enumerate(weights):
        ngrams += hashed[place : place + count] * weight
    ngrams.sort()
    distinct: np.ndarray = ngrams[starts_of(ngrams)]
    return distinct


@lru_cache(maxsize=4)
def permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd multipliers and offsets of `count` affine maps over 2^64: two arrays uint64 [count]."""
    drawn = splitmix64(np.arange(2 * count, dtype=np.uint64))
    return drawn[:count] | np.uint64(1), drawn[count:]


def minhash(hashes: np.ndarray, count: int) -> np.ndarray:
    """The signature: for each affine map, the smallest image of the hashes. uint64 [count], or empty for no hashes."""
    return smallest_images(hashes, *permutations(count))


def smallest_images(hashes: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The part of a signature that these maps make: uint64 [maps], or empty for no hashes."""
    if not len(hashes):
        return EMPTY
    count = len(multipliers)
    signature = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    images = np.empty((MAPS_AT_ONCE, min(len(hashes), HASHES_AT_ONCE)), dtype=np.uint64)
    for start in range(0, len(hashes), HASHES_AT_ONCE):
        mixed = splitmix64(hashes[start : start + HASHES_AT_ONCE])
        for first in range(0, count, MAPS_AT_ONCE):
            maps = slice(first, first + MAPS_AT_ONCE)
            block = images[: len(multipliers[maps]), : len(mixed)]
            np.multiply(multipliers[maps, None], mixed, out=block)
            np.add(block, offsets[maps, None], out=block)
            np.minimum(signature[maps], block.min(axis=1), out=signature[maps])
    return signature


def band_hashes(signature: np.ndarray, bands: int) -> np.ndarray:
    """Hash each band of the signature together with its number: uint64 [bands]."""
    rows = signature.reshape(bands, -1)
    mixed = splitmix64(np.arange(bands, dtype=np.uint64))
    for column in rows.T:
        mixed = splitmix64(mixed ^ column)
    return mixed
