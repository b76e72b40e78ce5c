"""Gradient-boosted trees as flat arrays: the same sums in the same order, so the same bits on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Trees:
    """An ensemble over rows of float32 features; a row goes right where its feature is above the threshold.

    Nodes of all trees stand in a row, the two children of a node beside each other. A leaf is its own child with an
    infinite threshold, so that every row takes as many steps as the tree is deep.
    """

    baseline: float
    roots: NDArray[np.int32]  # [trees]
    depths: NDArray[np.int32]  # [trees]
    feature: NDArray[np.uint16]  # [nodes]
    threshold: NDArray[np.float32]  # [nodes]
    left: NDArray[np.uint32]  # [nodes]; the right child is the next one
    value: NDArray[np.float64]  # [nodes]; 0 where it is no leaf

    def log_odds(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64[rows] of float32[rows, features], which holds no NaN."""
        sums: NDArray[np.float64] = _sum(
            rows, self.baseline, self.roots, self.depths, self.feature, self.threshold, self.left, self.value
        )
        return sums


ARRAYS = ("roots", "depths", "feature", "threshold", "left", "value")


def from_nodes(trees: Sequence[Any], baseline: float, columns: Sequence[int] | None = None) -> Trees:
    """Trees of scikit-learn's HistGradientBoosting: for each the structured array of its nodes, the root first.

    `columns` gives the number of each of the model's features among those of the rows. Rows hold no missing values
    and no categories. A threshold becomes the largest float32 that is not above it, which float32 values cannot tell
    from it.
    """
    roots, depths, parts = [], [], []
    start = 0
    for nodes in trees:
        order, depth = _by_level(nodes)
        place = np.empty(len(nodes), np.int64)
        place[order] = np.arange(len(nodes))
        sorted_nodes = nodes[order]
        leaf = sorted_nodes["is_leaf"].astype(bool)
        feature = np.where(leaf, 0, sorted_nodes["feature_idx"]).astype(np.int64)
        if columns is not None:
            feature = np.asarray(columns, np.int64)[feature]
        left = np.where(leaf, np.arange(len(nodes)), place[np.where(leaf, 0, sorted_nodes["left"])]) + start
        threshold = np.where(leaf, np.inf, sorted_nodes["num_threshold"])
        parts.append((feature, _rounded_down(threshold), left, np.where(leaf, sorted_nodes["value"], 0.0)))
        roots.append(start)
        depths.append(depth)
        start += len(nodes)
    columns_of = list(zip(*parts, strict=True)) if parts else [[np.empty(0)]] * 4
    feature, threshold, left, value = (np.concatenate(column) for column in columns_of)
    return Trees(
        float(baseline),
        np.array(roots, np.int32),
        np.array(depths, np.int32),
        feature.astype(np.uint16),
        threshold.astype(np.float32),
        left.astype(np.uint32),
        value.astype(np.float64),
    )


def _by_level(nodes: Any) -> tuple[NDArray[np.int64], int]:
    """The nodes in an order in which siblings stand together, and the depth of the tree."""
    order, level, depth = [0], [0], -1
    while level:
        depth += 1
        level = [
            int(child)
            for node in level
            if not nodes[node]["is_leaf"]
            for child in (nodes[node]["left"], nodes[node]["right"])
        ]
        order += level
    return np.array(order, np.int64), depth


def _rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    near = values.astype(np.float32)
    return np.where(near.astype(np.float64) > values, np.nextafter(near, np.float32(-np.inf)), near)


@njit(cache=True, nogil=True)
def _sum(rows, baseline, roots, depths, feature, threshold, left, value):  # type: ignore[no-untyped-def]
    count = len(rows)
    sums = np.full(count, baseline)
    for first in range(0, count, 64):  # 64 rows stay in the cache while all trees are asked
        beyond = min(first + 64, count)
        for tree in range(len(roots)):
            root, depth = np.uint64(roots[tree]), depths[tree]
            row = first
            while row + 4 <= beyond:  # four go down together, so that the loads of one do not wait for another's
                x0, x1, x2, x3 = rows[row], rows[row + 1], rows[row + 2], rows[row + 3]
                n0, n1, n2, n3 = root, root, root, root
                for _ in range(depth):
                    n0 = np.uint64(left[n0]) + np.uint64(x0[feature[n0]] > threshold[n0])
                    n1 = np.uint64(left[n1]) + np.uint64(x1[feature[n1]] > threshold[n1])
                    n2 = np.uint64(left[n2]) + np.uint64(x2[feature[n2]] > threshold[n2])
                    n3 = np.uint64(left[n3]) + np.uint64(x3[feature[n3]] > threshold[n3])
                sums[row] += value[n0]
                sums[row + 1] += value[n1]
                sums[row + 2] += value[n2]
                sums[row + 3] += value[n3]
                row += 4
            while row < beyond:
                x0, n0 = rows[row], root
                for _ in range(depth):
                    n0 = np.uint64(left[n0]) + np.uint64(x0[feature[n0]] > threshold[n0])
                sums[row] += value[n0]
                row += 1
    return sums
