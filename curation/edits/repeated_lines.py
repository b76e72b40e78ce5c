"""Lines made of what the page has said before, such as logs and error messages (Dubey et al. 2024, section 3.1.1).

Llama 3 removes such lines by their "duplicated n-gram coverage ratio"; they can be long and unique, so deduplication of
lines does not find them. The paper cites Rae et al. 2021 for the measure and gives no number: those here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from curation.document import Document, Drop
from curation.words import split_words

_DIGITS = str.maketrans("123456789", "000000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedLines:
    """Remove lines nearly all of whose words lie in n-grams that the page has had before.

    The coverage of a line is the share of its words that belong to an n-gram which began earlier in the page, in this
    line or in one before; so the first of a hundred like lines stays. Words are compared in lower case, with digits as
    0, and those without a letter are left out: lines of a log differ by their times and numbers, rows of a table by
    little else but words.
    """

    n: int = 5  # ours; the shortest of the n-grams of which Rae et al. count every duplicate
    min_words: int = 10  # ours: shorter lines, such as captions and headings, may be alike
    max_coverage: float = 0.8  # ours: at 0.5, sentences go that take up one before them

    def __call__(self, document: Document) -> Document | Drop:
        lines = document.text.split("\n")
        seen: set[tuple[str, ...]] = set()
        kept = [line for line in lines if self._coverage(line, seen) <= self.max_coverage]
        if len(kept) == len(lines):
            return document
        text = "\n".join(kept)
        if not text.strip():
            return Drop("all_lines_repeat", len(lines), 0)
        return replace(document, text=text)

    def _coverage(self, line: str, seen: set[tuple[str, ...]]) -> float:
        """Share of the line's words that n-grams of `seen` cover; its own are added as it is read."""
        tokens = [word for word in split_words(line.lower().translate(_DIGITS)) if any(map(str.isalpha, word))]
        covered = end = 0
        for start in range(len(tokens) - self.n + 1):
            gram = tuple(tokens[start : start + self.n])
            if gram in seen:
                covered += start + self.n - max(start, end)
                end = start + self.n
            else:
                seen.add(gram)
        return covered / len(tokens) if len(tokens) >= self.min_words else 0.0
