"""Pages with too many dirty words (Dubey et al. 2024, section 3.1.1).

Llama 3 counts the words of lists (it cites Raffel et al. 2020) to find adult pages that block lists of domains do not
name. It gives neither list nor limit: those here are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.languages import WITHOUT_SPACES
from curation.lists import read
from curation.steps import Judge
from curation.words import split_words, words

# Explicit and vulgar words of adult pages, by language; of no use against insults, and none names a group of people.
BUNDLED = {
    "en": (
        *("porn", "porno", "pornhub", "xxx", "milf", "milfs", "blowjob", "blowjobs", "handjob", "cumshot", "cumshots"),
        *("creampie", "gangbang", "threesome", "deepthroat", "cock", "cocks", "pussy", "pussies", "tits", "titties"),
        *("boobs", "cum", "cumming", "fuck", "fucks", "fucked", "fucking", "horny", "slut", "sluts", "whore", "whores"),
        *("cunt", "dildo", "dildos", "orgy", "masturbate", "masturbating", "masturbation", "hentai", "bukkake"),
        *("anal sex", "oral sex", "hardcore sex", "live sex", "sex cam", "sex cams", "sex chat", "sex toy", "sex toys"),
        *("sex video", "sex videos", "naked girls", "nude girls", "hot girls", "cam girl", "cam girls", "escort girls"),
    ),
}

Phrases = Mapping[str, tuple[tuple[str, ...], ...]]  # by their first word


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyWords:
    """Drop a page when dirty words are more than `max_share` of its words, and at least `min_count`.

    A page is held to the list of its own language, if that is among `languages`. With `lists = "dirty"` the lists are
    the artifacts `list-dirty-LANGUAGE` that `python -m models.make_list --name dirty-en --words FILE` writes; without,
    there is a short one of ours for English alone.
    """

    reads: ClassVar[tuple[str, ...]] = ("language",)

    lists: str = ""
    languages: tuple[str, ...] = ("en",)
    max_share: float = 0.01  # ours
    min_count: int = 3  # ours: one word more or less decides about no page

    def __post_init__(self) -> None:
        for language in self.languages if not self.lists else ():
            if language not in BUNDLED:
                raise RecipeError(
                    f"dirty_words: no list for {language!r} comes with Winnow: make one with "
                    f'python -m models.make_list --name dirty-{language} and say lists = "dirty"'
                )
        if not self.languages:
            raise RecipeError("dirty_words: languages is empty, so no page would be judged")

    def artifacts(self) -> tuple[str, ...]:
        return tuple(self._artifact(language) for language in self.languages) if self.lists else ()

    def _artifact(self, language: str) -> str:
        return f"list-{self.lists}-{language}"

    def load(self, artifacts: Mapping[str, Path]) -> Judge:
        entries: dict[str, Iterable[str]] = {}
        for language in self.languages:
            entries[language] = (
                read(language, artifacts[self._artifact(language)]).words["words"] if self.lists else BUNDLED[language]
            )
        # Written without spaces: an entry counts anywhere, as C4 does in such languages (Xue et al. 2021, section 3.1).
        anywhere = {language: sorted(entries[language]) for language in entries if language in WITHOUT_SPACES}
        phrases = {language: _phrases(entries[language]) for language in entries if language not in WITHOUT_SPACES}

        def judge(document: Document) -> Document | Drop:
            language = document.language or ""
            if language in anywhere:
                text = document.text.lower()
                count = sum(text.count(entry) for entry in anywhere[language])
            elif language in phrases:
                count = _count(document.text, phrases[language])
            else:
                return document
            share = count / max(len(words(document.text)), 1)
            if count >= self.min_count and share > self.max_share:
                return Drop("dirty_words", round(share, 4), self.max_share)
            return document

        return judge


def _phrases(entries: Iterable[str]) -> Phrases:
    """Entries of one or several words by their first word, the longest first."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for entry in sorted(entries):
        if phrase := tuple(map(_bare, split_words(entry))):
            found.setdefault(phrase[0], []).append(phrase)
    return {first: tuple(sorted(same, key=len, reverse=True)) for first, same in found.items()}


def _count(text: str, phrases: Phrases) -> int:
    """How many entries stand in a text; one that lies inside another counts once."""
    tokens = [_bare(word) for word in words(text)]
    count = at = 0
    while at < len(tokens):
        for phrase in phrases.get(tokens[at], ()):
            if tuple(tokens[at : at + len(phrase)]) == phrase:
                count += 1
                at += len(phrase) - 1
                break
        at += 1
    return count


def _bare(word: str) -> str:
    """In lower case, without the punctuation around it."""
    if word.isalnum():
        return word.lower()
    start, end = 0, len(word)
    while start < end and not word[start].isalnum():
        start += 1
    while end > start and not word[end - 1].isalnum():
        end -= 1
    return word[start:end].lower()
