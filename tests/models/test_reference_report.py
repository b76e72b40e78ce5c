from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.reference_report import THRESHOLDS, Auc, Report, area, describe, picture, reliability, shares

CITED = np.array([True, True, True, False, False, False])
SCORES = np.array([0.95, 0.9, 0.3, 0.35, 0.05, 0.25])


def report() -> Report:
    rows, error = reliability(CITED, SCORES)
    found = shares(CITED, SCORES, np.array([0.1, 0.9, np.nan, 0.5]))
    auc, baseline = Auc(0.9, 0.8, 0.95), Auc(0.5, 0.4, 0.6)
    return Report(
        300, 300, 3, 3, 200, "held-out sites", auc, baseline, error, rows, found, 4, 1, {"50": 0.6, "all": 0.9}
    )


def test_area_and_its_interval() -> None:
    chance = np.random.default_rng(3)
    cited = chance.random(600) < 0.5
    scores = cited + chance.normal(size=600)
    alone = area(cited, scores, [f"s{number}" for number in range(600)])
    assert alone is not None
    assert alone.value == round(roc_auc_score(cited, scores), 4)
    assert 0.015 < alone.value - alone.low < 0.06
    assert 0.015 < alone.high - alone.value < 0.06
    few = area(cited, scores, [f"s{number % 5}" for number in range(600)])
    assert few != alone
    assert area(cited, scores, [f"s{number}" for number in range(600)]) == alone
    assert area(np.ones(3, bool), scores[:3], ["a", "b", "c"]) is None
    assert str(alone).startswith(f"{alone.value:.3f} (95 %")


def test_reliability_by_hand() -> None:
    rows, error = reliability(CITED, SCORES)
    assert [(row.texts, row.score, row.cited) for row in rows] == [
        (1, 0.05, 0),
        (1, 0.25, 0),
        (2, 0.325, 0.5),
        (2, 0.925, 1),
    ]
    assert error == pytest.approx((0.05 + 0.25 + 2 * 0.175 + 2 * 0.075) / 6, abs=1e-4)
    both, balanced = reliability(np.r_[CITED, False, False, False], np.r_[SCORES, 0.35, 0.05, 0.25])
    assert balanced == error  # classes weigh alike, whatever their sizes
    assert [row.texts for row in both] == [2, 2, 3, 2]
    assert reliability(np.array([True, False]), np.array([1.0, 0.0])) == (
        (replace(rows[0], score=0.0), replace(rows[-1], texts=1, score=1.0)),
        0.0,
    )


def test_shares_by_hand() -> None:
    found = {row.threshold: row for row in shares(CITED, SCORES, np.array([0.1, 0.9, np.nan, 0.5]))}
    assert tuple(found) == THRESHOLDS
    assert 0.25 in found  # RedPajama's
    assert [found[0.25].cited, found[0.25].others, found[0.25].crawl] == [1.0, 0.6667, 0.75]
    assert [found[0.5].cited, found[0.5].others, found[0.5].crawl] == [0.6667, 0.0, 0.75]
    assert [found[0.95].cited, found[0.95].others, found[0.95].crawl] == [0.3333, 0.0, 0.25]
    assert shares(CITED, SCORES, np.empty(0))[0].crawl is None


def test_the_text_and_the_picture_say_it() -> None:
    text = describe(report())
    for part in (
        "0.900 (95 %",
        "length and language only: 0.500",
        "calibration error",
        "25.0% get no score",
        "     0.25",
    ):
        assert part in text
    drawn = ET.fromstring(picture(report()))
    names = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"cited pages", "other pages", "the crawl", "Share kept", "Calibration"} <= set(names)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 5
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 4
    assert json.loads(json.dumps(report().to_json()))["auc"]["value"] == 0.9


def test_without_claims_no_figure_is_given() -> None:
    for few, says in ((150, "fewer than 200"), (300, "not cited pages")):
        text = describe(replace(report(), positives=few, claims="none"))
        assert "nothing is claimed" in text
        assert says in text
        assert "AUC" not in text
        assert "0.9" not in text
    assert "Nothing is claimed" in picture(replace(report(), claims="none"))
    assert "Nothing is claimed" not in picture(report())
    assert ET.fromstring(picture(Report(1, 1, 0, 0, 200))) is not None
