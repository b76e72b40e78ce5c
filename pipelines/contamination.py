"""How much of the evaluation sets is in a run, by set and source:

    python -m pipelines.contamination RUN --models MODELS

Documents that `{ filter = "decontaminate" }` dropped are read from the run's books; those that were kept are compared
here, so it tells as much of a run that filtered nothing. Parts are looked at once: the same command goes on where it
stopped. With `--common FILE` the n-grams that many kept documents hold are written, for `python -m models.make_evals
--common FILE` to leave out.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.evals import Evals, EvalSet, Hits, read
from curation.filters.decontaminate import Decontaminate
from curation.ledger import Balance
from models.artifact import artifact_identity
from pipelines import storage
from pipelines.code_identity import code_identity, file_identity
from pipelines.finished_run import REPORTS, Ending, add_options, endings, opened
from pipelines.part_files import StageFiles, count_documents, read_array, read_texts, write_array
from pipelines.plan import verified
from pipelines.stages import LIGHT_DOCUMENTS, EachPart, Run, over_parts, part_name

DIRECTORY = f"{REPORTS}/contamination"
LABEL = "decontaminate"  # of the step, in the books
COMMON = 10  # GPT-3 (Brown et al. 2020, appendix C) ignores what more training documents hold

# What a part says of an example: documents that hold enough of it, kept and dropped, and the most n-grams in one.
EXAMPLE = np.dtype([("example", "<u4"), ("kept", "<u4"), ("dropped", "<u4"), ("most", "<u4")])
NGRAM = np.dtype([("ngram", "<u4"), ("documents", "<u4")])  # kept documents of the part that hold an n-gram


@dataclass(frozen=True, slots=True)
class ScanPart:
    """One part to its EXAMPLE and NGRAM rows. Memory is by hits, not by documents."""

    output: str
    models: str
    step: Decontaminate
    identity: str  # of its artifact
    endings: tuple[Ending, ...]
    key: str

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, DIRECTORY))
        if files.committed(number, self.key):
            return
        ending = next(one for one in self.endings if number in one.parts)
        evals = _evals(self.step, self.identity, self.models)
        counts: Counter[str] = Counter()
        examples: dict[int, list[int]] = {}
        ngrams: Counter[int] = Counter()
        kept = ending.files(self.output)
        balance = Balance("documents", incoming=count_documents(kept, number))
        for text in read_texts(kept.kept(number)):
            found = evals.found(text)
            ngrams.update(found.tolist())
            hits = self.step.enough(evals.hits(found))
            self._count(evals, hits, "kept", examples, counts)
            if len(hits):
                balance.skipped["contaminated"] += 1
            else:
                balance.kept += 1
        for stage in ending.stages:
            for hits in dropped(ending.files(self.output, stage).file("dropped", number, ".parquet"), evals):
                self._count(evals, hits, "dropped", examples, counts)
        balance.check(f"{DIRECTORY}/{part_name(number)}")
        rows = np.array([(example, *examples[example]) for example in sorted(examples)], dtype=EXAMPLE)
        write_array(files.file("examples", number, ".npy"), rows)
        write_array(files.file("ngrams", number, ".npy"), np.array(sorted(ngrams.items()), dtype=NGRAM))
        row = {"key": self.key, "part": part_name(number), "balances": [balance.to_json()], "notes": dict(counts)}
        storage.write_json(files.ledger(number), row)

    def _count(
        self, evals: Evals, hits: Hits, where: str, examples: dict[int, list[int]], counts: Counter[str]
    ) -> None:
        """Count one document. It counts once for each set that it holds something of."""
        for example, matched in zip(hits.examples.tolist(), hits.matched.tolist(), strict=True):
            mine = examples.setdefault(example, [0, 0, 0])
            mine[where == "dropped"] += 1
            mine[2] = max(mine[2], matched)
        counts.update({f"{where}/{name}" for name in {evals.set_of(one).name for one in hits.examples.tolist()}})


@lru_cache(maxsize=2)
def _evals(step: Decontaminate, identity: str, models: str) -> Evals:
    (name,) = step.artifacts()
    return read(verified([(name, identity)], Path(models))[name])


def dropped(path: str, evals: Evals) -> Iterator[Hits]:
    """The examples that each document holds which `decontaminate` dropped of a part.

    Raises InputError if that was another artifact than this one.
    """
    with storage.open_input(path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(columns=["step", "measured"]):
            mine = batch.filter(pc.equal(batch.column(0), LABEL))
            for measured in mine.column(1).to_pylist():
                yield _parsed(measured, evals, path)


def _parsed(measured: str, evals: Evals, path: str) -> Hits:
    """The hits that a Drop's `measured` spells."""
    sets = {one.name: one for one in evals.sets}
    rows = []
    for word in measured.split():
        name, _, rest = word.partition("/")
        number, matched, total = map(int, rest.replace(":", "/").split("/"))
        example = sets[name].first + number if name in sets and number < sets[name].examples else -1
        if example < 0 or evals.totals[example] != total:
            raise InputError(f"{path}: documents were dropped for {word}, which these evaluation sets do not have")
        rows.append((example, matched, total))
    return Hits(*np.array(sorted(rows), dtype=np.int64).T)


@dataclass(frozen=True, slots=True)
class Row:
    """One set in one source, or in all of them (source "")."""

    set: str
    source: str
    kept: int  # documents kept that hold enough of an example; those of two sets count in both
    dropped: int  # documents that `decontaminate` dropped, likewise
    examples: int
    compared: int  # examples that have something to find
    found: int  # of which a document, kept or dropped, holds enough
    left: int  # of which a kept document does
    covered: float  # mean share of a found example's n-grams that one document holds; 0 if none is found


def report(run: Run, step: Decontaminate, sources: Sequence[Ending]) -> tuple[list[Row], list[dict[str, Any]]]:
    """Compare a run's documents: a row for each set and source, then for the set in all sources; and found examples.

    Each found example is {set, example, kept, dropped, most, total}. Raises ModelError, and InputError for a run whose
    dropped documents were dropped by other sets.
    """
    (name,) = step.artifacts()
    identity = artifact_identity(Path(run.models), name)
    work = ScanPart(run.output, run.models, step, identity, tuple(sources), key_of(step, identity, sources))
    numbers = [number for source in sources for number in source.parts]
    light = sum(source.documents for source in sources) < LIGHT_DOCUMENTS
    over_parts(run, DIRECTORY, work.key, work, numbers, light)
    evals = _evals(step, identity, run.models)
    files = StageFiles(storage.join(run.output, DIRECTORY))
    rows, everywhere = [], np.zeros((len(evals.totals), 3), dtype=np.int64)
    notes: Counter[str] = Counter()
    for source in sources:
        mine, counts = np.zeros_like(everywhere), Counter[str]()
        for number in source.parts:
            _add(mine, read_array(files.file("examples", number, ".npy")))
            counts.update(storage.read_json(files.ledger(number))["notes"])
        rows += [_row(evals, one, source.source, mine, counts) for one in evals.sets]
        everywhere[:, :2] += mine[:, :2]
        np.maximum(everywhere[:, 2], mine[:, 2], out=everywhere[:, 2])
        notes.update(counts)
    rows += [_row(evals, one, "", everywhere, notes) for one in evals.sets]
    found = []
    for example in np.flatnonzero(everywhere[:, 2]).tolist():
        one = evals.set_of(example)
        kept, gone, most = everywhere[example].tolist()
        place = {"set": one.name, "example": example - one.first}
        found.append({**place, "kept": kept, "dropped": gone, "most": most, "total": int(evals.totals[example])})
    return sorted(rows, key=lambda row: (row.set, row.source == "", row.source)), found


def key_of(step: Decontaminate, identity: str, sources: Sequence[Ending]) -> str:
    code = [code_identity("curation.filters.decontaminate"), file_identity(__name__)]
    value = [asdict(step), identity, code, [[one.source, one.key] for one in sources]]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _add(counts: np.ndarray, rows: np.ndarray) -> None:
    at = rows["example"]
    counts[at, 0] += rows["kept"]
    counts[at, 1] += rows["dropped"]
    counts[at, 2] = np.maximum(counts[at, 2], rows["most"])


def _row(evals: Evals, one: EvalSet, source: str, counts: np.ndarray, notes: Counter[str]) -> Row:
    mine = counts[one.first : one.first + one.examples]
    found = mine[:, 2] > 0
    totals = evals.totals[one.first : one.first + one.examples][found]
    covered = float(np.mean(mine[found, 2] / totals)) if found.any() else 0.0
    documents = notes[f"kept/{one.name}"], notes[f"dropped/{one.name}"]
    left = int(np.count_nonzero(mine[:, 0]))
    return Row(one.name, source, *documents, one.examples, one.compared, int(found.sum()), left, covered)


def common(run: Run, evals: Evals, sources: Sequence[Ending], above: int) -> np.ndarray:
    """Hashes of the n-grams that more than `above` kept documents hold: uint64, sorted. After `report`."""
    files = StageFiles(storage.join(run.output, DIRECTORY))
    counts = np.zeros(len(evals.hashes), dtype=np.int64)
    for number in (number for source in sources for number in source.parts):
        rows = read_array(files.file("ngrams", number, ".npy"))
        counts[rows["ngram"]] += rows["documents"]
    return np.asarray(evals.hashes[counts > above])


def describe(rows: Sequence[Row]) -> str:
    """The report as a table."""
    width = max(3, *(len(row.set) for row in rows)) + 2
    second = max(11, *(len(row.source) for row in rows)) + 2
    titles = f"{'dropped':>9}{'kept hits':>11}{'examples':>10}{'found':>8}{'share':>8}{'left':>7}{'covered':>9}"
    lines = [f"{'set':<{width}}{'source':<{second}}{titles}"]
    for row in rows:
        share = f"{row.found / row.compared:.1%}" if row.compared else "-"
        covered = f"{row.covered:.0%}" if row.found else "-"
        lines.append(
            f"{row.set:<{width}}{row.source or 'all sources':<{second}}{row.dropped:>9,}{row.kept:>11,}"
            f"{row.compared:>10,}{row.found:>8,}{share:>8}{row.left:>7,}{covered:>9}"
        )
    lines.append(
        "dropped, kept hits: documents that hold enough of an example. examples: with anything to compare. found: of "
        "which a\ndocument holds enough; left: of which a kept one does; covered: mean share of a found example in one "
        "document"
    )
    return "\n".join(lines)


def parser() -> CommandLine:
    result = CommandLine(prog="python -m pipelines.contamination", description=(__doc__ or "").partition(":")[0])
    add_options(result)
    result.add_argument("--models", default="models-local", help="folder of model artifacts")
    result.add_argument("--evals", default="all", metavar="NAME", help="the artifact evals-NAME")
    result.add_argument("--min-matches", type=int, default=1, help="as in the recipe")
    result.add_argument("--min-share", type=float, default=0.0, help="as in the recipe")
    result.add_argument("--json", type=Path, metavar="FILE", help="also write the report, and each example found")
    result.add_argument(
        "--common", type=Path, metavar="FILE", help="write n-grams that many kept documents hold (.npy)"
    )
    result.add_argument("--common-above", type=int, default=COMMON, help="how many is not many (%(default)s)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    with opened(parser(), argv) as (arguments, run, rehearsing):
        if arguments.common and arguments.common.suffix != ".npy":
            raise UserError(f"--common ends in .npy; {arguments.common} does not")
        name = f"evals-{arguments.evals}"
        artifact_identity(Path(run.models), name)  # verified, or a ModelError
        evals = read(Path(run.models) / name)
        step = Decontaminate(
            evals=arguments.evals,
            ngram=evals.ngram,
            min_matches=arguments.min_matches,
            min_share=arguments.min_share,
        )
        sources = endings(run.output)
        if rehearsing:
            work = ScanPart(run.output, run.models, step, "", tuple(sources), "")
            numbers = [number for source in sources for number in source.parts]
            run.execute(DIRECTORY, lambda pipeline: pipeline | EachPart(work, numbers))
            print(f"dry run, nothing was submitted; accepted: {DIRECTORY}")
            return 0
        rows, found = report(run, step, sources)
        print(describe(rows))
        if arguments.json:
            _write(arguments.json, {"rows": [asdict(row) for row in rows], "examples": found})
        if arguments.common:
            hashes = common(run, evals, sources, arguments.common_above)
            write_array(str(arguments.common), hashes)
            print(f"{len(hashes):,} n-grams that more than {arguments.common_above} documents hold: {arguments.common}")
    return 0


def _write(path: Path, value: Any) -> None:
    storage.write_json(str(path), value)


if __name__ == "__main__":
    from pipelines.contamination import main as imported  # so that nothing that is pickled belongs to __main__

    sys.exit(exit_on_user_error(imported))
