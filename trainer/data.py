"""The order of the training data: a pure function of (dataset id, seed, sequence length T, sequence number g).

The shards, one after the other, are one long row of N tokens. It is cut into (N - 1) // T windows of T + 1 tokens, each
beginning with the last token of the one before, so that every token is predicted once an epoch. In each epoch a keyed
permutation visits every window once. Sequence g is window `permute(g mod windows)` of epoch `g // windows`: there is no
index, no buffer and no state but g. The mixture is in the shards; nothing is weighted here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from curation.errors import InputError
from curation.token_shard import Dataset

Words = npt.NDArray[np.uint64]
_ROUNDS = 6


def permute(index: np.ndarray, size: int, key: bytes) -> np.ndarray:
    """Where a keyed bijection of 0 … size - 1 sends each index: integers [n] in, int64 [n] out.

    A Feistel network permutes the smallest power of four that holds `size`; what falls outside is sent through again
    until it falls inside (cycle walking), which keeps it a bijection and takes fewer than four rounds on average.
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.frombuffer(hashlib.blake2b(key, digest_size=8 * _ROUNDS).digest(), dtype="<u8").astype(np.uint64)

    def network(x: Words) -> Words:
        left, right = x >> half, x & mask
        for k in keys:
            left, right = right, left ^ (_mix(right + k) & mask)
        return (left << half) | right

    result = network(np.atleast_1d(index).astype(np.uint64))
    while len(outside := np.flatnonzero(result >= size)):
        result[outside] = network(result[outside])
    return result.astype(np.int64)


def _mix(x: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every bit of x."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Loader:
    """Sequences by number, from memory-mapped shards. Two loaders of equal fields give equal sequences, always."""

    dataset: Dataset
    seed: int
    length: int  # T: a sequence is T + 1 tokens

    def __post_init__(self) -> None:
        if self.windows < 1:
            raise InputError(
                f"{self.dataset.directory} holds {self.tokens} training tokens, which is less than one sequence of"
                f" {self.length + 1}: give it more data or --set model.context smaller"
            )

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each shard starts in the long row, and where the last one ends: int64 [shards + 1]."""
        return np.concatenate([[0], np.cumsum([len(tokens) for tokens in self._maps], dtype=np.int64)])

    @cached_property
    def _maps(self) -> list[np.ndarray]:
        return [shard.tokens for shard in self.dataset.shards()]

    @property
    def tokens(self) -> int:
        return int(self._starts[-1])

    @property
    def windows(self) -> int:
        return max(0, self.tokens - 1) // self.length

    def order(self, g: int, count: int) -> np.ndarray:
        """The windows that sequences g … g + count - 1 are: int64 [count]."""
        numbers = np.arange(g, g + count, dtype=np.int64)
        epochs, places = np.divmod(numbers, self.windows)
        result = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            key = f"{self.dataset.id} {self.seed} {self.length} {epoch}".encode()
            chosen = epochs == epoch
            result[chosen] = permute(places[chosen], self.windows, key)
        return result

    def batch(self, g: int, count: int) -> np.ndarray:
        """Sequences g … g + count - 1: int64 [count, T + 1]."""
        return np.stack([self._read(int(window) * self.length) for window in self.order(g, count)])

    def _read(self, start: int) -> np.ndarray:
        """T + 1 tokens of the long row, from one shard or across several: int64 [T + 1]."""
        out = np.empty(self.length + 1, dtype=np.int64)
        filled, shard = 0, int(np.searchsorted(self._starts, start, side="right")) - 1
        while filled < len(out):
            piece = self._maps[shard][start + filled - self._starts[shard] :][: len(out) - filled]
            out[filled : filled + len(piece)] = piece
            filled, shard = filled + len(piece), shard + 1
        return out

    def coverage(self, sequences: int) -> Coverage:
        """What a run of so many sequences will see of the data."""
        first = min(sequences, self.windows) * self.length
        return Coverage(self.tokens, sequences * self.length, sequences * self.length - first, self.tokens - 1 - first)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of tokens: `scheduled` predictions, of which `repeated` were made before; `unseen` are never predicted."""

    available: int
    scheduled: int
    repeated: int
    unseen: int

    def __str__(self) -> str:
        epochs = self.scheduled / max(1, self.available - 1)
        return (
            f"{self.available:,} training tokens; {self.scheduled:,} scheduled ({epochs:.2f} epochs),"
            f" {self.repeated:,} of them repeats; {self.unseen:,} never seen"
        )
