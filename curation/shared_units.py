"""How much of each source is in the others: sampled hashes of documents, lines and n-grams, and shares of them.

A unit is kept in the sample by its own hash (the last bits are 0), so all sources keep the same ones: what two sources
have in common in the sample is a fair draw of what they have in common (Broder 1997 samples shingles so).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.dedup.verdict import starts_of
from curation.hashing import folded, hash64
from curation.normalize import paragraph_hashes
from curation.word_hashes import ngram_hashes, word_hashes

KINDS = ("documents", "lines", "ngrams")
# One row a distinct hash: how often it occurs, and what the occurrences weigh together (lines: bytes; others: 1 each).
UNIT = np.dtype([("hash", "<u8"), ("count", "<u4"), ("weight", "<u4")])
_WIDE = np.dtype([("hash", "<u8"), ("count", "<i8"), ("weight", "<i8")])  # while they are added up
_MOST = (1 << 32) - 1

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.object_]

_HELD = 1 << 20  # sampled occurrences that are held before equal ones are added up
_POINT = 60  # binary digits of a sum after its point
_Z = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What is compared: whole documents (case and white space aside), long lines, and n-grams of words.

    A line is compared by CCNet's key, as `dedup = "lines"` does.
    """

    min_line: int = 40  # characters, stripped: shorter ones are menus and labels that any two sites share
    ngram: int = 13  # words: what decontamination compares

    def of(self, text: str) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        """Hashes and weights by kind: uint64 and int64 [occurrences in the text]."""
        lines = [stripped for line in text.split("\n") if len(stripped := line.strip()) >= self.min_line]
        sizes = [len(line.encode("utf-8", "surrogatepass")) for line in lines]
        whole = np.array([hash64(normal)] if (normal := folded(text)) else [], dtype=np.uint64)
        ngrams = ngram_hashes(word_hashes(text), self.ngram)
        return {
            "documents": (whole, np.ones(len(whole), dtype=np.int64)),
            "lines": (paragraph_hashes(lines), np.array(sizes, dtype=np.int64)),
            "ngrams": (ngrams, np.ones(len(ngrams), dtype=np.int64)),
        }


def in_sample(hashes: np.ndarray, halvings: int) -> npt.NDArray[np.bool_]:
    """Which hashes are in the sample of 1 in 2^halvings."""
    return np.asarray((hashes & np.uint64((1 << halvings) - 1)) == 0)


@dataclass(slots=True)
class Sketch:
    """Gathers the sampled units of one kind; memory is 16 bytes a distinct one, and a million occurrences."""

    halvings: int
    occurrences: int = 0  # all, not only the sampled ones
    weight: int = 0
    _rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=_WIDE))
    _held: list[np.ndarray] = field(default_factory=list)
    _count: int = 0

    def add(self, hashes: np.ndarray, weights: np.ndarray) -> None:
        self.occurrences += len(hashes)
        self.weight += int(weights.sum())
        mine = in_sample(hashes, self.halvings)
        rows = np.empty(np.count_nonzero(mine), dtype=_WIDE)
        rows["hash"], rows["count"], rows["weight"] = hashes[mine], 1, weights[mine]
        self._held.append(rows)
        self._count += len(rows)
        if self._count >= _HELD:
            self._add_up()

    def _add_up(self) -> None:
        self._rows = added_up([self._rows, *self._held])
        self._held, self._count = [], 0

    def rows(self) -> np.ndarray:
        """UNIT [distinct sampled hashes], ascending."""
        self._add_up()
        result = np.empty(len(self._rows), dtype=UNIT)
        result["hash"] = self._rows["hash"]
        for name in ("count", "weight"):
            result[name] = np.minimum(self._rows[name], _MOST)  # a part that holds 4 GiB of one line says 4 GiB
        return result


def added_up(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Rows of one source, of which several may be of one hash, with one row a hash, ascending."""
    rows = np.concatenate([np.empty(0, dtype=_WIDE), *pieces])
    rows = rows[np.argsort(rows["hash"], kind="stable")]
    starts = np.flatnonzero(starts_of(rows["hash"]))
    result = rows[starts]
    if len(rows):
        result["count"] = np.add.reduceat(rows["count"], starts)
        result["weight"] = np.add.reduceat(rows["weight"], starts)
    return result


@dataclass(frozen=True, slots=True)
class Sums:
    """What the shares are made of, over sampled units; sums of disjoint slices of the hash space may be added.

    A unit weighs z in its source. Of that y is in another source (all or nothing), or, for the source itself, in
    repeats. `units` and `weight`, `squares` (of z): [sources]. `shared` (y), `shared_squares` and `products` (y z):
    [source, other]. All are Python's whole numbers, but for `units` in units of 2^-60, and exact, so that how the hash
    space is cut changes no digit of a share.
    """

    units: Whole
    weight: Whole
    squares: Whole
    shared: Whole
    shared_squares: Whole
    products: Whole

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in Sums.__dataclass_fields__))

    @classmethod
    def none(cls, sources: int) -> Sums:
        one, two = (sources,), (sources, sources)
        return cls(*(np.full(shape, 0, dtype=object) for shape in (one, one, one, two, two, two)))

    def to_json(self) -> list[Any]:
        return [getattr(self, name).tolist() for name in Sums.__dataclass_fields__]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Sums:
        return cls(*(np.array(one, dtype=object) for one in values))


def exact_sum(values: Floats) -> int:
    """The sum of float64 values in units of 2^-60, exact. They are 0 or at least 2^-8."""
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, 53).astype(np.int64)
    total = 0
    for exponent in np.unique(exponents).tolist():
        mine = mantissas[exponents == exponent]
        low, high = int((mine & 0xFFFFFFFF).sum()), int((mine >> 32).sum())  # so that neither overflows
        total += ((high << 32) + low) << (exponent - 53 + _POINT)
    return total


def compare(rows: Iterable[tuple[int, np.ndarray]], sources: int) -> Sums:
    """Sums over one slice of the hash space. `rows`: source number and UNIT rows, as many of each source as come.

    The order in which they come has no bearing on the result.
    """
    by_source: list[list[np.ndarray]] = [[] for _ in range(sources)]
    for source, mine in rows:
        by_source[source].append(mine)
    held = [added_up(pieces) for pieces in by_source]
    hashes = np.unique(np.concatenate([mine["hash"] for mine in held]))
    there = np.zeros((sources, len(hashes)), dtype=bool)
    result = Sums.none(sources)
    for source, mine in enumerate(held):
        there[source, np.searchsorted(hashes, mine["hash"])] = True
    for source, mine in enumerate(held):
        z = mine["weight"].astype(np.float64)
        at = np.searchsorted(hashes, mine["hash"])
        result.units[source], result.weight[source], result.squares[source] = len(z), exact_sum(z), exact_sum(z * z)
        for other in range(sources):
            y = z * (1 - 1 / mine["count"]) if other == source else np.where(there[other, at], z, 0.0)
            result.shared[source, other] = exact_sum(y)
            result.shared_squares[source, other] = exact_sum(y * y)
            result.products[source, other] = exact_sum(y * z)
    return result


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval; all three are the same where nothing was left to chance."""

    share: float
    low: float
    high: float


def shares(sums: Sums, halvings: int) -> list[list[Share | None]]:
    """The share of each source (row) that is in each other (column), or in repeats of its own (diagonal).

    None for a source of which there is nothing in the sample. The interval is Wilson's, with as many draws as give the
    variance of the ratio estimator under Poisson sampling (Särndal, Swensson and Wretman 1992, section 5.6), or Kish's
    effective number, whichever is less: the first says nothing where all or none are shared.
    """
    sources = len(sums.units)
    return [[_share(sums, a, b, 2.0**-halvings) for b in range(sources)] for a in range(sources)]


def _share(sums: Sums, a: int, b: int, fraction: float) -> Share | None:
    weight, squares = _real(sums.weight[a]), _real(sums.squares[a])
    if not weight:
        return None
    share = _real(sums.shared[a, b]) / weight
    if fraction == 1:
        return Share(share, share, share)
    spread = _real(sums.shared_squares[a, b]) - 2 * share * _real(sums.products[a, b]) + share * share * squares
    variance = (1 - fraction) * max(spread, 0.0) / weight**2
    draws = weight**2 / squares / (1 - fraction)
    if variance > 0:
        draws = min(draws, share * (1 - share) / variance)
    return Share(share, *wilson(share, draws))


def _real(sum: int) -> float:
    return sum / (1 << _POINT)


def wilson(share: float, draws: float) -> tuple[float, float]:
    """Wilson's 95 % interval for a share that was seen in so many draws (Wilson 1927)."""
    centre = (share + _Z**2 / (2 * draws)) / (1 + _Z**2 / draws)
    half = _Z / (1 + _Z**2 / draws) * math.sqrt(share * (1 - share) / draws + _Z**2 / (4 * draws**2))
    return max(0.0, centre - half), min(1.0, centre + half)
