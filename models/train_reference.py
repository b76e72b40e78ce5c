"""Train the reference classifier: python -m models.train_reference --positives P.jsonl --negatives N.jsonl --out MODELS

Each line of the inputs is {"url": …, "text": …}. The classes are cut to one distribution of lengths, and sites are
either trained on or held out, so that neither length nor a site's boilerplate is what the reported AUC measures. With a
dump and a crawl of your own, `python -m pipelines.reference` finds the examples itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from curation.errors import CommandLine, UserError, exit_on_user_error
from curation.hashing import hash64
from curation.sources.wikipedia import articles
from curation.url import registered_domain
from models import jsonl
from models.artifact import npy, write_artifact
from models.reference_report import FEWEST, Auc, Report, area, describe, picture, reliability, shares
from models.reference_score import BATCH, FORMAT, SETTINGS, WEIGHTS, Calibration, make_vectorizer

REPORT, PICTURE = "report.json", "report.svg"
FOLDS = 5  # of the sites: 0 is held out, the others are trained on and calibrate each other
LADDER = (50, 100, 200, 300, 500, 800, 1200)  # characters, at which it is asked whether a text can be judged yet
_ENOUGH = 0.8  # of what the whole text's AUC is above chance
_ENCYCLOPEDIA = "https://en.wikipedia.org/wiki/"


@dataclass(frozen=True, slots=True)
class Example:
    """A text to learn from. `site` is what is held out as a whole; `characters` the length of the whole document."""

    text: str
    cited: bool
    site: str
    language: str = ""
    characters: int = 0


def train_reference(
    examples: Iterable[Example],
    models_dir: Path,
    *,
    origin: str,
    licence: str,
    crawl: Iterable[Example] = (),
    cited_pages: bool = True,
    characters: int = 2000,
    shortest: int = 200,
    features: int = 1 << 18,
    words: int = 2,
    languages: Sequence[str] | None = None,
    books: Mapping[str, Any] | None = None,
) -> Report:
    """Train on examples, the classes matched already, and write the artifact `models_dir/reference`.

    A fifth of the sites is held out and measured on; the others calibrate each other: each is scored by a model that
    did not see it. `crawl` is a random sample of documents, for the share that each threshold keeps; those of held-out
    sites count. `cited_pages` is False when the positives are a stand-in; `books` says where the examples came from.
    Holds the features of all examples, some 16 KB each, and no texts but those of one fold in five. Equal examples in
    equal order give equal bytes.

    Raises UserError when a class is empty.
    """
    settings: dict[str, Any] = {
        "format": FORMAT,
        "features": features,
        "words": words,
        "characters": characters,
        "languages": None if languages is None else sorted(languages),
    }
    vectorizer = make_vectorizer(settings)
    table = _Table.of((e for e in examples if len(e.text) >= shortest), vectorizer, characters)
    trained = table.folds != 0
    for name, mine in (("positives", table.cited & trained), ("negatives", ~table.cited & trained)):
        if not mine.any():
            raise UserError(f"no {name} of {shortest} characters or more to train on")
    with threadpool_limits(1):  # sums of floats depend on how threads share them
        model = _fit(table, trained)
        calibration = _calibrate(table)
        by_length = _by_length(table, vectorizer)
        minimum = max(shortest, _long_enough_to_judge(by_length, characters))
        held_out = ~trained & (table.characters >= minimum)  # what will get a score
        weights, intercept = model.coef_[0].astype(np.float32), round(float(model.intercept_[0]), 6)
        settings |= {"intercept": intercept, "minimum": minimum, "calibration": asdict(calibration)}

        def scores(rows: csr_matrix) -> np.ndarray:
            return calibration.probabilities(rows @ weights.astype(np.float64) + intercept).round(4)

        report = Report(
            positives=int((table.cited & trained).sum()),
            negatives=int((~table.cited & trained).sum()),
            held_out_positives=int((table.cited & held_out).sum()),
            held_out_negatives=int((~table.cited & held_out).sum()),
            minimum=minimum,
            by_length=by_length,
        )
        if _both(table.cited[held_out]):
            cited, found = table.cited[held_out], scores(table.features[held_out])
            sample = _score_sample(crawl, vectorizer, scores, settings)
            rows, error = reliability(cited, found)
            report = replace(
                report,
                claims="held-out sites" if cited_pages and report.all_positives >= FEWEST else "none",
                auc=area(cited, found, [table.sites[place] for place in np.flatnonzero(held_out)]),
                baseline=_baseline(table, held_out),
                calibration_error=error,
                reliability=rows,
                thresholds=shares(cited, found, sample),
                crawl_documents=len(sample),
                crawl_unscored=int(np.isnan(sample).sum()),
            )
    write_artifact(
        models_dir / "reference",
        {
            WEIGHTS: npy(weights),
            SETTINGS: _json(settings),
            REPORT: _json(report.to_json()),
            PICTURE: picture(report).encode(),
        },
        kind="reference",
        format="logistic regression on hashed word n-grams: numpy weights, JSON settings",
        licence=licence,
        origin=origin,
        parameters={
            **{name: value for name, value in settings.items() if name not in ("calibration", "intercept")},
            "positives": report.positives,
            "negatives": report.negatives,
            "held_out_positives": report.held_out_positives,
            "held_out_negatives": report.held_out_negatives,
            "auc": report.auc.value if report.auc else None,
            "claims": report.claims,
            "books": dict(books or {}),
        },
    )
    return report


@dataclass(frozen=True, slots=True)
class _Table:
    """Examples as columns. `texts` holds those of fold 1 only, for asking how much of a text it takes to judge it."""

    features: csr_matrix
    cited: np.ndarray
    folds: np.ndarray
    characters: np.ndarray
    sites: list[str]
    languages: list[str]
    texts: list[str]

    @classmethod
    def of(cls, examples: Iterable[Example], vectorizer: HashingVectorizer, characters: int) -> _Table:
        rows, kept, texts = [], [], []
        source = iter(examples)
        while batch := list(islice(source, BATCH)):
            rows.append(vectorizer.transform([example.text[:characters] for example in batch]))
            for example in batch:
                fold = fold_of(example.site)
                kept.append((example.cited, fold, example.characters, example.site, example.language))
                if fold == 1:
                    texts.append(example.text[:characters])
        if not rows:
            raise UserError("no positives and no negatives to train on")
        cited, folds, lengths, sites, languages = (list(column) for column in zip(*kept, strict=True))
        return cls(vstack(rows, "csr"), np.array(cited), np.array(folds), np.array(lengths), sites, languages, texts)


def fold_of(site: str) -> int:
    """Which fifth of the sites this one is in."""
    return hash64(site) % FOLDS


def _fit(table: _Table, mine: np.ndarray) -> LogisticRegression:
    model = LogisticRegression(C=10.0, class_weight="balanced", solver="liblinear", max_iter=1000)
    return model.fit(table.features[mine], table.cited[mine])


def _both(cited: np.ndarray) -> bool:
    return bool(cited.any() and not cited.all())


def _calibrate(table: _Table) -> Calibration:
    """Fitted on folds 1 to 4, each scored by a model of the other three. Without both classes, nothing is changed."""
    logits, cited = [], []
    for fold in range(1, FOLDS):
        mine, others = table.folds == fold, (table.folds != 0) & (table.folds != fold)
        if mine.any() and _both(table.cited[others]):
            logits.append(_fit(table, others).decision_function(table.features[mine]))
            cited.append(table.cited[mine])
    if not cited or not _both(np.concatenate(cited)):
        return Calibration()
    platt = LogisticRegression(class_weight="balanced").fit(np.concatenate(logits)[:, None], np.concatenate(cited))
    slope, intercept = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    # A model that is worse than chance on sites it did not see knows nothing: it answers one half.
    return Calibration(slope=round(slope, 6), intercept=round(intercept, 6)) if slope > 0 else Calibration(slope=0.0)


def _by_length(table: _Table, vectorizer: HashingVectorizer) -> dict[str, float]:
    """AUC on fold 1 of a model of folds 2 to 4 that reads only so many characters, the last entry being all of them."""
    mine, others = table.folds == 1, table.folds > 1
    if not _both(table.cited[mine]) or not _both(table.cited[others]):
        return {}
    model = _fit(table, others)
    found = {}
    for limit in LADDER:
        rows = vstack(
            [
                vectorizer.transform([text[:limit] for text in table.texts[at : at + BATCH]])
                for at in range(0, len(table.texts), BATCH)
            ],
            "csr",
        )
        found[str(limit)] = model.decision_function(rows)
    found["all"] = model.decision_function(table.features[mine])
    return {name: round(float(roc_auc_score(table.cited[mine], logits)), 4) for name, logits in found.items()}


def _long_enough_to_judge(by_length: dict[str, float], characters: int) -> int:
    """The fewest characters with which the model is nearly as far above chance as with all of a text; 0 if unknown."""
    whole = by_length.get("all", 0.5) - 0.5
    if whole <= 0:
        return 0
    good = [limit for limit in LADDER if by_length[str(limit)] - 0.5 >= _ENOUGH * whole]
    return min(good, default=characters)


def _baseline(table: _Table, held_out: np.ndarray) -> Auc | None:
    """What length and language alone tell: one-hot eighths of an octave and languages, on the same folds."""
    columns = [np.round(np.log2(np.maximum(table.characters, 1)) * step).astype(int) for step in (1, 2, 4)]
    names = [np.unique(np.array(table.languages), return_inverse=True)[1], *columns]
    blocks = [np.unique(name, return_inverse=True)[1] for name in names]
    features = np.concatenate([np.eye(block.max() + 1, dtype=np.float32)[block] for block in blocks], axis=1)
    trained = table.folds != 0
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(features[trained], table.cited[trained])
    sites = [table.sites[place] for place in np.flatnonzero(held_out)]
    return area(table.cited[held_out], model.decision_function(features[held_out]), sites)


def _score_sample(crawl: Iterable[Example], vectorizer: HashingVectorizer, scores: Any, settings: Any) -> np.ndarray:
    """Scores of the documents of held-out sites, NaN where the model cannot judge: float64 [documents]."""
    source, found = (example for example in crawl if fold_of(example.site) == 0), [np.empty(0)]
    while batch := list(islice(source, BATCH)):
        known = settings["languages"]
        judged = np.array(
            [
                e.characters >= settings["minimum"] and (known is None or not e.language or e.language in known)
                for e in batch
            ]
        )
        values = scores(vectorizer.transform([example.text[: settings["characters"]] for example in batch]))
        found.append(np.where(judged, values, np.nan))
    return np.concatenate(found)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


Pair = tuple[str, str]  # url, text


def pairs_to_examples(positives: Sequence[Pair], negatives: Sequence[Pair]) -> Iterator[Example]:
    """Examples whose lengths are distributed alike in both classes: cut, in each fold, to the shorter class."""
    for fold in range(FOLDS):
        mine = [[pair for pair in pairs if fold_of(site_of(pair[0])) == fold] for pairs in (positives, negatives)]
        texts = match_lengths(*mine) if all(mine) else tuple([text for _, text in pairs] for pairs in mine)
        for cited, pairs, cut in zip((True, False), mine, texts, strict=True):
            for (url, _), text in zip(pairs, cut, strict=True):
                yield Example(text, cited, site_of(url), characters=len(text))


def match_lengths(positives: Sequence[Pair], negatives: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """The texts of both, cut so that their lengths are distributed alike: at each rank, to the shorter class."""
    lengths = [np.sort([len(text) for _, text in pairs]) for pairs in (positives, negatives)]
    return _cut(positives, lengths[1]), _cut(negatives, lengths[0])


def _cut(pairs: Sequence[Pair], others: np.ndarray) -> list[str]:
    texts = [text for _, text in pairs]
    ranks = np.empty(len(texts))
    ranks[np.argsort([len(text) for text in texts], kind="stable")] = (np.arange(len(texts)) + 0.5) / len(texts)
    limits = others[(ranks * len(others)).astype(int)]
    return [text[: int(limit)] for text, limit in zip(texts, limits, strict=True)]


def site_of(url: str) -> str:
    """The registered domain of a URL; the article, in an encyclopedia whose articles stand in for cited pages."""
    return url.partition("#")[0] if url.startswith(_ENCYCLOPEDIA) else registered_domain(url)


def article_examples(dump: Path, characters: int = 2000, most: int = 5) -> Iterator[Pair]:
    """Stand-in positives where no cited page is at hand: up to `most` stretches from the beginning of each article."""
    for title, text in articles(dump):
        for start in range(0, min(len(text), most * characters), characters):
            yield f"{_ENCYCLOPEDIA}{quote(title.replace(' ', '_'))}#{start}", text[start : start + characters]


def read_examples(path: Path) -> Iterator[Pair]:
    """(url, text) of each line of a JSON Lines file. Raises InputError for a file or line that is not such."""
    for row in jsonl.rows(path, "url", "text"):
        yield row["url"], row["text"]


def _say(phase: str) -> None:
    print(phase, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.train_reference", description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--positives", type=Path, metavar="JSONL", help="pages that Wikipedia cites")
    source.add_argument("--positives-dump", type=Path, metavar="DUMP", help="stand-in: articles of a Wikipedia dump")
    parser.add_argument("--negatives", type=Path, metavar="JSONL", required=True, help="other pages of the crawl")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of the model artifacts")
    parser.add_argument("--characters", type=int, default=2000, help="how much of a text is read (default: 2000)")
    arguments = parser.parse_args(argv)
    positives_path = arguments.positives or arguments.positives_dump
    _say(f"reading {positives_path} and {arguments.negatives}")
    if arguments.positives:
        positives, what = read_examples(arguments.positives), "cited pages"
    else:
        positives = article_examples(arguments.positives_dump, arguments.characters)
        what = "Wikipedia articles, not cited pages"
    shortest = 200
    pairs = [
        [(url, text[: arguments.characters]) for url, text in pairs if len(text) >= shortest]
        for pairs in (positives, read_examples(arguments.negatives))
    ]
    for name, mine in zip(("positives", "negatives"), pairs, strict=True):
        if not mine:
            raise UserError(f"no {name} of {shortest} characters or more to train on")
    report = train_reference(
        pairs_to_examples(*pairs),
        arguments.out,
        origin=f"positives: {what} ({positives_path.name}); negatives: {arguments.negatives.name}",
        licence="weights only; that of the texts does not extend to them",
        cited_pages=arguments.positives is not None,
        characters=arguments.characters,
        shortest=shortest,
    )
    _say(describe(report))
    _say(f"wrote {arguments.out / 'reference'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
