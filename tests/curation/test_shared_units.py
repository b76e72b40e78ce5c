from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import shared_units
from curation.hashing import splitmix64
from curation.shared_units import UNIT, Sketch, Sums, Units, compare, exact_sum, in_sample, shares, wilson


def rows(hashes: list[int], counts: list[int] | None = None, weights: list[int] | None = None) -> np.ndarray:
    found = np.zeros(len(hashes), dtype=UNIT)
    found["hash"], found["count"] = hashes, counts or [1] * len(hashes)
    found["weight"] = weights or found["count"]
    return found


def test_units_of_a_text() -> None:
    text = "A line of forty characters, no less: yes\nA line of thirty-nine characters: sure!\n" + "x y " * 9
    found = Units(min_line=40, ngram=13).of(text)
    assert [len(hashes) for hashes, _ in found.values()] == [1, 1, 21]
    assert found["lines"][1].tolist() == [40]
    assert Units().of(text.upper().replace(" ", "  "))["documents"][0].tolist() == found["documents"][0].tolist()
    assert [len(hashes) for hashes, _ in Units().of(" \n").values()] == [0, 0, 0]


def test_a_sketch_adds_up_what_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_units, "_HELD", 5)
    rng = np.random.default_rng(1)
    hashes = splitmix64(rng.integers(0, 40, 300).astype(np.uint64))
    weights = rng.integers(1, 9, 300)
    for halvings in (0, 2):
        sketch = Sketch(halvings)
        for start in range(0, 300, 7):
            sketch.add(hashes[start : start + 7], weights[start : start + 7])
        expected = {
            int(h): (int((hashes == h).sum()), int(weights[hashes == h].sum()))
            for h in np.unique(hashes)
            if int(h) % (1 << halvings) == 0
        }
        found = sketch.rows()
        assert found.dtype == UNIT
        assert {int(h): (int(c), int(w)) for h, c, w in found.tolist()} == expected
        assert found["hash"].tolist() == sorted(expected)
        assert (sketch.occurrences, sketch.weight) == (300, int(weights.sum()))


def test_more_than_four_bytes_hold() -> None:
    sketch = Sketch(0)
    sketch.add(np.array([5, 5], dtype=np.uint64), np.array([3 << 30, 3 << 30]))
    assert sketch.rows().tolist() == [(5, 2, (1 << 32) - 1)]
    many = rows([5], [3 << 30], [3 << 30])
    assert compare([(0, many), (0, many)], 1).weight.tolist() == [6 << 30 + 60]


def test_shares_of_weights() -> None:
    a, b = rows([1, 2, 3], [1, 2, 4], [10, 20, 40]), rows([3, 9], [1, 1], [5, 5])
    found = shares(compare([(0, a[:2]), (1, b), (0, a[2:])], 3), 0)
    values = [[share and share.share for share in row] for row in found]
    assert values == [[(20 / 2 + 40 * 3 / 4) / 70, 40 / 70, 0.0], [0.5, 0.0, 0.0], [None] * 3]


def test_slices_add_up_whatever_their_order() -> None:
    rng = np.random.default_rng(2)
    sources = [rows(sorted(set(splitmix64(rng.integers(0, 300, 100).astype(np.uint64)).tolist()))) for _ in range(3)]
    whole = compare(list(enumerate(sources)), 3)
    pieces = Sums.none(3)
    for low in range(4):
        cut = [(n, one[one["hash"] >> np.uint64(62) == low]) for n, one in enumerate(sources)]
        pieces = pieces + compare(cut[::-1], 3)
    for name in Sums.__dataclass_fields__:
        assert np.array_equal(getattr(pieces, name), getattr(whole, name))


def test_no_cut_of_the_hash_space_changes_a_digit() -> None:
    """Lines that repeat in three cases weigh thirds, whose sums depend on the order if they are rounded."""
    rng = np.random.default_rng(4)
    hashes = np.unique(splitmix64(np.arange(5000, dtype=np.uint64)))
    sources = []
    for _ in range(2):
        found = np.zeros(len(hashes), dtype=UNIT)
        found["hash"], found["count"] = hashes, rng.integers(1, 9, len(hashes))
        found["weight"] = found["count"] * rng.integers(40, 1 << 28, len(hashes)) + rng.integers(0, 7, len(hashes))
        sources.append(found)
    whole = compare(list(enumerate(sources)), 2)
    for cuts in (2, 7, 64):
        pieces = Sums.none(2)
        for piece in np.array_split(np.arange(len(hashes)), cuts):
            pieces = pieces + Sums.from_json(compare([(n, one[piece]) for n, one in enumerate(sources)], 2).to_json())
        assert pieces.to_json() == whole.to_json()
        assert shares(pieces, 3) == shares(whole, 3)


@given(st.lists(st.one_of(st.just(0.0), st.floats(2**-8, 2**90)), max_size=60))
def test_a_sum_is_exact(values: list[float]) -> None:
    assert exact_sum(np.array(values, dtype=np.float64)) == sum(map(Fraction, values)) * 2**60


@pytest.mark.parametrize("true", [0.0, 0.004, 0.3, 1.0, "heavy"])
def test_intervals_hold_the_truth(true: float | str) -> None:
    """Over 300 corpora with units of very different weights, of which 1 in 16 is looked at, or 1 in 4.

    Heavy ones are shared more often, as in the world, or they alone are.
    """
    rng, held, widths, errors = np.random.default_rng(3), 0, [], []
    halvings = 2 if true == "heavy" else 4
    for turn in range(300):
        hashes = splitmix64(np.arange(turn << 32, (turn << 32) + 4000, dtype=np.uint64))
        counts = rng.geometric(0.4, 4000)
        if isinstance(true, str):
            counts = np.where(rng.random(4000) < 0.02, 20, 1)
            shared = counts == 20
        else:
            shared = rng.random(4000) < np.minimum(1, true * (0.6 + 0.16 * counts) if true < 1 else 1)
        exact = counts[shared].sum() / counts.sum()
        mine = in_sample(hashes, halvings)
        a, b = rows(hashes[mine].tolist(), counts[mine].tolist()), rows(hashes[mine & shared].tolist())
        found = shares(compare([(0, a), (1, b)], 2), halvings)[0][1]
        assert found is not None
        held += found.low <= exact + 1e-12 and exact - 1e-12 <= found.high
        widths.append(found.high - found.low)
        errors.append(abs(found.share - exact))
    assert held >= 276  # 92 %
    if not isinstance(true, str):
        assert max(widths) < 0.2
    if true not in (0, 1):
        assert np.mean(widths) < 6 * np.mean(errors) + 0.02  # not simply wide


def test_wilson() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson 1927
    low, high = wilson(0.0, 50)
    assert (low, high) == (0.0, pytest.approx(0.0714, abs=1e-4))
