"""A small `benchmarks.near_recall`: what is printed there for thousands of texts is held here for hundreds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.near_recall import SIMILARITIES, Curve, best_before, corpus, curves, dropped, jaccard, promised
from curation.dedup.near import Near, shingles

NEAR = Near()
PAIRS = 60
ROWS = NEAR.bands * NEAR.rows


@pytest.fixture(scope="module")
def measured() -> dict[float, Curve]:
    return curves(NEAR, PAIRS)


def test_copies_have_the_similarity_that_was_planted(measured: dict[float, Curve]) -> None:
    assert tuple(measured) == SIMILARITIES
    for planted, curve in measured.items():
        assert curve.exact.mean() == pytest.approx(planted, abs=0.03)


def test_the_estimate_is_unbiased_and_as_close_as_datasketchs(measured: dict[float, Curve]) -> None:
    """The share of equal rows, against the exact Jaccard similarity, within 4 standard errors; rms as theory says."""
    for curve in measured.values():
        variances = curve.exact * (1 - curve.exact) / ROWS
        assert abs(curve.error.mean()) <= 4 * math.sqrt(variances.mean() / PAIRS)
        assert np.sqrt((curve.error**2).mean()) == pytest.approx(math.sqrt(variances.mean()), rel=0.4)
    ours, theirs = (
        np.concatenate([getattr(curve, name) for curve in measured.values()]) for name in ("error", "error_datasketch")
    )
    assert np.sqrt((ours**2).mean()) == pytest.approx(np.sqrt((theirs**2).mean()), rel=0.15)


def test_pairs_meet_as_often_as_the_formula_and_datasketchs_lsh_say(measured: dict[float, Curve]) -> None:
    for curve in measured.values():
        expected = promised(curve.exact, NEAR)
        error = math.sqrt((expected * (1 - expected)).sum()) / PAIRS
        assert abs(curve.met.mean() - expected.mean()) <= 4 * error + 1e-9
        assert abs(curve.met_datasketch.mean() - expected.mean()) <= 4 * error + 1e-9


def test_recall_and_precision_on_a_corpus_with_planted_copies() -> None:
    """Of texts with a predecessor of 0.85 and more nearly all go; next to none goes without one of 0.5."""
    texts = corpus(NEAR, families=250, seed=5)
    best = best_before([shingles(text, NEAR.ngram) for text in texts])
    went = dropped(NEAR, texts, parts=4)
    assert (dropped(NEAR, texts, parts=9) == went).all()
    close, none = best >= 0.85, best < 0.4
    assert close.sum() > 80
    assert none.sum() > 200
    assert went[close].mean() >= 0.97
    assert not went[none].any()
    middle = (best >= 0.6) & (best < 0.85)
    expected = promised(best[middle], NEAR)
    error = math.sqrt((expected * (1 - expected)).sum())
    # Others before it, beside the best one, can only add to what the formula promises.
    assert -4 * error <= went[middle].sum() - expected.sum() <= 4 * error + 0.1 * middle.sum()


def test_the_oracle_compares_with_every_text_before() -> None:
    texts = ["a b c d e f", "x y z", "a b c d e g", "a b c d e f g"]
    sets = [shingles(text, 2) for text in texts]
    assert best_before(sets).tolist() == [0, 0, 4 / 6, 5 / 6]
    assert jaccard(sets[0], sets[2]) == 4 / 6
