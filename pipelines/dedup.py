"""Global deduplication: only hashes travel, 16 bytes each, packed by bucket; only losing verdicts travel back.

    claims of a part ─► (group, bucket) ─► GroupByKey ─► who loses ─► part ─► GroupByKey ─► lost/part-*.npy

It runs in passes over the hash space, as many as it takes for one pass to fit the memory it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np

from curation.dedup.verdict import CLAIM, losing
from curation.errors import LedgerError
from curation.ledger import Balance
from curation.mixture import shard_of
from pipelines import storage
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, read_array
from pipelines.plan import Stage
from pipelines.progress import Progress
from pipelines.stages import Result, Run, complete, finished, frozen_parts, ledger_rows, part_name, take_over

SHUFFLE_BYTES_PER_CLAIM = 100  # resident, measured with the local runner (LOG.md); a claim itself is 16
BUCKET_BYTES = 8 << 20
MIN_BUCKETS = 8


def run_stage(run: Run, stage: Stage, parts: Sequence[Part], upstream_key: str) -> Result:
    """Find the losing claims of every part."""
    directory = f"{stage.source}/{stage.name}"
    if done := finished(run, directory, stage.key):
        return done
    take_over(run, directory, stage.key)
    names = [part_name(part.number) for part in parts]
    rows = ledger_rows(run, f"{stage.source}/{stage.upstream}", names, upstream_key)
    claims = {part.number: int(rows[part_name(part.number)]["claims"]) for part in parts}
    passes, buckets = _plan(run, directory, sum(claims.values()))
    total = Balance("claims", incoming=sum(claims.values()))
    received: dict[int, int] = dict.fromkeys(claims, 0)
    with Progress(run, directory, total=len(parts) * passes):
        for turn in range(passes):
            done_rows = _pass(run, stage, directory, list(claims), turn, passes, buckets)
            for part in parts:
                row = done_rows[f"{part_name(part.number)}.{turn:04d}"]
                received[part.number] += row["received"]
                total.kept += row["received"] - row["lost"]
                total.dropped["repeated"] += row["lost"]
    for number, count in claims.items():
        if received[number] != count:
            raise LedgerError(
                f"{directory}: {part_name(number)} sent {count} claims and {received[number]} were judged"
            )
    return complete(
        run, directory, Result(directory, stage.key, len(parts), {"claims": total}, notes={"passes": passes})
    )


def _plan(run: Run, directory: str, claims: int) -> tuple[int, int]:
    """Passes, and buckets a pass. Decided once a stage, so that a continued run goes on with the same slices."""
    path = storage.join(run.output, directory, "plan.json")
    if storage.exists(path):
        plan = storage.read_json(path)
        return plan["passes"], plan["buckets"]
    passes = max(1, -(-claims * SHUFFLE_BYTES_PER_CLAIM // run.memory))
    buckets = max(MIN_BUCKETS, -(-claims * CLAIM.itemsize // (passes * BUCKET_BYTES)))
    storage.write_json(path, {"passes": passes, "buckets": buckets})
    return passes, buckets


def _pass(
    run: Run, stage: Stage, directory: str, numbers: Sequence[int], turn: int, passes: int, buckets: int
) -> dict[str, dict[str, Any]]:
    names = [f"{part_name(number)}.{turn:04d}" for number in numbers]
    rows = ledger_rows(run, directory, names, stage.key)
    if len(rows) < len(names):
        light = passes * buckets <= MIN_BUCKETS
        run.execute(
            f"{directory}-{turn}", lambda pipeline: build(pipeline, run, stage, numbers, turn, passes, buckets), light
        )
        rows = ledger_rows(run, directory, names, stage.key)
    absent = [name for name in names if name not in rows]
    if absent:
        raise LedgerError(f"{directory}: no verdict came back for {len(absent)} parts, {absent[0]} for one")
    return rows


def build(
    pipeline: beam.Pipeline, run: Run, stage: Stage, numbers: Sequence[int], turn: int, passes: int, buckets: int
) -> None:
    """One pass over the hash space, from the claims of the upstream stage to this stage's verdicts."""
    if stage.applies is None:
        raise ValueError(f"{stage.name} is not a deduplication")
    dedup = stage.applies.step
    upstream = StageFiles(storage.join(run.output, stage.source, stage.upstream))
    files = StageFiles(storage.join(run.output, stage.source, stage.name))
    _ = (
        pipeline
        | "parts" >> beam.Create(list(numbers))
        | beam.Reshuffle()
        | "send claims"
        >> beam.FlatMap(SendClaims(run.output, upstream, turn, passes, buckets, dedup.group_files)).with_output_types(
            tuple[str, bytes]
        )
        | "by bucket" >> beam.GroupByKey()
        | "judge" >> beam.FlatMap(judge, dedup.keep).with_output_types(tuple[int, bytes])
        | "by part" >> beam.GroupByKey()
        | "write" >> beam.Map(WriteLost(files, stage.key, turn))
    )


@dataclass(frozen=True, slots=True)
class SendClaims:
    """A part's claims of this pass, one packed payload a bucket: the part's number (uint32), then CLAIM rows.

    The first bucket gets a payload even when it is empty, so that every part hears back.
    """

    output: str
    upstream: StageFiles
    turn: int
    passes: int
    buckets: int
    group_files: int

    def __call__(self, number: int) -> Iterable[tuple[str, bytes]]:
        part = frozen_parts(self.output)[number]
        group = part.file_number // self.group_files if self.group_files else 0
        claims = read_array(self.upstream.claims(number))
        slices = shard_of(claims["hash"], self.passes * self.buckets)
        first = self.turn * self.buckets
        bounds = np.searchsorted(slices, np.arange(first, first + self.buckets + 1))
        head = np.uint32(number).tobytes()
        for bucket, (start, end) in enumerate(pairwise(bounds)):
            if end > start or bucket == 0:
                yield f"{group}/{bucket}", head + claims[start:end].tobytes()


def judge(keyed: tuple[str, Iterable[bytes]], keep: str) -> Iterable[tuple[int, bytes]]:
    """The verdicts on one bucket, one payload a part: how many claims were judged (uint64), then the losing hashes."""
    payloads = list(keyed[1])
    packed = [np.frombuffer(payload, CLAIM, offset=4) for payload in payloads]
    numbers = np.array([int.from_bytes(payload[:4], "little") for payload in payloads], dtype=np.uint32)
    rows = np.concatenate(packed)
    parts = np.repeat(numbers, [len(p) for p in packed])
    lost = losing(rows["hash"], parts, rows["documents"], keep)
    end = 0
    for number, mine in zip(numbers, packed, strict=True):
        start, end = end, end + len(mine)
        yield int(number), np.uint64(len(mine)).tobytes() + mine["hash"][lost[start:end]].tobytes()


@dataclass(frozen=True, slots=True)
class WriteLost:
    """Writes and commits the losing hashes of one part in one pass, sorted."""

    files: StageFiles
    key: str
    turn: int

    def __call__(self, keyed: tuple[int, Iterable[bytes]]) -> int:
        number, payloads = keyed[0], list(keyed[1])
        received = sum(int.from_bytes(payload[:8], "little") for payload in payloads)
        lost = np.sort(np.concatenate([np.frombuffer(payload, "<u8", offset=8) for payload in payloads]))
        path = self.files.file("lost", number, f".{self.turn:04d}.npy")
        with storage.scratch(path) as folder:
            np.save(folder / "lost.npy", lost, allow_pickle=False)
            storage.publish(folder / "lost.npy", path)
        row = {"key": self.key, "part": part_name(number), "received": received, "lost": len(lost)}
        storage.write_json(self.files.file("ledger", number, f".{self.turn:04d}.json"), row)
        return number
