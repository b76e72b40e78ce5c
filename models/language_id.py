"""Which language is a text in? A fastText classifier says: lid.176 (Joulin et al. 2016), as CCNet asks it, or your own.

The artifact decides which: `python -m models.fetch language_id` (lid.176.ftz, compressed), `… lid.176` (lid.176.bin, as
CCNet used it) or `python -m models.train_language_id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import fasttext

from curation.document import Document
from curation.errors import ModelError
from curation.steps import Score
from models.artifact import read_manifest

UNDETERMINED = "und"  # ISO 639-2: no language can be told
LABEL = "__label__"
SUFFIXES = (".bin", ".ftz")  # fastText's models, whole and compressed


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
        model = load_language_id(artifacts["language_id"])
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
                document, language=labels[0].removeprefix(LABEL), language_score=round(float(probabilities[0]), 2)
            )

        # One by one: fastText takes a list too, but that is no faster (docs/models.md).
        return lambda documents: [identify(document) for document in documents]


def load_language_id(directory: Path) -> Any:
    """The fastText model of the artifact in `directory`, one copy a process. Raises ModelError if there is none."""
    files = [name for name in read_manifest(directory)["files"] if name.endswith(SUFFIXES)]
    if len(files) != 1:
        raise ModelError(f"{directory} holds {len(files)} fastText models, not one: make it again")
    path = directory / files[0]
    try:
        stat = path.stat()
        return _load(str(path), stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a fastText model ({error})") from None


@lru_cache(maxsize=4)
def _load(path: str, _size: int, _changed: int) -> Any:
    return fasttext.load_model(path)
