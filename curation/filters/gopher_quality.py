"""Gopher quality rules (Rae et al. 2021, appendix A.1.1): is the page shaped like prose?"""

from __future__ import annotations

from dataclasses import dataclass

from curation.document import Document, Drop
from curation.languages import stop_words, writes_letters
from curation.words import lines, words

_ELLIPSES = ("…", "...")
# What may stand around a word: ASCII punctuation, quotes, and the marks of the scripts that have stop words.
_AROUND = (
    "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~«»‹›“”„‘’‚¿¡…–—·،؛؟۔।॥་།༎༏༑፡።፣፤፥፦፧、。「」『』《》〈〉（），．：；？！៕។៖၊။՝՞՜։"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GopherQuality:
    """Word count and length, symbols, bullets, ellipses, letters, stop words. Defaults are the paper's.

    The paper says "words" and leaves open which. Here they are what `curation.words` splits, and as in datatrove and
    DCLM those without a letter or digit do not count for number and length, while they do for the ratios. Of rules
    bound to a language, mean word length holds for languages that write letters (`curation.languages`) and stop words
    for those with a table; `language` is that of every document, or "" for each document's own. FineWeb-2 kept 50 to
    100,000 words, 0.1 and two stop words for all languages, and set word lengths and `min_alphabetic_words`
    (0.62 to 0.91) for each.
    """

    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_length: float = 3.0  # Dolma takes the median
    max_mean_word_length: float = 10.0
    max_symbol_ratio: float = 0.1  # per word, "#" and ellipsis each on its own
    sum_symbols: bool = False  # DCLM adds the two up
    max_bullet_lines: float = 0.9
    bullets: tuple[str, ...] = ("•", "‣", "▪", "●", "-", "*")  # the paper names none. datatrove: • -; DCLM: ● • * -
    max_ellipsis_lines: float = 0.3
    min_alphabetic_words: float = 0.8
    min_stop_words: int = 2
    distinct_stop_words: bool = True  # DCLM counts the same one again
    language: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.language else ("language",)

    def __call__(self, document: Document) -> Document | Drop:
        for verdict in (self._words(document), self._lines(document)):
            if verdict is not None:
                return verdict
        return document

    def _lines(self, document: Document) -> Drop | None:
        """Blank lines are no lines here; in datatrove they count among all."""
        all_lines = lines(document.text)
        if not all_lines:
            return None
        bullets = sum(line.startswith(self.bullets) for line in all_lines) / len(all_lines)
        if bullets > self.max_bullet_lines:
            return Drop("bullet_lines", round(bullets, 4), self.max_bullet_lines)
        ellipses = sum(line.endswith(_ELLIPSES) for line in all_lines) / len(all_lines)
        if ellipses > self.max_ellipsis_lines:
            return Drop("ellipsis_lines", round(ellipses, 4), self.max_ellipsis_lines)
        return None

    def _words(self, document: Document) -> Drop | None:
        text, all_words = document.text, words(document.text)
        solid = [word for word in all_words if any(map(str.isalnum, word))]
        count = len(solid)
        if count < self.min_words:
            return Drop("too_few_words", count, self.min_words)
        if count > self.max_words:
            return Drop("too_many_words", count, self.max_words)
        language = self.language or document.language
        mean = len("".join(solid)) / max(1, count)
        if writes_letters(language) and mean < self.min_mean_word_length:
            return Drop("words_too_short", round(mean, 4), self.min_mean_word_length)
        if writes_letters(language) and mean > self.max_mean_word_length:
            return Drop("words_too_long", round(mean, 4), self.max_mean_word_length)
        total = max(1, len(all_words))
        ellipses = sum(text.count(symbol) for symbol in _ELLIPSES)
        hashes = text.count("#") + (ellipses if self.sum_symbols else 0)
        for rule, symbols in (("hashes", hashes), ("ellipses", ellipses)):
            if symbols / total > self.max_symbol_ratio:
                return Drop(rule, round(symbols / total, 4), self.max_symbol_ratio)
        alphabetic = sum(any(map(str.isalpha, word)) for word in all_words) / total
        if alphabetic < self.min_alphabetic_words:
            return Drop("not_alphabetic", round(alphabetic, 4), self.min_alphabetic_words)
        return self._stop_words(solid, stop_words(language))

    def _stop_words(self, solid: list[str], listed: frozenset[str]) -> Drop | None:
        """Capitals and punctuation around a word do not hide it. datatrove's list is not found in capitals."""
        if not listed:
            return None
        bare = (word.lower().strip(_AROUND) for word in solid)
        among = [word for word in (set(bare) if self.distinct_stop_words else bare) if word in listed]
        if len(among) < self.min_stop_words:
            return Drop("too_few_stop_words", len(among), self.min_stop_words)
        return None
