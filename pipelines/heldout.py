"""The bands of all held-out documents, collected before anything is tokenized (curation/heldout.py).

    kept parts ─► SOURCE/heldout/bands/part-N ─► slice of the hashes ─► GroupByKey ─► sort ─► heldout/slice-N.bands

It runs in passes over the hash space, like a deduplication. The slices, one after the other, are `heldout/all.bands`,
which workers map into memory.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np

from curation.heldout import BAND, HeldoutBands, bands_of, in_order, is_heldout, pack
from curation.ledger import Balance
from pipelines import storage, tombstones
from pipelines.code_identity import code_identity
from pipelines.hash_passes import MIN_BUCKETS, payloads, plan
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, count_documents, read_array, read_documents, write_array
from pipelines.plan import Stage
from pipelines.runner import Build
from pipelines.stages import (
    LIGHT_DOCUMENTS,
    Result,
    Run,
    complete,
    finished,
    over_parts,
    part_name,
    rows_made,
    take_over,
)

DIRECTORY = "heldout"
BANDS = "all.bands"


@dataclass(frozen=True, slots=True)
class Collected:
    """Where the sorted bands of all sources lie, and the key that they were made under."""

    path: str
    key: str
    sources: tuple[str, ...]


def collect(
    run: Run,
    fraction: float,
    stages: Mapping[str, Stage],
    parts: Mapping[str, Sequence[Part]],
    documents: Mapping[str, int],
) -> tuple[Collected, list[Result]]:
    """The held-out bands of every source's last stage, and the books. `documents` says how many each kept."""
    names = tuple(sorted(stages))
    keys = {}
    results = []
    gone = tombstones.identity(run.output)
    for number, source in enumerate(names):
        keys[source] = _key("heldout 2", code_identity("curation.heldout"), stages[source].key, number, fraction)
        work = FindHeldout(run.output, source, number, stages[source].name, fraction, keys[source], gone)
        numbers = [part.number for part in parts[source]]
        light = documents[source] < LIGHT_DOCUMENTS
        results.append(over_parts(run, f"{source}/{DIRECTORY}", keys[source], work, numbers, light))
    key = _key("heldout bands 2", sorted(keys.items()))
    total = sum(int(result.notes["bands"]) for result in results)
    senders = [(source, part.number) for source in names for part in parts[source]]
    results.append(_sort(run, key, total, senders))
    return Collected(storage.join(run.output, DIRECTORY, BANDS), key, names), results


def _key(*state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FindHeldout:
    """The bands of a kept part's held-out documents."""

    output: str
    source: str
    number: int  # of the source
    upstream: str
    fraction: float
    key: str
    tombstones: str = ""  # identity of the list of what was taken down

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, self.source, DIRECTORY))
        if files.committed(number, self.key):
            return
        upstream = StageFiles(storage.join(self.output, self.source, self.upstream))
        balance = Balance("documents", incoming=count_documents(upstream, number))
        gone = tombstones.load(self.output, self.tombstones)
        found = [np.empty(0, dtype=BAND)]
        for document in read_documents(upstream.kept(number)):
            if tombstones.verdict(gone, document.id, document.url) is not None:
                balance.skipped["taken_down"] += 1
            elif is_heldout(document.text, self.fraction):
                balance.kept += 1
                found.append(bands_of(document.text, self.number))
            else:
                balance.skipped["training"] += 1
        balance.check(f"{self.source}/{DIRECTORY}/{part_name(number)}")
        bands = in_order(np.concatenate(found))
        write_array(files.file("bands", number, ".npy"), bands)
        row = {
            "key": self.key,
            "part": part_name(number),
            "balances": [balance.to_json()],
            "notes": {"bands": len(bands)},
            "upstream": self.upstream,
            "fraction": self.fraction,
        }
        storage.write_json(files.ledger(number), row)


def _sort(run: Run, key: str, total: int, senders: Sequence[tuple[str, int]]) -> Result:
    """Write the slices, and all of them as one file."""
    if done := finished(run, DIRECTORY, key):
        return done
    take_over(run, DIRECTORY, key)
    passes, buckets = plan(run, DIRECTORY, total, BAND.itemsize)
    received = kept = 0
    for turn in range(passes):
        rows = _pass(run, key, senders, SendBands(run.output, turn, passes, buckets))
        received += sum(row["received"] for row in rows.values())
        kept += sum(row["kept"] for row in rows.values())
    balance = Balance("bands", incoming=total, kept=kept, merged=received - kept)
    slices = passes * buckets
    _join(storage.join(run.output, DIRECTORY), slices)
    return complete(run, DIRECTORY, Result(DIRECTORY, key, slices, {"bands": balance}, notes={"slices": slices}))


def _join(root: str, slices: int) -> None:
    """All bands as `pack` has them, in one file: a map of each slice would be a file descriptor each, in every worker.

    Slices are ranges of the hashes, in order, so the sorted slices one after the other are sorted.
    """
    path, first = storage.join(root, BANDS), 0
    with storage.scratch(path) as folder:
        with (folder / BANDS).open("wb") as target:
            for name in BAND.names or ():
                for number in range(slices):
                    packed = storage.read_bytes(storage.join(root, f"{slice_name(number)}.bands"))
                    count = len(packed) // BAND.itemsize
                    target.write(packed[first * count : (first + BAND[name].itemsize) * count])
                first += BAND[name].itemsize
        storage.publish(folder / BANDS, path)


def _pass(run: Run, key: str, senders: Sequence[tuple[str, int]], send: SendBands) -> dict[str, dict[str, Any]]:
    def pipeline_for(missing: Sequence[str]) -> Build:
        return lambda pipeline: build(pipeline, senders, send, write)

    write = WriteSlice(run.output, key)
    names = [slice_name(send.turn * send.buckets + bucket) for bucket in range(send.buckets)]
    light = send.passes * send.buckets <= MIN_BUCKETS
    # Where no band falls the totals must confirm it.
    return rows_made(
        run, DIRECTORY, names, key, f"{DIRECTORY}-{send.turn}", pipeline_for, light, lambda name: write((name, []))
    )


def slice_name(number: int) -> str:
    return f"slice-{number:05d}"


def build(pipeline: beam.Pipeline, senders: Sequence[tuple[str, int]], send: SendBands, write: WriteSlice) -> None:
    """One pass: from the bands of parts to the sorted slices."""
    _ = (
        pipeline
        | "parts" >> beam.Create(list(senders))
        | beam.Reshuffle()
        | "send bands" >> beam.FlatMap(send).with_output_types(tuple[str, bytes])
        | "by slice" >> beam.GroupByKey()
        | "write slice" >> beam.Map(write)
    )


@dataclass(frozen=True, slots=True)
class SendBands:
    output: str
    turn: int
    passes: int
    buckets: int

    def __call__(self, sender: tuple[str, int]) -> Iterable[tuple[str, bytes]]:
        source, number = sender
        bands = read_array(StageFiles(storage.join(self.output, source, DIRECTORY)).file("bands", number, ".npy"))
        for bucket, payload in payloads(b"", bands, bands["first"], self.turn, self.passes, self.buckets):
            yield slice_name(self.turn * self.buckets + bucket), payload


@dataclass(frozen=True, slots=True)
class WriteSlice:
    output: str
    key: str

    def __call__(self, keyed: tuple[str, Iterable[bytes]]) -> str:
        name, sent = keyed
        bands = np.frombuffer(b"".join(sent), BAND)
        distinct = in_order(bands)
        root = storage.join(self.output, DIRECTORY)
        storage.write_bytes(storage.join(root, f"{name}.bands"), pack(distinct))
        row = {"key": self.key, "received": len(bands), "kept": len(distinct)}
        storage.write_json(storage.join(root, "ledger", f"{name}.json"), row)
        return name


@lru_cache(maxsize=2)
def load(collected: Collected) -> HeldoutBands:
    """One map a process. From an object store the file is copied to an unnamed local one first."""
    return HeldoutBands(_map(collected.path), collected.sources)


def _map(path: str) -> np.ndarray:
    with tempfile.TemporaryFile() if not storage.is_local(path) else open(path, "rb") as file:
        if not storage.is_local(path):
            with storage.open_input(path) as source:
                shutil.copyfileobj(source, file, 1 << 22)
            file.flush()
        if not file.seek(0, 2):
            return np.empty(0, dtype=np.uint8)
        return np.asarray(np.memmap(file, dtype=np.uint8, mode="r"))
