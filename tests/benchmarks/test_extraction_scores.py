from __future__ import annotations

import random
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.extraction_scores import (
    Counts,
    Gold,
    GoldText,
    Interval,
    Row,
    cascade,
    f1_of_resamples,
    interval,
    score,
    shingles,
)
from benchmarks.extraction_tables import curve, table

ROW = Row("x", "http://a.org/", "a.org", "dev", (3, 4, 3, 4), characters=9, ms=2.0)


def row(number: int, counts: Counts, name: str = "x", host: str = "") -> Row:
    return replace(ROW, extractor=name, url=f"u{number}", host=host or f"h{number}", counts=counts)


def test_strings_are_sought_with_white_space_collapsed_in_nfc() -> None:
    gold = Gold(("a b", "\u00e9"), ("c d",))
    assert gold.counts("x a\n b y") == (1, 1, 1, 2)
    assert gold.counts("a  b e\u0301 c\td") == (2, 3, 2, 2)
    assert gold.counts("") == (0, 0, 0, 2)


def test_shingles_are_runs_of_four_tokens_and_what_is_shorter_is_one() -> None:
    assert shingles("a b, c d. e") == {("a", "b", "c", "d"): 1, ("b", "c", "d", "e"): 1}
    assert shingles("a a a a a") == {("a", "a", "a", "a"): 2}
    assert shingles("A b c d") == {("A", "b", "c", "d"): 1}
    assert shingles("a b c") == {("a", "b", "c"): 1}
    assert not shingles(" ... ")


def test_text_counts_by_hand() -> None:
    gold = GoldText("a b c d e")  # two shingles
    assert gold.counts("a b c d e") == (1, 1, 1, 1)
    assert gold.counts("x a b c d") == (0.5, 1, 0.5, 1)
    assert gold.counts("a b c d x y z") == (0.25, 1, 0.5, 1)
    assert gold.counts("") == (0, 0, 0, 1)
    assert gold.counts("a b c d a b c d") == (0.2, 1, 0.5, 1)  # the second time it is one too many
    assert GoldText("").counts("a") == (0, 1, 0, 0)
    assert GoldText("").counts("") == (0, 0, 0, 0)


def test_score_by_hand() -> None:
    found = score([ROW, replace(ROW, counts=(1, 2, 1, 2), characters=0, ms=4.0)])
    assert (found.pages, found.empty, found.ms) == (2, 1, 3.0)
    assert (found.precision, found.recall, found.f1) == pytest.approx((4 / 6, 4 / 6, 4 / 6))
    assert score([replace(ROW, counts=(1, 2, 1, 4))]).f1 == pytest.approx(2 * 0.5 * 0.25 / 0.75)


def test_texts_weigh_the_same_whatever_their_length_and_none_has_no_precision() -> None:
    gold = GoldText("a b c d e f g")
    rows = [row(0, gold.counts("a b c d e f g")), row(1, gold.counts("")), row(2, gold.counts("a b c d x"))]
    found = score(rows)
    assert found.precision == pytest.approx((1 + 0.5) / 2)
    assert found.recall == pytest.approx((1 + 0 + 0.25) / 3)


def test_score_of_nothing_found() -> None:
    nothing = score([replace(ROW, counts=(0, 0, 0, 4))])
    assert (nothing.precision, nothing.recall, nothing.f1) == (1.0, 0.0, 0.0)
    assert score([replace(ROW, counts=(0, 0, 0, 0))]).f1 == 1.0
    assert score([replace(ROW, counts=(0, 3, 0, 4))]).f1 == 0.0
    assert score([replace(ROW, ms=float(n)) for n in range(200)]).p99_ms == 197.0


def some_rows(name: str, skill: float, hosts: int = 60) -> list[Row]:
    chance = random.Random(0)
    rows = []
    for number in range(hosts):
        found, unwanted = (sum(chance.random() < share for _ in range(4)) for share in (skill, 0.3))
        rows.append(row(number, (found, found + unwanted, found, 4), name))
    return rows


def test_the_interval_is_that_of_scipy() -> None:
    rows = some_rows("x", 0.7)
    samples = f1_of_resamples({"x": rows})["x"]

    def f1(right: np.ndarray, taken: np.ndarray, wanted: np.ndarray, axis: int) -> np.ndarray:
        return 2 * right.sum(axis) / (taken.sum(axis) + wanted.sum(axis))

    columns = np.array([r.counts for r in rows]).T
    theirs = bootstrap(
        (columns[0], columns[1], columns[3]), f1, paired=True, n_resamples=10_000, method="percentile", rng=1
    )
    ours = interval(score(rows).f1, samples)
    assert len(samples) == 10_000
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.004)
    assert samples.std() == pytest.approx(theirs.standard_error, rel=0.05)


def test_hosts_are_drawn_and_not_pages() -> None:
    """Every page twice says nothing new about the hosts; as hosts of their own, the interval would be narrower."""
    once = some_rows("x", 0.7)
    twice = once + [replace(r, url=r.url + "/again") for r in once]
    alone = once + [replace(r, url=r.url + "/again", host=r.host + "-2") for r in once]
    spread = [f1_of_resamples({"x": rows})["x"].std() for rows in (once, twice, alone)]
    assert spread[1] == pytest.approx(spread[0], rel=1e-9)
    assert spread[2] == pytest.approx(spread[0] / 2**0.5, rel=0.05)


def test_differences_are_paired_and_the_same_each_time() -> None:
    better, worse = some_rows("better", 0.8), some_rows("worse", 0.6)
    rows = {"better": better, "worse": worse, "twin": [replace(r, extractor="twin") for r in better]}
    samples = f1_of_resamples(rows)
    assert (samples["better"] == samples["twin"]).all()
    assert (f1_of_resamples(rows)["worse"] == samples["worse"]).all()
    difference = samples["better"] - samples["worse"]
    alone = (samples["better"].var() + samples["worse"].var()) ** 0.5
    assert difference.std() < 0.9 * alone  # the same chance made both
    assert (f1_of_resamples(rows, seed=1)["worse"] != samples["worse"]).any()
    assert len(f1_of_resamples(rows, resamples=1_234)["worse"]) == 1_234


def test_an_interval_says_its_sign() -> None:
    assert str(Interval(0.0, -0.01234, 0.5)) == "+0.000 (-0.012 to +0.500)"


def test_the_pages_of_most_doubt_go_to_the_slow_extractor() -> None:
    fast = [replace(row(n, (0, 1, 0, 1), "fast"), doubt=doubt, ms=1.0) for n, doubt in enumerate([0.1, 0.9, 0.5, 0.9])]
    slow = [replace(row(n, (1, 1, 1, 1), "slow"), ms=10.0) for n in range(4)]
    for share, sent, limit in [(0.0, 0, 0.9), (0.25, 0, 0.9), (0.5, 2, 0.5), (0.75, 3, 0.1), (1.0, 4, 0.0)]:
        rows, at, went = cascade(fast, slow, share)
        assert (score(rows).recall, at, went) == (sent / 4, limit, sent / 4)
        assert score(rows).ms == 1 + 10 * sent / 4
    lines = curve(fast + slow, "fast", "slow", "dev").splitlines()
    assert lines[2] == "| 0.0 % | 0.900 | 0.000 | 1.0 |"
    assert lines[-1] == "| 100.0 % | 0.000 | 1.000 | 11.0 |"
    slow[1] = replace(slow[1], counts=(0, 0, 0, 1), characters=0)
    rows, _, _ = cascade(fast, slow, 0.5)  # without a text of its own, the slow one changes nothing but the time
    assert [(r.counts[0], r.characters, r.ms) for r in rows] == [(0, 9, 1), (0, 9, 11), (0, 9, 1), (1, 9, 11)]


def test_table_subtracts_what_is_there() -> None:
    rows = [*some_rows("trafilatura fast", 0.6), *some_rows("y", 0.8)]
    head, _, first, second = table(rows, "dev", resamples=500).splitlines()
    assert "less trafilatura fast" in head
    assert "less trafilatura default" not in head
    cells = [[cell.strip() for cell in line.split("|")] for line in (first, second)]
    assert cells[0][5] == ""
    assert float(cells[1][5].split()[0]) == pytest.approx(float(cells[1][3]) - float(cells[0][3]), abs=0.0011)
    low, high = re.findall(r"[+-]\d\.\d+", cells[1][5])[1:]
    assert 0 < float(low) < float(cells[1][5].split()[0]) < float(high) < 0.2
    assert len(set(map(len, (head.split("|"), *cells)))) == 1
