"""Gopher quality rules (Rae et al. 2021, appendix A.1.1): is the page shaped like prose?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curation.document import Document, Drop
from curation.words import lines, words

STOP_WORDS = {"en": frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})}
UNSPACED = frozenset(
    {"zh", "ja", "th", "lo", "km", "my", "bo", "dz"}
)  # written without spaces: word rules mean nothing
BULLETS = ("•", "‣", "▪", "-", "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class GopherQuality:
    """Word count and length, symbols, bullets, ellipses, letters, stop words. Defaults are the paper's.

    Rules bound to a language read a table: documents in a language without stop words here are not held to that rule,
    and languages written without spaces are not held to any rule about words.
    """

    reads: ClassVar[tuple[str, ...]] = ("language",)

    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_length: float = 3.0
    max_mean_word_length: float = 10.0
    max_symbol_ratio: float = 0.1  # "#" or ellipsis per word
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alphabetic_words: float = 0.8
    min_stop_words: int = 2  # distinct ones

    def __call__(self, document: Document) -> Document | Drop:
        for verdict in (self._words(document), self._lines(document)):
            if verdict is not None:
                return verdict
        return document

    def _lines(self, document: Document) -> Drop | None:
        all_lines = lines(document.text)
        if not all_lines:
            return None
        bullets = sum(line.startswith(BULLETS) for line in all_lines) / len(all_lines)
        if bullets > self.max_bullet_lines:
            return Drop("bullet_lines", round(bullets, 4), self.max_bullet_lines)
        ellipses = sum(line.endswith(("…", "...")) for line in all_lines) / len(all_lines)
        if ellipses > self.max_ellipsis_lines:
            return Drop("ellipsis_lines", round(ellipses, 4), self.max_ellipsis_lines)
        return None

    def _words(self, document: Document) -> Drop | None:
        if document.language in UNSPACED:
            return None
        all_words = words(document.text)
        count = len(all_words)
        if count < self.min_words:
            return Drop("too_few_words", count, self.min_words)
        if count > self.max_words:
            return Drop("too_many_words", count, self.max_words)
        mean = sum(map(len, all_words)) / count
        if mean < self.min_mean_word_length:
            return Drop("words_too_short", round(mean, 4), self.min_mean_word_length)
        if mean > self.max_mean_word_length:
            return Drop("words_too_long", round(mean, 4), self.max_mean_word_length)
        for rule, symbols in (("hashes", ("#",)), ("ellipses", ("…", "..."))):
            ratio = sum(document.text.count(symbol) for symbol in symbols) / count
            if ratio > self.max_symbol_ratio:
                return Drop(rule, round(ratio, 4), self.max_symbol_ratio)
        alphabetic = sum(any(map(str.isalpha, word)) for word in all_words) / count
        if alphabetic < self.min_alphabetic_words:
            return Drop("not_alphabetic", round(alphabetic, 4), self.min_alphabetic_words)
        if stop_words := STOP_WORDS.get(document.language or ""):
            found = len(stop_words & {word.lower() for word in all_words})
            if found < self.min_stop_words:
                return Drop("too_few_stop_words", found, self.min_stop_words)
        return None
