"""Run steps over a part's documents, and be the one place where a verdict becomes an entry in the ledger."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.ledger import Balance
from pipelines.part_files import PartWriter
from pipelines.plan import BoundStep

BATCH = 64  # documents a scorer sees at once, cut from the part in order


@dataclass(slots=True)
class Account:
    """The books of one part: the balance of its records or documents, the files they went to, seconds by step."""

    balance: Balance
    writer: PartWriter
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def keep(self, document: Document) -> None:
        self.writer.keep(document)
        self.balance.kept += 1

    def drop(self, document: Document, step: str, drop: Drop) -> None:
        self.writer.drop(document, step, drop)
        self.balance.dropped[f"{step}.{drop.rule}"] += 1

    def fail(self, id: str, url: str, step: str, error: DataError) -> None:
        self.writer.fail(id, url, step, error)
        self.balance.failed[f"{step}.{error.reason}"] += 1

    def skip(self, type: str) -> None:
        self.balance.skipped[type] += 1

    def timed(self, label: str, call: Callable[[Any], Any], argument: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(argument)
        finally:
            self.seconds[label] += time.perf_counter() - started


def extract(
    pages: Iterable[Page], label: str, extractor: Callable[[Page], Document | Drop], account: Account
) -> Iterator[Document]:
    """The documents that an extractor finds in pages."""
    for page in pages:
        try:
            verdict = account.timed(label, extractor, page)
        except DataError as error:
            account.fail(page.id, page.url, label, error)
            continue
        if isinstance(verdict, Drop):
            account.drop(
                Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=""), label, verdict
            )
        elif isinstance(verdict, Document):
            yield verdict
        else:
            raise TypeError(f"{label} returned {type(verdict).__name__}, which is neither a Document nor a Drop")


def apply_steps(
    documents: Iterable[Document], steps: Sequence[tuple[BoundStep, Any]], account: Account
) -> Iterator[Document]:
    """The documents that pass every step. `steps` pairs each recipe line with what is called for it."""
    source = iter(documents)
    while batch := list(islice(source, BATCH)):
        for bound, call in steps:
            if not batch:
                break
            batch = (
                _score(bound, call, batch, account) if bound.kind == "score" else _judge(bound, call, batch, account)
            )
        yield from batch


def _score(
    bound: BoundStep, score: Callable[[Sequence[Document]], list[Document]], batch: list[Document], account: Account
) -> list[Document]:
    try:
        scored: list[Document] = account.timed(bound.label, score, batch)
    except DataError:  # one of them cannot be scored: find out which, since a batch has no bearing on a score
        scored, batch = _score_each(bound, score, batch, account)
    if [d.id for d in scored] != [d.id for d in batch]:
        raise TypeError(f"{bound.label} returned other documents than it was given")
    return scored


def _judge(
    bound: BoundStep, step: Callable[[Document], Document | Drop], batch: list[Document], account: Account
) -> list[Document]:
    passed = []
    for document in batch:
        try:
            verdict = account.timed(bound.label, step, document)
        except DataError as error:
            account.fail(document.id, document.url, bound.label, error)
            continue
        if isinstance(verdict, Drop):
            account.drop(document, bound.label, verdict)
        elif isinstance(verdict, Document):
            passed.append(verdict)
        else:
            raise TypeError(f"{bound.label} returned {type(verdict).__name__}, which is neither a Document nor a Drop")
    return passed


def _score_each(
    bound: BoundStep, score: Callable[[Sequence[Document]], list[Document]], batch: list[Document], account: Account
) -> tuple[list[Document], list[Document]]:
    """Documents scored one by one, and those of the batch that could be."""
    scored, scorable = [], []
    for document in batch:
        try:
            scored.extend(account.timed(bound.label, score, [document]))
            scorable.append(document)
        except DataError as error:
            account.fail(document.id, document.url, bound.label, error)
    return scored, scorable
