"""N-grams that occur more than once, for every n at once, without making an n-gram of strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Repeats:
    """The n-grams of one length that occur more than once.

    `positions` (int64, ascending): where each of their copies starts. `labels` (int64, same shape): equal for equal
    n-grams. `counts` (int64, same shape): how many copies of it there are.
    """

    n: int
    positions: Integers
    labels: Integers
    counts: Integers


def repeats(words: Sequence[str], longest: int) -> Iterator[Repeats]:
    """Repeats for n = 1 to `longest`. Copies may overlap. Exact: equal words are compared, not their hashes.

    An n-gram occurs twice only if both (n-1)-grams in it do, and those two name it: so each n is looked for among the
    few repeats of n-1, and integers stand for the n-grams throughout.
    """
    ids: dict[str, int] = {}
    labels = np.fromiter([ids.setdefault(word, len(ids)) for word in words], dtype=np.int64, count=len(words))
    positions = np.arange(len(words), dtype=np.int64)
    for n in range(1, longest + 1):
        counts = np.bincount(labels)[labels] if len(labels) else labels
        again = counts > 1
        found = Repeats(n, positions[again], labels[again], counts[again])
        yield found
        # Both halves of an (n+1)-gram: a repeat, and one that starts at the very next word.
        starts = np.flatnonzero(found.positions[1:] - found.positions[:-1] == 1)
        positions = found.positions[starts]
        labels = _dense(found.labels[starts] * (len(words) + 1) + found.labels[starts + 1])


def _dense(keys: Integers) -> Integers:
    """Keys as numbers from 0 on, equal for equal keys. np.unique would do it, many times slower."""
    order = np.argsort(keys)
    ordered = keys[order]
    rank = np.empty_like(keys)
    rank[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1]))) if len(keys) else keys
    return rank
