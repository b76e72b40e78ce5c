"""Train the reference classifier: python -m models.train_reference --positives P.jsonl --negatives N.jsonl --out MODELS

Each line of the inputs is {"url": …, "text": …}. The classes are made equal in length, and hosts are either trained on
or held out, so that neither length nor a site's boilerplate is what the reported AUC measures.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.sources.wikipedia import articles
from models.artifact import write_artifact
from models.reference_score import SETTINGS, WEIGHTS, make_vectorizer

Example = tuple[str, str]  # url, text
_ENCYCLOPEDIA = "https://en.wikipedia.org/wiki/"


@dataclass(frozen=True, slots=True)
class Report:
    """What was trained on and how well it tells held-out hosts apart; `auc` is None when one class was not held out."""

    positives: int
    negatives: int
    held_out_positives: int
    held_out_negatives: int
    auc: float | None


def train_reference(
    positives: Iterable[Example],
    negatives: Iterable[Example],
    models_dir: Path,
    *,
    origin: str,
    licence: str,
    characters: int = 2000,
    minimum: int = 200,
    features: int = 1 << 18,
    words: int = 2,
) -> Report:
    """Train on (url, text) pairs and write the artifact `models_dir/reference`; a fifth of the hosts is held out.

    Texts are cut to `characters`; those under `minimum` are left out. Equal examples in equal order give equal bytes.
    Raises UserError when a class is empty.
    """
    settings = {"features": features, "words": words, "characters": characters}
    examples = [_long_enough(positives, characters, minimum), _long_enough(negatives, characters, minimum)]
    trained = [[example for example in examples[label] if not is_held_out(example[0])] for label in (0, 1)]
    held_out = [[example for example in examples[label] if is_held_out(example[0])] for label in (0, 1)]
    for name, chosen in zip(("positives", "negatives"), trained, strict=True):
        if not chosen:
            raise UserError(f"no {name} of {minimum} characters or more to train on")
    texts = match_lengths(*trained)
    vectorizer = make_vectorizer(settings)
    model = LogisticRegression(C=10.0, class_weight="balanced", solver="liblinear", max_iter=1000)
    with threadpool_limits(1):  # sums of floats depend on how threads share them
        model.fit(vectorizer.transform([*texts[0], *texts[1]]), [1] * len(texts[0]) + [0] * len(texts[1]))
        auc = None
        if held_out[0] and held_out[1]:
            tests = match_lengths(*held_out)
            decisions = model.decision_function(vectorizer.transform([*tests[0], *tests[1]]))
            auc = float(roc_auc_score([1] * len(tests[0]) + [0] * len(tests[1]), decisions))
    report = Report(len(trained[0]), len(trained[1]), len(held_out[0]), len(held_out[1]), auc)
    weights = io.BytesIO()
    np.save(weights, model.coef_[0].astype(np.float32), allow_pickle=False)
    settings_text = json.dumps({**settings, "intercept": round(float(model.intercept_[0]), 6)}, sort_keys=True) + "\n"
    write_artifact(
        models_dir / "reference",
        {WEIGHTS: weights.getvalue(), SETTINGS: settings_text.encode()},
        kind="reference",
        format="logistic regression on hashed word n-grams: numpy weights, JSON settings",
        licence=licence,
        origin=origin,
        parameters={
            **settings,
            "minimum": minimum,
            "positives": report.positives,
            "negatives": report.negatives,
            "held_out_positives": report.held_out_positives,
            "held_out_negatives": report.held_out_negatives,
            "auc": None if auc is None else round(auc, 4),
        },
    )
    return report


def match_lengths(positives: Sequence[Example], negatives: Sequence[Example]) -> tuple[list[str], list[str]]:
    """The texts of both, cut so that their lengths are distributed alike: at each rank, to the shorter class."""
    lengths = [np.sort([len(text) for _, text in examples]) for examples in (positives, negatives)]
    return _cut(positives, lengths[1]), _cut(negatives, lengths[0])


def _cut(examples: Sequence[Example], others: np.ndarray) -> list[str]:
    texts = [text for _, text in examples]
    ranks = np.empty(len(texts))
    ranks[np.argsort([len(text) for text in texts], kind="stable")] = (np.arange(len(texts)) + 0.5) / len(texts)
    limits = others[(ranks * len(others)).astype(int)]
    return [text[: int(limit)] for text, limit in zip(texts, limits, strict=True)]


def is_held_out(url: str) -> bool:
    """True for a fifth of all hosts; for a fifth of the articles of an encyclopedia, whose host is but one."""
    group = (
        url.partition("#")[0] if url.startswith(_ENCYCLOPEDIA) else (urlsplit(url).hostname or "").removeprefix("www.")
    )
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "little") % 5 == 0


def article_examples(dump: Path, characters: int = 2000, most: int = 5) -> Iterator[Example]:
    """Stand-in positives where no cited page is at hand: up to `most` stretches from the beginning of each article."""
    for title, text in articles(dump):
        for start in range(0, min(len(text), most * characters), characters):
            yield f"{_ENCYCLOPEDIA}{quote(title.replace(' ', '_'))}#{start}", text[start : start + characters]


def _long_enough(examples: Iterable[Example], characters: int, minimum: int) -> list[Example]:
    return [(url, text[:characters]) for url, text in examples if len(text) >= minimum]


def read_examples(path: Path) -> Iterator[Example]:
    """(url, text) of each line of a JSON Lines file. Raises InputError for a file or line that is not such."""
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                    url, text = record["url"], record["text"]
                except (ValueError, KeyError, TypeError):
                    url = text = None
                if not isinstance(url, str) or not isinstance(text, str):
                    raise InputError(f'{path}, line {number}: not a {{"url": …, "text": …}}')
                yield url, text
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None


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
        positives, what = (
            article_examples(arguments.positives_dump, arguments.characters),
            "Wikipedia articles, not cited pages",
        )
    report = train_reference(
        positives,
        read_examples(arguments.negatives),
        arguments.out,
        origin=f"positives: {what} ({positives_path.name}); negatives: {arguments.negatives.name}",
        licence="weights only; that of the texts does not extend to them",
        characters=arguments.characters,
    )
    auc = "not measured (a class has no held-out host)" if report.auc is None else f"{report.auc:.4f}"
    _say(f"trained on {report.positives} positives and {report.negatives} negatives")
    _say(f"AUC on {report.held_out_positives} and {report.held_out_negatives} of held-out hosts: {auc}")
    _say(f"wrote {arguments.out / 'reference'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
