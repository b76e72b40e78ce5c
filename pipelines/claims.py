"""What the parts of a stage say of their hashes, for the deduplication that follows: `claims/part-*.npy`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.dedup import overlap
from curation.dedup.verdict import Rule, rule_of, seconds
from curation.document import Document
from curation.errors import LedgerError
from pipelines import storage, tombstones
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, count_documents, read_documents, write_array
from pipelines.plan import BoundStep, Stage
from pipelines.stages import EachPart, Run, ledger_rows, part_name


class Collector:
    """Gathers a part's hashes for the deduplication that follows; 16 bytes a distinct hash in the end."""

    def __init__(self, dedup: BoundStep | None) -> None:
        self._dedup = dedup.step if dedup else None
        self._compares = dedup is not None and dedup.compares_texts
        self._rule = rule_of(self._dedup) if dedup and not self._compares else Rule("smallest")
        self._dated = self._rule.keep == "newest"
        self._hashes = [np.empty(0, dtype=np.uint64)]
        self._documents: list[tuple[int, int, int]] = []  # hashes, ordinal, date or size of each that has any hashes

    def add(self, document: Document, ordinal: int) -> None:
        if self._dedup is None:
            return
        hashes = self._dedup.hashes(document)
        if len(hashes):
            self._hashes.append(hashes)
            weight = self._dedup.weight(document) if self._compares else seconds(document.date) if self._dated else 0
            self._documents.append((len(hashes), ordinal, weight))

    def claims(self) -> np.ndarray:
        counts, ordinals, weights = np.array(self._documents, dtype=np.int64).reshape(-1, 3).T
        spread = (np.repeat(column.astype(np.uint32), counts) for column in (ordinals, weights))
        make = overlap.claims if self._compares else self._rule.claims
        return make(np.concatenate(self._hashes), *spread)


def ensure(run: Run, stage: Stage, parts: Sequence[Part]) -> None:
    """See to it that the claims of a finished stage are those that `stage.claims` asks for.

    The key of a stage does not cover the deduplication after it, so that a change of that one repeats no extraction.
    Where the claims are another's, they are made anew from the documents that were kept.
    """
    directory = f"{stage.source}/{stage.name}"
    rows = ledger_rows(run, directory, [part_name(part.number) for part in parts], stage.key)
    wanted = json.loads(stage.claims_of)
    stale = [part.number for part in parts if rows[part_name(part.number)].get("claims_of") != wanted]
    if stale:
        work = ClaimPart(run.output, stage, tombstones.identity(run.output))
        run.execute(f"{directory}-claims", lambda pipeline: pipeline | EachPart(work, stale))


@dataclass(frozen=True, slots=True)
class ClaimPart:
    """Writes the claims of one committed part anew."""

    output: str
    stage: Stage
    tombstones: str = ""  # identity of the list of what was taken down

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, self.stage.source, self.stage.name))
        row = files.committed(number, self.stage.key)
        if row is None:
            raise LedgerError(f"{files.ledger(number)} does not commit {part_name(number)}")
        collector = Collector(self.stage.claims)
        gone = tombstones.load(self.output, self.tombstones)
        ordinal = -1
        for ordinal, document in enumerate(read_documents(files.kept(number))):
            if tombstones.verdict(gone, document.id, document.url) is None:
                collector.add(document, ordinal)
        if ordinal + 1 != count_documents(files, number):
            raise LedgerError(f"{files.kept(number)}: {ordinal + 1} documents were read, and it holds another number")
        claims = collector.claims()
        # First of all the row says that the claims are nobody's: it must never speak for others than are there.
        storage.write_json(files.ledger(number), {**row, "claims_of": None})
        write_array(files.claims(number), claims)
        made = {"claims": len(claims), "claims_of": json.loads(self.stage.claims_of)}
        storage.write_json(files.ledger(number), {**row, **made})
