"""The learned part: which blocks of a page are main text, and how sure that is."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ModelError
from curation.main_text import context
from curation.main_text.features import NAMES, Features, features
from curation.main_text.scan import Scan
from curation.main_text.trees import ARRAYS, Trees
from curation.main_text.vocabulary import Vocabulary, vocabulary

FORMAT = 1
FILE = "model.npz"
# Of the file that comes with Winnow, so that the key of a stage, which sees this source, knows it.
SHA256 = "6b4bdd114bfb574b4ff5425182ed8be753c997a937bf655749f91ac3a344b1fd"
# A page of prose: so many paragraphs, and so many characters in the run of blocks that has most (features.py).
PROSE_PARAGRAPHS, PROSE_LENGTH = 4, 1500
_PARAGRAPHS, _PAGE_LENGTH, _RUN_SHARE = map(NAMES.index, ("page_paragraphs", "page_length", "run_share"))
_COMMENT = -3.0  # log-odds above which a block is a comment: one in 300 is


@dataclass(frozen=True, slots=True)
class Model:
    """Two looks at each block: at its features, then at what the first look found around it.

    `odds` and `text_odds` are what `known` is made of. `again` are the columns of the features that the second look
    reads, before those of the context. A block is kept whose log-odds are above `threshold`. `comments` tells comments
    from the rest of what is not kept.
    """

    odds: Mapping[int, float]
    text_odds: Mapping[int, float]
    first: Trees
    second: Trees
    again: NDArray[np.int64]
    comments: Trees
    threshold: float
    known: Vocabulary


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept` and `comments` bool[blocks]; `doubt` from 0 to 0.5, the share of the main text that is uncertain: 0 for a
    page with little prose, of which no extractor makes much."""

    kept: NDArray[np.bool_]
    comments: NDArray[np.bool_]
    doubt: float


def squashed(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between 0 and 1, near the logistic function, and of operations that IEEE 754 rounds exactly."""
    return 0.5 + 0.5 * log_odds / np.sqrt(4.0 + log_odds * log_odds)


def judge(model: Model, page: Scan, *, comments: bool = False) -> Verdict:
    """Which blocks to keep. `comments` is filled only when asked for."""
    blocks = len(page.block_element)
    none = np.zeros(blocks, np.bool_)
    if not blocks:
        return Verdict(none, none, 0.0)
    found = features(page, model.known)
    first = model.first.log_odds(found.rows)
    second = model.second.log_odds(second_rows(model.again, page, found, squashed(first)))
    log_odds = together(first, second)
    kept = log_odds > model.threshold
    if comments:
        none = (model.comments.log_odds(found.rows) > _COMMENT) & ~kept
    is_prose = found.rows[0, _PARAGRAPHS] >= PROSE_PARAGRAPHS
    is_prose &= found.rows[0, _PAGE_LENGTH] * found.rows[0, _RUN_SHARE] >= PROSE_LENGTH
    return Verdict(kept, none, doubt(found.rows[:, 0], log_odds - model.threshold) if is_prose else 0.0)


def together(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log-odds of both looks: their mean, which does better than either."""
    return (first + second) / 2


def second_rows(
    again: NDArray[np.int64], page: Scan, found: Features, scores: NDArray[np.float64]
) -> NDArray[np.float32]:
    """What the second look reads: float32[blocks, again + context]."""
    return np.concatenate([found.rows[:, again], context.context(page, found, scores)], axis=1)


def doubt(lengths: NDArray[np.float32], log_odds: NDArray[np.float64]) -> float:
    """The text that is expected to be judged wrong, as a share of what is expected to be main text and of that."""
    score = squashed(log_odds)
    weight = np.minimum(lengths.astype(np.float64), 1500.0)
    wrong = float((weight * np.minimum(score, 1 - score)).sum())
    main = float((weight * score).sum())
    return wrong / max(1.0, wrong + main)


def to_bytes(model: Model) -> bytes:
    """The file of a model: equal models give equal bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, odds in (("odds", model.odds), ("text_odds", model.text_odds)):
        words = sorted(odds)
        arrays[f"{name}_words"] = np.array(words, np.uint32)
        arrays[f"{name}_values"] = np.array([odds[word] for word in words], np.float32)
    for name in ("first", "second", "comments"):
        trees: Trees = getattr(model, name)
        arrays |= {f"{name}_{array}": getattr(trees, array) for array in ARRAYS}
    arrays["again"] = model.again
    settings = {
        "format": FORMAT,
        "features": len(NAMES),
        "threshold": model.threshold,
        "baselines": [model.first.baseline, model.second.baseline, model.comments.baseline],
    }
    arrays["settings"] = np.frombuffer(json.dumps(settings, sort_keys=True).encode(), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            entry = io.BytesIO()
            np.save(entry, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def from_bytes(data: bytes, name: str) -> Model:
    """Raises ModelError for what is not the file of a model that this version reads."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            stored = {key: arrays[key] for key in arrays.files}
        settings = json.loads(stored["settings"].tobytes())
        if (settings["format"], settings["features"]) != (FORMAT, len(NAMES)):
            raise ModelError(
                f"{name} was made for another version: make it again with python -m models.train_extractor"
            )
        again = stored["again"]
        if again.dtype != np.int64 or again.ndim != 1 or ((again < 0) | (again >= len(NAMES))).any():
            raise ValueError("columns that there are not")
        widths = {"first": len(NAMES), "second": len(again) + len(context.NAMES), "comments": len(NAMES)}
        looks = [
            _checked(Trees(float(baseline), *(stored[f"{look}_{array}"] for array in ARRAYS)), columns)
            for (look, columns), baseline in zip(widths.items(), settings["baselines"], strict=True)
        ]
        odds, text_odds = (
            dict(zip(stored[f"{kind}_words"].tolist(), stored[f"{kind}_values"].tolist(), strict=True))
            for kind in ("odds", "text_odds")
        )
        first, second, comments = looks
        return Model(
            odds=odds,
            text_odds=text_odds,
            first=first,
            second=second,
            again=again,
            comments=comments,
            threshold=float(settings["threshold"]),
            known=vocabulary(odds, text_odds),
        )
    except ModelError:
        raise
    except Exception as error:  # of zipfile, zlib, numpy and json: a damaged file raises nearly anything
        raise ModelError(f"{name} is not a model of main text ({error})") from None


def _checked(trees: Trees, columns: int) -> Trees:
    """The trees, for rows of so many columns. ValueError where a number leads out: compiled code follows it blindly."""
    nodes, roots = len(trees.feature), len(trees.roots)
    whole = all(
        getattr(trees, name).dtype == kind and getattr(trees, name).shape == (size,)
        for name, kind, size in (
            *(("roots", np.int32, roots), ("depths", np.int32, roots), ("feature", np.uint16, nodes)),
            *(("threshold", np.float32, nodes), ("left", np.uint32, nodes), ("value", np.float64, nodes)),
        )
    )
    if not whole or ((trees.roots < 0) | (trees.roots >= nodes) | (trees.depths < 0) | (trees.depths > nodes)).any():
        raise ValueError("trees of another form")
    right = trees.left.astype(np.int64) + (trees.threshold < np.inf)  # a leaf is its own left child
    if (right >= nodes).any() or (trees.feature >= columns).any():
        raise ValueError("trees that lead out of their nodes or columns")
    return trees


@functools.cache
def shipped() -> Model:
    """The model that comes with Winnow. Raises ModelError when its file is missing or not the one of SHA256."""
    try:
        data = (resources.files("curation.main_text") / FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"curation/main_text/{FILE}: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ModelError(f"curation/main_text/{FILE} is not the file that this version has (sha256 {found[:12]}…)")
    return from_bytes(data, f"curation/main_text/{FILE}")


@functools.lru_cache(maxsize=4)
def read(path: Path) -> Model:
    """The model of an artifact's directory, which `python -m models.train_extractor` wrote. Raises ModelError."""
    try:
        data = (path / FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"{path / FILE}: {error.strerror}") from None
    return from_bytes(data, str(path / FILE))
