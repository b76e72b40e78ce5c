"""From token parts to the mixed, globally shuffled dataset (docs/mixture.md, docs/shards.md).

    token parts ─► every copy of every document, keyed by its shard ─► GroupByKey ─► sort ─► shard-*.bin …

A copy's place is a hash of (document, seed, pass), so shards do not depend on parts, workers or arrival. It runs in
passes over the shards, as many as it takes for the tokens of one pass to fit the memory it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.ledger import Balance
from curation.mixture import Mixture, keys64, mix_order, prefix_order, shard_of
from curation.token_shard import PROVENANCE, Shard, write_shard
from pipelines import storage
from pipelines.code_identity import code_identity, file_identity
from pipelines.progress import Progress
from pipelines.runner import Build
from pipelines.stages import Result, Run, complete, finished, rows_made, take_over
from pipelines.tokens import HELDOUT, TRAIN
from pipelines.turns import DIRECTORY, LIGHT_TOKENS, Source, Turns, document_keys, token_part, tokens_asked, turns_of

MIX = "shards/mix"
# Resident while a pass is mixed, with the local runner (benchmarks/mix_memory.py). A token itself is 2 or 4 bytes.
SHUFFLE_BYTES_PER_TOKEN = 24
SHUFFLE_BYTES_PER_PAYLOAD = 6144


def run_mix(run: Run, mixture: Mixture, shard_tokens: int, sources: Sequence[Source], dtype: str) -> Result:
    """Write the shards. The result's notes hold what the dataset's manifest says of shards and sources."""
    key = stage_key([source.key for source in sources], mixture, shard_tokens, dtype)
    if done := finished(run, MIX, key):
        return done
    take_over(run, DIRECTORY, key)
    epochs = mixture.passes({source.name: source.tokens for source in sources})
    turns = turns_of(run, sources, epochs, mixture.seed, dtype)
    total = sum(turn.tokens for turn in turns.values())
    count = max(1, round(total / shard_tokens))
    shards = [f"shard-{number:05d}" for number in range(count)]
    held = {source.name: heldout_names(source, shard_tokens) for source in sources}
    sizes = {
        name: shuffle_bytes(source.heldout_tokens, source.heldout_documents, len(source.parts), len(held[source.name]))
        for source in sources
        for name in held[source.name]
    }
    documents, parts = sum(turn.documents for turn in turns.values()), sum(len(source.parts) for source in sources)
    sizes.update(dict.fromkeys(shards, shuffle_bytes(total, documents, parts, count)))
    rows: dict[str, dict[str, Any]] = {}
    with Progress(run, MIX, total=len(sizes)):
        for number, wanted in enumerate(in_passes(sizes, run.memory)):
            send = SendCopies(run.output, tuple(sources), turns, mixture.seed, count, held, frozenset(wanted), dtype)
            rows.update(_pass(run, send, wanted, key, f"{DIRECTORY}-{number}"))
    entries = {name: rows[name]["entry"] for name in sizes}
    balances = {
        unit: Balance(
            unit,
            incoming=sum(getattr(turns[s.name], unit) + getattr(s, f"heldout_{unit}") for s in sources),
            kept=sum(entry[unit] for entry in entries.values()),
        )
        for unit in ("documents", "tokens")
    }
    asked = {source.name: tokens_asked(source, epochs[source.name]) for source in sources}
    notes = {
        "shards": [entries[name] for name in shards],
        "heldout": [entries[name] for names in held.values() for name in names],
        "sources": [_describe(source, epochs[source.name], asked, turns) for source in sources],
    }
    return complete(run, MIX, Result(MIX, key, len(entries), balances, notes=notes))


def stage_key(sources: Sequence[str], mixture: Mixture, shard_tokens: int, dtype: str) -> str:
    """The stage's key, given those of the sources' tokens."""
    code = [code_identity(module) for module in ("curation.mixture", "curation.token_shard")]
    code.append(file_identity("pipelines.mix", "pipelines.turns"))
    state = ("mix 3", code, list(sources), sorted(asdict(mixture).items()), shard_tokens, dtype)
    return hashlib.sha256(repr(state).encode()).hexdigest()


def heldout_names(source: Source, shard_tokens: int) -> list[str]:
    """A source's held-out shards: one, or several of the size of the others."""
    count = max(1, round(source.heldout_tokens / shard_tokens))
    name = f"{HELDOUT}/{source.name}"
    return [name] if count == 1 else [f"{name}.{number:05d}" for number in range(count)]


def shuffle_bytes(tokens: int, documents: int, parts: int, shards: int) -> int:
    """What one of so many shards takes while it is mixed. A part sends a shard nothing or a payload."""
    return (tokens * SHUFFLE_BYTES_PER_TOKEN + min(documents, parts * shards) * SHUFFLE_BYTES_PER_PAYLOAD) // shards


def in_passes(sizes: Mapping[str, int], memory: int) -> Iterator[list[str]]:
    """Names of shards, given what each takes, in groups that `memory` bytes are enough for; at least one in each."""
    group: list[str] = []
    held = 0
    for name, size in sizes.items():
        if group and held + size > memory:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    yield group


def _describe(source: Source, epochs: float, asked: Mapping[str, int], turns: Mapping[str, Turns]) -> dict[str, Any]:
    mixed, whole, wanted = turns[source.name], sum(turn.tokens for turn in turns.values()), sum(asked.values())
    return {
        "id": source.number,
        "name": source.name,
        "documents": source.documents,
        "tokens": source.tokens,
        "heldout_documents": source.heldout_documents,
        "heldout_tokens": source.heldout_tokens,
        "epochs_asked": epochs,
        "epochs": mixed.tokens / source.tokens if source.tokens else 0.0,
        "tokens_asked": asked[source.name],
        "mixed_documents": mixed.documents,
        "mixed_tokens": mixed.tokens,
        "share_asked": asked[source.name] / wanted if wanted else 0.0,
        "share": mixed.tokens / whole if whole else 0.0,
    }


def _pass(run: Run, send: SendCopies, wanted: Sequence[str], key: str, label: str) -> dict[str, dict[str, Any]]:
    shards = {row_name(name): name for name in wanted}

    def pipeline_for(missing: Sequence[str]) -> Build:
        only = replace(send, wanted=frozenset(shards[row] for row in missing))
        return lambda pipeline: build(pipeline, only, key)

    def write_empty(row: str) -> None:  # no copy falls there, as the totals must confirm
        WriteShard(run.output, key, send.dtype)((shards[row], []))

    light = sum(turn.tokens for turn in send.turns.values()) < LIGHT_TOKENS
    rows = rows_made(run, MIX, list(shards), key, label, pipeline_for, light, write_empty)
    return {shards[row]: value for row, value in rows.items()}


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


def row_name(name: str) -> str:
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
    count: int  # of training shards
    heldout: Mapping[str, Sequence[str]]  # names of each source's held-out shards
    wanted: frozenset[str]
    dtype: str

    def __call__(self, element: tuple[int, int]) -> Iterable[tuple[str, bytes]]:
        source, number = self.sources[element[0]], element[1]
        names = self.heldout[source.name]
        if not self.wanted.isdisjoint(names):
            with token_part(self.output, source, HELDOUT, number, self.dtype) as shard:
                part = Copies(shard, source.number)
                keys = keys64(part.keys)
                yield from self._send(part, np.arange(len(keys)), shard_of(keys, len(names)), names, keys, 0)
        with token_part(self.output, source, TRAIN, number, self.dtype) as shard:
            yield from self._training(Copies(shard, source.number), self.turns[source.name])

    def _training(self, part: Copies, turns: Turns) -> Iterable[tuple[str, bytes]]:
        keys = keys64(part.keys)
        names = [f"shard-{number:05d}" for number in range(self.count)]
        for turn in range(turns.whole + bool(turns.limit)):
            order = mix_order(keys, self.seed, turn)
            chosen = np.arange(len(keys))
            if turn == turns.whole:
                chosen = np.flatnonzero(prefix_order(keys, self.seed) < np.uint64(turns.limit))
            yield from self._send(part, chosen, shard_of(order, self.count)[chosen], names, order, turn)

    def _send(
        self, part: Copies, rows: np.ndarray, homes: np.ndarray, names: Sequence[str], order: np.ndarray, turn: int
    ) -> Iterable[tuple[str, bytes]]:
        """These rows of a part, each to the shard that its home is the number of, if it is wanted."""
        wanted = np.array([name in self.wanted for name in names])[homes]
        rows, homes = rows[wanted], homes[wanted]
        together = np.argsort(homes, kind="stable")
        starts = np.flatnonzero(np.diff(homes[together], prepend=-1))
        batch = part.pack(rows[together], order, turn)
        for start, end in pairwise([*starts.tolist(), len(rows)]):
            # Without the schema, which would be larger than a document when there are many shards.
            payload: bytes = batch.slice(start, end - start).serialize().to_pybytes()
            yield names[homes[together[start]]], payload


class Copies:
    """Documents of a token part, as rows of COPIES, on the way to their shards."""

    def __init__(self, shard: Shard, source: int) -> None:
        self._shard = shard
        self._source = source
        self._provenance = shard.provenance()
        self.keys = document_keys(self._provenance["id"].to_pylist())

    def pack(self, rows: np.ndarray, order: np.ndarray, turn: int) -> pa.RecordBatch:
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
            *(column.combine_chunks() for column in self._provenance.take(rows).columns),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=COPIES)


@dataclass(frozen=True, slots=True)
class WriteShard:
    """Sorts the copies of one shard and writes and commits it."""

    output: str
    key: str
    dtype: str

    def __call__(self, keyed: tuple[str, Iterable[bytes]]) -> str:
        name, payloads = keyed
        batches = [pa.ipc.read_record_batch(pa.py_buffer(payload), COPIES) for payload in payloads]
        table = pa.Table.from_batches(batches, COPIES)
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
            storage.join(root, "mix", "ledger", f"{row_name(name)}.json"), {"key": self.key, "entry": entry}
        )
        return name
