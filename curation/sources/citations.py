"""The pages that Wikipedia cites: every link out of an article, as the corpus of reference classifiers.

LLaMA-1 trained "on pages used as references in Wikipedia" (Touvron et al. 2023, section 2.1). A link counts
wherever it stands in the article: in a footnote (named or not), in a citation template, under external links, or bare.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from curation.errors import DataError, InputError
from curation.sources.wikipedia import pages

_UNSEEN = re.compile(r"<!--.*?-->|<nowiki>.*?</nowiki>", re.DOTALL | re.IGNORECASE)
# What MediaWiki ends a link at, and "|" and "}", which end it inside a template. A bare "//" counts after "[" only.
_URL = re.compile(r"""(?:(?<![\w/])https?:|(?<=\[))//[^\s\[\]<>"|{}\x00-\x1f\x7f]+""", re.IGNORECASE)
_ARCHIVED = re.compile(
    r"https?://(?:(?:web|wayback|liveweb)\.archive\.org/(?:web/)?|archive\.org/(?:web|wayback)/|"
    r"(?:www\.)?archive\.(?:today|is|ph|li|md|vn)/|(?:www\.)?webarchive\.org\.uk/wayback/archive/)"
    r"(?:[\d*]+(?:[a-z]{2}_)?/)(?P<url>.+)",
    re.IGNORECASE,
)
_WEBCITE = re.compile(r"https?://(?:www\.)?webcitation\.org/query\?(?:[^#]*&)?url=(?P<url>[^&#]+)", re.IGNORECASE)
# Wikipedia and its sisters, whose links to each other are no citations; and an archive whose short links name no page.
_NO_CITATION = re.compile(
    r"(?:^|\.)(?:webcitation|wikipedia|wikimedia|wikidata|wiktionary|wikisource|wikiquote|wikibooks|wikinews|wikiversity|"
    r"wikivoyage|mediawiki|toolserver|wmflabs)\.org$"
)


def cited_urls(dump: Path) -> Iterator[str]:
    """The URLs that the articles of a Wikipedia dump link to, in order, once for each article that does.

    A link into a web archive is given as the page that was archived. Raises InputError when there is no such file.
    """
    try:
        stream = dump.open("rb")
    except OSError as error:
        raise InputError(f"{dump}: {error.strerror}; give a pages-articles dump (.xml.bz2)") from None
    with stream:
        for page in pages(stream):
            if (
                not isinstance(page, DataError)
                and page.namespace == 0
                and not page.redirect
                and page.model == "wikitext"
            ):
                yield from links(page.text)


def links(wikitext: str) -> list[str]:
    """The different http and https URLs in one article, in the order of their first appearance, archives unwrapped."""
    text = _UNSEEN.sub(" ", wikitext)
    return list(dict.fromkeys(url for match in _URL.finditer(text) if (url := _cited(match.group()))))


def _cited(link: str) -> str:
    """The page that a link means; "" when it is none that can be fetched, or a sister project's."""
    url = _trimmed(unescape(link))
    if url.startswith("//"):
        url = f"http:{url}"
    for _ in range(3):  # archives of archives
        if match := _ARCHIVED.match(url):
            url = match["url"]
            url = url if re.match(r"(?i)https?:", url) else f"http://{url.lstrip('/')}"
            url = re.sub(r"(?i)^(https?):/+", r"\1://", url)
        elif match := _WEBCITE.match(url):
            url = unquote(match["url"])
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    scheme = url.partition(":")[0].lower()
    return url if scheme in ("http", "https") and "." in host.strip(".") and not _NO_CITATION.search(host) else ""


def _trimmed(url: str) -> str:
    """Without the punctuation that ends a sentence rather than the URL, as MediaWiki trims it."""
    stops = ",;.:!?'" if "(" in url else ",;.:!?')"
    url = url.partition("''")[0].rstrip(stops)
    while url.endswith(")") and url.count(")") > url.count("("):
        url = url[:-1].rstrip(stops)
    return url
