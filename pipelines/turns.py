"""How often each source is seen: whole passes, and where the fractional one ends (docs/mixture.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np

from curation.document import document_key
from curation.errors import RecipeError
from curation.mixture import keys64, one_more, prefix_order
from curation.token_shard import SUFFIXES, Shard
from pipelines import storage
from pipelines.stages import Run, part_name
from pipelines.tokens import TRAIN

DIRECTORY = "shards"
BINS = 1 << 16
MOST_EPOCHS = 1 << 16  # passes are numbered in 16 bits
LIGHT_TOKENS = 10_000_000  # fewer are mixed before a second process has started


@dataclass(frozen=True, slots=True)
class Source:
    """One source of the mixture: its token parts and how much they hold."""

    number: int
    name: str
    parts: tuple[int, ...]
    key: str  # of its tokens stage
    documents: int
    tokens: int
    heldout_documents: int
    heldout_tokens: int


@dataclass(frozen=True, slots=True)
class Turns:
    """How often a source is seen: whole passes, then the documents whose prefix order is below `limit`."""

    whole: int
    limit: int  # 0: no fractional pass
    documents: int  # copies in all
    tokens: int


def turns_of(
    run: Run, sources: Sequence[Source], epochs: Mapping[str, float], seed: int, dtype: str
) -> dict[str, Turns]:
    """By source. The fractional pass is the longest prefix that fits its budget, or one document more (`one_more`)."""
    for source in sources:
        if epochs[source.name] >= MOST_EPOCHS:
            raise RecipeError(
                f"mixture: {source.name!r} would be seen {epochs[source.name]:,.0f} times; "
                f"it has {source.tokens:,} training tokens"
            )
    budgets = {s.name: tokens_asked(s, epochs[s.name]) % s.tokens if s.tokens else 0 for s in sources}
    partly = [source for source in sources if budgets[source.name]]
    sums = _over_parts(run, partly, seed, None, dtype)  # tokens and documents of each bin of the order
    # The bin in which a budget ends is there, since the budget is below the sum.
    edges = {name: int(np.searchsorted(np.cumsum(bins[0]), budgets[name], side="right")) for name, bins in sums.items()}
    inside = _over_parts(run, partly, seed, edges, dtype)
    choices = {}
    for source in sources:
        whole = tokens_asked(source, epochs[source.name]) // source.tokens if source.tokens else 0
        passes = Turns(whole, 0, whole * source.documents, whole * source.tokens)
        choices[source.name] = _Choice(passes, passes, 0)
        if (name := source.name) in sums:
            below = sums[name][:, : edges[name]].sum(axis=1).astype(np.int64)
            choices[name] = _choice(passes, budgets[name], below, inside[name])
    more = one_more({name: (choice.lacks, choice.more_tokens) for name, choice in choices.items()})
    return {name: choice.more if name in more else choice.fits for name, choice in choices.items()}


def tokens_asked(source: Source, epochs: float) -> int:
    whole = int(epochs)
    return whole * source.tokens + round((epochs - whole) * source.tokens)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The longest prefix that fits, and the next longer one."""

    fits: Turns
    more: Turns
    lacks: int  # tokens that `fits` is short of its budget

    @property
    def more_tokens(self) -> int:
        return self.more.tokens - self.fits.tokens


def _choice(passes: Turns, budget: int, below: np.ndarray, inside: np.ndarray) -> _Choice:
    """Where a fractional pass ends, given what is `below` its last bin (tokens, documents) and what is `inside` it.

    `inside` has a row of orders and one of tokens: uint64 [2, documents].
    """
    inside = inside[:, np.argsort(inside[0], kind="stable")]
    orders, starts = np.unique(inside[0], return_index=True)  # two copies of one document go together
    ends = np.append(starts[1:], inside.shape[1])
    upto = below[0] + np.cumsum(inside[1]).astype(np.int64)[ends - 1]  # tokens of the prefix that ends with each
    fitting = int(np.searchsorted(upto, budget, side="right"))

    def prefix(count: int) -> Turns:
        limit = int(orders[count]) if count < len(orders) else int(orders[-1]) + 1
        tokens, documents = (int(upto[count - 1]), int(ends[count - 1])) if count else (int(below[0]), 0)
        return Turns(passes.whole, limit, passes.documents + int(below[1]) + documents, passes.tokens + tokens)

    fits = prefix(fitting)
    return _Choice(fits, prefix(fitting + 1), budget - (fits.tokens - passes.tokens))


def _over_parts(
    run: Run, sources: Sequence[Source], seed: int, bins: Mapping[str, int] | None, dtype: str
) -> dict[str, np.ndarray]:
    """By source: tokens and documents by the top 16 bits of the prefix order; or (order, tokens) in its bin."""
    if not sources:
        return {}
    stage = "bins" if bins is None else "edges"
    folder = storage.join(run.output, DIRECTORY, "mix", f"prefix-{stage}")
    weigh = Weigh(run.output, tuple(sources), seed, bins, dtype)
    light = sum(source.tokens for source in sources) < LIGHT_TOKENS
    run.execute(f"prefix-{stage}", lambda pipeline: build_prefix(pipeline, weigh, folder), light)
    found = {}
    for source in sources:
        content = np.frombuffer(storage.read_bytes(storage.join(folder, f"{source.name}.npy")), dtype="<u8")
        found[source.name] = content.reshape(2, -1) if bins is None else content.reshape(-1, 2).T
    return found


def build_prefix(pipeline: beam.Pipeline, weigh: Weigh, folder: str) -> None:
    """What `weigh` finds in every part of its sources, added up or joined, a file a source."""
    _ = (
        pipeline
        | "parts" >> beam.Create([(at, number) for at, source in enumerate(weigh.sources) for number in source.parts])
        | beam.Reshuffle()
        | "weigh" >> beam.Map(weigh).with_output_types(tuple[str, bytes])
        | "add" >> beam.CombinePerKey(_add if weigh.bins is None else _join)
        | "write" >> beam.Map(WriteArray(folder))
    )


def _add(payloads: Iterable[bytes]) -> bytes:
    total = np.zeros(2 * BINS, dtype="<u8")
    for payload in payloads:
        if payload:
            total += np.frombuffer(payload, dtype="<u8")
    return total.tobytes()


def _join(payloads: Iterable[bytes]) -> bytes:
    return b"".join(payloads)


@dataclass(frozen=True, slots=True)
class WriteArray:
    folder: str

    def __call__(self, keyed: tuple[str, bytes]) -> None:
        storage.write_bytes(storage.join(self.folder, f"{keyed[0]}.npy"), keyed[1])


@contextmanager
def token_part(output: str, source: Source, side: str, number: int, dtype: str) -> Iterator[Shard]:
    """A source's token part on one side. From an object store it is copied here for as long as it is read."""
    folder = storage.join(output, source.name, "tokens", side)
    name = part_name(number)
    if storage.is_local(folder):
        yield Shard(Path(folder) / name, dtype)
        return
    with tempfile.TemporaryDirectory() as here:
        for suffix in SUFFIXES:
            (Path(here) / (name + suffix)).write_bytes(storage.read_bytes(storage.join(folder, name + suffix)))
        yield Shard(Path(here) / name, dtype)


@dataclass(frozen=True, slots=True)
class Weigh:
    """What a token part adds to its source's keyed order; see `_over_parts`."""

    output: str
    sources: tuple[Source, ...]
    seed: int
    bins: Mapping[str, int] | None
    dtype: str

    def __call__(self, element: tuple[int, int]) -> tuple[str, bytes]:
        source, number = self.sources[element[0]], element[1]
        with token_part(self.output, source, TRAIN, number, self.dtype) as shard:
            order = prefix_order(keys64(document_keys(shard.provenance()["id"].to_pylist())), self.seed)
            lengths = shard.lengths.astype("<u8")
        bins = order >> np.uint64(48)
        if self.bins is not None:
            mine = bins == self.bins[source.name]
            return source.name, np.column_stack([order[mine], lengths[mine]]).tobytes()
        tokens, documents = np.zeros(BINS, dtype="<u8"), np.zeros(BINS, dtype="<u8")
        np.add.at(tokens, bins, lengths)
        np.add.at(documents, bins, np.uint64(1))
        return source.name, tokens.tobytes() + documents.tobytes()


def document_keys(ids: Sequence[str]) -> np.ndarray:
    """uint8 [documents, 16]."""
    return np.frombuffer(b"".join(document_key(id) for id in ids), dtype=np.uint8).reshape(len(ids), 16)
