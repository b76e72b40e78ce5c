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
from curation.mixture import shard_of

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
    """The held-out bands of all sources: slice s of S holds those whose `first` is in the s-th of S equal ranges."""

    slices: Sequence[np.ndarray]  # bytes of `pack`, memory-mapped: uint8 [18 * bands]
    sources: Sequence[str]  # names, by the number in a band

    @cached_property
    def _columns(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """By slice: first, whole, source."""
        return [_unpack(packed) for packed in self.slices]

    def check(self, text: str) -> Drop | None:
        """A Drop, if the document shares a band with a held-out one: whose (as its rule), and in how many bands.

        Of several sources it names the first.
        """
        hashes = shingles(text, NEAR.ngram)
        if not len(hashes):
            return None
        first = _first(hashes)
        homes = shard_of(first, len(self.slices))
        whole: np.ndarray | None = None
        shared: dict[int, int] = {}  # source of each band that is shared
        for home in np.unique(homes).tolist():
            firsts, wholes, sources = self._columns[home]
            mine = np.flatnonzero(homes == home)
            starts = firsts.searchsorted(first[mine])
            there = np.flatnonzero(starts < len(firsts))
            hits = there[firsts[starts[there]] == first[mine[there]]]
            for band, start in zip(mine[hits].tolist(), starts[hits].tolist(), strict=True):
                whole = _whole(hashes) if whole is None else whole
                end = int(firsts.searchsorted(first[band], side="right"))
                same = np.flatnonzero(wholes[start:end] == whole[band])
                if len(same):
                    shared[band] = int(sources[start + same[0]])
        if not shared:
            return None
        return Drop(self.sources[min(shared.values())], len(shared), 0)


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
