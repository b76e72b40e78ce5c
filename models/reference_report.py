"""What a reference classifier is worth: measured on held-out sites, as JSON, as lines of text and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

FEWEST = 200  # cited pages; with fewer nothing is claimed
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
BINS = 10  # of the reliability table, equally wide
_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve, with the interval that holds 95 % of resamples of the sites. Rounded to 4 decimals."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % of resampled sites: {self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Bin:
    """One row of the reliability table: of the texts scored about `score`, the share `cited` was."""

    texts: int
    score: float
    cited: float


@dataclass(frozen=True, slots=True)
class Shares:
    """What a threshold keeps: of held-out cited pages, of other pages, and of the crawl (None: not sampled)."""

    threshold: float
    cited: float
    others: float
    crawl: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was trained on, and how well it tells cited pages of held-out sites from others."""

    positives: int
    negatives: int
    held_out_positives: int
    held_out_negatives: int
    minimum: int  # characters; shorter texts get no score
    claims: str = "none"  # or what the figures were measured on
    auc: Auc | None = None  # None when a class has no held-out text
    baseline: Auc | None = None  # of a model that sees length and language only
    calibration_error: float | None = None
    reliability: tuple[Bin, ...] = ()
    thresholds: tuple[Shares, ...] = ()
    crawl_documents: int = 0  # of held-out sites, at random
    crawl_unscored: int = 0
    by_length: dict[str, float] = field(default_factory=dict)  # characters read: AUC between sites in training

    @property
    def all_positives(self) -> int:
        return self.positives + self.held_out_positives

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def area(cited: np.ndarray, scores: np.ndarray, sites: Sequence[str]) -> Auc | None:
    """The AUC of scores, None when there is but one class. bool [texts], float [texts], site of each text."""
    if cited.all() or not cited.any():
        return None
    chance = np.random.default_rng(0)
    groups = np.unique(np.array(sites, dtype=str), return_inverse=True)[1]
    ranks = np.unique(scores, return_inverse=True)[1]
    count = groups.max() + 1
    values = []
    for _ in range(_RESAMPLES):
        times = np.bincount(chance.integers(count, size=count), minlength=count)[groups]
        if times[cited].any() and times[~cited].any():
            values.append(_area(ranks, times * cited, times * ~cited))
    low, high = np.quantile(values, (0.025, 0.975)) if values else (0.0, 1.0)
    value = _area(ranks, 1 * cited, 1 * ~cited)
    return Auc(round(value, 4), round(float(low), 4), round(float(high), 4))


def _area(ranks: np.ndarray, cited: np.ndarray, others: np.ndarray) -> float:
    """How often a cited text outranks another, ties counting half; `cited` and `others` say how often each occurs."""
    ups, downs = np.bincount(ranks, cited), np.bincount(ranks, others)
    below = np.cumsum(downs) - downs / 2
    return float((ups * below).sum() / (ups.sum() * downs.sum()))


def reliability(cited: np.ndarray, scores: np.ndarray) -> tuple[tuple[Bin, ...], float]:
    """The reliability table without its empty rows, and the expected calibration error, both classes weighing alike."""
    weights = np.where(cited, 0.5 / max(cited.sum(), 1), 0.5 / max((~cited).sum(), 1))
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows, error = [], 0.0
    for place in range(BINS):
        mine = places == place
        if weight := weights[mine].sum():
            score = float((weights[mine] * scores[mine]).sum() / weight)
            share = float(weights[mine & cited].sum() / weight)
            rows.append(Bin(int(mine.sum()), round(score, 4), round(share, 4)))
            error += weight * abs(score - share)
    return tuple(rows), round(float(error), 4)


def shares(cited: np.ndarray, scores: np.ndarray, crawl: np.ndarray) -> tuple[Shares, ...]:
    """What each threshold keeps. In `crawl`, a document without a score is NaN; it counts as kept."""
    return tuple(
        Shares(
            threshold,
            round(float((scores[cited] >= threshold).mean()), 4),
            round(float((scores[~cited] >= threshold).mean()), 4),
            round(float(((crawl >= threshold) | np.isnan(crawl)).mean()), 4) if len(crawl) else None,
        )
        for threshold in THRESHOLDS
    )


def describe(report: Report) -> str:
    """The report as lines of text. Without claims it says so, and gives no figure that could be taken for one."""
    lines = [
        f"trained on {report.positives} positives and {report.negatives} negatives",
        f"held out, by site: {report.held_out_positives} positives and {report.held_out_negatives} negatives",
        f"texts shorter than {report.minimum} characters get no score",
    ]
    if report.claims == "none":
        return "\n".join([*lines, _no_claim(report)])
    lines += [
        f"AUC on held-out sites: {report.auc}",
        f"a model that sees length and language only: {report.baseline}",
        f"expected calibration error: {report.calibration_error}",
        "",
        "  texts   score   cited",
        *(f"{row.texts:>7}   {row.score:5.2f}   {row.cited:5.2f}" for row in report.reliability),
    ]
    if report.by_length:
        lines += ["", "characters read   AUC", *(f"{k:>15}   {v:.3f}" for k, v in report.by_length.items())]
    lines += ["", "keep at least   cited pages   other pages   of the crawl"]
    for row in report.thresholds:
        crawl = "-" if row.crawl is None else f"{row.crawl:.1%}"
        lines.append(f"{row.threshold:>13.2f}   {row.cited:>11.1%}   {row.others:>11.1%}   {crawl:>12}")
    if report.crawl_documents:
        part = report.crawl_unscored / report.crawl_documents
        lines.append(
            f"of the crawl: {report.crawl_documents} documents at random; {part:.1%} get no score and are kept"
        )
    return "\n".join(lines)


def _no_claim(report: Report) -> str:
    if report.all_positives < FEWEST:
        return f"nothing is claimed for this model: it knows {report.all_positives} positives, fewer than {FEWEST}"
    return "nothing is claimed for this model: its positives are not cited pages, or none of them was held out"


_WIDTH, _HEIGHT, _LEFT, _TOP, _SIDE = 860, 420, 60, 50, 320
_COLOURS = {"cited pages": "#0b6e4f", "other pages": "#b3392f", "the crawl": "#555555"}


def picture(report: Report) -> str:
    """An SVG of two squares: the share kept at each threshold, and how often a score of x was a cited page."""
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in _COLOURS}
    for row in report.thresholds:
        for name, value in zip(_COLOURS, (row.cited, row.others, row.crawl), strict=True):
            if value is not None:
                curves[name].append((row.threshold, value))
    marks = [(row.score, row.cited) for row in report.reliability]
    right = _LEFT + _SIDE + 110
    body = [
        *_square(_LEFT, "Share kept", "documents with a score of at least x"),
        *_square(right, "Calibration", "score"),
    ]
    for place, (name, points) in enumerate(item for item in curves.items() if item[1]):
        body.append(_line(_LEFT, points, _COLOURS[name]))
        y = _TOP + _SIDE - 14 * (len(curves) - place)
        body.append(f'<text x="{_LEFT + 10}" y="{y}" fill="{_COLOURS[name]}">{name}</text>')
    body.append(_line(right, [(0, 0), (1, 1)], "#999999", ' stroke-dasharray="4 4"'))
    body.append(_line(right, marks, "#0b6e4f"))
    body += [f'<circle cx="{_x(right, x)}" cy="{_y(y)}" r="3.5" fill="#0b6e4f"/>' for x, y in marks]
    if report.claims == "none":
        body.append(
            f'<text x="{_LEFT}" y="{_HEIGHT - 8}" fill="#b3392f">Nothing is claimed: too few cited pages.</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _square(left: int, title: str, below: str) -> list[str]:
    lines = [f'<text x="{left}" y="{_TOP - 16}" font-size="15">{title}</text>']
    for tenth in range(0, 11, 2):
        at = tenth / 10
        lines += [
            f'<path d="M{_x(left, at)} {_y(0)}V{_y(1)}M{_x(left, 0)} {_y(at)}H{_x(left, 1)}" stroke="#dddddd"/>',
            f'<text x="{_x(left, at)}" y="{_y(0) + 16}" text-anchor="middle">{at:.1f}</text>',
            f'<text x="{left - 6}" y="{_y(at) + 4}" text-anchor="end">{at:.1f}</text>',
        ]
    lines.append(f'<text x="{left + _SIDE / 2:g}" y="{_y(0) + 34}" text-anchor="middle">{below}</text>')
    return lines


def _line(left: int, points: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
    path = " ".join(f"{_x(left, x)},{_y(y)}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{more}/>'


def _x(left: int, value: float) -> float:
    return round(left + _SIDE * value, 1)


def _y(value: float) -> float:
    return round(_TOP + _SIDE * (1 - value), 1)
