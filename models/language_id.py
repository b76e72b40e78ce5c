"""Which language is a text in? fastText's lid.176 says (Joulin et al. 2016), as CCNet asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import fasttext

from curation.document import Document
from curation.steps import Score

UNDETERMINED = "und"  # ISO 639-2: no language can be told
_LABEL = "__label__"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageId:
    """The likeliest language and its probability, rounded to 2 decimals before anything compares it (CCNet's code).

    A text without words is `und` with score 0. Newlines become spaces; CCNet deletes them, gluing words together.
    """

    characters: int | None = None  # look at the first so many only; CCNet reads the whole text
    glue_lines: bool = False  # True: delete newlines, as CCNet does

    writes: ClassVar[tuple[str, ...]] = ("language", "language_score")

    def artifacts(self) -> tuple[str, ...]:
        return ("language_id",)

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        model = fasttext.load_model(str(artifacts["language_id"] / "lid.176.ftz"))
        newline = "" if self.glue_lines else " "

        def identify(document: Document) -> Document:
            text = document.text[: self.characters].replace("\n", newline)
            # Without a word, fastText answers with what its end-of-sentence mark alone looks like.
            if not text.strip():
                return replace(document, language=UNDETERMINED, language_score=0.0)
            labels, probabilities = model.predict(text)
            if not labels:
                return replace(document, language=UNDETERMINED, language_score=0.0)
            return replace(
                document, language=labels[0].removeprefix(_LABEL), language_score=round(float(probabilities[0]), 2)
            )

        return lambda documents: [identify(document) for document in documents]
