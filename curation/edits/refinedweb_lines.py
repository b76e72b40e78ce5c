"""Lines that are no part of the text, by RefinedWeb's rules (Penedo et al. 2023, section 3.2 and appendix G.2).

The paper describes the rules and gives one number, the share of words after whose removal the page goes; the other
numbers and the words are those of DCLM's reproduction (Li et al. 2024, dclm_baseline_refinedweb.yaml).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from curation.document import Document, Drop
from curation.words import split_words, words

# Rules bound to a language. What counts in "3 likes"; what is cut from short lines: anywhere, at the end, at the start.
COUNTED = {
    "en": "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers",
}
PHRASES = {
    "en": (r"items in cart", r"read more(?:\.\.\.|…)", r"sign-in"),
}

_COUNTERS = {
    language: re.compile(rf"\W*\d[\d.,]*[kmb]?\s+(?:{counted})\W*", re.IGNORECASE)
    for language, counted in COUNTED.items()
}
_PHRASES = {
    language: tuple(
        re.compile(pattern, re.IGNORECASE) for pattern in (rf"\s?{anywhere}", rf"\s?{end}\Z", rf"\A{start}\s?")
    )
    for language, (anywhere, end, start) in PHRASES.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinedwebLines:
    """Remove lines in capitals, of numerals, counters ("3 likes"), of one word; cut "sign-in" and the like from short
    lines; drop the page when that removes too many of its words (`words_removed`).

    The words are English, and cut from English pages only. Where lines between blank ones go, one blank line is left.
    """

    reads: ClassVar[tuple[str, ...]] = ("language",)

    max_uppercase: float = 0.5  # of a line's characters; the paper: "mainly composed of uppercase characters"
    min_line_words: int = 2
    max_phrase_words: int = 10  # a line with more is not searched for phrases
    max_removed: float = 0.05  # of the page's words; the paper's

    def __call__(self, document: Document) -> Document | Drop:
        before = document.text.split("\n")
        after: list[str] = []
        gap = False  # was a line removed since the last that stays?
        for line in before:
            edited = self._edited(line, document.language or "")
            if edited is None or (gap and not edited.strip() and not "".join(after[-1:]).strip()):
                gap = True
            else:
                after.append(edited)
                gap = False
        if after == before:
            return document
        text = "\n".join(after).strip("\n")
        count = len(words(document.text))
        removed = (count - len(words(text))) / count if count else 0.0
        if removed > self.max_removed:
            return Drop("words_removed", round(removed, 4), self.max_removed)
        return replace(document, text=text)

    def _edited(self, line: str, language: str) -> str | None:
        """The line as it stays; None when it goes. Blank lines stay."""
        stripped = line.strip()
        if not stripped:
            return line
        if sum(map(str.isupper, stripped)) > self.max_uppercase * len(stripped) or stripped.isdigit():
            return None
        if language in _COUNTERS and _COUNTERS[language].fullmatch(stripped):
            return None
        if len(stripped.split(None, self.min_line_words)) < self.min_line_words > len(split_words(stripped)):
            return None
        for pattern in _PHRASES.get(language, ()):
            if len(line.split(None, self.max_phrase_words)) <= self.max_phrase_words:
                line = pattern.sub("", line)
        return line if line.strip() else None
