"""Gopher repetition rules (Rae et al. 2021, appendix A.1.1, table A1): does the page say the same again and again?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.ngrams import Repeats, repeats
from curation.words import is_unspaced, lines, paragraphs, words

Floats = tuple[float, ...]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GopherRepetition:
    """Shares of a page in repeated lines, paragraphs and n-grams of words. Defaults are the paper's; 0 sets a rule off.

    The paper leaves open whether the first copy is a duplicate too, and a share of what it measures; its two published
    readings differ, and `semantics` names one.

    "datatrove" (FineWeb): the first copy is no duplicate. Shares are of all characters of the text. The most frequent
    n-gram, of several the first, has its spaces counted. Of copied n-grams those are added up that do not overlap,
    read from the left: behind a copy the reading goes on, and an n-gram that begins inside one is neither a duplicate
    nor remembered. Two differences remain: datatrove takes "a bc" and "ab c" for the same 5- to 10-grams, and puts a
    space between words also where the script has none.

    "dclm": every copy is a duplicate, the first one too. Shares are of the characters in lines, in paragraphs or in
    words. Of the most frequent n-grams the longest counts, unless it occurs once; each character in copied n-grams
    counts once.
    """

    max_duplicate_lines: float = 0.30
    max_duplicate_paragraphs: float = 0.30
    max_duplicate_line_characters: float = 0.20
    max_duplicate_paragraph_characters: float = 0.20
    max_top_ngrams: Floats = (0.20, 0.18, 0.16)  # of n = 2, 3, 4: characters in the most frequent one
    max_duplicate_ngrams: Floats = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)  # of n = 5 to 10: in those that are copied
    semantics: str = "datatrove"

    def __post_init__(self) -> None:
        if self.semantics not in ("datatrove", "dclm"):
            raise RecipeError(f'gopher_repetition: semantics must be "datatrove" or "dclm", not {self.semantics!r}')
        if (len(self.max_top_ngrams), len(self.max_duplicate_ngrams)) != (3, 6):
            raise RecipeError(
                "gopher_repetition: give 3 limits for top n-grams (2, 3, 4), 6 for duplicate ones (5 to 10)"
            )

    def __call__(self, document: Document) -> Document | Drop:
        text = document.text
        for kind, parts, limits in (
            ("paragraph", paragraphs(text), (self.max_duplicate_paragraphs, self.max_duplicate_paragraph_characters)),
            ("line", lines(text), (self.max_duplicate_lines, self.max_duplicate_line_characters)),
        ):
            for unit, share, limit in zip(("s", "_characters"), self._parts(text, parts), limits, strict=True):
                if limit and share > limit:
                    return Drop(f"duplicate_{kind}{unit}", round(share, 4), limit)
        verdict = self._ngrams(text)
        return document if verdict is None else verdict

    def _parts(self, text: str, parts: tuple[str, ...]) -> tuple[float, float]:
        """Shares of the parts that are duplicates, and of the characters in them."""
        counts: dict[str, int] = {}
        for part in parts:
            counts[part] = counts.get(part, 0) + 1
        copied = [(part, count) for part, count in counts.items() if count > 1]
        if not copied:
            return 0.0, 0.0
        first = 0 if self.semantics == "dclm" else 1
        characters = sum(map(len, parts)) if self.semantics == "dclm" else len(text)
        return (
            sum(count - first for _, count in copied) / len(parts),
            sum(len(part) * (count - first) for part, count in copied) / characters,
        )

    def _ngrams(self, text: str) -> Drop | None:
        all_words = words(text)
        if not all_words:
            return None
        lengths = np.fromiter(map(len, all_words), dtype=np.int64, count=len(all_words))
        ends = np.concatenate(([0], np.cumsum(lengths)))  # of the words, as if nothing stood between them
        total = int(ends[-1]) if self.semantics == "dclm" else len(text)
        limits = {**dict(enumerate(self.max_top_ngrams, 2)), **dict(enumerate(self.max_duplicate_ngrams, 5))}
        for found in repeats(all_words, 10):
            limit = limits.get(found.n, 0.0)
            if not limit or found.n > len(all_words):
                continue
            if found.n < 5:
                characters = self._top(found, all_words, ends)
            else:
                characters = _covered(found, ends) if self.semantics == "dclm" else _read_from_the_left(found, ends)
            if characters / total > limit:
                kind = "top" if found.n < 5 else "duplicate"
                return Drop(f"{kind}_{found.n}_grams", round(characters / total, 4), limit)
        return None

    def _top(self, found: Repeats, all_words: tuple[str, ...], ends: Integers) -> int:
        """Characters in all copies of the most frequent n-gram, overlaps counted twice."""
        count = int(found.counts.max(initial=1))
        tops = found.positions[found.counts == count] if count > 1 else np.zeros(1, dtype=np.int64)
        if self.semantics == "dclm":
            return count * int((ends[tops + found.n] - ends[tops]).max()) if count > 1 else 0
        first = int(tops[0])
        ngram = all_words[first : first + found.n]
        spaces = sum(not (is_unspaced(before[-1]) or is_unspaced(after[0])) for before, after in pairwise(ngram))
        return count * (sum(map(len, ngram)) + spaces)


def _read_from_the_left(found: Repeats, ends: Integers) -> int:
    """Characters in copies that do not overlap, reading on behind each."""
    seen = set()
    covered = behind = 0
    lengths = ends[found.positions + found.n] - ends[found.positions]
    for position, label, length in zip(found.positions.tolist(), found.labels.tolist(), lengths.tolist(), strict=True):
        if position < behind:
            continue
        if label in seen:
            covered += length
            behind = position + found.n
        else:
            seen.add(label)
    return covered


def _covered(found: Repeats, ends: Integers) -> int:
    """Characters in copied n-grams, each counted once."""
    depth = np.zeros(len(ends), dtype=np.int64)
    depth[found.positions] += 1
    depth[found.positions + found.n] -= 1
    return int(np.diff(ends)[np.cumsum(depth[:-1]) > 0].sum())
