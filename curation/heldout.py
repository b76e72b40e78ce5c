"""What is kept out of training, and which documents are too near to it to be trained on (docs/mixture.md).

A document is near a held-out one if their MinHash signatures share a band, as `dedup = "near"` has it by default.
Nearly all documents share none, and a quarter of the signature is enough to know it: a band can only be shared if its
first ROWS rows are. So held-out bands are sorted by the hash of those rows, and the rest is computed on a hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curation.dedup.near import Near, band_hashes, permutations, shingles, smallest_images
from curation.document import Drop
from curation.hashing import folded, hash64

STEP = "near_heldout"
NEAR = Near()
ROWS = 2
# A band of a held-out document: hash of its first rows, hash of all its rows, number of the source.
BAND = np.dtype([("first", "<u8"), ("whole", "<u8"), ("source", "<u2")])


def is_heldout(text: str, fraction: float) -> bool:
    """By the hash of the content, case and white space aside: equal texts are on the same side, always."""
    return hash64(folded(text)) < fraction * float(1 << 64)


def bands_of(text: str, source: int) -> np.ndarray:
    """The bands of a held-out document: BAND [bands], or none if it has no words."""
    hashes = shingles(text, NEAR.ngram)
    rows = np.zeros(NEAR.bands if len(hashes) else 0, dtype=BAND)
    if len(hashes):
        rows["first"], rows["whole"], rows["source"] = _first(hashes), _whole(hashes), source
    return rows


def in_order(bands: np.ndarray) -> np.ndarray:
    """Distinct bands, sorted: BAND [n] to BAND [m]."""
    ordered = bands[np.lexsort((bands["source"], bands["whole"], bands["first"]))]
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]


def pack(bands: np.ndarray) -> bytes:
    """A file of sorted bands: its three columns one after the other."""
    return b"".join(np.ascontiguousarray(bands[name]).tobytes() for name in BAND.names or ())


@dataclass(frozen=True)
class HeldoutBands:
    """The held-out bands of all sources."""

    packed: np.ndarray  # bytes of `pack`, of bands `in_order`; memory-mapped: uint8 [18 * bands]
    sources: Sequence[str]  # names, by the number in a band

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _unpack(self.packed)

    def check(self, text: str) -> Drop | None:
        """A Drop, if the document shares a band with a held-out one: whose (as its rule), and in how many bands.

        Of several sources it names the first.
        """
        hashes = shingles(text, NEAR.ngram)
        if not len(hashes):
            return None
        firsts, wholes, sources = self._columns
        first = _first(hashes)
        starts = firsts.searchsorted(first)
        there = np.flatnonzero(starts < len(firsts))
        hits = there[firsts[starts[there]] == first[there]]
        if not len(hits):
            return None
        whole = _whole(hashes)
        shared: list[int] = []  # the first source of each band that is shared
        for start, end, band in zip(starts[hits], firsts.searchsorted(first[hits], side="right"), hits, strict=True):
            at = int(start + wholes[start:end].searchsorted(whole[band]))  # a common first may have many wholes
            if at < end and wholes[at] == whole[band]:
                shared.append(int(sources[at]))
        return Drop(self.sources[min(shared)], len(shared), 0) if shared else None


def _unpack(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(packed) // BAND.itemsize
    return (
        packed[: 8 * count].view("<u8"),
        packed[8 * count : 16 * count].view("<u8"),
        packed[16 * count :].view("<u2"),
    )


def _first(hashes: np.ndarray) -> np.ndarray:
    """Hash of the first ROWS rows of each band: uint64 [bands]."""
    multipliers, offsets = (
        drawn.reshape(NEAR.bands, NEAR.rows)[:, :ROWS].reshape(-1) for drawn in permutations(NEAR.bands * NEAR.rows)
    )
    return band_hashes(smallest_images(hashes, multipliers, offsets), NEAR.bands)


def _whole(hashes: np.ndarray) -> np.ndarray:
    return band_hashes(smallest_images(hashes, *permutations(NEAR.bands * NEAR.rows)), NEAR.bands)
