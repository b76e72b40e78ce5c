"""Lists of addresses and words that a page is compared with: the form they are stored in, and two small ones for URLs.

The two that come with Winnow stand here as code, so that the key of a stage sees them. They are no substitute for a
list that somebody keeps up to date: `python -m models.make_list` makes one of those usable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curation.errors import ModelError
from curation.hashing import hash64

DOMAINS, URLS = "domains.npy", "urls.npy"  # keys, sorted: 8 bytes an entry, mapped into memory
WORDS = "words.json"  # {kind: entries, sorted}, for each of KINDS
KINDS = ("substrings", "words", "soft_words")


def keys(names: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Distinct hashes of domains or canonical URLs, in ascending order: uint64 [names].

    A billion lookups in a list of ten million entries meet a false hit with a probability of 1 in 1,800.
    """
    return np.unique(np.fromiter(map(hash64, names), dtype=np.uint64))


@dataclass(frozen=True, slots=True)
class UrlList:
    """One list, ready to be asked. `domains` and `urls` are sorted keys; words are in lower case."""

    name: str
    domains: npt.NDArray[np.uint64]
    urls: npt.NDArray[np.uint64]
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def has_domain(self, name: str) -> bool:
        return _holds(self.domains, name)

    def has_url(self, name: str) -> bool:
        return _holds(self.urls, name)


def make(name: str, domains: Iterable[str] = (), **words: Iterable[str]) -> UrlList:
    """A list of domains in their canonical form, and of words by kind."""
    return UrlList(name, keys(domains), keys(()), {kind: frozenset(words.get(kind, ())) for kind in KINDS})


def read(name: str, directory: Path) -> UrlList:
    """The list of an artifact. Raises ModelError when it is none."""
    try:
        domains, urls = (
            np.asarray(np.load(directory / file, mmap_mode="r", allow_pickle=False)) for file in (DOMAINS, URLS)
        )
        stored = json.loads((directory / WORDS).read_text(encoding="utf-8"))
        words = {kind: frozenset(map(str, stored[kind])) for kind in KINDS}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{directory} does not hold a list ({error}): use python -m models.make_list") from None
    if any(part.dtype != np.uint64 or part.ndim != 1 for part in (domains, urls)):
        raise ModelError(f"{directory} does not hold a list: make it again with python -m models.make_list")
    return UrlList(name, domains, urls, words)


def _holds(sorted_keys: npt.NDArray[np.uint64], name: str) -> bool:
    if not len(sorted_keys):
        return False
    wanted = np.uint64(hash64(name))
    at = int(np.searchsorted(sorted_keys, wanted))
    return at < len(sorted_keys) and bool(sorted_keys[at] == wanted)


# The sources that have a way of their own into a corpus (curation/sources), so that the crawl need not bring them:
# RefinedWeb leaves such sites out for the same reason (Penedo et al. 2023, section 3.1 and appendix G.1.3).
_OWN_SOURCES = (
    *("wikipedia.org", "wiktionary.org", "wikibooks.org", "wikinews.org", "wikiquote.org", "wikisource.org"),
    *("wikiversity.org", "wikivoyage.org", "wikimedia.org", "wikidata.org", "mediawiki.org"),
    *("github.com", "raw.githubusercontent.com", "arxiv.org", "gutenberg.org"),
    *("stackexchange.com", "stackoverflow.com", "superuser.com", "serverfault.com", "askubuntu.com"),
    *("mathoverflow.net", "stackapps.com"),
)

# Names of a trade, in English and as they are used in other languages; RefinedWeb (appendix G.1.2) tells apart those
# that count anywhere in a URL, as whole words, and only together. Words for groups of people are left out on purpose:
# lists that hold them remove what those people write about themselves (Dodge et al. 2021, section 5.3).
_ADULT = {
    "substrings": (
        *("porn", "xxxvideo", "videoxxx", "sexvideo", "sexcam", "camsex", "camgirl", "livesex", "hentai", "blowjob"),
        *("gangbang", "creampie", "cumshot", "bukkake", "deepthroat", "handjob", "upskirt", "sextape", "fuckbook"),
    ),
    "words": (
        *("xxx", "milf", "milfs", "nudes", "camsex", "fuck", "fucking", "fucked", "orgy", "orgies", "threesome"),
        *("masturbation", "bdsm", "dildo", "dildos", "striptease", "callgirl", "callgirls", "sexshop"),
    ),
    "soft_words": (
        *("sex", "sexy", "nude", "naked", "erotic", "erotica", "escort", "escorts", "webcam", "webcams", "cams"),
        *("amateur", "fetish", "hardcore", "uncensored", "horny", "busty", "swinger", "swingers", "lingerie"),
    ),
}

BUNDLED = {"own_sources": make("own_sources", _OWN_SOURCES), "adult": make("adult", **_ADULT)}
