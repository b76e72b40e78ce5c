"""Run a stage: which parts are still to do, the pipeline over them, the books at the end, the manifest last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import apache_beam as beam

from curation.errors import LedgerError
from curation.ledger import Balance
from pipelines import inputs, storage
from pipelines.progress import Progress
from pipelines.runner import Build, Execute

LIGHT_DOCUMENTS = 5000  # a stage of fewer is over before a second process has started


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage of one run shares."""

    output: str
    models: str
    execute: Execute
    memory: int  # bytes that a shuffle may hold, in all workers together
    progress: bool = True


@dataclass(slots=True)
class Result:
    """A finished stage: its place in the funnel."""

    name: str
    key: str
    parts: int
    balances: dict[str, Balance]
    seconds: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def kept_documents(self) -> int:
        return (self.balances.get("documents") or self.balances["records"]).kept

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "key": self.key,
            "parts": self.parts,
            "balances": [balance.to_json() for balance in self.balances.values()],
            "seconds": {label: round(value, 3) for label, value in sorted(self.seconds.items())},
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Result:
        balances = {b["unit"]: Balance.from_json(b) for b in row["balances"]}
        return cls(row["name"], row["key"], row["parts"], balances, row["seconds"], row["notes"])


@lru_cache(maxsize=4)
def frozen_parts(output: str) -> dict[int, inputs.Part]:
    """The parts of a run, read once a process."""
    return {part.number: part for part in inputs.load(output)}


class EachPart(beam.PTransform):
    """Call `work(number)` for every part number. `work` is a frozen dataclass that writes the part's files."""

    def __init__(self, work: Callable[[int], None], numbers: Sequence[int]) -> None:
        super().__init__()
        self._work = work
        self._numbers = list(numbers)

    def expand(self, begin: Any) -> beam.PCollection[int]:
        # Only part numbers are shuffled, so that any worker can take any part.
        return begin | beam.Create(self._numbers) | beam.Reshuffle() | beam.ParDo(_Call(self._work))


class _Call(beam.DoFn):
    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work

    def process(self, number: int) -> Iterable[int]:
        self._work(number)
        yield number


def finished(run: Run, directory: str, key: str) -> Result | None:
    """The result of a stage that was completed under this key."""
    path = storage.join(run.output, directory, "manifest.json")
    if not storage.exists(path):
        return None
    row = storage.read_json(path)
    return Result.from_json(row) if row["key"] == key else None


def take_over(run: Run, directory: str, key: str) -> None:
    """Make a stage's folder this key's. What another recipe left there goes, what says that it is whole going first."""
    folder = storage.join(run.output, directory)
    mark = storage.join(folder, "key.json")
    if storage.exists(mark) and storage.read_json(mark) == key:
        return
    storage.remove(storage.join(folder, "manifest.json"))
    storage.remove(storage.join(folder, "ledger"))
    storage.remove(folder)
    storage.write_json(mark, key)


def complete(run: Run, directory: str, result: Result) -> Result:
    """Check the books and write the manifest, the last file of a stage."""
    for balance in result.balances.values():
        balance.check(directory)
    storage.write_json(storage.join(run.output, directory, "manifest.json"), result.to_json())
    return result


def ledger_rows(run: Run, directory: str, names: Sequence[str], key: str) -> dict[str, dict[str, Any]]:
    """Committed ledger rows under `directory/ledger/NAME.json`; rows of another key are as good as absent."""
    folder = storage.join(run.output, directory, "ledger")
    there = set(storage.names_in(folder))
    rows = {}
    for name in names:
        if f"{name}.json" in there:
            row = storage.read_json(storage.join(folder, f"{name}.json"))
            if row["key"] == key:
                rows[name] = row
    return rows


def rows_made(
    run: Run,
    directory: str,
    names: Sequence[str],
    key: str,
    job: str,
    build: Callable[[Sequence[str]], Build],
    light: bool = False,
    nothing_for: Callable[[str], object] | None = None,
) -> dict[str, dict[str, Any]]:
    """Ledger rows of these names, in their order, after running what makes those that are missing.

    `build` gives the pipeline `job` for the missing names. To what is grouped by name nothing may be sent for one of
    them: then `nothing_for` writes what is there for nothing. Raises LedgerError if a row is missing at the end.
    """
    rows = ledger_rows(run, directory, names, key)
    if missing := [name for name in names if name not in rows]:
        run.execute(job, build(missing), light)
        rows = ledger_rows(run, directory, names, key)
        if nothing_for is not None:
            for name in (name for name in missing if name not in rows):
                nothing_for(name)
            rows = ledger_rows(run, directory, names, key)
    if absent := [name for name in names if name not in rows]:
        raise LedgerError(f"{directory}: {len(absent)} of {len(names)} parts were not committed, {absent[0]} for one")
    return rows


def part_name(number: int) -> str:
    return f"part-{number:07d}"


def over_parts(
    run: Run, directory: str, key: str, work: Callable[[int], None], numbers: Sequence[int], light: bool = False
) -> Result:
    """Run a stage that turns each part into a part: only the parts that are missing, then the books of all of them."""
    if done := finished(run, directory, key):
        return done
    take_over(run, directory, key)
    numbered = {part_name(number): number for number in numbers}
    with Progress(run, directory, total=len(numbers)):
        rows = rows_made(run, directory, list(numbered), key, directory, each_part(work, numbered), light)
    return complete(run, directory, add_up(directory, key, list(rows.values())))


def each_part(work: Callable[[int], None], numbered: Mapping[str, int]) -> Callable[[Sequence[str]], Build]:
    """For `rows_made`: the pipeline that calls `work` for the numbers of the missing names."""

    def build(missing: Sequence[str]) -> Build:
        def run_each(pipeline: beam.Pipeline) -> None:
            _ = pipeline | EachPart(work, [numbered[name] for name in missing])

        return run_each

    return build


def add_up(directory: str, key: str, rows: Sequence[dict[str, Any]]) -> Result:
    """Sum the ledger rows of a stage, each checked on its own first."""
    balances: dict[str, Balance] = {}
    seconds: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for row in rows:
        for account in row["balances"]:
            balance = Balance.from_json(account)
            balance.check(f"{directory}/{row['part']}")
            balances[balance.unit] = balances.get(balance.unit, Balance(balance.unit)) + balance
        seconds.update(row.get("seconds", {}))
        notes.update(row.get("notes", {}))
    return Result(directory, key, len(rows), balances, dict(seconds), dict(notes))
