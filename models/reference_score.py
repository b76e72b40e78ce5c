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
from curation.steps import Score

WEIGHTS = "weights.npy"  # float32, one for each feature
SETTINGS = "settings.json"  # intercept, features, words, characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScore:
    """The probability, rounded to 4 decimals, that the text is of the positive class that the model was trained on.

    Only the first characters are read, as many as in training, and their n-gram counts are scaled to length 1, so a
    long text is not scored higher for being long.
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
            vectorizer = make_vectorizer(settings)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{directory} does not hold a reference model ({error}): train one again") from None
        if weights.shape != (vectorizer.n_features,):
            raise ModelError(f"{directory / WEIGHTS} has the wrong shape {weights.shape}: train the model again")

        def score(documents: Sequence[Document]) -> list[Document]:
            if not documents:
                return []
            features: csr_matrix = vectorizer.transform([document.text[:characters] for document in documents])
            # One row is summed in the order of its columns, whatever rows stand beside it.
            logits = features @ weights + intercept
            scores = (1 / (1 + np.exp(-logits))).round(4).tolist()
            return [replace(document, reference_score=score) for document, score in zip(documents, scores, strict=True)]

        return score


def make_vectorizer(settings: Mapping[str, Any]) -> HashingVectorizer:
    """Text to counts of its lower-case n-grams of up to `words` words, hashed into `features` columns, of length 1."""
    return HashingVectorizer(n_features=int(settings["features"]), ngram_range=(1, int(settings["words"])), norm="l2")
