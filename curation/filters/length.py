"""Is there enough text, and not absurdly much?"""

from __future__ import annotations

from dataclasses import dataclass

from curation.document import Document, Drop
from curation.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Length of the text in code points. The default minimum is CCNet's (Wenzek et al. 2019; cc_net's min_len)."""

    min_characters: int = 300
    max_characters: int = 1_000_000  # ours: no document may be longer than a part's memory allows

    def __post_init__(self) -> None:
        if not 0 <= self.min_characters <= self.max_characters:
            raise RecipeError("length: 0 <= min_characters <= max_characters")

    def __call__(self, document: Document) -> Document | Drop:
        length = len(document.text)
        if length < self.min_characters:
            return Drop("too_short", length, self.min_characters)
        if length > self.max_characters:
            return Drop("too_long", length, self.max_characters)
        return document
