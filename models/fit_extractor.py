"""From labelled pages to the model of main text: learned words, two looks at each block, and what they achieve unseen.

Everything that a page is judged by while training comes from pages of other hosts: its words' odds, and its scores of
the first look. So the second look learns from scores as they will be, and the figures are of unseen hosts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.main_text import model as main_text
from curation.main_text.features import NAMES, Features, features
from curation.main_text.model import Model
from curation.main_text.scan import Scan
from curation.main_text.trees import Trees, from_nodes
from curation.main_text.vocabulary import vocabulary
from models.main_text_labels import Labels

FOLDS = 4
LEAST_SITES = 4  # that a learned word occurs on
PRIOR_SITES = 3.0  # that say nothing about a word, added to those that do
SHORT = 120  # characters of a block whose first words are learned
MOST_BLOCKS, MOST_BLOCKS_OF_GOLD = 80, 350  # of a page, drawn by a seed
CERTAIN = 8.0  # weight of a block that gold decides, beside about 1 of the others
OF_GOLD, OF_OTHERS = 3.0, 1.2  # weight of a page
SECOND_LOOK = 60  # features that the second look reads again, those of the first look's greatest gain
FIRST_TREES, SECOND_TREES, COMMENT_TREES = 60, 50, 25
RATE = 0.12

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Example:
    """A page to learn from. `labels` float64[blocks], the share that is main text; `certain` bool[blocks], where gold
    decided; `trust` in the labels that it did not, from 0 to 1; `comments` bool[blocks]."""

    url: str
    site: str
    page: Scan
    labels: Labels
    certain: NDArray[np.bool_]
    trust: float
    comments: NDArray[np.bool_]
    is_gold: bool

    @property
    def fold(self) -> int:
        return hashlib.sha256(f"fold {self.site}".encode()).digest()[0] % FOLDS


@dataclass(frozen=True, slots=True)
class Fitted:
    """`log_odds` float64[blocks] of each page by models that saw nothing of its host, threshold not taken off."""

    model: Model
    log_odds: tuple[NDArray[np.float64], ...]


def fit(examples: Sequence[Example], threshold: float, show: Show = lambda line: None) -> Fitted:
    """Train on pages of FOLDS sites or more. The same examples give the same model."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # one order of additions
        return _fit(examples, threshold, show)


def _fit(examples: Sequence[Example], threshold: float, show: Show) -> Fitted:
    nothing = vocabulary({}, {})
    words, first_words = [], []
    for each in examples:
        unlearned = features(each.page, nothing)
        words.append(element_words(each, unlearned))
        first_words.append(block_words(each, unlearned))

    def known(left_out: int) -> tuple[dict[int, float], dict[int, float]]:
        of = [i for i, each in enumerate(examples) if each.fold != left_out]
        return tuple(learn([(examples[i].site, *shares[i]) for i in of]) for shares in (words, first_words))  # type: ignore[return-value]

    found: list[Features] = [None] * len(examples)  # type: ignore[list-item]
    for fold in range(FOLDS):
        learned = vocabulary(*known(fold))
        for i, each in enumerate(examples):
            if each.fold == fold:
                found[i] = features(each.page, learned)
    show("features")
    rows = [each.rows for each in found]
    once = _unseen(examples, rows, FIRST_TREES, show)
    first = _train(examples, rows, FIRST_TREES)
    again = np.sort(np.argsort(-_gains(first), kind="stable")[:SECOND_LOOK])
    looks = [
        main_text.second_rows(again, each.page, one, main_text.squashed(log_odds))
        for each, one, log_odds in zip(examples, found, once, strict=True)
    ]
    twice = _unseen(examples, looks, SECOND_TREES, show)
    second = _train(examples, looks, SECOND_TREES)
    comments = _train(examples, rows, COMMENT_TREES, comments=True)
    odds, text_odds = known(-1)
    fitted = Model(
        odds=odds,
        text_odds=text_odds,
        first=_as_trees(first),
        second=_as_trees(second),
        again=again.astype(np.int64),
        comments=_as_trees(comments),
        threshold=threshold,
        known=vocabulary(odds, text_odds),
    )
    return Fitted(fitted, tuple(main_text.together(*both) for both in zip(once, twice, strict=True)))


def _unseen(
    examples: Sequence[Example], rows: Sequence[NDArray[np.float32]], trees: int, show: Show
) -> list[NDArray[np.float64]]:
    """Log-odds of each page's blocks by trees that were trained on the other folds."""
    found: list[NDArray[np.float64]] = [np.empty(0)] * len(examples)
    for fold in range(FOLDS):
        others = [i for i, each in enumerate(examples) if each.fold != fold]
        trained = _as_trees(_train([examples[i] for i in others], [rows[i] for i in others], trees))
        for i, each in enumerate(examples):
            if each.fold == fold:
                found[i] = trained.log_odds(rows[i])
        show(f"fold {fold + 1} of {FOLDS}")
    return found


def _train(examples: Sequence[Example], rows: Sequence[NDArray[np.float32]], trees: int, comments: bool = False) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    drawn = np.random.default_rng(0)
    inputs, kept, weights = [], [], []
    for each, own in zip(examples, rows, strict=True):
        most = MOST_BLOCKS_OF_GOLD if each.is_gold else MOST_BLOCKS
        blocks = len(own)
        chosen = np.arange(blocks) if blocks <= most else np.sort(drawn.choice(blocks, most, replace=False))
        chosen = np.union1d(chosen, np.flatnonzero(each.certain))
        lengths = each.page.text_to[chosen] - each.page.text_from[chosen]
        weight = (np.minimum(lengths, 1000) + 10.0) ** 0.3
        weight *= 10 * np.sqrt(blocks) * len(chosen) / blocks / weight.sum()
        weight = weight * each.trust + CERTAIN * each.certain[chosen]
        label = each.labels[chosen]
        if comments:
            weight, label = np.where(label > 0.5, 0, weight), each.comments[chosen].astype(np.float64)
        inputs.append(own[chosen])
        kept.append(label > 0.5)
        weights.append(weight * np.maximum(0.15, np.abs(2 * label - 1)) * (OF_GOLD if each.is_gold else OF_OTHERS))
    classifier = HistGradientBoostingClassifier(
        max_iter=trees,
        learning_rate=RATE,
        max_leaf_nodes=24,
        max_depth=6,
        l2_regularization=5.0,
        min_samples_leaf=20,
        max_features=0.3,
        max_bins=64,
        early_stopping=False,
        random_state=0,
    )
    return classifier.fit(np.concatenate(inputs), np.concatenate(kept), sample_weight=np.concatenate(weights))


def _as_trees(classifier: Any) -> Trees:
    nodes = [one[0].nodes for one in classifier._predictors]
    return from_nodes(nodes, float(classifier._baseline_prediction.item()))


def _gains(classifier: Any) -> NDArray[np.float64]:
    gains = np.zeros(len(NAMES))
    for one in classifier._predictors:
        nodes = one[0].nodes[one[0].nodes["is_leaf"] == 0]
        np.add.at(gains, nodes["feature_idx"].astype(np.int64), nodes["gain"])
    return gains


def element_words(each: Example, found: Features) -> tuple[dict[int, float], float]:
    """How much of the text below elements with a class word is main text, by word; and of the whole page."""
    page = each.page
    weight = np.minimum(400, (page.text_to - page.text_from).astype(np.float64))
    kept, total = (np.concatenate([[0.0], np.cumsum(w)]) for w in (weight * each.labels, weight))
    counts = page.word_to - page.word_from
    element = np.repeat(np.arange(len(page.tag)), counts)
    place = np.arange(len(element)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(page.word_from, counts)
    inside = found.last[element] >= 0
    element, words = element[inside], page.words[place[inside]]
    first, last = found.first[element], found.last[element]
    distinct, number = np.unique(words, return_inverse=True)
    weights = np.bincount(number, total[last] - total[first], len(distinct))
    shares = np.bincount(number, kept[last] - kept[first], len(distinct)) / np.maximum(1, weights)
    return dict(zip(distinct.tolist(), shares.tolist(), strict=True)), float(kept[-1] / max(1, total[-1]))


def block_words(each: Example, found: Features) -> tuple[dict[int, float], float]:
    """The same of the first words of short blocks, each block counting as one."""
    short = np.flatnonzero(found.rows[:, 0] < SHORT)
    if not len(short):
        return {}, float(each.labels.mean())
    words = found.words[short]
    labels = np.repeat(each.labels[short], words.shape[1])
    flat = words.ravel()
    distinct, number = np.unique(flat[flat != 0], return_inverse=True)
    shares = np.bincount(number, labels[flat != 0], len(distinct)) / np.maximum(
        1, np.bincount(number, minlength=len(distinct))
    )
    return dict(zip(distinct.tolist(), shares.tolist(), strict=True)), float(each.labels[short].mean())


def learn(shares: Sequence[tuple[str, Mapping[int, float], float]]) -> dict[int, float]:
    """Log-odds of words less those of all text: `shares` are (site, {word: share}, share of all) of each page.

    A site has one vote, its pages' mean; words of fewer than LEAST_SITES sites are left out.
    """
    by_word: dict[int, dict[str, list[float]]] = {}
    for site, words, _ in shares:
        for word, share in words.items():
            by_word.setdefault(word, {}).setdefault(site, []).append(share)
    base = min(0.99, max(0.01, float(np.mean([share for *_, share in shares]))))
    learned = {}
    for word in sorted(by_word):
        sites = by_word[word]
        if len(sites) >= LEAST_SITES:
            votes = sum(sum(votes) / len(votes) for votes in sites.values())
            share = (votes + PRIOR_SITES * base) / (len(sites) + PRIOR_SITES)
            share = min(0.999, max(0.001, share))
            learned[word] = float(np.float32(np.log(share / (1 - share)) - np.log(base / (1 - base))))
    return learned
