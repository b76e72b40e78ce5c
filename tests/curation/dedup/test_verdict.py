from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.dedup.verdict import CLAIM, KEEP, LAST_SECOND, Rule, rule_of, seconds

Masks = Callable[..., list[np.ndarray]]

HASHES = st.sampled_from([0, 1, 2, 3, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
DATES = st.sampled_from([0, 1, 2, 1 << 31, LAST_SECOND - 1, LAST_SECOND])
DOCUMENTS = st.lists(st.tuples(st.lists(HASHES, max_size=6), DATES), max_size=10)
CUTS = st.lists(st.integers(0, 10), max_size=4)
RULES = [Rule("smallest"), Rule("newest"), Rule("none"), Rule("none", 2), Rule("none", 6)]
NAMES = [f"{rule.keep} {rule.max_documents}" for rule in RULES]

Given = Sequence[tuple[list[int], int]]  # hashes and date of each document


def uint64(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def uint32(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint32)


def cut(documents: Given, cuts: list[int], holder: Any) -> list[list[Any]]:
    """The documents in consecutive parts, some of which may be empty."""
    edges = [0, *sorted(min(c, len(documents)) for c in cuts), len(documents)]
    return [[holder(uint64(hashes), date) for hashes, date in documents[a:b]] for a, b in pairwise(edges)]


def oracle(documents: Given, rule: Rule, earlier: int = 0) -> list[list[bool]]:
    """Who survives, by the definition alone: plain dictionaries, no parts. The first `earlier` are an earlier run's."""
    holders: dict[int, list[int]] = defaultdict(list)
    for number, (hashes, _) in enumerate(documents):
        for hash in set(hashes):
            holders[hash].append(number)
    verdicts = []
    for number, (hashes, _) in enumerate(documents):
        seen: set[int] = set()
        verdict = []
        for hash in hashes:
            if rule.keep == "none":
                stays = len(holders[hash]) <= rule.max_documents
            elif rule.keep == "smallest":
                stays = min(holders[hash]) == number
            else:
                stays = min(holders[hash], key=lambda n: (n >= earlier, -documents[n][1], n)) == number
            verdict.append(stays and hash not in seen)
            seen.add(hash)
        verdicts.append(verdict)
    return verdicts[earlier:]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@given(documents=DOCUMENTS, cuts=CUTS, arrival=st.integers(0, 1000))
def test_what_survives_is_what_the_definition_says_for_any_parts_in_any_order(
    masks: Masks, holder: Any, rule: Rule, documents: Given, cuts: list[int], arrival: int
) -> None:
    found = masks(cut(documents, cuts, holder), rule, arrival=arrival)
    assert [stays.tolist() for stays in found] == oracle(documents, rule)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@given(before=DOCUMENTS, documents=DOCUMENTS, cuts=CUTS, arrival=st.integers(0, 1000))
def test_an_earlier_run_wins_and_counts(
    masks: Masks, holder: Any, rule: Rule, before: Given, documents: Given, cuts: list[int], arrival: int
) -> None:
    theirs = cut(before, cuts, holder)
    found = masks([*theirs, *cut(documents, cuts, holder)], rule, earlier=len(theirs), arrival=arrival)
    assert [stays.tolist() for stays in found] == oracle([*before, *documents], rule, earlier=len(before))


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@given(documents=DOCUMENTS, shuffled=st.randoms(use_true_random=False))
def test_claims_are_each_hash_once_whatever_the_order_of_occurrences(
    rule: Rule, documents: Given, shuffled: Any
) -> None:
    holders: dict[int, set[int]] = defaultdict(set)
    for ordinal, (hashes, _) in enumerate(documents):
        for hash in hashes:
            holders[hash].add(ordinal)
    expected = []
    for hash, ordinals in sorted(holders.items()):
        if rule.keep == "newest":
            first = min(ordinals, key=lambda n: (-documents[n][1], n))
            expected.append((hash, first, documents[first][1]))
        else:
            expected.append((hash, min(ordinals), len(ordinals)))
    occurrences = [(hash, n, date) for n, (hashes, date) in enumerate(documents) for hash in hashes]
    shuffled.shuffle(occurrences)
    columns = list(zip(*occurrences, strict=True)) or [(), (), ()]
    found = rule.claims(uint64(columns[0]), uint32(columns[1]), uint32(columns[2]))
    assert found.dtype == CLAIM
    assert found.tolist() == expected


def test_a_claim_is_16_bytes() -> None:
    assert CLAIM.itemsize == 16
    one = Rule("none").claims(uint64([5]), uint32([3]), uint32([7]))
    assert one.tobytes() == bytes([5, *[0] * 7, 3, 0, 0, 0, 1, 0, 0, 0])
    dated = Rule("newest").claims(uint64([5]), uint32([3]), uint32([7]))
    assert dated.tobytes() == bytes([5, *[0] * 7, 3, 0, 0, 0, 7, 0, 0, 0])


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_nothing_comes_of_nothing(masks: Masks, holder: Any, rule: Rule) -> None:
    empty = uint32([])
    assert len(rule.claims(uint64([]), empty, empty)) == 0
    assert rule.losing(uint64([]), empty, empty).tolist() == []
    assert masks([], rule) == []
    assert masks([[], []], rule) == []
    nothing, seven = holder(uint64([])), holder(uint64([7]))
    assert [stays.tolist() for stays in masks([[nothing], [seven, nothing]], rule)] == [[], [True], []]


def test_part_numbers_order_parts_and_arrival_does_not() -> None:
    hashes, parts = uint64([8, 8, 8]), np.array([300, 7, 12])
    assert Rule("smallest").losing(hashes, parts, uint32([1, 1, 1])).tolist() == [True, False, True]
    assert Rule("none").losing(hashes, parts, uint32([1, 1, 1])).tolist() == [True, True, True]
    assert Rule("newest").losing(hashes, parts, uint32([5, 5, 6])).tolist() == [True, True, False]
    assert Rule("newest").losing(hashes, parts, uint32([5, 5, 5])).tolist() == [True, False, True]


@pytest.mark.parametrize("keep", ["smallest", "newest"])
def test_an_earlier_claim_wins_whatever_its_date(keep: str) -> None:
    verdict = Rule(keep).losing(uint64([8, 8, 9]), np.array([0, -2, 0]), uint32([LAST_SECOND, 0, 1]))
    assert verdict.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("documents", "most", "lost"),
    [
        ([1], 1, False),
        ([2], 1, True),
        ([1, 1], 1, True),
        ([4_000_000_000] * 2, 1, True),
        ([3, 3], 6, False),
        ([3, 4], 6, True),
        ([7], 6, True),
    ],
)
def test_none_counts_the_documents_of_a_part_too(documents: list[int], most: int, lost: bool) -> None:
    count = len(documents)
    verdict = Rule("none", most).losing(uint64([8] * count), np.arange(count), uint32(documents))
    assert verdict.tolist() == [lost] * count


def test_other_rules_are_not_known() -> None:
    assert KEEP == ("smallest", "newest", "none")
    with pytest.raises(ValueError, match="'largest'"):
        Rule("largest")


def test_the_rule_of_a_step_of_the_users_own() -> None:
    class Own:
        keep = "none"

    assert rule_of(Own()) == Rule("none", 1)


@pytest.mark.parametrize("hashes", [[4], [6], [5, 6], [8, 9]])
def test_claims_of_another_part_are_refused(hashes: list[int]) -> None:
    rule = Rule("smallest")
    mine = rule.claims(uint64([5, 8]), uint32([0, 0]), uint32([0, 0]))
    with pytest.raises(ValueError, match="not those of the part"):
        rule.survives(uint64(hashes), 0, mine, uint64([]))


def test_a_document_survives_whatever_the_rank_of_its_losing_hashes() -> None:
    rule = Rule("smallest")
    mine = rule.claims(uint64([1, 2, 3]), uint32([0, 0, 0]), uint32([0, 0, 0]))
    for lost in ([], [1], [3], [1, 3], [1, 2, 3]):
        stays = rule.survives(uint64([3, 1, 2, 1]), 0, mine, uint64(lost))
        assert stays.tolist() == [3 not in lost, 1 not in lost, 2 not in lost, False]
    assert not rule.survives(uint64([3]), 1, mine, uint64([])).any()
    assert Rule("none", 2).survives(uint64([3]), 1, mine, uint64([])).all()


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("", 0),
        ("yesterday", 0),
        ("2024-13-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00Z", 1),  # dated, so newer than what has no date
        ("1969-07-20T20:17:40Z", 1),
        ("1970-01-01T00:00:02Z", 2),
        ("2024-02-29T12:00:00Z", 1_709_208_000),
        ("2024-02-29T12:00:00.999Z", 1_709_208_000),
        ("2024-02-29T12:00:00", 1_709_208_000),
        ("2024-02-29T14:00:00+02:00", 1_709_208_000),
        ("2024-02-29", 1_709_164_800),
        ("2106-02-07T06:28:14Z", LAST_SECOND - 1),
        ("2106-02-07T06:28:15Z", LAST_SECOND),
        ("9999-12-31T23:59:59Z", LAST_SECOND),
        ("0001-01-01T00:00:00+14:00", 1),
    ],
)
def test_dates(date: str, expected: int) -> None:
    assert seconds(date) == expected
