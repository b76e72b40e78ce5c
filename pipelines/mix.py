"""From token parts to the mixed, globally shuffled dataset (docs/shards.md).

    token parts ─► every copy of every document, keyed by its shard ─► GroupByKey ─► sort ─► shard-*.bin …

A copy's place is a hash of (document, seed, pass), so shards do not depend on parts, workers or arrival. It runs in
passes over the shards, as many as it takes for the tokens of one pass to fit the memory it is given.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.document import document_key
from curation.ledger import Balance
from curation.mixture import Mixture, keys64, mix_order, prefix_order, shard_of
from curation.token_shard import PROVENANCE, SUFFIXES, Shard, write_shard
from pipelines import storage
from pipelines.progress import Progress
from pipelines.stages import Result, Run, complete, finished, ledger_rows, part_name, take_over
from pipelines.tokens import HELDOUT, TRAIN

DIRECTORY = "shards"
MIX = "shards/mix"
SHUFFLE_BYTES_PER_TOKEN = 24  # resident while a pass is mixed, with the local runner; a token itself is 2 or 4
BINS = 1 << 16
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


def run_mix(run: Run, mixture: Mixture, shard_tokens: int, sources: Sequence[Source], dtype: str) -> Result:
    """Write the shards. The result's notes hold what the dataset's manifest says of shards and sources."""
    key = hashlib.sha256(
        repr(("mix 1", [s.key for s in sources], sorted(asdict(mixture).items()), shard_tokens, dtype)).encode()
    ).hexdigest()
    if done := finished(run, MIX, key):
        return done
    take_over(run, DIRECTORY, key)
    epochs = mixture.passes({source.name: source.tokens for source in sources})
    turns = {source.name: _turns(run, source, epochs[source.name], mixture.seed, dtype) for source in sources}
    total = sum(turn.tokens for turn in turns.values())
    count = max(1, round(total / shard_tokens))
    names = [f"shard-{number:05d}" for number in range(count)]
    heldout = [f"{HELDOUT}/{source.name}" for source in sources]
    held = sum(source.heldout_tokens for source in sources)
    passes = max(1, -(-(total + held) * SHUFFLE_BYTES_PER_TOKEN // run.memory))
    rows: dict[str, dict[str, Any]] = {}
    with Progress(run, MIX, total=len(names) + len(heldout)):
        for turn in range(passes):
            wanted = names[turn * count // passes : (turn + 1) * count // passes] + (heldout if turn == 0 else [])
            rows.update(_pass(run, sources, turns, mixture.seed, count, wanted, key, dtype, f"{DIRECTORY}-{turn}"))
    entries = {name: rows[name]["entry"] for name in [*names, *heldout]}
    balances = {
        unit: Balance(
            unit,
            incoming=sum(getattr(turns[s.name], unit) + getattr(s, f"heldout_{unit}") for s in sources),
            kept=sum(entry[unit] for entry in entries.values()),
        )
        for unit in ("documents", "tokens")
    }
    notes = {
        "shards": [entries[name] for name in names],
        "heldout": [entries[name] for name in heldout],
        "sources": [_describe(source, epochs[source.name], turns[source.name], total) for source in sources],
    }
    return complete(run, MIX, Result(MIX, key, len(entries), balances, notes=notes))


def _describe(source: Source, asked: float, turns: Turns, total: int) -> dict[str, Any]:
    return {
        "id": source.number,
        "name": source.name,
        "documents": source.documents,
        "tokens": source.tokens,
        "heldout_documents": source.heldout_documents,
        "heldout_tokens": source.heldout_tokens,
        "epochs_asked": asked,
        "epochs": turns.tokens / source.tokens if source.tokens else 0.0,
        "mixed_documents": turns.documents,
        "mixed_tokens": turns.tokens,
        "share": turns.tokens / total if total else 0.0,
    }


def _turns(run: Run, source: Source, epochs: float, seed: int, dtype: str) -> Turns:
    """Whole passes, and where the fractional one ends: the longest prefix of the keyed order in its budget."""
    whole = int(epochs)
    budget = round((epochs - whole) * source.tokens)
    if budget >= source.tokens:  # by rounding
        whole, budget = whole + 1, 0
    if not budget:
        return Turns(whole, 0, whole * source.documents, whole * source.tokens)
    histogram = _sum_over_parts(run, source, seed, None, dtype)
    cumulative = np.cumsum(histogram[0])
    edge = int(np.searchsorted(cumulative, budget, side="right"))
    tokens, documents = int(cumulative[edge - 1]) if edge else 0, int(histogram[1][:edge].sum())
    inside = _sum_over_parts(run, source, seed, edge, dtype) if edge < BINS else np.empty((2, 0), dtype=np.uint64)
    order = np.argsort(inside[0], kind="stable")
    fitting = int(np.searchsorted(np.cumsum(inside[1][order]) + np.uint64(tokens), budget, side="right"))
    limit = int(inside[0][order][fitting]) if fitting < len(order) else (edge + 1) << 48
    while fitting and inside[0][order][fitting - 1] == limit:  # two copies of one document go together
        fitting -= 1
    return Turns(
        whole,
        limit,
        whole * source.documents + documents + fitting,
        whole * source.tokens + tokens + int(inside[1][order][:fitting].sum()),
    )


def _sum_over_parts(run: Run, source: Source, seed: int, bin: int | None, dtype: str) -> np.ndarray:
    """Tokens and documents by the top 16 bits of the prefix order; or (order, tokens) of those in one bin."""
    path = storage.join(run.output, DIRECTORY, "mix", f"{source.name}.prefix-{'bins' if bin is None else bin}.npy")
    weigh = Weigh(run.output, source, seed, bin, dtype)
    run.execute(
        f"{source.name}-prefix", lambda pipeline: build_prefix(pipeline, weigh, path), source.tokens < LIGHT_TOKENS
    )
    content = np.frombuffer(storage.read_bytes(path), dtype="<u8")
    return content.reshape(2, -1) if bin is None else content.reshape(-1, 2).T


def build_prefix(pipeline: beam.Pipeline, weigh: Weigh, path: str) -> None:
    """What `weigh` finds in every part of its source, added up or joined, in the file `path`."""
    _ = (
        pipeline
        | "parts" >> beam.Create(list(weigh.source.parts))
        | beam.Reshuffle()
        | "weigh" >> beam.Map(weigh)
        | "add" >> beam.CombineGlobally(_add if weigh.bin is None else _join)
        | "write" >> beam.Map(WriteArray(path))
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
    path: str

    def __call__(self, payload: bytes) -> None:
        storage.write_bytes(self.path, payload)


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
    """What a token part adds to the source's keyed order; see `_sum_over_parts`."""

    output: str
    source: Source
    seed: int
    bin: int | None
    dtype: str

    def __call__(self, number: int) -> bytes:
        with token_part(self.output, self.source, TRAIN, number, self.dtype) as shard:
            order = prefix_order(keys64(document_keys(shard.provenance()["id"].to_pylist())), self.seed)
            lengths = shard.lengths.astype("<u8")
        bins = order >> np.uint64(48)
        if self.bin is not None:
            mine = bins == self.bin
            return np.column_stack([order[mine], lengths[mine]]).tobytes()
        tokens, documents = np.zeros(BINS, dtype="<u8"), np.zeros(BINS, dtype="<u8")
        np.add.at(tokens, bins, lengths)
        np.add.at(documents, bins, np.uint64(1))
        return tokens.tobytes() + documents.tobytes()


def document_keys(ids: Sequence[str]) -> np.ndarray:
    """uint8 [documents, 16]."""
    return np.frombuffer(b"".join(document_key(id) for id in ids), dtype=np.uint8).reshape(len(ids), 16)


def _pass(
    run: Run,
    sources: Sequence[Source],
    turns: dict[str, Turns],
    seed: int,
    count: int,
    wanted: Sequence[str],
    key: str,
    dtype: str,
    label: str,
) -> dict[str, dict[str, Any]]:
    rows = _committed(run, wanted, key)
    missing = [name for name in wanted if name not in rows]
    if missing:
        send = SendCopies(run.output, tuple(sources), turns, seed, count, frozenset(missing), dtype)
        light = sum(turn.tokens for turn in turns.values()) < LIGHT_TOKENS
        run.execute(label, lambda pipeline: build(pipeline, send, key), light)
        for name in set(missing) - set(_committed(run, wanted, key)):  # no copy falls here, as the totals must confirm
            WriteShard(run.output, key, dtype)((name, []))
        rows = _committed(run, wanted, key)
    return rows


def build(pipeline: beam.Pipeline, send: SendCopies, key: str) -> None:
    """From token parts to the shards that `send` wants."""
    _ = (
        pipeline
        | "token parts" >> beam.Create([(source.number, number) for source in send.sources for number in source.parts])
        | beam.Reshuffle()
        | "send copies" >> beam.FlatMap(send).with_output_types(tuple[str, bytes])
        | "by shard" >> beam.GroupByKey()
        | "write shard" >> beam.Map(WriteShard(send.output, key, send.dtype))
    )


def _committed(run: Run, names: Sequence[str], key: str) -> dict[str, dict[str, Any]]:
    rows = ledger_rows(run, MIX, [_row_name(name) for name in names], key)
    return {name: rows[_row_name(name)] for name in names if _row_name(name) in rows}


def _row_name(name: str) -> str:
    return name.replace("/", "-")


_COPY = [
    ("order", pa.uint64()),
    ("key", pa.binary(16)),
    ("turn", pa.uint16()),
    ("source", pa.uint16()),
    ("nbytes", pa.uint32()),
]
COPIES = pa.schema([*_COPY, ("tokens", pa.large_binary()), *PROVENANCE])


@dataclass(frozen=True, slots=True)
class SendCopies:
    """Every copy of a token part's documents that falls in a wanted shard: one Arrow table a shard."""

    output: str
    sources: tuple[Source, ...]
    turns: dict[str, Turns]
    seed: int
    count: int
    wanted: frozenset[str]
    dtype: str

    def __call__(self, element: tuple[int, int]) -> Iterable[tuple[str, bytes]]:
        source, number = self.sources[element[0]], element[1]
        name = f"{HELDOUT}/{source.name}"
        if name in self.wanted:
            with token_part(self.output, source, HELDOUT, number, self.dtype) as shard:
                part = Copies(shard, source.number)
                yield name, part.pack(np.arange(len(part.keys)), keys64(part.keys), 0)
        with token_part(self.output, source, TRAIN, number, self.dtype) as shard:
            yield from self._training(Copies(shard, source.number), self.turns[source.name])

    def _training(self, part: Copies, turns: Turns) -> Iterable[tuple[str, bytes]]:
        keys = keys64(part.keys)
        for turn in range(turns.whole + bool(turns.limit)):
            order = mix_order(keys, self.seed, turn)
            chosen = np.ones(len(keys), dtype=bool)
            if turn == turns.whole:
                chosen = prefix_order(keys, self.seed) < np.uint64(turns.limit)
            homes = shard_of(order, self.count)
            for home in np.unique(homes[chosen]):
                name = f"shard-{home:05d}"
                if name in self.wanted:
                    yield name, part.pack(np.flatnonzero(chosen & (homes == home)), order, turn)


class Copies:
    """Documents of a token part, packed for the way to their shard: an Arrow stream of COPIES rows."""

    def __init__(self, shard: Shard, source: int) -> None:
        self._shard = shard
        self._source = source
        self._provenance = shard.provenance()
        self.keys = document_keys(self._provenance["id"].to_pylist())

    def pack(self, rows: np.ndarray, order: np.ndarray, turn: int) -> bytes:
        shard = self._shard
        columns = [
            pa.array(order[rows], pa.uint64()),
            pa.array([self.keys[row].tobytes() for row in rows], pa.binary(16)),
            pa.array(np.full(len(rows), turn), pa.uint16()),
            pa.array(np.full(len(rows), self._source), pa.uint16()),
            pa.array(shard.nbytes[rows], pa.uint32()),
            pa.array(
                [shard.tokens[shard.offsets[r] : shard.offsets[r + 1]].tobytes() for r in rows], pa.large_binary()
            ),
            *self._provenance.take(rows).combine_chunks().columns,
        ]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, COPIES) as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=COPIES))
        return bytes(sink.getvalue())


@dataclass(frozen=True, slots=True)
class WriteShard:
    """Sorts the copies of one shard and writes and commits it."""

    output: str
    key: str
    dtype: str

    def __call__(self, keyed: tuple[str, Iterable[bytes]]) -> str:
        name, payloads = keyed
        tables = [pa.ipc.open_stream(payload).read_all() for payload in payloads]
        table = pa.concat_tables(tables) if tables else COPIES.empty_table()
        table = table.take(
            pc.sort_indices(table, [("order", "ascending"), ("key", "ascending"), ("turn", "ascending")])
        )
        root = storage.join(self.output, DIRECTORY)
        with storage.scratch(storage.join(root, name)) as folder:
            entry = write_shard(
                folder,
                name,
                [np.frombuffer(tokens.as_buffer(), self.dtype) for tokens in table["tokens"]],
                table["source"].to_numpy(),
                table["nbytes"].to_numpy(),
                table.select(PROVENANCE.names).combine_chunks(),
                self.dtype,
            )
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                storage.publish(file, storage.join(root, str(file.relative_to(folder))))
        storage.write_json(
            storage.join(root, "mix", "ledger", f"{_row_name(name)}.json"), {"key": self.key, "entry": entry}
        )
        return name
