"""Books that another one holds almost whole: candidates by MinHash bands, then the overlap itself is measured.

LLaMA (Touvron et al. 2023, section 2.1) removes books "with more than 90% content overlap" and says no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from curation.dedup import near
from curation.dedup.verdict import CLAIM, starts_of
from curation.document import Document, Drop
from curation.errors import RecipeError

# Two claims of a bucket: `document` and the one that may hold it, `other` of part `part`.
PAIR = np.dtype([("document", "<u4"), ("part", "<u4"), ("other", "<u4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Drop a document when a larger one that shares a band with it holds `min_overlap` of its n-grams.

    The overlap of D with E is |D ∩ E| / |D|, of their distinct word n-grams, exact but for collisions of 64-bit hashes.
    Larger is E if it has more of them, or as many and comes first by (source, file, locator). So of two editions the
    fuller one stays, a story goes where an anthology has it, and never do three documents each take another out:
    the largest of any that are alike stays. No clusters are formed: D goes also where E itself goes.

    With the defaults 9,999 of 10,000 pairs of equal size that overlap by 0.9 are candidates, and 47 of 100 stories that
    are half of an anthology; what finds more of the latter stands in docs/dedup.md.
    """

    unit: ClassVar[str] = "bands"
    keep: ClassVar[str] = "largest"
    compares_texts: ClassVar[bool] = True  # its hashes only name candidates

    ngram: int = 5
    bands: int = 20
    rows: int = 5
    min_overlap: float = 0.9
    most_candidates: int = 8  # in each band, a document is compared with so many of the larger ones that share it

    def __post_init__(self) -> None:
        if min(self.ngram, self.bands, self.rows, self.most_candidates) < 1:
            raise RecipeError("dedup overlap: ngram, bands, rows and most_candidates are at least 1")
        if not 0 < self.min_overlap <= 1:
            raise RecipeError(f"dedup overlap: min_overlap is above 0 and at most 1, not {self.min_overlap}")

    def shingles(self, document: Document) -> np.ndarray:
        """Hashes of the distinct n-grams, ascending: uint64 [n-grams]."""
        return _shingles(document.text, self.ngram)

    def hashes(self, document: Document) -> np.ndarray:
        """One hash a band: uint64 [bands]; [0] for a document with no words."""
        signature = near.minhash(self.shingles(document), self.bands * self.rows)
        return near.band_hashes(signature, self.bands) if len(signature) else near.EMPTY

    def units(self, document: Document) -> int:
        return self.bands if document.text.strip() else 0

    def weight(self, document: Document) -> int:
        """The size by which documents are compared: how many distinct n-grams."""
        return len(self.shingles(document))

    def apply(self, document: Document, survives: np.ndarray) -> tuple[Document | Drop, int]:
        """The very document, or a Drop that says in how many bands it lost. The pipeline drops by `verdict`."""
        kept = int(survives.sum())
        return (document, kept) if kept == len(survives) else (Drop("overlap", len(survives) - kept, 0), kept)

    def holds(self, shared: int, size: int) -> bool:
        """Whether so many shared n-grams of a document of `size` are enough for it to go."""
        return size > 0 and shared / size >= self.min_overlap

    def verdict(self, shared: int, size: int) -> Drop:
        return Drop("overlap", shared / size, self.min_overlap)


# Bands and size of a document are asked for one after the other.
@lru_cache(maxsize=1)
def _shingles(text: str, ngram: int) -> np.ndarray:
    return near.shingles(text, ngram)


def claims(hashes: np.ndarray, ordinals: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Claims of a part, one for each document and band, sorted by (hash, ordinal): CLAIM [distinct pairs].

    `hashes` uint64, `ordinals` uint32 and `sizes` uint32, all [occurrences], run parallel. `first` is the document,
    `weight` its size. Unlike other deduplications every document of a part is named, since each may be held by another.
    """
    order = np.lexsort((ordinals, hashes))
    order = order[starts_of(hashes[order]) | starts_of(ordinals[order])]
    result = np.empty(len(order), dtype=CLAIM)
    result["hash"], result["first"], result["weight"] = hashes[order], ordinals[order], sizes[order]
    return result


def candidates(rows: np.ndarray, parts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which claims of a bucket are to be compared: (indices of the smaller, of the larger, and how many were cut).

    `rows` CLAIM and `parts` int64, [claims]; all claims on a hash must be in the same call, in any order. The smaller
    and the larger are int64 [pairs]; cut, int64 [claims], is how many larger ones a claim is not compared with. Each is
    compared with the `most` largest of those before it, by size, then part and ordinal: the largest hold most, and are
    the same for all of a family, so that few texts are read.
    """
    order = np.lexsort((rows["first"], parts, -rows["weight"].astype(np.int64), rows["hash"]))
    first = starts_of(rows["hash"][order])
    begins = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    rank = np.arange(len(order)) - (begins[group] if len(order) else 0)  # how many larger ones share the hash
    compared = np.minimum(rank, most)
    smaller = np.repeat(np.arange(len(order)), compared)
    nth = np.arange(len(smaller)) - np.repeat(np.cumsum(compared) - compared, compared)
    larger = begins[group[smaller]] + nth
    cut = np.empty(len(order), dtype=np.int64)
    cut[order] = rank - compared
    return order[smaller], order[larger], cut


def shared(one: np.ndarray, other: np.ndarray) -> int:
    """|one ∩ other|, of two ascending arrays of distinct hashes."""
    if len(one) > len(other):
        one, other = other, one
    if not len(one):
        return 0
    at = np.minimum(np.searchsorted(other, one), len(other) - 1)
    return int((other[at] == one).sum())
