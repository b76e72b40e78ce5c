"""Claims of runs already made, that a deduplication has to respect (`--against RUN`; docs/dedup.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.errors import InputError, UserError
from pipelines import inputs, storage
from pipelines.part_files import StageFiles

if TYPE_CHECKING:
    from pipelines.plan import Stage


@dataclass(frozen=True, slots=True)
class Earlier:
    """The claims of one stage of an earlier run."""

    run: str
    root: str  # RUN/SOURCE/STAGE, where they lie
    key: str  # of that stage
    parts: tuple[tuple[int, int], ...]  # part number, and how many claims it made

    @property
    def claims(self) -> int:
        return sum(count for _, count in self.parts)


def find(runs: Sequence[str], stage: Stage, claims_of: str) -> tuple[Earlier, ...]:
    """What runs claim for the deduplication `stage`, ordered by key; a run without this source claims nothing.

    `claims_of` is the identity of the deduplication. InputError for a folder that is no run, or whose stage is not
    finished; UserError where its claims are of another deduplication, so that hashes could not be compared.
    """
    found = {earlier.key: earlier for run in runs if (earlier := _find(run, stage, json.loads(claims_of)))}
    return tuple(found[key] for key in sorted(found))  # two runs that share a source count it once


def _find(run: str, stage: Stage, wanted: dict[str, Any]) -> Earlier | None:
    if not storage.exists(storage.join(run, "inputs.parquet")):
        raise InputError(f"--against {run}: there is no run in this folder")
    numbers = [part.number for part in inputs.load(run) if part.source == stage.source]
    if not numbers:
        return None
    where = f"--against {run}: {stage.source}/{stage.upstream}"
    if stage.applies is not None and stage.applies.compares_texts:
        raise UserError(
            f"--against {run}: {stage.source}/{stage.name} compares texts, and takes of an earlier run no more than "
            "hashes; give both inputs to one run"
        )
    for option in ("group_files", "file_groups"):
        if wanted["options"].get(option):
            raise UserError(
                f"--against {run}: {stage.source}/{stage.name} compares within groups of files of one run ({option}), "
                "which hold none of another run's"
            )
    root = storage.join(run, stage.source, stage.upstream)
    if not storage.exists(storage.join(root, "manifest.json")):
        raise InputError(f"{where} is not there or not finished, and {stage.name} compares what comes from it")
    key = storage.read_json(storage.join(root, "manifest.json"))["key"]
    parts = []
    for number in numbers:
        row = storage.read_json(StageFiles(root).ledger(number))
        if row["key"] != key:
            raise InputError(f"{where} is being made anew; wait for that run to finish")
        if row.get("claims_of") != wanted:
            raise UserError(f"{where} cannot be compared: {_difference(row.get('claims_of'), wanted)}")
        parts.append((number, int(row["claims"])))
    return Earlier(run, root, key, tuple(parts))


def _difference(theirs: dict[str, Any] | None, ours: dict[str, Any]) -> str:
    if not theirs or theirs["step"] != ours["step"]:
        return f"no {ours['step'].rpartition(':')[2]} deduplication follows it there"
    options = {name: (theirs["options"].get(name), value) for name, value in ours["options"].items()}
    differing = [f"{name} is {a!r} there and {b!r} here" for name, (a, b) in options.items() if a != b]
    if differing:
        return f"the deduplication's {', '.join(differing)}"
    return (
        "its hashes were made by another version of the code; "
        "run its own command again with this one, which makes them anew"
    )


def check_used(runs: Iterable[str], stages: Iterable[Stage]) -> None:
    """Raise UserError for a run that no deduplication of this one has anything to compare with."""
    used = {earlier.run for stage in stages for earlier in stage.earlier}
    for run in runs:
        if run not in used:
            raise UserError(f"--against {run}: it has no source that this run deduplicates, so it would change nothing")
