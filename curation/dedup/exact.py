"""Documents of equal content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.dedup.verdict import KEEP
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.hashing import folded, hash64
from curation.normalize import paragraph_key_text

COMPARE = ("text", "folded", "lines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Drop a document whose content another one has too.

    compare = "text": the very text. "folded": lower-cased, white space collapsed, as the held-out documents are chosen
    by. "lines": the lines that hold something, each by CCNet's key (digits as 0, no CCNet punctuation).

    The hash is the first 8 bytes of a BLAKE2b. Among n documents one is dropped wrongly with a chance of n^2 / 2^65:
    1 in 37 for a billion.
    """

    unit: ClassVar[str] = "texts"

    compare: str = "folded"
    keep: str = "smallest"  # "smallest", "newest" or "none"

    def __post_init__(self) -> None:
        if self.compare not in COMPARE:
            raise RecipeError(f"dedup exact: compare must be one of {', '.join(COMPARE)}, not {self.compare!r}")
        if self.keep not in KEEP:
            raise RecipeError(f"dedup exact: keep must be one of {', '.join(KEEP)}, not {self.keep!r}")

    def hashes(self, document: Document) -> np.ndarray:
        """uint64 [1]."""
        return hash_text(self._compared(document.text))

    def _compared(self, text: str) -> str:
        if self.compare == "folded":
            return folded(text)
        if self.compare == "lines":
            return "\n".join(filter(None, map(paragraph_key_text, text.split("\n"))))
        return text

    def units(self, document: Document) -> int:
        return 1

    def apply(self, document: Document, survives: np.ndarray) -> tuple[Document | Drop, int]:
        """The very document, or a Drop that names the hash, under which the other copies are found."""
        if survives.all():
            return document, 1
        return Drop("same_text", f"{int(self.hashes(document)[0]):016x}", self.keep), 0


def hash_text(text: str) -> np.ndarray:
    """uint64 [1]."""
    return np.array([hash64(text)], dtype=np.uint64)
