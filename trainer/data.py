"""The order of the training data: a pure function of (dataset id, seed, sequence length T, sequence number g).

The shards, one after the other, are one long row of N tokens. It is cut into (N - 1) // T windows of T + 1 tokens, each
beginning with the last token of the one before, so that every token is predicted once an epoch. In each epoch a keyed
permutation visits every window once. Sequence g is window `permute(g mod windows)` of epoch `g // windows`: there is no
index, no buffer and no state but g. The mixture is in the shards; nothing is weighted here.

A take-down moves nothing, and the permutation is keyed by the id that the dataset had before any: what is left comes in
the order that it always had. Tokens that were taken down come as IGNORED, which is read as token 0 and never predicted.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from curation.errors import InputError
from curation.token_shard import TAKEN_DOWN, Dataset, Shard

Words = npt.NDArray[np.uint64]
_ROUNDS = 6
IGNORED = -100  # a target that is not predicted, as torch's cross_entropy has it


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


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `start` to `end` (exclusive) of a shard, which are all of one document."""

    shard: Shard
    document: int
    start: int
    end: int
    source: int  # as in the manifest, or TAKEN_DOWN


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
    def shards(self) -> list[Shard]:
        return self.dataset.shards()

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each shard starts in the long row, and where the last one ends: int64 [shards + 1]."""
        return np.concatenate([[0], np.cumsum([len(shard.tokens) for shard in self.shards], dtype=np.int64)])

    @cached_property
    def _gone(self) -> bool:
        """Whether any document was taken down: else there is no need to read the sources of tokens."""
        return any(entry.get("taken_down") for entry in self.dataset.manifest["shards"])

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
            key = f"{self.dataset.root} {self.seed} {self.length} {epoch}".encode()
            chosen = epochs == epoch
            result[chosen] = permute(places[chosen], self.windows, key)
        return result

    def batch(self, g: int, count: int) -> np.ndarray:
        """Sequences g … g + count - 1: int64 [count, T + 1], IGNORED where a document was taken down."""
        return np.stack([self._read(int(window) * self.length) for window in self.order(g, count)])

    def _read(self, start: int) -> np.ndarray:
        """T + 1 tokens of the long row: int64 [T + 1]."""
        pieces = [self.shards[shard].tokens[at:end] for shard, at, end in self._stretches(start, self.length + 1)]
        out = np.concatenate(pieces, dtype=np.int64)
        if self._gone:
            out[self.row_sources(start, self.length + 1) == TAKEN_DOWN] = IGNORED
        return out

    def sources(self, g: int, count: int) -> np.ndarray:
        """The source of each token of `batch(g, count)`: uint16 [count, T + 1], ids as in the manifest's `sources`."""
        return np.stack(
            [self.row_sources(int(window) * self.length, self.length + 1) for window in self.order(g, count)]
        )

    def row_sources(self, start: int, count: int) -> np.ndarray:
        """Source ids of `count` tokens of the long row, from token `start` on: uint16 [count]."""
        out = [np.empty(0, np.uint16)]
        for shard, at, end in self._stretches(start, count):
            first, offsets = self.shards[shard].covering(at, end)
            own = np.diff(offsets.clip(at, end))
            out.append(np.repeat(self.shards[shard].mapped_sources[first : first + len(own)], own))
        return np.concatenate(out)

    def pieces(self, start: int, count: int) -> Iterator[Piece]:
        """The documents that `count` tokens of the long row belong to, from token `start` on."""
        for shard, at, end in self._stretches(start, count):
            first, offsets = self.shards[shard].covering(at, end)
            for number, (begin, stop) in enumerate(itertools.pairwise(offsets.clip(at, end).tolist()), first):
                if begin < stop:
                    source = int(self.shards[shard].mapped_sources[number])
                    yield Piece(self.shards[shard], number, begin, stop, source)

    def _stretches(self, start: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Where `count` tokens of the long row lie, from token `start` on: shard, first token there, last + 1."""
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while count:
            at = start - int(self._starts[shard])
            end = min(at + count, len(self.shards[shard].tokens))
            if at < end:
                yield shard, at, end
            start, count, shard = start + end - at, count - (end - at), shard + 1

    def coverage(self, sequences: int) -> Coverage:
        """What a run of so many sequences will see of the data."""
        first = min(sequences, self.windows) * self.length
        return Coverage(self.tokens, sequences * self.length, sequences * self.length - first, self.tokens - 1 - first)


def count_sources(loader: Loader, at_once: int = 256) -> np.ndarray:
    """Tokens of each source, counted by reading one epoch through the loader: int64 [sources].

    What an epoch predicts is all but the first token and the few after the last window, which are read for themselves.
    Tokens of documents that were taken down count for no source.
    """
    counts = np.zeros(1 << 16, dtype=np.int64)

    def add(sources: np.ndarray) -> None:
        counts[:] += np.bincount(sources.ravel(), minlength=len(counts))

    for g in range(0, loader.windows, at_once):
        add(loader.sources(g, min(at_once, loader.windows - g))[:, 1:])
    read = 1 + loader.windows * loader.length
    add(loader.row_sources(0, 1))
    add(loader.row_sources(read, loader.tokens - read))
    return counts[: len(loader.dataset.sources)]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of tokens: `scheduled` predictions, of which `repeated` were made before; `unseen` are never predicted."""

    available: int
    scheduled: int
    repeated: int
    unseen: int
