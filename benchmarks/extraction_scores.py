"""Scores of extracted texts against gold, with intervals: precision, recall and F1 of strings or of whole texts.

Both kinds of gold end in four numbers a page, and the score of many pages comes from their sums:

    precision = right / taken        recall = reached / wanted        F1 = 2 P R / (P + R)

*Strings* (`Gold`): right and reached are the "with" strings found, taken all strings found, wanted the "with" strings.
*Texts* (`GoldText`): a text is the multiset of its shingles, runs of four tokens (`\\w+`, case kept; a shorter text is
one shingle). right is the share of the extracted text's shingles that the gold text has, reached the share of the gold
text's that the extracted one has; taken and wanted are 1, or 0 where that text has no shingle. So precision and recall
are means over pages, whatever their length; a page without extracted text counts for recall alone. This is how the
article extraction benchmark of Scrapinghub (Zyte, 2020) defines them.

Intervals: 95 %, between percentiles of 10,000 bootstrap resamples of the hosts, since pages of a site are alike. The
resamples are the same for every extractor, so differences are paired.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SHINGLE = 4
RESAMPLES = 10_000
_AT_ONCE = 1_000  # resamples: bounds the memory
_TOKEN = re.compile(r"\w+")

Counts = tuple[float, float, float, float]  # right, taken, reached, wanted


@dataclass(frozen=True, slots=True)
class Gold:
    """What the main text of a page must have and must not have; white space collapsed, NFC."""

    present: tuple[str, ...]
    absent: tuple[str, ...]

    def counts(self, text: str) -> Counts:
        flat = collapsed(text)
        found = sum(string in flat for string in self.present)
        return found, found + sum(string in flat for string in self.absent), found, len(self.present)


@dataclass(frozen=True, slots=True)
class GoldText:
    """The whole main text of a page."""

    text: str

    def counts(self, text: str) -> Counts:
        return shingle_counts(shingles(text), shingles(self.text))


@dataclass(frozen=True, slots=True)
class Row:
    """One extractor on one page. `doubt` is what it says about its own text, 0 to 1, if it says that."""

    extractor: str
    url: str
    host: str
    half: str
    counts: Counts
    characters: int
    ms: float
    doubt: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Of many rows. `precision` is 1 where nothing was taken, `recall` where nothing was wanted."""

    pages: int
    empty: int
    precision: float
    recall: float
    f1: float
    ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def collapsed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def shingles(text: str, token: re.Pattern[str] = _TOKEN) -> Counter[tuple[str, ...]]:
    tokens = token.findall(text)
    return Counter(zip(*(tokens[start:] for start in range(min(SHINGLE, len(tokens)))), strict=False))


def shingle_counts(extracted: Counter[tuple[str, ...]], gold: Counter[tuple[str, ...]]) -> Counts:
    taken, wanted = extracted.total(), gold.total()
    common = sum(min(count, gold[shingle]) for shingle, count in extracted.items())
    return common / (taken or 1), float(taken > 0), common / (wanted or 1), float(wanted > 0)


def score(rows: Sequence[Row]) -> Score:
    precision, recall, f1 = (float(part) for part in _scores(np.array([row.counts for row in rows]).sum(axis=0)))
    times = sorted(row.ms for row in rows)
    return Score(
        pages=len(rows),
        empty=sum(not row.characters for row in rows),
        precision=precision,
        recall=recall,
        f1=f1,
        ms=sum(times) / len(times),
        p99_ms=times[-1 - len(times) // 100],
    )


def _scores(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of sums [..., 4]."""
    right, taken, reached, wanted = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    precision = np.divide(right, taken, out=np.ones_like(right), where=taken > 0)
    recall = np.divide(reached, wanted, out=np.ones_like(right), where=wanted > 0)
    both = precision + recall
    return precision, recall, np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)


def f1_of_resamples(
    rows: Mapping[str, Sequence[Row]], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """F1 of each extractor in each resample of the hosts. All extractors have rows of the same pages."""
    hosts = sorted({row.host for some in rows.values() for row in some})
    number = {host: n for n, host in enumerate(hosts)}
    sums = np.zeros((len(hosts), len(rows), 4))
    for column, some in enumerate(rows.values()):
        np.add.at(sums[:, column], [number[row.host] for row in some], [row.counts for row in some])
    chance = np.random.default_rng(seed)
    f1 = np.empty((resamples, len(rows)))
    for start in range(0, resamples, _AT_ONCE):
        times = chance.multinomial(len(hosts), np.full(len(hosts), 1 / len(hosts)), min(_AT_ONCE, resamples - start))
        drawn = times.astype(np.float64) @ sums.reshape(len(hosts), -1)
        f1[start : start + len(times)] = _scores(drawn.reshape(len(times), len(rows), 4))[2]
    return {name: f1[:, column] for column, name in enumerate(rows)}


def interval(value: float, samples: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(samples, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def by_extractor(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.extractor, []).append(row)
    return found


def cascade(fast: Sequence[Row], slow: Sequence[Row], share: float) -> tuple[list[Row], float, float]:
    """The rows where the `share` of pages that `fast` doubts most goes on to `slow`, the doubt beyond which, and the
    share that went: pages whose doubt is the limit itself stay, as with a threshold.

    Such a page costs both; its text is the slow extractor's, if that has any.
    """
    doubts = sorted((row.doubt for row in fast if row.doubt is not None), reverse=True)
    assert len(doubts) == len(fast), "rows of an extractor that does not doubt"
    count = round(share * len(fast))
    limit = doubts[count] if count < len(doubts) else 0.0
    of_slow = {row.url: row for row in slow}
    rows, sent = [], 0
    for row in fast:
        if row.doubt is not None and row.doubt > limit:
            other = of_slow[row.url]
            taken = other if other.characters else row
            row = replace(row, counts=taken.counts, characters=taken.characters, ms=row.ms + other.ms)
            sent += 1
        rows.append(row)
    return rows, limit, sent / len(fast)
