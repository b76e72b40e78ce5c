"""FineWeb's own rules (Penedo et al. 2024, section 3.6): lists, menus and fragments that the other rules leave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from curation.document import Document, Drop
from curation.languages import sentence_ends, writes_letters
from curation.words import words


@dataclass(frozen=True, slots=True, kw_only=True)
class FinewebQuality:
    """Lines that end in a mark, short lines, characters in repeated lines, newlines per word. 0 sets a rule off.

    Defaults are those of the script that made FineWeb. Its paper has 0.1 for characters in repeated lines, and so has
    FineWeb-2 for all languages, which also sets the rule about short lines off, and the shares of lines that end in a
    mark (0 to 0.33) and of newlines (0.05 to 1) for each language.

    Bound to a language (`curation.languages`) are the marks, of any script, for languages that end sentences in one,
    and short lines, for languages that write letters: 30 characters are 6 words of English and 20 of Chinese.
    `language` is that of every document, or "" for each document's own.
    """

    min_ended_lines: float = 0.12
    max_short_lines: float = 0.67
    short_line: int = 30  # characters; a line of as many is still short
    max_duplicate_line_characters: float = 0.01  # the paper: 0.1
    max_newlines_per_word: float = 0.3
    language: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.language else ("language",)

    def __call__(self, document: Document) -> Document | Drop:
        text = document.text
        all_lines = [line for line in text.split("\n") if line.strip()]  # as they are: indented twice is no duplicate
        if not all_lines:
            return Drop("no_lines", 0, 1)
        language = self.language or document.language
        if marks := sentence_ends(language):
            ended = sum(line.rstrip()[-1] in marks for line in all_lines) / len(all_lines)
            if ended < self.min_ended_lines:
                return Drop("ended_lines", round(ended, 4), self.min_ended_lines)
        if self.max_short_lines and writes_letters(language):
            short = sum(len(line) <= self.short_line for line in all_lines) / len(all_lines)
            if short > self.max_short_lines:
                return Drop("short_lines", round(short, 4), self.max_short_lines)
        if self.max_duplicate_line_characters:
            again = sum(len(line) * (count - 1) for line, count in Counter(all_lines).items())
            share = again / len(text.replace("\n", ""))
            if share > self.max_duplicate_line_characters:
                return Drop("duplicate_line_characters", round(share, 4), self.max_duplicate_line_characters)
        if self.max_newlines_per_word:
            newlines = text.count("\n") / len(words(text))
            if newlines > self.max_newlines_per_word:
                return Drop("newlines", round(newlines, 4), self.max_newlines_per_word)
        return document
