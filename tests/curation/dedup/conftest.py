"""The way of a deduplication without Beam: claims of each part, verdicts on all of them together, masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from curation.dedup.verdict import CLAIM, Rule, rule_of, seconds


@dataclass(frozen=True)
class Holder:
    """What a rule sees of a document: its hashes in order, uint64 [occurrences], and its date."""

    hashes: np.ndarray
    date: int = 0


def judge(parts: Sequence[Sequence[Holder]], rule: Rule, earlier: int = 0, arrival: int = 0) -> list[np.ndarray]:
    """Which hash occurrences survive, a mask per document, over all parts in order.

    The first `earlier` parts are those of an earlier run, and get no verdict. `arrival` seeds the order in which claims
    arrive.
    """
    packed = []
    for part in parts:
        counts = [len(holder.hashes) for holder in part]
        ordinals = np.repeat(np.arange(len(part), dtype=np.uint32), counts)
        dates = np.repeat(np.array([holder.date for holder in part], dtype=np.uint32), counts)
        packed.append(rule.claims(np.concatenate([np.empty(0, np.uint64), *(h.hashes for h in part)]), ordinals, dates))
    rows = np.concatenate([np.empty(0, CLAIM), *packed])
    numbers = np.repeat(np.arange(len(parts)) - earlier, [len(p) for p in packed])
    order = np.random.default_rng(arrival).permutation(len(rows))
    lost = np.empty(len(rows), dtype=bool)
    lost[order] = rule.losing(rows["hash"][order], numbers[order], rows["weight"][order])
    result = []
    for number, (part, mine) in enumerate(zip(parts, packed, strict=True)):
        if number >= earlier:
            losers = np.sort(mine["hash"][lost[numbers == number - earlier]])
            result += [rule.survives(holder.hashes, ordinal, mine, losers) for ordinal, holder in enumerate(part)]
    return result


@pytest.fixture(scope="session")
def masks() -> Callable[..., list[np.ndarray]]:
    return judge


@pytest.fixture(scope="session")
def holder() -> type[Holder]:
    return Holder


@pytest.fixture(scope="session")
def deduplicate() -> Callable[..., list[Any]]:
    """What a deduplication makes of documents that are cut into parts: Documents and Drops, in order."""

    def run(dedup: Any, *parts: Sequence[Any]) -> list[Any]:
        seen = [[Holder(dedup.hashes(document), seconds(document.date)) for document in part] for part in parts]
        survived = judge(seen, rule_of(dedup))
        documents = [document for part in parts for document in part]
        verdicts = []
        for document, stays in zip(documents, survived, strict=True):
            verdict, kept = dedup.apply(document, stays)
            assert kept == int(stays.sum())
            assert dedup.units(document) == len(stays)
            verdicts.append(verdict)
        return verdicts

    return run
