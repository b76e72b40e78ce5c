"""Documents of the same address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.dedup.exact import hash_text
from curation.dedup.verdict import KEEP
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.url import canonical_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """Keep one document of each canonical URL: the newest (Llama 3: Dubey et al. 2024, section 3.1.1).

    Of equally new ones the smallest stays; one without a date is older than any with one. A document without a URL is
    left alone.
    """

    unit: ClassVar[str] = "urls"

    keep: str = "newest"  # "smallest", "newest" or "none"

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise RecipeError(f"dedup url: keep must be one of {', '.join(KEEP)}, not {self.keep!r}")

    def hashes(self, document: Document) -> np.ndarray:
        """uint64 [1], or [0] for a document without a URL."""
        url = canonical_url(document.url)
        return hash_text(url) if url else np.empty(0, dtype=np.uint64)

    def units(self, document: Document) -> int:
        return 1 if canonical_url(document.url) else 0

    def apply(self, document: Document, survives: np.ndarray) -> tuple[Document | Drop, int]:
        """The very document, or a Drop that names the canonical URL."""
        if survives.all():
            return document, len(survives)
        return Drop("same_url", canonical_url(document.url), self.keep), 0
