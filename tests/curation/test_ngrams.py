from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.ngrams import repeats


def slow(words: list[str], n: int) -> dict[int, tuple[tuple[str, ...], int]]:
    """Position: n-gram and how many there are of it, where there are several."""
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = Counter(grams)
    return {start: (gram, counts[gram]) for start, gram in enumerate(grams) if counts[gram] > 1}


def check(words: list[str], longest: int) -> None:
    found = list(repeats(words, longest))
    assert [each.n for each in found] == list(range(1, longest + 1))
    for each in found:
        expected = slow(words, each.n)
        assert each.positions.tolist() == sorted(expected)
        assert each.counts.tolist() == [expected[position][1] for position in sorted(expected)]
        names = {
            (label, expected[at][0]) for at, label in zip(each.positions.tolist(), each.labels.tolist(), strict=True)
        }
        assert len(names) == len({label for label, _ in names}) == len({gram for _, gram in names})


@given(st.lists(st.sampled_from(["a", "b", "c", "ab", "bc"]), max_size=60))
def test_as_the_slow_way(words: list[str]) -> None:
    check(words, 12)


@pytest.mark.parametrize("vocabulary", [1, 2, 10, 300])
def test_long_texts(vocabulary: int) -> None:
    draw = random.Random(vocabulary)
    check([str(draw.randrange(vocabulary)) for _ in range(700)], 11)


def test_nothing() -> None:
    check([], 3)
    check(["a"], 3)
    assert [each.positions.tolist() for each in repeats(["a b", "c", "a", "b c"], 2)] == [[], []]
