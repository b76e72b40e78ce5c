"""How surprising is a text to a model of Wikipedia in its language? (Wenzek et al. 2020, section 3.3)"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import kenlm
from sentencepiece import SentencePieceProcessor

from curation.document import Document
from curation.errors import ModelError, RecipeError
from curation.normalize import normalize
from curation.steps import Score
from models.artifact import read_manifest
from models.cutoffs import CCNET, FAMILY, Cutoffs, bucket, read_cutoffs

PIECES = "pieces.model"
BINARY, ARPA = "model.binary", "model.arpa"  # KenLM's own binary when there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Perplexity of the normalised text in SentencePiece pieces, under a KenLM model, rounded to 1 decimal.

    `10 ^ (-log10 p / (pieces + 1))` with the end of the text counted as a piece, as CCNet computes it. None for a
    document in another language, or without anything to read.

    `cutoffs` adds the bucket: head, middle or tail, and `all` for a document without perplexity. "model" takes the
    cutoffs that were made with each model, "ccnet" CCNet's own table. That table is valid with CCNet's own models;
    under others it is a ModelError, unless `any_model` says that this is meant. Models are loaded when the first
    document in their language comes.
    """

    languages: tuple[str, ...] = ("en",)
    glue_lines: bool = False  # True: delete newlines, as CCNet does, instead of reading them as spaces
    cutoffs: str = ""  # "": no buckets
    any_model: bool = False

    def __post_init__(self) -> None:
        if self.cutoffs not in ("", "model", "ccnet"):
            raise RecipeError(f'perplexity: cutoffs must be "model" or "ccnet", not {self.cutoffs!r}')

    reads: ClassVar[tuple[str, ...]] = ("language",)

    @property
    def writes(self) -> tuple[str, ...]:
        return ("perplexity", "perplexity_bucket") if self.cutoffs else ("perplexity",)

    def artifacts(self) -> tuple[str, ...]:
        return tuple(f"perplexity-{language}" for language in self.languages)

    def check(self, artifacts: Mapping[str, Path]) -> dict[str, Cutoffs]:
        """The cutoffs by language. Raises ModelError where they do not go with the models; reads manifests only."""
        found: dict[str, Cutoffs] = {}
        for language in self.languages if self.cutoffs else ():
            directory = artifacts[f"perplexity-{language}"]
            manifest = read_manifest(directory)
            if self.cutoffs == "model":
                found[language] = read_cutoffs(directory, manifest)
                continue
            if manifest.get("parameters", {}).get("family") != FAMILY and not self.any_model:
                raise ModelError(
                    f'cutoffs = "ccnet" is valid with CCNet\'s own models, and {directory} is another: '
                    f"`python -m models.fetch ccnet-lm-{language}`, or "
                    f'cutoffs = "model", or any_model = true if this is meant'
                )
            if language in CCNET:
                found[language] = CCNET[language]
        return found

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        newline = "" if self.glue_lines else " "
        cutoffs = self.check(artifacts)
        directories = {language: artifacts[f"perplexity-{language}"] for language in self.languages}

        def score(document: Document) -> Document:
            directory = directories.get(document.language or "")
            value = load_perplexity(directory)(normalize(document.text, newline=newline)) if directory else None
            label = bucket(value, cutoffs.get(document.language or "")) if self.cutoffs else None
            return replace(document, perplexity=value, perplexity_bucket=label)

        return lambda documents: [score(document) for document in documents]


def load_perplexity(directory: Path) -> Callable[[str], float | None]:
    """The perplexity of a text that is normalised already, under the artifact in `directory`; None for no text.

    A process holds one copy of each model, whoever asks for it.
    """
    model = directory / BINARY
    if not model.exists():
        model = directory / ARPA
    try:
        stats = [path.stat() for path in (model, directory / PIECES)]
    except OSError as error:
        raise ModelError(f"{directory} does not hold a perplexity model ({error})") from None
    return _load(str(model), str(directory / PIECES), tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@lru_cache(maxsize=64)
def _load(path: str, pieces_path: str, _files: tuple[tuple[int, int], ...]) -> Callable[[str], float | None]:
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        model = kenlm.Model(path, config)
        processor = SentencePieceProcessor(model_file=pieces_path)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{Path(path).parent} does not hold a perplexity model ({error})") from None

    def perplexity(text: str) -> float | None:
        line = " ".join(processor.encode_as_pieces(text))
        if not line:
            return None
        # CCNet counts what white space of any kind sets apart, KenLM the ASCII kinds: no piece we met holds either.
        return float(round(10 ** (-model.score(line) / (len(line.split()) + 1)), 1))

    return perplexity
