"""Does a text read like the pages that Wikipedia cites? A linear model on hashed word n-grams says.

LLaMA-1 "discarded pages not classified as references" (Touvron et al. 2023, section 2.1); it names neither model nor
threshold. RedPajama's was fastText and kept scores from 0.25 up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from curation.document import Document
from curation.errors import ModelError
from curation.scripts import UNSPACED_CLASS
from curation.steps import Score

WEIGHTS = "weights.npy"  # float32, one for each feature
SETTINGS = "settings.json"  # intercept, features, words, characters, minimum, languages, calibration
FORMAT = 2  # 1 had no calibration, no minimum, no languages, and no words in scripts that are written without spaces

# In scripts written without spaces each character is a word, so that a pair of words is a pair of characters: vowel
# signs too, and the scripts' own punctuation, which says where words or syllables end.
TOKEN = rf"[{UNSPACED_CLASS}]|(?:(?![{UNSPACED_CLASS}])\w){{2,}}"
BATCH = 64  # texts that are turned into features at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScore:
    """The probability, rounded to 4 decimals, that the text is of the positive class that the model was trained on.

    It is calibrated for as many positives as negatives. Only the first characters are read, as many as in training, and
    their n-gram counts are scaled to length 1, so a long text is not scored higher for being long. The score is None
    where the model cannot judge: a text shorter than any that it was trained on, or in another language than those. A
    document without a language is scored.
    """

    writes: ClassVar[tuple[str, ...]] = ("reference_score",)

    def artifacts(self) -> tuple[str, ...]:
        return ("reference",)

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        directory = artifacts["reference"]
        try:
            weights = np.load(directory / WEIGHTS, allow_pickle=False).astype(np.float64)
            settings = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
            intercept, characters = float(settings["intercept"]), int(settings["characters"])
            calibration = Calibration(**settings.get("calibration", {}))
            minimum, languages = int(settings.get("minimum", 0)), settings.get("languages")
            known = None if languages is None else frozenset(map(str, languages))
            vectorizer = make_vectorizer(settings)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{directory} does not hold a reference model ({error}): train one again") from None
        if weights.shape != (vectorizer.n_features,):
            raise ModelError(f"{directory / WEIGHTS} has the wrong shape {weights.shape}: train the model again")

        def judged(document: Document) -> bool:
            foreign = known is not None and document.language is not None and document.language not in known
            return len(document.text) >= minimum and not foreign

        def score(documents: Sequence[Document]) -> list[Document]:
            texts = [document.text[:characters] for document in documents if judged(document)]
            if not texts:
                return [replace(document, reference_score=None) for document in documents]
            features: csr_matrix = vectorizer.transform(texts)
            # One row is summed in the order of its columns, whatever rows stand beside it.
            scores = iter(calibration.probabilities(features @ weights + intercept).round(4).tolist())
            return [replace(d, reference_score=next(scores) if judged(d) else None) for d in documents]

        return score


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From the model's log-odds to a probability: logistic in `slope * log-odds + intercept` (Platt 1999)."""

    slope: float = 1.0
    intercept: float = 0.0

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float64 [texts] to float64 [texts] in [0, 1]."""
        scaled = self.slope * logits + self.intercept
        small = np.exp(-np.abs(scaled))  # of the side that cannot overflow
        probabilities: np.ndarray = np.where(scaled >= 0, 1.0, small) / (1 + small)
        return probabilities


def make_vectorizer(settings: Mapping[str, Any]) -> HashingVectorizer:
    """Text to counts of its lower-case n-grams of up to `words` words, hashed into `features` columns, of length 1."""
    token = {"token_pattern": TOKEN} if settings.get("format", 1) >= FORMAT else {}
    return HashingVectorizer(
        n_features=int(settings["features"]), ngram_range=(1, int(settings["words"])), norm="l2", **token
    )
