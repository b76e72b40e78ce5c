"""How much of each source is already in the others, before they are mixed:

    python -m pipelines.overlap_report RUN [--json FILE]

Whole documents, long lines (by their bytes) and 13-grams of words, of what each source of a finished run kept. Only
hashes are shuffled, and of a large run a sample of them, the same in every source (curation/shared_units.py):

    kept part ─► sketch: sampled hashes ─► bucket ─► GroupByKey ─► sums of the bucket ─► GroupByKey ─► one file a pass
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

from curation.errors import CommandLine, UserError, exit_on_user_error
from curation.ledger import Balance
from curation.shared_units import KINDS, UNIT, Share, Sketch, Sums, Units, compare, shares
from curation.word_hashes import LONGEST
from pipelines import runner, storage
from pipelines.code_identity import code_identity, file_identity
from pipelines.finished_run import REPORTS, Ending, add_options, endings, opened
from pipelines.hash_passes import MIN_BUCKETS, payloads, plan
from pipelines.part_files import StageFiles, count_documents, read_array, read_texts, write_array
from pipelines.progress import Progress
from pipelines.stages import (
    LIGHT_DOCUMENTS,
    EachPart,
    Result,
    Run,
    complete,
    finished,
    ledger_rows,
    over_parts,
    part_name,
    rows_made,
    take_over,
)

SKETCH, COMPARE = f"{REPORTS}/overlap-sketch", f"{REPORTS}/overlap"
UNITS = Units()
HASHES = 4_000_000  # of each kind, in all sources together: a share of 1 % of a source of 1 % is then known to 0.1 %
_LINE, _NGRAM = 80, 6  # bytes of text a line and an n-gram, to guess how many hashes a run has


@dataclass(frozen=True, slots=True)
class OverlapReport:
    """The report. `shares[kind][a][b]`: how much of source a is in b; for a = b, how much of it repeats.

    `totals[kind]`: occurrences of each source, and their weights (bytes of lines).
    """

    sources: tuple[str, ...]
    halvings: Mapping[str, int]  # one hash in 2^halvings was looked at, by kind
    totals: Mapping[str, tuple[tuple[int, int], ...]]
    shares: Mapping[str, list[list[Share | None]]]


@dataclass(frozen=True, slots=True)
class SketchPart:
    """The sampled units of one kept part: an array of UNIT rows for each kind."""

    output: str
    endings: tuple[Ending, ...]
    units: Units
    halvings: tuple[int, ...]  # by kind
    key: str

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, SKETCH))
        if files.committed(number, self.key):
            return
        kept = next(one for one in self.endings if number in one.parts).files(self.output)
        balance = Balance("documents", incoming=count_documents(kept, number))
        sketches = {kind: Sketch(halvings) for kind, halvings in zip(KINDS, self.halvings, strict=True)}
        for text in read_texts(kept.kept(number)):
            for kind, (hashes, weights) in self.units.of(text).items():
                sketches[kind].add(hashes, weights)
            balance.kept += 1
        balance.check(f"{SKETCH}/{part_name(number)}")
        notes: Counter[str] = Counter()
        for kind, sketch in sketches.items():
            rows = sketch.rows()
            write_array(files.file(kind, number, ".npy"), rows)
            notes.update({kind: sketch.occurrences, f"{kind}_weight": sketch.weight, f"{kind}_hashes": len(rows)})
        row = {"key": self.key, "part": part_name(number), "balances": [balance.to_json()], "notes": dict(notes)}
        storage.write_json(files.ledger(number), row)


def report(run: Run, sources: Sequence[Ending], units: Units = UNITS, sample: float = 0.0) -> OverlapReport:
    """Compare the sources of a finished run. `sample` is the share of hashes to look at, to a power of 1/2; 0: by size.

    Works in RUN/reports, where the same call goes on where it stopped. Raises LedgerError if a hash was lost.
    """
    halvings = _halvings(sources, sample)
    key = _key(sources, units, halvings)
    work = SketchPart(run.output, tuple(sources), units, halvings, key)
    numbers = [number for source in sources for number in source.parts]
    light = sum(source.documents for source in sources) < LIGHT_DOCUMENTS
    over_parts(run, SKETCH, key, work, numbers, light)
    rows = ledger_rows(run, SKETCH, [part_name(number) for number in numbers], key)
    sent = {kind: sum(row["notes"][f"{kind}_hashes"] for row in rows.values()) for kind in KINDS}
    by_kind = _compare(run, key, sources, sent)
    return OverlapReport(
        tuple(source.source for source in sources),
        dict(zip(KINDS, halvings, strict=True)),
        {kind: tuple(_total(source, kind, rows) for source in sources) for kind in KINDS},
        {kind: shares(by_kind[kind], n) for kind, n in zip(KINDS, halvings, strict=True)},
    )


def _total(source: Ending, kind: str, rows: Mapping[str, Any]) -> tuple[int, int]:
    notes = [rows[part_name(number)]["notes"] for number in source.parts]
    return sum(one[kind] for one in notes), sum(one[f"{kind}_weight"] for one in notes)


def _halvings(sources: Sequence[Ending], sample: float) -> tuple[int, ...]:
    if sample:
        return (round(-math.log2(sample)),) * len(KINDS)
    text = sum(source.text for source in sources)
    guesses = (sum(source.documents for source in sources), text / _LINE, text / _NGRAM)
    return tuple(max(0, math.ceil(math.log2(max(guess, 1) / HASHES))) for guess in guesses)


def _key(sources: Sequence[Ending], units: Units, halvings: Sequence[int]) -> str:
    code = [code_identity("curation.shared_units"), file_identity(__name__)]
    value = [asdict(units), list(halvings), code, [[one.source, one.key, one.parts] for one in sources]]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _compare(run: Run, key: str, sources: Sequence[Ending], sent: Mapping[str, int]) -> dict[str, Sums]:
    """Sums over the whole hash space, in as many passes as `run.memory` asks for."""
    done = finished(run, COMPARE, key)
    if not done:
        take_over(run, COMPARE, key)
    passes, buckets = plan(run, COMPARE, sum(sent.values()), UNIT.itemsize)
    names = [f"pass-{turn:04d}" for turn in range(passes)]
    rows: dict[str, dict[str, Any]] = {}
    with Progress(run, COMPARE, total=passes):
        for turn, name in enumerate(names):
            one_pass = _pass(run.output, key, sources, turn, passes, buckets)
            rows |= rows_made(run, COMPARE, [name], key, f"{COMPARE}-{turn}", one_pass, passes * buckets <= MIN_BUCKETS)
    balances, sums = {}, {}
    for kind in KINDS:
        counted = sum(rows[name][kind]["received"] for name in names)
        balances[kind] = Balance(f"{kind} sampled", incoming=sent[kind], kept=counted)
        total = Sums.none(len(sources))
        for name in names:
            total = total + Sums.from_json(rows[name][kind]["sums"])
        sums[kind] = total
    if not done:
        complete(run, COMPARE, Result(COMPARE, key, sum(len(source.parts) for source in sources), balances))
    return sums


def _pass(
    output: str, key: str, sources: Sequence[Ending], turn: int, passes: int, buckets: int
) -> Callable[[Sequence[str]], runner.Build]:
    return lambda missing: lambda pipeline: build(pipeline, output, key, sources, turn, passes, buckets)


def build(
    pipeline: beam.Pipeline, output: str, key: str, sources: Sequence[Ending], turn: int, passes: int, buckets: int
) -> None:
    """One pass over the hash space, from the sketches to `ledger/pass-*.json`."""
    numbers = [(number, place) for place, source in enumerate(sources) for number in source.parts]
    send = SendUnits(StageFiles(storage.join(output, SKETCH)), turn, passes, buckets)
    write = WriteSums(storage.join(output, COMPARE, "ledger", f"pass-{turn:04d}.json"), key, len(sources))
    _ = (
        pipeline
        | "parts" >> beam.Create(numbers)
        | beam.Reshuffle()
        | "send units" >> beam.FlatMap(send).with_output_types(tuple[str, bytes])
        | "by bucket" >> beam.GroupByKey()
        | "compare" >> beam.Map(add_bucket, len(sources)).with_output_types(tuple[int, bytes])
        | "together" >> beam.GroupByKey()
        | "write" >> beam.Map(write)
    )


@dataclass(frozen=True, slots=True)
class SendUnits:
    """A part's units of this pass, a packed payload a kind and bucket: the source's number (int32), then UNIT rows."""

    files: StageFiles
    turn: int
    passes: int
    buckets: int

    def __call__(self, part: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
        number, source = part
        for kind in KINDS:
            rows = read_array(self.files.file(kind, number, ".npy"))
            head = np.int32(source).tobytes()
            for bucket, payload in payloads(head, rows, rows["hash"], self.turn, self.passes, self.buckets):
                yield f"{kind}/{bucket:08d}", payload


def add_bucket(keyed: tuple[str, Iterable[bytes]], sources: int) -> tuple[int, bytes]:
    """Sums of one bucket as JSON, all under one key."""
    kind, _, bucket = keyed[0].partition("/")
    rows = [(int(np.frombuffer(p, "<i4", count=1)[0]), np.frombuffer(p, UNIT, offset=4)) for p in keyed[1]]
    sums = compare(rows, sources)
    value = {
        "kind": kind,
        "bucket": bucket,
        "received": sum(len(mine) for _, mine in rows),
        "sums": sums.to_json(),
    }
    return 0, json.dumps(value).encode()


@dataclass(frozen=True, slots=True)
class WriteSums:
    """Adds up the buckets of a pass, in their order, and commits the pass."""

    path: str
    key: str
    sources: int

    def __call__(self, keyed: tuple[int, Iterable[bytes]]) -> int:
        found = sorted(map(json.loads, keyed[1]), key=lambda one: (one["kind"], one["bucket"]))
        row: dict[str, Any] = {"key": self.key}
        for kind in KINDS:
            total, received = Sums.none(self.sources), 0
            for one in found:
                if one["kind"] == kind:
                    total = total + Sums.from_json(one["sums"])
                    received += one["received"]
            row[kind] = {"received": received, "sums": total.to_json()}
        storage.write_json(self.path, row)
        return received


_TITLES = {
    "documents": "documents, case and white space aside",
    "lines": "lines of {min_line} and more characters, by bytes",
    "ngrams": "{ngram}-grams of words",
}


def describe(overlap: OverlapReport, units: Units = UNITS) -> str:
    """The matrices as text."""
    width = max(map(len, overlap.sources)) + 2
    lines = ["share of the row's source that the column's holds too; on the diagonal: that repeats within the source"]
    for kind in KINDS:
        halvings = overlap.halvings[kind]
        seen = f"one hash in {1 << halvings:,}, 95 % intervals" if halvings else "all"
        lines.append(f"\n{_TITLES[kind].format(**asdict(units))} ({seen})")
        cells = [[_cell(share) for share in row] for row in overlap.shares[kind]]
        column = max(12, width, *(len(cell) + 2 for row in cells for cell in row))
        lines.append(" " * width + "".join(f"{name:>{column}}" for name in overlap.sources) + f"{kind:>16}")
        for name, row, (count, _) in zip(overlap.sources, cells, overlap.totals[kind], strict=True):
            lines.append(f"{name:<{width}}" + "".join(f"{cell:>{column}}" for cell in row) + f"{count:>16,}")
    return "\n".join(lines)


def _cell(share: Share | None) -> str:
    if share is None:
        return "-"
    if share.low == share.high:
        return f"{share.share:.2%}"
    return f"{share.share:.2%} ({100 * share.low:.2f}-{100 * share.high:.2f})"


def to_json(overlap: OverlapReport, units: Units) -> dict[str, Any]:
    """The report as plain values: by kind a list of {source, other, share, low, high}."""
    kinds = {}
    for kind in KINDS:
        pairs = [
            {"source": a, "other": b, **(asdict(share) if share else {"share": None, "low": None, "high": None})}
            for a, row in zip(overlap.sources, overlap.shares[kind], strict=True)
            for b, share in zip(overlap.sources, row, strict=True)
        ]
        totals = {
            name: {"occurrences": count, "weight": weight}
            for name, (count, weight) in zip(overlap.sources, overlap.totals[kind], strict=True)
        }
        kinds[kind] = {"one_in": 1 << overlap.halvings[kind], "totals": totals, "shares": pairs}
    return {"units": asdict(units), **kinds}


def parser() -> CommandLine:
    result = CommandLine(prog="python -m pipelines.overlap_report", description=(__doc__ or "").partition(":")[0])
    add_options(result)
    result.add_argument("--sample", type=float, default=0.0, help="share of hashes to look at (default: by size)")
    result.add_argument("--min-line", type=int, default=UNITS.min_line, help="characters of a line (%(default)s)")
    result.add_argument("--ngram", type=int, default=UNITS.ngram, help="words (%(default)s)")
    result.add_argument("--json", type=Path, metavar="FILE", help="also write the report there")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    with opened(parser(), argv) as (arguments, run, rehearsing):
        if arguments.sample and not 2.0**-63 <= arguments.sample <= 1:
            raise UserError("--sample is a share of the hashes, above 0 and at most 1")
        if arguments.min_line < 1 or not 1 <= arguments.ngram <= LONGEST:
            raise UserError(f"--min-line and --ngram are at least 1, and --ngram is at most {LONGEST}")
        units = Units(min_line=arguments.min_line, ngram=arguments.ngram)
        sources = endings(run.output)
        if rehearsing:
            print("dry run, nothing was submitted; accepted:", *rehearse(run, sources, units), sep="\n  ")
            return 0
        overlap = report(run, sources, units, arguments.sample)
        print(describe(overlap, units))
        if arguments.json:
            storage.write_json(str(arguments.json), to_json(overlap, units))
    return 0


def rehearse(run: Run, sources: Sequence[Ending], units: Units) -> list[str]:
    """Hand over both pipelines, with nothing processed; their names."""
    work = SketchPart(run.output, tuple(sources), units, (0,) * len(KINDS), "")
    numbers = [number for source in sources for number in source.parts]
    run.execute(SKETCH, lambda pipeline: pipeline | EachPart(work, numbers))
    run.execute(COMPARE, lambda pipeline: build(pipeline, run.output, "", sources, 0, 1, MIN_BUCKETS))
    return [SKETCH, COMPARE]


if __name__ == "__main__":
    from pipelines.overlap_report import main as imported  # so that nothing that is pickled belongs to __main__

    sys.exit(exit_on_user_error(imported))
