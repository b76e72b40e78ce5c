"""Global deduplication: only hashes travel, 16 bytes each, packed by bucket; only losing verdicts travel back.

    claims of a part ─► (group, bucket) ─► GroupByKey ─► who loses ─► part ─► GroupByKey ─► lost/part-*.npy

It runs in passes over the hash space, as many as it takes for one pass to fit the memory it is given. Claims of earlier
runs take part, win, and are only told how many of them were judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np

from curation.dedup.verdict import CLAIM, Rule, rule_of
from curation.errors import LedgerError
from curation.ledger import Balance
from pipelines import storage
from pipelines.hash_passes import MIN_BUCKETS, payloads, plan, receipts, verdict
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, read_array, write_array
from pipelines.plan import Stage
from pipelines.progress import Progress
from pipelines.runner import Build
from pipelines.stages import (
    Result,
    Run,
    complete,
    finished,
    frozen_parts,
    ledger_rows,
    part_name,
    rows_made,
    take_over,
)


def run_stage(run: Run, stage: Stage, parts: Sequence[Part], upstream_key: str) -> Result:
    """Find the losing claims of every part."""
    directory = f"{stage.source}/{stage.name}"
    if done := finished(run, directory, stage.key):
        return done
    take_over(run, directory, stage.key)
    names = [part_name(part.number) for part in parts]
    rows = ledger_rows(run, f"{stage.source}/{stage.upstream}", names, upstream_key)
    claims = {part.number: int(rows[part_name(part.number)]["claims"]) for part in parts}
    # What takes part, under its number in the shuffle: our parts, and -1, -2… for the earlier runs.
    earlier = {-1 - i: other.claims for i, other in enumerate(stage.earlier)}
    passes, buckets = plan(run, directory, sum(claims.values()) + sum(earlier.values()), CLAIM.itemsize)
    total = Balance("claims", incoming=sum(claims.values()))
    received: dict[int, int] = dict.fromkeys([*claims, *earlier], 0)
    with Progress(run, directory, total=len(received) * passes):
        for turn in range(passes):
            rows = _pass(run, stage, directory, list(received), turn, passes, buckets)
            for number in received:
                row = rows[_name(number, turn)]
                received[number] += row["received"]
                if number >= 0:
                    total.kept += row["received"] - row["lost"]
                    total.dropped["repeated"] += row["lost"]
    for number, count in {**claims, **earlier}.items():
        if received[number] != count:
            who = part_name(number) if number >= 0 else stage.earlier[-1 - number].run
            raise LedgerError(f"{directory}: {who} sent {count} claims and {received[number]} were judged")
    notes: dict[str, Any] = {"passes": passes}
    if stage.earlier:
        notes["against"] = {other.key: other.claims for other in stage.earlier}
    return complete(run, directory, Result(directory, stage.key, len(parts), {"claims": total}, notes=notes))


def _name(number: int, turn: int) -> str:
    """The name of a verdict's ledger row."""
    who = part_name(number) if number >= 0 else f"earlier-{-1 - number}"
    return f"{who}.{turn:04d}"


def _pass(
    run: Run, stage: Stage, directory: str, numbers: Sequence[int], turn: int, passes: int, buckets: int
) -> dict[str, dict[str, Any]]:
    def pipeline_for(missing: Sequence[str]) -> Build:
        return lambda pipeline: build(pipeline, run, stage, numbers, turn, passes, buckets)

    names = [_name(number, turn) for number in numbers]
    light = passes * buckets <= MIN_BUCKETS
    return rows_made(run, directory, names, stage.key, f"{directory}-{turn}", pipeline_for, light)


def build(
    pipeline: beam.Pipeline, run: Run, stage: Stage, numbers: Sequence[int], turn: int, passes: int, buckets: int
) -> None:
    """One pass over the hash space, from the claims of the upstream stage to this stage's verdicts."""
    if stage.applies is None:
        raise ValueError(f"{stage.name} is not a deduplication")
    dedup = stage.applies.step
    upstream = StageFiles(storage.join(run.output, stage.source, stage.upstream))
    files = StageFiles(storage.join(run.output, stage.source, stage.name))
    ours = [(number, number) for number in numbers if number >= 0]
    theirs = [(-1 - i, number) for i, other in enumerate(stage.earlier) for number, _ in other.parts]
    roots = tuple(other.root for other in stage.earlier)
    send = SendClaims(run.output, upstream, turn, passes, buckets, getattr(dedup, "file_group", None), roots)
    _ = (
        pipeline
        | "parts" >> beam.Create([*ours, *theirs])
        | beam.Reshuffle()
        | "send claims" >> beam.FlatMap(send).with_output_types(tuple[str, bytes])
        | "by bucket" >> beam.GroupByKey()
        | "judge" >> beam.FlatMap(judge, rule_of(dedup)).with_output_types(tuple[int, bytes])
        | "by part" >> beam.GroupByKey()
        | "write" >> beam.Map(WriteLost(files, stage.key, turn))
    )


@dataclass(frozen=True, slots=True)
class SendClaims:
    """A part's claims of this pass, one packed payload a bucket: whose they are (int32), then CLAIM rows.

    Whose: the number of a part of ours, or -1, -2… for all parts of an earlier run.
    """

    output: str
    upstream: StageFiles
    turn: int
    passes: int
    buckets: int
    file_group: Callable[[int, int], int] | None
    earlier: tuple[str, ...] = ()  # RUN/SOURCE/STAGE of each earlier run

    def __call__(self, sender: tuple[int, int]) -> Iterable[tuple[str, bytes]]:
        who, number = sender
        group = 0
        if who < 0:
            claims = read_array(StageFiles(self.earlier[-1 - who]).claims(number))
        else:
            claims = read_array(self.upstream.claims(number))
            if self.file_group:
                part = frozen_parts(self.output)[number]
                group = self.file_group(part.file_number, count_files(self.output, part.source))
        head = np.int32(who).tobytes()
        for bucket, payload in payloads(head, claims, claims["hash"], self.turn, self.passes, self.buckets):
            yield f"{group}/{bucket}", payload


@lru_cache(maxsize=4)
def count_files(output: str, source: str) -> int:
    """How many files a source of the run has."""
    return 1 + max(part.file_number for part in frozen_parts(output).values() if part.source == source)


def judge(keyed: tuple[str, Iterable[bytes]], rule: Rule) -> Iterable[tuple[int, bytes]]:
    """The verdicts on one bucket: how many claims were judged (uint64), then the losing hashes.

    A part of ours gets one payload. An earlier run gets one for all its parts, without hashes.
    """
    sent = list(keyed[1])
    packed = [np.frombuffer(payload, CLAIM, offset=4) for payload in sent]
    senders = [int(np.frombuffer(payload, "<i4", count=1)[0]) for payload in sent]
    rows = np.concatenate(packed)
    lost = rule.losing(rows["hash"], np.repeat(senders, [len(p) for p in packed]), rows["weight"])
    heard: Counter[int] = Counter()  # claims of earlier runs
    end = 0
    for who, mine in zip(senders, packed, strict=True):
        start, end = end, end + len(mine)
        if who < 0:
            heard[who] += len(mine)
        else:
            yield who, verdict(len(mine), mine["hash"][lost[start:end]])
    for who, count in sorted(heard.items()):
        yield who, verdict(count, np.empty(0, dtype="<u8"))


@dataclass(frozen=True, slots=True)
class WriteLost:
    """Writes and commits the losing hashes of one part in one pass, sorted."""

    files: StageFiles
    key: str
    turn: int

    def __call__(self, keyed: tuple[int, Iterable[bytes]]) -> int:
        number = keyed[0]
        received, lost = receipts(keyed[1])
        row: dict[str, Any] = {"key": self.key, "received": received}
        if number >= 0:
            write_array(self.files.file("lost", number, f".{self.turn:04d}.npy"), lost)
            row |= {"part": part_name(number), "lost": len(lost)}
        storage.write_json(storage.join(self.files.root, "ledger", f"{_name(number, self.turn)}.json"), row)
        return number
