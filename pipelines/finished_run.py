"""What the reports about a finished run begin with: the documents that each source ended with, and a place to work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from curation.errors import CommandLine, InputError, UserError
from pipelines import inputs, runner, storage
from pipelines.part_files import StageFiles
from pipelines.stages import Run
from pipelines.tokens import HELDOUT, TRAIN

REPORTS = "reports"  # the folder of a run that reports work in; it is no source's


@dataclass(frozen=True, slots=True)
class Ending:
    """The stage that a source ended with, of those that keep documents."""

    source: str
    stages: tuple[str, ...]  # names of all that keep documents, in order; the last is the one meant
    key: str
    parts: tuple[int, ...]
    documents: int  # kept
    text: int  # bytes of theirs that were tokenized

    def files(self, output: str, stage: str = "") -> StageFiles:
        return StageFiles(storage.join(output, self.source, stage or self.stages[-1]))


def endings(output: str) -> list[Ending]:
    """The ending of every source of a finished run, sorted by source. Raises InputError if it is none."""
    if not storage.exists(storage.join(output, "ledger.json")):
        raise InputError(f"{output} is not a finished run: it has no ledger.json")
    numbers: dict[str, list[int]] = {}
    for part in inputs.load(output):
        numbers.setdefault(part.source, []).append(part.number)
    rows = storage.read_json(storage.join(output, "ledger.json"))
    found = []
    for source, parts in sorted(numbers.items()):
        mine = [row for row in rows if row["name"].startswith(f"{source}/") and _keeps_documents(row)]
        if not mine:
            raise InputError(f"{output}: its ledger.json has no stage of {source}; run its command again")
        directory = storage.join(output, mine[-1]["name"], "manifest.json")
        if not storage.exists(directory) or storage.read_json(directory)["key"] != mine[-1]["key"]:
            raise InputError(f"{output}: {mine[-1]['name']} is being made anew; wait for that run to finish")
        kept = next(b["kept"] for b in mine[-1]["balances"] if b["unit"] in ("records", "documents"))
        names = tuple(row["name"].partition("/")[2] for row in mine)
        tokenized = [row["notes"] for row in rows if row["name"] == f"{source}/tokens"]
        size = sum(int(notes[f"{side}_bytes"]) for notes in tokenized for side in (TRAIN, HELDOUT))
        found.append(Ending(source, names, mine[-1]["key"], tuple(sorted(parts)), int(kept), size))
    return found


def _keeps_documents(row: dict[str, Any]) -> bool:
    units = {balance["unit"] for balance in row["balances"]}
    return not row["name"].endswith(("/tokens", "/heldout")) and bool(units & {"records", "documents"})


def add_options(parser: CommandLine) -> None:
    """The options of every report."""
    parser.add_argument("run", metavar="RUN", help="output folder of a finished run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="local worker processes")
    parser.add_argument(
        "--memory", type=runner.parse_size, default=runner.parse_size("4GiB"), help="what a shuffle may hold"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


@contextmanager
def opened(parser: CommandLine, argv: Sequence[str] | None) -> Iterator[tuple[Any, Run, bool]]:
    """The arguments, the run, and whether it is only rehearsed. What the parser does not know goes to Beam."""
    arguments, rest = parser.parse_known_args(argv)
    if arguments.workers < 1:
        raise UserError("--workers is at least 1")
    flags = runner.beam_flags(rest, arguments.workers, parser)
    storage.configure(flags)
    output = os.path.abspath(arguments.run) if storage.is_local(arguments.run) else arguments.run.rstrip("/")
    if runner.is_remote(flags) and storage.is_local(output):
        raise UserError(f"{output} is on this machine, and other machines would have to read it")
    models = os.path.abspath(getattr(arguments, "models", ""))
    run = Run(output, models, runner.executor(flags), arguments.memory, not arguments.quiet)
    with runner.temporary_files():
        yield arguments, run, runner.is_dry_run(flags)
