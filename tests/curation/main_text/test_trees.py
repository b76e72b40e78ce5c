from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from curation.main_text.trees import ARRAYS, Trees, from_nodes


def data(rows: int, columns: int = 7) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    drawn = np.random.default_rng(rows)
    features = drawn.normal(size=(rows, columns)).astype(np.float32)
    features[:, 2] = np.round(features[:, 2])  # many equal values: rows that lie on thresholds
    return features, features[:, 0] + features[:, 1] * features[:, 2] + drawn.normal(size=rows) > 0


def trained(trees: int = 20, **options: int) -> tuple[object, Trees]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        max_iter=trees, max_leaf_nodes=12, early_stopping=False, min_samples_leaf=3, random_state=0, **options
    )
    classifier.fit(*data(500))
    nodes = [predictors[0].nodes for predictors in classifier._predictors]
    return classifier, from_nodes(nodes, float(classifier._baseline_prediction.item()))


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_they_predict_what_scikit_learn_does(depth: int) -> None:
    classifier, trees = trained(max_depth=depth)
    features, _ = data(333)
    expected = classifier.predict_proba(features)[:, 1]  # type: ignore[attr-defined]
    assert np.abs(1 / (1 + np.exp(-trees.log_odds(features))) - expected).max() < 1e-12
    assert trees.depths.max() <= depth


def test_a_value_on_a_threshold_goes_left() -> None:
    _, trees = trained()
    splits = np.flatnonzero(np.isfinite(trees.threshold))
    rows = np.zeros((len(splits), 7), np.float32)
    rows[np.arange(len(splits)), trees.feature[splits]] = trees.threshold[splits]
    classifier, _ = trained()
    expected = classifier.predict_proba(rows)[:, 1]  # type: ignore[attr-defined]
    assert np.abs(1 / (1 + np.exp(-trees.log_odds(rows))) - expected).max() < 1e-12


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 63, 64, 65, 131])
def test_a_row_gets_the_same_bits_whichever_stand_beside_it(rows: int) -> None:
    _, trees = trained()
    features = data(131)[0][:rows]
    alone = [float(trees.log_odds(features[row : row + 1])[0]) for row in range(rows)]
    assert trees.log_odds(features).tolist() == alone


def test_columns_may_stand_elsewhere() -> None:
    classifier, trees = trained()
    features, _ = data(50)
    wider = np.zeros((50, 20), np.float32)
    places = [3, 19, 0, 7, 11, 5, 2]
    wider[:, places] = features
    nodes = [predictors[0].nodes for predictors in classifier._predictors]  # type: ignore[attr-defined]
    moved = from_nodes(nodes, trees.baseline, places)
    assert moved.log_odds(wider).tolist() == trees.log_odds(features).tolist()


def test_no_tree_is_the_baseline() -> None:
    trees = from_nodes([], 0.25)
    assert trees.log_odds(np.zeros((3, 2), np.float32)).tolist() == [0.25] * 3
    assert [getattr(trees, name).shape for name in ARRAYS] == [(0,)] * 6


def test_a_threshold_between_two_float32_is_rounded_down() -> None:
    nodes = np.zeros(3, [(n, t) for n, t in _node_fields()])
    nodes["left"][0], nodes["right"][0] = 1, 2
    nodes["is_leaf"] = [0, 1, 1]
    nodes["value"] = [0, -1, 1]
    below = np.float32(0.1)  # as float64 above 0.1
    nodes["num_threshold"][0] = 0.1
    trees = from_nodes([nodes], 0.0)
    rows = np.array([[np.nextafter(below, np.float32(0))], [below]], np.float32)
    assert (rows.astype(np.float64)[:, 0] <= 0.1).tolist() == [True, False]
    assert trees.log_odds(rows).tolist() == [-1.0, 1.0]


def _node_fields() -> list[tuple[str, type]]:
    return [
        ("value", np.float64),
        ("feature_idx", np.int64),
        ("num_threshold", np.float64),
        ("left", np.uint32),
        ("right", np.uint32),
        ("is_leaf", np.uint8),
    ]
