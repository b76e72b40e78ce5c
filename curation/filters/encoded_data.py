"""Data that is written as code: base64, tables of bytes, escaped strings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from curation.document import Document, Drop
from curation.errors import RecipeError

# Possessive, so that the time is linear. Line ends stand inside base64, so a long list of bare words counts as well.
_ENCODED = re.compile(
    r"""[A-Za-z0-9+/=\n]{64,}+
    |(?:(?:0x|\\x)?[0-9a-fA-F]{2}(?:,\s*+|(?=\\)|\s++)){8,}+
    |(?:\\u[0-9a-fA-F]{4}){8,}+""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedData:
    """After StarCoder 2's rule on data inside code (Lozhkov et al. 2024): a long stretch of it, or half of the file."""

    max_stretch: int = 1024  # characters
    max_share: float = 0.5  # of all characters

    def __post_init__(self) -> None:
        if self.max_stretch < 64 or not 0 <= self.max_share <= 1:
            raise RecipeError("encoded_data: max_stretch is at least 64, and max_share lies in [0, 1]")

    def __call__(self, document: Document) -> Document | Drop:
        longest = total = 0
        for match in _ENCODED.finditer(document.text):
            length = match.end() - match.start()
            longest, total = max(longest, length), total + length
        if longest > self.max_stretch:
            return Drop("encoded_data", longest, self.max_stretch)
        share = total / len(document.text) if document.text else 0.0
        if share > self.max_share:
            return Drop("mostly_encoded_data", round(share, 4), self.max_share)
        return document
