"""The stages that turn parts into parts: read and extract, or apply verdicts, then the steps of the recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from curation.dedup.verdict import rule_of
from curation.document import Document, Drop
from curation.errors import LedgerError
from curation.ledger import Balance
from curation.tombstones import Tombstones
from pipelines import storage, tombstones
from pipelines.apply_steps import Account, apply_steps, extract
from pipelines.claims import Collector
from pipelines.inputs import Part
from pipelines.isolation import Isolated
from pipelines.overlap_dedup import Losers
from pipelines.part_files import PartWriter, StageFiles, count_documents, read_array, read_documents
from pipelines.plan import BoundStep, Stage, artifacts_of, reader_of, verified
from pipelines.read import Reading
from pipelines.stages import Result, Run, frozen_parts, over_parts, part_name


def run_stage(run: Run, stage: Stage, parts: Sequence[Part], light: bool = False) -> Result:
    """Run a "documents" or "survivors" stage over its source's parts."""
    work = ProcessPart(run.output, run.models, stage, tombstones.identity(run.output))
    return over_parts(run, f"{stage.source}/{stage.name}", stage.key, work, [part.number for part in parts], light)


@dataclass(frozen=True, slots=True)
class ProcessPart:
    """One part through one stage: reads it, writes it, commits it. Does nothing when it is already committed."""

    output: str
    models: str
    stage: Stage
    tombstones: str = ""  # identity of the list of what was taken down

    def files(self, stage: str) -> StageFiles:
        return StageFiles(storage.join(self.output, self.stage.source, stage))

    def __call__(self, number: int) -> None:
        stage, files = self.stage, self.files(self.stage.name)
        if files.committed(number, stage.key):
            return
        part = frozen_parts(self.output)[number]
        gone = tombstones.load(self.output, self.tombstones)
        with PartWriter(files, number) as writer:
            if stage.kind == "documents":
                account = Account(Balance("records"), writer)
                entry, steps = stage.steps[0], stage.steps[1:]
                with Reading(part, account, reader_of(entry)) as reading:
                    pages = tombstones.standing(reading.pages(), gone, account)
                    documents = extract(pages, entry.label, isolated(self._load(entry)), account)
                    collected = self._steps(tombstones.standing(documents, gone, account), steps, account)
                others, notes = reading.balances(), {"span": reading.span}
            else:
                upstream = self.files(stage.upstream)
                account = Account(Balance("documents", incoming=count_documents(upstream, number)), writer)
                mask = self._mask(number, upstream, gone)
                collected = self._steps(
                    mask.apply(read_documents(upstream.kept(number)), account), stage.steps, account
                )
                others, notes = [mask.balance], {}
            balances = [account.balance, *others]
            for balance in balances:
                balance.check(f"{stage.source}/{stage.name}/{part_name(number)}")
            row = {
                "key": stage.key,
                "part": part_name(number),
                "balances": [balance.to_json() for balance in balances],
                "seconds": dict(account.seconds),
                "claims": len(collected) if stage.claims else 0,
                "claims_of": json.loads(stage.claims_of) if stage.claims else None,
                **notes,
            }
            writer.commit(row, collected if stage.claims else None)

    def _steps(self, documents: Iterable[Document], steps: Sequence[BoundStep], account: Account) -> np.ndarray:
        """Run the steps, keep what passes, and collect what the next deduplication wants to know of it."""
        collector = Collector(self.stage.claims)
        for document in apply_steps(documents, [(step, self._load(step)) for step in steps], account):
            collector.add(document, account.balance.kept)
            account.keep(document)
        return collector.claims()

    def _load(self, step: BoundStep) -> Any:
        if not hasattr(step.step, "load"):
            return step.step
        identities = dict(self.stage.models)
        return loaded(step.step, tuple((name, identities[name]) for name in artifacts_of(step)), self.models)

    def _mask(self, number: int, upstream: StageFiles, gone: Tombstones) -> Mask | Losers:
        if self.stage.applies is not None and self.stage.applies.compares_texts:
            return Losers(self.stage.applies, self.files(self.stage.verdicts), number, gone)
        return Mask(self.stage.applies, read_array(upstream.claims(number)), self._read_lost(number), gone)

    def _read_lost(self, number: int) -> np.ndarray:
        """Hashes that lost, sorted: the passes cover ascending slices of the hash space."""
        verdicts = self.files(self.stage.verdicts)
        plan = storage.read_json(storage.join(verdicts.root, "plan.json"))
        return np.concatenate(
            [read_array(verdicts.file("lost", number, f".{turn:04d}.npy")) for turn in range(plan["passes"])]
        )


# One child and one copy of each model a process, however many stages and threads ask for them.
@lru_cache(maxsize=8)
def isolated(extractor: Any) -> Isolated:
    return Isolated(extractor)


@lru_cache(maxsize=32)
def loaded(step: Any, artifacts: tuple[tuple[str, str], ...], models: str) -> Any:
    return step.load(verified(artifacts, Path(models)))


class Mask:
    """Applies the verdicts of a deduplication to a part's documents, and keeps the account of its units."""

    def __init__(
        self, applies: BoundStep | None, mine: np.ndarray, lost: np.ndarray, gone: Tombstones | None = None
    ) -> None:
        if applies is None:
            raise LedgerError("a stage that follows no deduplication has no verdicts to apply")
        self._label = applies.label
        self._dedup = applies.step
        self._rule = rule_of(applies.step)
        self._mine = mine
        self._lost = lost
        self._gone = gone or Tombstones()
        self.balance = Balance(self._dedup.unit)

    def apply(self, documents: Iterable[Document], account: Account) -> Iterator[Document]:
        for ordinal, document in enumerate(documents):  # one that was taken down counts, as it did for the claims
            down = tombstones.verdict(self._gone, document.id, document.url)
            if down is not None:
                account.drop(document, tombstones.STEP, down)
                continue
            hashes = self._dedup.hashes(document)
            self.balance.incoming += self._dedup.units(document)
            stays = self._rule.survives(hashes, ordinal, self._mine, self._lost)
            verdict, kept = self._dedup.apply(document, stays)
            self.balance.kept += kept
            self.balance.dropped["repeated"] += len(hashes) - kept
            if isinstance(verdict, Drop):
                account.drop(document, self._label, verdict)
            else:
                yield verdict
