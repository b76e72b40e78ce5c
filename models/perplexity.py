"""How surprising is a text to a model of Wikipedia in its language? (Wenzek et al. 2020, section 3.3)"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import kenlm
from sentencepiece import SentencePieceProcessor

from curation.document import Document
from curation.errors import ModelError
from curation.normalize import normalize
from curation.steps import Score

PIECES = "pieces.model"
BINARY, ARPA = "model.binary", "model.arpa"  # KenLM's own binary when there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Perplexity of the normalised text in SentencePiece pieces, under a KenLM model, rounded to 1 decimal.

    `10 ^ (-log10 p / (pieces + 1))` with the end of the text counted as a piece, as CCNet computes it. None for a
    document in another language, or without anything to read.
    """

    languages: tuple[str, ...] = ("en",)
    glue_lines: bool = False  # True: delete newlines, as CCNet does, instead of reading them as spaces

    writes: ClassVar[tuple[str, ...]] = ("perplexity",)

    def artifacts(self) -> tuple[str, ...]:
        return tuple(f"perplexity-{language}" for language in self.languages)

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        newline = "" if self.glue_lines else " "
        models = {language: load_perplexity(artifacts[f"perplexity-{language}"]) for language in self.languages}

        def score(document: Document) -> Document:
            model = models.get(document.language or "")
            return replace(document, perplexity=model(normalize(document.text, newline=newline)) if model else None)

        return lambda documents: [score(document) for document in documents]


def load_perplexity(directory: Path) -> Callable[[str], float | None]:
    """The perplexity of a text that is normalised already, under the artifact in `directory`; None for no text."""
    path = directory / BINARY
    if not path.exists():
        path = directory / ARPA
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        model = kenlm.Model(str(path), config)
        processor = SentencePieceProcessor(model_file=str(directory / PIECES))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{directory} does not hold a perplexity model ({error})") from None

    def perplexity(text: str) -> float | None:
        pieces = processor.encode_as_pieces(text)
        if not pieces:
            return None
        return float(round(10 ** (-model.score(" ".join(pieces)) / (len(pieces) + 1)), 1))

    return perplexity
