"""The way of a deduplication without Beam: claims of each part, verdicts on all of them together, masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from curation.dedup.verdict import CLAIM, claims, losing, survives

Hashes = Sequence[np.ndarray]  # of one part: uint64 [occurrences] of each document


def mask(parts: Sequence[Hashes], keep: str) -> list[np.ndarray]:
    """Which hash occurrences survive, a mask per document, over all parts in order."""
    packed = []
    for part in parts:
        ordinals = np.repeat(np.arange(len(part), dtype=np.uint32), [len(h) for h in part])
        packed.append(claims(np.concatenate([np.empty(0, np.uint64), *part]), ordinals))
    rows = np.concatenate([np.empty(0, CLAIM), *packed])
    numbers = np.repeat(np.arange(len(parts)), [len(p) for p in packed])
    arrival = np.random.default_rng(0).permutation(len(rows))  # no order of arrival may matter
    lost = np.empty(len(rows), dtype=bool)
    lost[arrival] = losing(rows["hash"][arrival], numbers[arrival], rows["documents"][arrival], keep)
    result = []
    for number, (part, mine) in enumerate(zip(parts, packed, strict=True)):
        losers = np.sort(mine["hash"][lost[numbers == number]])
        result += [survives(hashes, ordinal, mine, losers) for ordinal, hashes in enumerate(part)]
    return result


@pytest.fixture(scope="session")
def masks() -> Callable[[Sequence[Hashes], str], list[np.ndarray]]:
    return mask


@pytest.fixture(scope="session")
def deduplicate() -> Callable[..., list[Any]]:
    """What a deduplication makes of documents that are cut into parts: Documents and Drops, in order."""

    def run(dedup: Any, *parts: Sequence[Any]) -> list[Any]:
        survived = mask([[dedup.hashes(document) for document in part] for part in parts], dedup.keep)
        documents = [document for part in parts for document in part]
        verdicts = []
        for document, stays in zip(documents, survived, strict=True):
            verdict, kept = dedup.apply(document, stays)
            assert kept == int(stays.sum())
            assert dedup.units(document) == len(stays)
            verdicts.append(verdict)
        return verdicts

    return run
