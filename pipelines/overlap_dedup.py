"""Deduplication by measured overlap: bands name candidates, and only then are texts read, each where it lies.

    claims of a part ─► bucket ─► GroupByKey ─► candidates ─► part ─► GroupByKey ─► pairs/part-*.npy
    pairs of a part, kept texts of both sides ─► overlaps/part-*.parquet ─► who goes

Bands run in passes over the hash space, as every deduplication does. What is shuffled is 16 bytes a claim and 12 a
pair; a text is read by the part whose document may go, and goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.dedup.overlap import PAIR, Overlap, candidates, shared
from curation.dedup.verdict import CLAIM, starts_of
from curation.document import Document, Drop
from curation.errors import LedgerError
from curation.ledger import Balance
from curation.tombstones import Tombstones
from pipelines import storage, tombstones
from pipelines.apply_steps import Account
from pipelines.dedup import SendClaims
from pipelines.hash_passes import MIN_BUCKETS, plan
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, read_array, write_array
from pipelines.plan import BoundStep, Stage
from pipelines.progress import Progress
from pipelines.runner import Build
from pipelines.stages import Result, Run, complete, each_part, finished, ledger_rows, part_name, rows_made, take_over

BLOCK_BYTES = 256 << 20  # n-grams of documents that are held while those that may hold them pass by


class Measured(NamedTuple):
    """A pair that was compared. Sizes and what is shared count distinct n-grams."""

    ordinal: int  # of the document that may go, in its part
    id: str
    size: int
    other: str  # id of the one that may hold it
    other_size: int
    shared: int
    overlap: float
    jaccard: float
    goes: bool


_INT, _TEXT, _REAL = pa.int64(), pa.string(), pa.float64()
_TYPES = (_INT, _TEXT, _INT, _TEXT, _INT, _INT, _REAL, _REAL, pa.bool_())
OVERLAPS = pa.schema(list(zip(Measured._fields, _TYPES, strict=True)))


def run_stage(run: Run, stage: Stage, parts: Sequence[Part], upstream_key: str) -> Result:
    """Find the candidates of every part, and measure them."""
    directory = f"{stage.source}/{stage.name}"
    if done := finished(run, directory, stage.key):
        return done
    take_over(run, directory, stage.key)
    names = {part.number: part_name(part.number) for part in parts}
    rows = ledger_rows(run, f"{stage.source}/{stage.upstream}", list(names.values()), upstream_key)
    claims = {number: int(rows[name]["claims"]) for number, name in names.items()}
    # A claim may be in as many pairs as it has candidates, and these are shuffled like claims.
    hashes = sum(claims.values()) * (1 + step_of(stage).most_candidates)
    passes, buckets = plan(run, directory, hashes, CLAIM.itemsize)
    received, cut = dict.fromkeys(names, 0), 0
    with Progress(run, directory, total=len(names) * (passes + 1)):
        for turn in range(passes):
            one_pass = _pass(run, stage, list(names), turn, passes, buckets)
            asked = {number: f"{name}.{turn:04d}" for number, name in names.items()}
            light = passes * buckets <= MIN_BUCKETS
            job = f"{directory}-{turn}"
            rows = rows_made(run, directory, list(asked.values()), stage.key, job, one_pass, light)
            for number, name in asked.items():
                received[number] += rows[name]["received"]
                cut += rows[name]["cut"]
        for number, count in claims.items():
            if received[number] != count:
                raise LedgerError(
                    f"{directory}: {names[number]} sent {count} claims and {received[number]} were judged"
                )
        measuring = each_part(measure(run, stage), {name: number for number, name in names.items()})
        rows = rows_made(run, directory, list(names.values()), stage.key, f"{directory}-measure", measuring)
    pairs = Balance("pairs")
    for name, row in rows.items():
        balance = Balance.from_json(row["balances"][0])
        balance.check(f"{directory}/{name}")
        pairs = pairs + balance
    judged = Balance("claims", incoming=sum(claims.values()), kept=sum(received.values()))
    notes = {"passes": passes, "documents": sum(row["goes"] for row in rows.values()), "candidates_cut": cut}
    return complete(
        run, directory, Result(directory, stage.key, len(parts), {"claims": judged, "pairs": pairs}, notes=notes)
    )


def step_of(stage: Stage) -> Overlap:
    if stage.applies is None or not isinstance(stage.applies.step, Overlap):
        raise ValueError(f"{stage.name} is not a deduplication by overlap")
    return stage.applies.step


def _pass(
    run: Run, stage: Stage, numbers: Sequence[int], turn: int, passes: int, buckets: int
) -> Callable[[Sequence[str]], Build]:
    return lambda missing: lambda pipeline: build(pipeline, run, stage, numbers, turn, passes, buckets)


def build(
    pipeline: beam.Pipeline, run: Run, stage: Stage, numbers: Sequence[int], turn: int, passes: int, buckets: int
) -> None:
    """One pass over the hash space, from the claims of the upstream stage to candidate pairs."""
    upstream = StageFiles(storage.join(run.output, stage.source, stage.upstream))
    files = StageFiles(storage.join(run.output, stage.source, stage.name))
    _ = (
        pipeline
        | "parts" >> beam.Create([(number, number) for number in numbers])
        | beam.Reshuffle()
        | "send claims"
        >> beam.FlatMap(SendClaims(run.output, upstream, turn, passes, buckets, None)).with_output_types(
            tuple[str, bytes]
        )
        | "by bucket" >> beam.GroupByKey()
        | "find candidates" >> beam.FlatMap(judge, step_of(stage).most_candidates).with_output_types(tuple[int, bytes])
        | "by part" >> beam.GroupByKey()
        | "write" >> beam.Map(WritePairs(files, stage.key, turn))
    )


def measure(run: Run, stage: Stage) -> Measure:
    upstream = StageFiles(storage.join(run.output, stage.source, stage.upstream))
    files = StageFiles(storage.join(run.output, stage.source, stage.name))
    return Measure(files, upstream, stage.key, step_of(stage))


def judge(keyed: tuple[str, Iterable[bytes]], most: int) -> Iterator[tuple[int, bytes]]:
    """For each part in the bucket: how many of its claims were judged and how many candidates were cut (uint64 each),
    then the distinct PAIRs of its documents that may go.
    """
    sent = sorted(keyed[1], key=lambda payload: payload[:4])
    packed = [np.frombuffer(payload, CLAIM, offset=4) for payload in sent]
    senders = np.array([int(np.frombuffer(payload, "<i4", count=1)[0]) for payload in sent])
    sender = np.repeat(np.arange(len(sent)), [len(rows) for rows in packed])
    rows = np.concatenate(packed)
    smaller, larger, cut = candidates(rows, senders[sender], most)
    pairs = np.empty(len(smaller), dtype=PAIR)
    pairs["document"], pairs["other"] = rows["first"][smaller], rows["first"][larger]
    pairs["part"] = senders[sender[larger]]
    whose = sender[smaller]
    order = np.lexsort((pairs["other"], pairs["part"], pairs["document"], whose))
    pairs, whose = pairs[order], whose[order]
    fresh = np.logical_or.reduce([starts_of(whose), *(starts_of(pairs[name]) for name in PAIR.names or ())])
    pairs, whose = pairs[fresh], whose[fresh]
    bounds = np.searchsorted(whose, np.arange(len(sent) + 1)).tolist()
    cuts = np.bincount(sender, weights=cut, minlength=len(sent))
    for number, (start, end) in enumerate(pairwise(bounds)):
        head = np.array([len(packed[number]), cuts[number]], dtype="<u8").tobytes()
        yield int(senders[number]), head + pairs[start:end].tobytes()


@dataclass(frozen=True, slots=True)
class WritePairs:
    """Writes and commits the candidate pairs of one part in one pass, sorted."""

    files: StageFiles
    key: str
    turn: int

    def __call__(self, keyed: tuple[int, Iterable[bytes]]) -> int:
        number, verdicts = keyed[0], list(keyed[1])
        received, cut = np.sum([np.frombuffer(one, "<u8", count=2) for one in verdicts], axis=0).tolist()
        pairs = np.unique(np.concatenate([np.frombuffer(one, PAIR, offset=16) for one in verdicts]))
        write_array(self.files.file("pairs", number, f".{self.turn:04d}.npy"), pairs)
        row = {"key": self.key, "part": part_name(number), "received": received, "cut": cut, "pairs": len(pairs)}
        storage.write_json(self.files.file("ledger", number, f".{self.turn:04d}.json"), row)
        return number


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures the candidate pairs of one part, and commits `overlaps/part-*.parquet`.

    Holds the n-grams of a block of its own documents, while every text that may hold one of them is read once a block.
    """

    files: StageFiles
    upstream: StageFiles
    key: str
    step: Overlap
    block_bytes: int = BLOCK_BYTES

    def __call__(self, number: int) -> None:
        if self.files.committed(number, self.key):
            return
        passes = storage.read_json(storage.join(self.files.root, "plan.json"))["passes"]
        found = [read_array(self.files.file("pairs", number, f".{turn:04d}.npy")) for turn in range(passes)]
        pairs = np.unique(np.concatenate(found))
        balance = Balance("pairs", incoming=len(pairs))
        goes: set[int] = set()
        path = self.files.file("overlaps", number, ".parquet")
        with storage.scratch(path) as folder:
            with pq.ParquetWriter(folder / "overlaps.parquet", OVERLAPS, compression="zstd") as writer:
                for block in self._blocks(number, np.unique(pairs["document"])):
                    measured = sorted(self._measured(block, pairs), key=lambda pair: pair.ordinal)
                    for pair in measured:
                        if pair.goes:
                            balance.dropped["overlap"] += 1
                            goes.add(pair.ordinal)
                        else:
                            balance.kept += 1
                    writer.write_table(pa.Table.from_pylist([pair._asdict() for pair in measured], OVERLAPS))
            balance.check(f"{self.files.root}/{part_name(number)}")
            storage.publish(folder / "overlaps.parquet", path)
        row = {"key": self.key, "part": part_name(number), "balances": [balance.to_json()], "goes": len(goes)}
        storage.write_json(self.files.ledger(number), row)

    def _blocks(self, number: int, ordinals: np.ndarray) -> Iterator[dict[int, tuple[str, np.ndarray]]]:
        """Id and n-grams of documents of the part, by ordinal, as many at a time as fit."""
        block: dict[int, tuple[str, np.ndarray]] = {}
        held = 0
        for ordinal, document in read_some(self.upstream.kept(number), ordinals):
            block[ordinal] = (document.id, self.step.shingles(document))
            held += block[ordinal][1].nbytes
            if held >= self.block_bytes:
                yield block
                block, held = {}, 0
        if block:
            yield block

    def _measured(self, block: Mapping[int, tuple[str, np.ndarray]], pairs: np.ndarray) -> Iterator[Measured]:
        """Each pair of the block's documents, the others in the order of the run."""
        mine = pairs[np.isin(pairs["document"], np.array(list(block), dtype="<u4"))]
        for part in np.unique(mine["part"]).tolist():
            here = mine[mine["part"] == part]
            for place, other in read_some(self.upstream.kept(part), np.unique(here["other"])):
                theirs = self.step.shingles(other)
                for ordinal in here["document"][here["other"] == place].tolist():
                    id, own = block[ordinal]
                    common = shared(own, theirs)
                    overlap = common / max(len(own), 1)
                    jaccard = common / max(len(own) + len(theirs) - common, 1)
                    goes = self.step.holds(common, len(own))
                    yield Measured(ordinal, id, len(own), other.id, len(theirs), common, overlap, jaccard, goes)


def read_some(path: str, ordinals: np.ndarray) -> Iterator[tuple[int, Document]]:
    """Documents of a kept part by their ordinals, ascending, with id and text alone. Others' row groups stay unread."""
    wanted = set(ordinals.tolist())
    with storage.open_input(path) as stream:
        file = pq.ParquetFile(stream, buffer_size=1 << 20)  # so that a row group of books is not held whole
        first = 0
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(first, first + count)):
                batches = file.iter_batches(batch_size=1, row_groups=[group], columns=["id", "text"])
                for ordinal, batch in enumerate(batches, first):
                    if ordinal in wanted:
                        wanted.remove(ordinal)
                        (row,) = batch.to_pylist()
                        yield ordinal, Document(url="", date="", digest="", **row)
            first += count
    if wanted:
        raise LedgerError(f"{path} has no document {min(wanted)}")


class Losers:
    """Applies what was measured to a part's documents, and keeps the account of the verdicts."""

    def __init__(self, applies: BoundStep, files: StageFiles, number: int, gone: Tombstones | None = None) -> None:
        self._step: Overlap = applies.step
        self._label = applies.label
        self._gone = gone or Tombstones()
        self._worst: dict[int, tuple[str, int, int]] = {}  # ordinal: id, shared, size of the pair that overlaps most
        self.balance = Balance("overlapping")
        with storage.open_input(files.file("overlaps", number, ".parquet")) as stream:
            columns = ["ordinal", "id", "shared", "size", "goes"]
            for batch in pq.ParquetFile(stream).iter_batches(columns=columns):
                for row in batch.to_pylist():
                    known = self._worst.get(row["ordinal"], ("", -1, 0))
                    if row["goes"] and row["shared"] > known[1]:
                        self._worst[row["ordinal"]] = (row["id"], row["shared"], row["size"])
        self.balance.incoming = storage.read_json(files.ledger(number))["goes"]

    def apply(self, documents: Iterable[Document], account: Account) -> Iterator[Document]:
        for ordinal, document in enumerate(documents):
            down = tombstones.verdict(self._gone, document.id, document.url)
            if down is not None:
                self.balance.skipped["taken_down"] += ordinal in self._worst
                account.drop(document, tombstones.STEP, down)
                continue
            if ordinal not in self._worst:
                yield document
                continue
            id, common, size = self._worst[ordinal]
            if id != document.id:
                raise LedgerError(f"the verdict on {id} is applied to {document.id}")
            verdict: Drop = self._step.verdict(common, size)
            self.balance.dropped[verdict.rule] += 1
            account.drop(document, self._label, verdict)
