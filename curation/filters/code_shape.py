"""Does a file of source code look like one that people wrote and read?"""

from __future__ import annotations

import string
from dataclasses import dataclass

from curation.document import Document, Drop
from curation.errors import RecipeError

_ASCII = bytes(ord(character) for character in string.ascii_letters + string.digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeShape:
    """Length of lines and share of letters and digits, as LLaMA-1 asks for both (Touvron et al. 2023, section 2.1).

    The limits are RedPajama's, the first two as in Codex (Chen et al. 2021, section 3.1). RedPajama also asks for 1.5
    letters a token of Pythia's tokenizer; that is not here, since at this point there is no tokenizer.
    """

    max_line: int = 1000  # characters of the longest line
    max_average_line: float = 100.0  # characters of the text by its lines
    min_alphanumeric: float = 0.25  # of all characters

    def __post_init__(self) -> None:
        if self.max_line < 1 or self.max_average_line < 1 or not 0 <= self.min_alphanumeric <= 1:
            raise RecipeError("code_shape: lines have 1 character or more, and min_alphanumeric lies in [0, 1]")

    def __call__(self, document: Document) -> Document | Drop:
        text = document.text
        lines = text.split("\n")
        longest = max(map(len, lines))
        if longest > self.max_line:
            return Drop("long_line", longest, self.max_line)
        average = len(text) / len(lines)
        if average > self.max_average_line:
            return Drop("long_lines", round(average, 3), self.max_average_line)
        share = _alphanumeric(text) / len(text) if text else 0.0
        if share < self.min_alphanumeric:
            return Drop("few_alphanumeric", round(share, 4), self.min_alphanumeric)
        return document


def _alphanumeric(text: str) -> int:
    """How many characters are letters or digits, in any script."""
    if not text.isascii():
        return sum(map(str.isalnum, text))
    data = text.encode("ascii")
    return len(data) - len(data.translate(None, _ASCII))
