from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.dedup import near, overlap
from curation.dedup.overlap import Overlap, candidates, claims, shared
from curation.dedup.verdict import CLAIM
from curation.document import Document, Drop
from curation.errors import RecipeError

# One word a shingle, so that an overlap can be planted to the word, and bands of one row, which alike texts all share.
WORDS = Overlap(ngram=1, bands=64, rows=1)


def document(text: str) -> Document:
    return Document(id="books:b#1", url="", date="", digest="", text=text)


def words(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def gone(step: Overlap, texts: Sequence[str], parts: Sequence[int] | None = None) -> set[int]:
    """Which documents go, by the functions that the pipeline calls; `parts` says where the cuts are, if anywhere."""
    parts = parts or [0] * len(texts)
    documents = [document(text) for text in texts]
    places = [(part, parts[:at].count(part)) for at, part in enumerate(parts)]
    rows, numbers = [np.empty(0, dtype=CLAIM)], [np.empty(0, dtype=np.int64)]
    for part in sorted(set(parts)):
        mine = [(places[at][1], documents[at]) for at in range(len(texts)) if parts[at] == part]
        hashes = [step.hashes(each) for _, each in mine]
        counts = [len(found) for found in hashes]
        ordinals = np.repeat(np.array([ordinal for ordinal, _ in mine], dtype=np.uint32), counts)
        sizes = np.repeat(np.array([step.weight(each) for _, each in mine], dtype=np.uint32), counts)
        rows.append(claims(np.concatenate(hashes), ordinals, sizes))
        numbers.append(np.full(len(rows[-1]), part))
    all_rows, all_parts = np.concatenate(rows), np.concatenate(numbers)
    smaller, larger, _ = candidates(all_rows, all_parts, step.most_candidates)
    at_place = {place: at for at, place in enumerate(places)}
    result = set()
    for one, other in zip(smaller.tolist(), larger.tolist(), strict=True):
        d = at_place[int(all_parts[one]), int(all_rows["first"][one])]
        e = at_place[int(all_parts[other]), int(all_rows["first"][other])]
        own, theirs = step.shingles(documents[d]), step.shingles(documents[e])
        if step.holds(shared(own, theirs), len(own)):
            result.add(d)
    return result


def brute(step: Overlap, texts: Sequence[str]) -> set[int]:
    """Which documents go, of all pairs that share a band, by sets of Python's own; n-grams as strings."""
    grams = []
    for text in texts:
        found = text.lower().split()
        grams.append({tuple(found[i : i + step.ngram]) for i in range(max(1, len(found) - step.ngram + 1))})
    bands = [set(step.hashes(document(text)).tolist()) for text in texts]
    return {
        d
        for d in range(len(texts))
        for e in range(len(texts))
        if bands[d] & bands[e]
        and (-len(grams[e]), e) < (-len(grams[d]), d)
        and len(grams[d] & grams[e]) >= step.min_overlap * len(grams[d])
    }


def families(seed: int, count: int = 24) -> list[str]:
    """Texts of a few families: parts of a common text, with some words replaced, some contained in others."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        family = draw.randrange(5) * 1000
        length = draw.choice((90, 100, 110, 130, 200))
        found = words(family + draw.choice((0, 0, 5, 60)), length).split()
        for at in draw.sample(range(length), int(length * draw.choice((0, 0.02, 0.05, 0.1, 0.12)))):
            found[at] = f"x{draw.randrange(10**6)}"
        texts.append(" ".join(found))
    return texts


@pytest.mark.parametrize(("common", "goes"), [(85, False), (89, False), (90, True), (91, True), (100, True)])
def test_a_planted_overlap(common: int, goes: bool) -> None:
    smaller, larger = words(0, 100), words(100 - common, 110)
    own, theirs = WORDS.shingles(document(smaller)), WORDS.shingles(document(larger))
    assert shared(own, theirs) == common
    assert gone(WORDS, [smaller, larger]) == ({0} if goes else set())
    assert gone(WORDS, [larger, smaller]) == ({1} if goes else set())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([words(0, 100), words(0, 100)], {1}),  # of equals the first stays
        ([words(0, 100), words(0, 100), words(0, 100)], {1, 2}),
        ([words(0, 100), words(0, 101)], {0}),  # the fuller edition stays, wherever it stands
        ([words(0, 101), words(0, 100)], {1}),
        ([words(0, 60), words(0, 130)], {0}),  # a story goes where an anthology has it
        ([words(0, 60), words(0, 60) + " " + words(500, 70)], {0}),
        ([words(0, 100), words(1000, 100)], set()),
        (["", words(0, 9), "", " \n"], set()),  # no words are in nothing
        (["one two", "ONE  two\n"], {1}),
    ],
)
def test_which_one_goes(texts: list[str], expected: set[int]) -> None:
    assert gone(WORDS, texts) == expected


def test_three_books_never_take_each_other_out() -> None:
    """B holds A, but not A B; B and C hold each other, and so do C and A. Were it the order of files that decides
    between two that hold each other, then of A, C, B all would go: A for B, B for C, and C for A.
    """
    a = words(0, 100)
    b = words(5, 95) + " " + words(1000, 15)
    c = words(2, 98) + " " + words(1000, 10)
    for order in permutations([a, b, c]):
        assert gone(WORDS, order) == {order.index(a), order.index(c)}


@pytest.mark.parametrize("seed", range(8))
def test_outcome_is_that_of_all_pairs_and_does_not_depend_on_cuts(seed: int) -> None:
    texts = families(seed)
    step = Overlap(ngram=2, bands=40, rows=2, most_candidates=len(texts))
    expected = brute(step, texts)
    assert expected
    assert gone(step, texts) == expected
    draw = random.Random(seed)
    for _ in range(3):
        cuts = sorted(draw.choices(range(5), k=len(texts)))
        assert gone(step, texts, cuts) == expected
    sizes = [step.weight(document(text)) for text in texts]
    assert min(range(len(texts)), key=lambda at: (-sizes[at], at)) not in expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4), st.integers(1, 3)), max_size=25))
def test_candidates_are_the_largest_of_the_hash(found: list[tuple[int, int, int, int]]) -> None:
    unique = {(hash, part, ordinal): size for hash, part, ordinal, size in found}
    rows = np.array([(h, ordinal, size) for (h, _, ordinal), size in unique.items()], dtype=CLAIM)
    parts = np.array([part for _, part, _ in unique], dtype=np.int64)
    smaller, larger, cut = candidates(rows, parts, 2)
    keys = [(h, -size, part, ordinal) for (h, part, ordinal), size in unique.items()]
    expected, beyond = set(), []
    for key in keys:
        before = sorted(other for other in keys if other[0] == key[0] and other < key)
        expected |= {(key, other) for other in before[:2]}
        beyond.append(len(before[2:]))
    assert {(keys[d], keys[e]) for d, e in zip(smaller.tolist(), larger.tolist(), strict=True)} == expected
    assert len(smaller) == len(expected)
    assert cut.tolist() == beyond


def test_every_document_of_a_part_is_named_once_a_band() -> None:
    found = claims(
        np.array([7, 7, 7, 5], dtype=np.uint64), np.array([2, 0, 2, 1], dtype=np.uint32), np.full(4, 9, dtype=np.uint32)
    )
    assert found.tolist() == [(5, 1, 9), (7, 0, 9), (7, 2, 9)]


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_shared_counts_what_sets_count(one: set[int], other: set[int]) -> None:
    arrays = [np.array(sorted(each), dtype=np.uint64) for each in (one, other)]
    assert shared(*arrays) == len(one & other)


def test_defaults_find_what_overlaps() -> None:
    """20 bands of 5 rows, J = 0.9 / 1.1: 1 pair in 10,000 is missed."""
    missed = 0
    step = Overlap(ngram=1)
    for seed in range(40):
        found = [f"{seed}x{number}" for number in range(1000)]
        one, other = document(" ".join(found)), document(" ".join([*found[100:], *(f"y{seed}{n}" for n in range(100))]))
        missed += not set(step.hashes(one).tolist()) & set(step.hashes(other).tolist())
    assert missed == 0


def test_size_is_of_the_text_that_is_asked_for() -> None:
    """N-grams of the last text are remembered, and of no other."""
    step = Overlap(ngram=2)
    for one, two in pairwise([words(0, 9), words(0, 5), words(0, 9), words(3, 30)]):
        assert step.weight(document(one)) == len(one.split()) - 1
        assert step.weight(document(two)) == len(two.split()) - 1
    assert Overlap(ngram=3).weight(document(words(3, 30))) == 28
    assert overlap._shingles.cache_info().maxsize == 1


def test_drop_says_how_much() -> None:
    assert WORDS.verdict(19, 20) == Drop("overlap", 0.95, 0.9)
    assert near.shingles("a b", 1).shape == (2,)


@pytest.mark.parametrize(
    "options",
    [{"ngram": 0}, {"bands": 0}, {"rows": 0}, {"most_candidates": 0}, {"min_overlap": 0}, {"min_overlap": 1.01}],
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="dedup overlap"):
        Overlap(**options)  # type: ignore[arg-type]
