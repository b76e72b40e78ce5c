"""C4's list of words (Raffel et al. 2020, section 2.2): is there one of them on the page?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.languages import WITHOUT_SPACES
from curation.lists import read
from curation.steps import Judge

# Entries that are parts of common words where words have no spaces: each would drop a tenth of that language's pages.
_ALLOWED = {"ja": frozenset({"sm", "グロ", "女の子"}), "zh": frozenset({"性"})}
_TOKEN = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class C4BadWords:
    """Drop pages with a word or phrase of the list of their language, in whatever case.

    Bring the lists: `python -m models.make_list --name bad-en --words FILE` writes the artifact `list-bad-en`. C4 used
    the "List of Dirty, Naughty, Obscene or Otherwise Bad Words", in English alone. A document in a language without a
    list is kept. `language` is that of every document, or "" for each document's own.

    An entry must stand between characters that are no letters, digits or underscores, except in languages written
    without spaces (C4's code knows Chinese, Japanese and Thai; `curation.languages.WITHOUT_SPACES` has more). C4's
    first code asked for any two characters but a-z, so it missed an entry at either end of a line.
    """

    lists: str = "bad"
    languages: tuple[str, ...] = ("en",)
    language: str = ""

    def __post_init__(self) -> None:
        if not self.languages or (self.language and self.language not in self.languages):
            raise RecipeError("c4_bad_words: languages must name the lists, that of `language` among them")

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.language else ("language",)

    def artifacts(self) -> tuple[str, ...]:
        return tuple(map(self._artifact, self.languages))

    def _artifact(self, language: str) -> str:
        return f"list-{self.lists}-{language}"

    def load(self, artifacts: Mapping[str, Path]) -> Judge:
        finders = {
            language: _finder(language, read(language, artifacts[self._artifact(language)]).words["words"])
            for language in self.languages
        }

        def judge(document: Document) -> Document | Drop:
            find = finders.get(self.language or document.language or "")
            found = find(document.text.lower()) if find else None
            return document if found is None else Drop("bad_word", found, "none")

        return judge


def _finder(language: str, listed: Iterable[str]) -> Callable[[str], str | None]:
    """A function from a text in small letters to an entry in it."""
    # Entries by the word they begin with; those that begin with none, or need no spaces, are looked for anywhere.
    starts: dict[str, list[str]] = {}
    anywhere = []
    for entry in sorted(set(map(str.lower, listed)) - _ALLOWED.get(language, frozenset())):
        first = None if language in WITHOUT_SPACES else _TOKEN.match(entry)
        if first:
            starts.setdefault(first[0], []).append(entry)
        else:
            anywhere.append(entry)

    def find(text: str) -> str | None:
        for entry in anywhere:
            if entry in text:
                return entry
        for token in _TOKEN.finditer(text):
            for entry in starts.get(token[0], ()):
                end = token.start() + len(entry)
                if text.startswith(entry, token.start()) and not _TOKEN.match(text, end):
                    return entry
        return None

    return find
