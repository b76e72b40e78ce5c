from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.dedup.verdict import CLAIM, KEEP, claims, losing, survives

Masks = Callable[[Sequence[Sequence[np.ndarray]], str], list[np.ndarray]]

HASHES = st.sampled_from([0, 1, 2, 3, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
DOCUMENTS = st.lists(st.lists(HASHES, max_size=6), max_size=10)
CUTS = st.lists(st.integers(0, 10), max_size=4)


def uint64(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def cut(documents: list[list[int]], cuts: list[int]) -> list[list[np.ndarray]]:
    """The documents in consecutive parts, some of which may be empty."""
    edges = [0, *sorted(min(c, len(documents)) for c in cuts), len(documents)]
    return [[uint64(d) for d in documents[a:b]] for a, b in pairwise(edges)]


def oracle(documents: list[list[int]], keep: str) -> list[list[bool]]:
    """Who survives, by the definition alone: plain dictionaries, no parts."""
    holders: dict[int, list[int]] = defaultdict(list)
    for number, document in enumerate(documents):
        for hash in set(document):
            holders[hash].append(number)
    verdicts = []
    for number, document in enumerate(documents):
        seen: set[int] = set()
        verdict = []
        for hash in document:
            best = holders[hash][0] == number if keep == "smallest" else holders[hash] == [number]
            verdict.append(best and hash not in seen)
            seen.add(hash)
        verdicts.append(verdict)
    return verdicts


@pytest.mark.parametrize("keep", KEEP)
@given(documents=DOCUMENTS, cuts=CUTS)
def test_what_survives_is_what_the_definition_says_for_any_parts(
    masks: Masks, keep: str, documents: list[list[int]], cuts: list[int]
) -> None:
    assert [stays.tolist() for stays in masks(cut(documents, cuts), keep)] == oracle(documents, keep)


@given(documents=DOCUMENTS)
def test_claims_are_each_hash_once_with_its_first_document(documents: list[list[int]]) -> None:
    first: dict[int, int] = {}
    holders: dict[int, set[int]] = defaultdict(set)
    for ordinal, document in enumerate(documents):
        for hash in document:
            first.setdefault(hash, ordinal)
            holders[hash].add(ordinal)
    flat = uint64([hash for document in documents for hash in document])
    ordinals = np.repeat(np.arange(len(documents), dtype=np.uint32), [len(d) for d in documents])
    found = claims(flat, ordinals)
    assert found.dtype == CLAIM
    assert found.tolist() == [(hash, first[hash], len(holders[hash])) for hash in sorted(first)]
    # Nor does it matter in which order the occurrences come.
    assert claims(flat[::-1], ordinals[::-1]).tolist() == found.tolist()


def test_a_claim_is_16_bytes() -> None:
    assert CLAIM.itemsize == 16
    assert claims(uint64([5]), np.array([3], dtype=np.uint32)).tobytes() == bytes([5, *[0] * 7, 3, 0, 0, 0, 1, 0, 0, 0])


@pytest.mark.parametrize("keep", KEEP)
def test_nothing_comes_of_nothing(masks: Masks, keep: str) -> None:
    assert len(claims(uint64([]), np.empty(0, dtype=np.uint32))) == 0
    empty = np.empty(0, dtype=np.uint32)
    assert losing(uint64([]), empty, empty, keep).tolist() == []
    assert masks([], keep) == []
    assert masks([[], []], keep) == []
    assert [stays.tolist() for stays in masks([[uint64([])], [uint64([7]), uint64([])]], keep)] == [[], [True], []]


def test_part_numbers_order_parts_and_arrival_does_not() -> None:
    hashes, documents = uint64([8, 8, 8]), np.array([1, 1, 1], dtype=np.uint32)
    assert losing(hashes, np.array([300, 7, 12]), documents, "smallest").tolist() == [True, False, True]
    assert losing(hashes, np.array([300, 7, 12]), documents, "none").tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("documents", "lost"), [([1], False), ([2], True), ([1, 1], True), ([4_000_000_000] * 2, True)]
)
def test_none_counts_the_documents_of_a_part_too(documents: list[int], lost: bool) -> None:
    count = len(documents)
    verdict = losing(uint64([8] * count), np.arange(count), np.array(documents, dtype=np.uint32), "none")
    assert verdict.tolist() == [lost] * count


def test_only_two_rules_are_known() -> None:
    with pytest.raises(ValueError, match="'largest'"):
        losing(uint64([1]), np.array([0]), np.array([1]), "largest")


@pytest.mark.parametrize("hashes", [[4], [6], [5, 6], [8, 9]])
def test_claims_of_another_part_are_refused(hashes: list[int]) -> None:
    mine = claims(uint64([5, 8]), np.array([0, 0], dtype=np.uint32))
    with pytest.raises(ValueError, match="not those of the part"):
        survives(uint64(hashes), 0, mine, uint64([]))


def test_a_document_survives_whatever_the_rank_of_its_losing_hashes() -> None:
    mine = claims(uint64([1, 2, 3]), np.array([0, 0, 0], dtype=np.uint32))
    for lost in ([], [1], [3], [1, 3], [1, 2, 3]):
        stays = survives(uint64([3, 1, 2, 1]), 0, mine, uint64(lost))
        assert stays.tolist() == [3 not in lost, 1 not in lost, 2 not in lost, False]
    assert not survives(uint64([3]), 1, mine, uint64([])).any()
