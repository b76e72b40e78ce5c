"""Pages whose address is on a list, or is made of its words, as RefinedWeb filters them before it looks at a text.

Penedo et al. 2023, section 3.1 and appendix G.1: a list of 4.6 million domains, and words of three kinds. DCLM does the
same with words of its own (Li et al. 2024, dclm_baseline_refinedweb.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.lists import BUNDLED, UrlList, read
from curation.recipe import suggest
from curation.steps import Judge
from curation.url import canonical_url, host, parents, readable_url

_WORD = re.compile(r"[^\W_]+")
_IGNORED = str.maketrans("", "", "-._")  # what words in domain names are parted with, or hidden by


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlBlocklist:
    """Drop a page by its address. A rule's drop names what was found, and in which list.

    `domain`: its host, or a domain above it, is listed. `url`: the page, or a folder above it, is. `substring`: a word
    stands somewhere in its host, path or query, with "-", "." and "_" left out. `word`: it stands there by itself.
    `soft_words`: as many as `soft_words` different ones do.

    `bundled` names lists of ours, which are small (curation/lists.py): "adult" and "own_sources". `lists` names
    your own, the artifacts `list-NAME` that `python -m models.make_list` writes.
    """

    bundled: tuple[str, ...] = ("adult",)
    lists: tuple[str, ...] = ()
    soft_words: int = 2  # RefinedWeb's

    def __post_init__(self) -> None:
        if not self.bundled and not self.lists:
            raise RecipeError("url_blocklist: name a list of your own in lists, or one of ours in bundled")
        for name in self.bundled:
            if name not in BUNDLED:
                raise RecipeError(
                    f"url_blocklist: no bundled list is called {name!r}{suggest(name, BUNDLED)}; there are "
                    f"{', '.join(BUNDLED)}, and lists names your own"
                )
        if self.soft_words < 1:
            raise RecipeError("url_blocklist: soft_words is at least 1")

    def artifacts(self) -> tuple[str, ...]:
        return tuple(f"list-{name}" for name in self.lists)

    def load(self, artifacts: Mapping[str, Path]) -> Judge:
        lists = [BUNDLED[name] for name in self.bundled]
        lists += [read(name, artifacts[f"list-{name}"]) for name in self.lists]

        def judge(document: Document) -> Document | Drop:
            for list_ in lists:
                for drop in self._drops(list_, document.url):
                    return drop
            return document

        return judge

    def _drops(self, list_: UrlList, url: str) -> Iterator[Drop]:
        if len(list_.domains):
            yield from (Drop("domain", name, list_.name) for name in parents(host(url)) if list_.has_domain(name))
        if len(list_.urls):
            yield from (Drop("url", name, list_.name) for name in _folders(canonical_url(url)) if list_.has_url(name))
        if any(list_.words.values()):
            text = readable_url(url)
            joined = text.translate(_IGNORED)
            yield from (
                Drop("substring", word, list_.name) for word in sorted(list_.words["substrings"]) if word in joined
            )
            found = set(_WORD.findall(text))
            yield from (Drop("word", word, list_.name) for word in sorted(found & list_.words["words"]))
            soft = len(found & list_.words["soft_words"])
            if soft >= self.soft_words:
                yield Drop("soft_words", soft, self.soft_words)


def _folders(canonical: str) -> Iterator[str]:
    """The page, and the folders that it lies in; the whole host is not one."""
    yield canonical
    path = canonical.partition("?")[0]
    if path != canonical:
        yield path
    while path.count("/") > 1:
        path = path.rpartition("/")[0]
        yield path
