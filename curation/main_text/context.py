"""A second look: what the first scores of a page say about each of its blocks."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curation.main_text.elements import best_run, levels_up
from curation.main_text.features import Features
from curation.main_text.scan import Scan

NAMES = (
    *("score", "score_before1", "score_before2", "score_before3", "score_after1", "score_after2", "score_after3"),
    *("mean_of_5", "mean_of_11", "text_mean_of_5"),
    *(f"{level}_text_score" for level in ("block", "parent", "second", "third", "fourth")),
    *(f"{level}_score" for level in ("block", "parent", "second")),
    *("style_text_score", "style_score", "page_text_score", "page_kept", "page_blocks"),
    *("best_inside", "best_up", "best_score", "best_share", "best_place", "best_down"),
    *("run_inside", "to_best_run", "best_run_score", "best_run_share"),
    *("kept_before", "kept_after", "to_kept_before", "to_kept_after", "relative_score", "best_block_score"),
)
_LONGEST = 1500.0  # of a block's length, what counts as its weight
_EVEN = 0.4  # a score above it speaks for the block when the best subtree and run are looked for


def context(page: Scan, first_look: Features, scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32[blocks, len(NAMES)]. `scores` float64[blocks] are of the first look, between 0 and 1."""
    rows = np.empty((len(scores), len(NAMES)), np.float32)
    _context(
        page.block_element, page.parent, page.end, page.depth, first_look.first, first_look.last, first_look.styles,
        first_look.rows[:, 0].astype(np.float64), scores, rows,
    )  # fmt: skip
    return rows


@njit(cache=True, nogil=True)
def _context(element, parent, end, depth, first, last, styles, length, score, rows):  # type: ignore[no-untyped-def]
    blocks = len(element)
    # Running sums of weight, weighted score, score, worth, weight of what is kept.
    sums, by_style = np.zeros((blocks + 1, 5)), np.zeros((blocks, 4))
    most = 0.0
    for b in range(blocks):
        weight, s = min(length[b], _LONGEST) + 5, score[b]
        sums[b + 1, 0] = sums[b, 0] + weight
        sums[b + 1, 1] = sums[b, 1] + weight * s
        sums[b + 1, 2] = sums[b, 2] + s
        sums[b + 1, 3] = sums[b, 3] + (s - _EVEN) * weight
        sums[b + 1, 4] = sums[b, 4] + (weight if s > 0.5 else 0.0)
        style = by_style[styles[b]]
        style[0] += weight
        style[1] += weight * s
        style[2] += 1
        style[3] += s
        most = max(most, s)
    best, greatest = 0, -1e18
    for e in range(len(parent)):
        if last[e] >= 0:
            worth = sums[last[e], 3] - sums[first[e], 3]
            if worth >= greatest:
                best, greatest = e, worth
    best_first, best_last = first[best], last[best]
    best_score = _mean(sums, 1, 0, best_first, best_last)
    best_share = (sums[best_last, 0] - sums[best_first, 0]) / sums[blocks, 0]
    run_first, run_last = best_run(sums[:, 3])
    run_score = _mean(sums, 1, 0, run_first, run_last) if run_last > run_first else 0.0
    run_share = (sums[run_last, 0] - sums[run_first, 0]) / sums[blocks, 0]
    kept_after = np.full(blocks + 1, blocks, np.int32)
    for b in range(blocks - 1, -1, -1):
        kept_after[b] = b if score[b] > 0.5 and length[b] > 50 else kept_after[b + 1]
    kept = -1
    for b in range(blocks):
        row, e = rows[b], element[b]
        row[0] = score[b]
        for distance in range(1, 4):
            row[distance] = score[b - distance] if b >= distance else -1
            row[3 + distance] = score[b + distance] if b + distance < blocks else -1
        a, z = max(0, b - 2), min(blocks, b + 3)
        row[7] = (sums[z, 2] - sums[a, 2]) / (z - a)
        row[9] = _mean(sums, 1, 0, a, z)
        a, z = max(0, b - 5), min(blocks, b + 6)
        row[8] = (sums[z, 2] - sums[a, 2]) / (z - a)
        around = e
        for level in range(5):
            if around >= 0:
                a, z = first[around], last[around]
                row[10 + level] = _mean(sums, 1, 0, a, z)
                if level < 3:
                    row[15 + level] = (sums[z, 2] - sums[a, 2]) / (z - a)
                around = parent[around]
            else:
                row[10 + level] = -1
                if level < 3:
                    row[15 + level] = -1
        style = by_style[styles[b]]
        row[18] = style[1] / style[0]
        row[19] = style[3] / style[2]
        row[20] = _mean(sums, 1, 0, 0, blocks)
        row[21] = sums[blocks, 4]
        row[22] = blocks
        levels, common = levels_up(e, best, parent, end)
        row[23] = best <= e < end[best]
        row[24] = levels
        row[25] = best_score
        row[26] = best_share
        row[27] = (b - best_first) / (best_last - best_first)
        row[28] = depth[best] - (depth[common] if common >= 0 else 0)
        row[29] = run_first <= b < run_last
        row[30] = b - run_first if b < run_first else b - run_last + 1 if b >= run_last else 0
        row[31] = run_score
        row[32] = run_share
        row[33] = sums[b, 4] / max(1.0, sums[blocks, 4])
        row[34] = (sums[blocks, 4] - sums[b + 1, 4]) / max(1.0, sums[blocks, 4])
        row[35] = b - kept if kept >= 0 else 999
        row[36] = kept_after[b + 1] - b if kept_after[b + 1] < blocks else 999
        row[37] = score[b] / max(1e-6, most)
        row[38] = most
        if score[b] > 0.5 and length[b] > 50:
            kept = b


@njit(cache=True, nogil=True)
def _mean(sums, what, weight, a, z):  # type: ignore[no-untyped-def]
    return (sums[z, what] - sums[a, what]) / (sums[z, weight] - sums[a, weight])
