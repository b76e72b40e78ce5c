"""Documents that hold a piece of an evaluation set (Brown et al. 2020, appendix C; docs/decontamination.md).

GPT-3 compares 13-grams of lower-cased words without punctuation, and removes the stretch around a hit; here the whole
document goes. Words: `curation/word_hashes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.document import Document, Drop
from curation.errors import ModelError, RecipeError
from curation.evals import NGRAM, Evals, Hits, read
from curation.steps import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontaminate:
    """Drop a document that holds n-grams of an evaluation example: `min_matches` of them, and `min_share` of them all.

    An example that has fewer n-grams than `min_matches` is found by all that it has. `evals` names the sets: the
    artifact `evals-NAME` that `python -m models.make_evals` writes. `ngram` is how long its n-grams must be.

    The drop's rule is the set; of several, the one of the example that is matched most. `measured` has every such
    example, "SET/NUMBER:MATCHED/TOTAL", separated by spaces: those of that set first.
    """

    evals: str = "all"
    ngram: int = NGRAM
    min_matches: int = 1  # GPT-3's: a single collision
    min_share: float = 0.0  # PaLM (Chowdhery et al. 2022, section 8) calls an example found at 0.7 of its 8-grams

    def __post_init__(self) -> None:
        if self.min_matches < 1 or not 0 <= self.min_share <= 1:
            raise RecipeError("decontaminate: min_matches is at least 1, and min_share lies between 0 and 1")

    def artifacts(self) -> tuple[str, ...]:
        return (f"evals-{self.evals}",)

    def check(self, artifacts: Mapping[str, Path]) -> None:
        """Raise ModelError unless the sets were made with n-grams of this length."""
        self._read(artifacts)

    def load(self, artifacts: Mapping[str, Path]) -> Judge:
        evals = self._read(artifacts)

        def judge(document: Document) -> Document | Drop:
            ngrams = evals.found(document.text)
            if not len(ngrams):
                return document
            hits = self.enough(evals.hits(ngrams))
            return self._drop(evals, hits) if len(hits) else document

        return judge

    def enough(self, hits: Hits) -> Hits:
        """Those examples of which enough was matched."""
        enough = hits.matched >= np.minimum(self.min_matches, hits.total)
        return hits.where(enough & (hits.matched >= self.min_share * hits.total))

    def _read(self, artifacts: Mapping[str, Path]) -> Evals:
        evals = read(artifacts[f"evals-{self.evals}"])
        if evals.ngram != self.ngram:
            raise ModelError(
                f"evals-{self.evals} is of {evals.ngram}-grams, and the recipe asks for {self.ngram}-grams: make it "
                f"with python -m models.make_evals --ngram {self.ngram}, or say ngram = {evals.ngram} in the recipe"
            )
        return evals

    def _drop(self, evals: Evals, hits: Hits) -> Drop:
        found = []
        for example, matched, total in zip(hits.examples, hits.matched, hits.total, strict=True):
            one = evals.set_of(int(example))
            found.append((one.name, int(example) - one.first, int(matched), int(total)))
        rule = max(found, key=lambda row: row[2])[0]
        found.sort(key=lambda row: row[0] != rule)
        measured = " ".join(f"{name}/{number}:{matched}/{total}" for name, number, matched, total in found)
        return Drop(rule, measured, f"{self.min_matches}, {self.min_share:g}" if self.min_share else self.min_matches)
