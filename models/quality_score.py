"""Is a text of the better kind? A fastText classifier on words says, as DCLM's and Llama 3's do.

DCLM (Li et al. 2024, section 4.4) teaches it with instruction data and highly voted explanations against the crawl,
and keeps the best tenth. Llama 3 (Dubey et al. 2024, section 3.1.1) teaches it with pages that Wikipedia cites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import fasttext

from curation.document import Document
from curation.errors import ModelError
from curation.steps import Score

MODEL = "quality.bin"
_LABEL = "__label__"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityScore:
    """The probability of `label`, rounded to 6 decimals: DCLM's threshold is 0.018112.

    The text is read as one line, its lines joined by spaces. None for a text without words.
    """

    model: str = "quality"  # the artifact's name
    label: str = "hq"

    writes: ClassVar[tuple[str, ...]] = ("quality_score",)

    def artifacts(self) -> tuple[str, ...]:
        return (self.model,)

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        path = artifacts[self.model] / MODEL
        try:
            model = fasttext.load_model(str(path))
        except ValueError as error:
            raise ModelError(f"{path} is not a fastText model ({error})") from None
        label = _LABEL + self.label
        labels = model.get_labels()
        if label not in labels:
            known = ", ".join(sorted(name.removeprefix(_LABEL) for name in labels))
            raise ModelError(f"{path} has no label {self.label!r}; it has {known}")

        def score(documents: Sequence[Document]) -> list[Document]:
            return [replace(document, quality_score=probability(document.text)) for document in documents]

        def probability(text: str) -> float | None:
            line = " ".join(text.split("\n")).strip()
            if not line:
                return None
            names, probabilities = model.predict(line, k=len(labels))
            # fastText leaves out a label whose probability rounds to nothing, and may say a little more than 1.
            found = dict(zip(names, probabilities, strict=True)).get(label, 0.0)
            return round(min(float(found), 1.0), 6)

        return score
