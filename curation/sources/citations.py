"""The pages that Wikipedia cites: every link out of an article, as the corpus of reference classifiers.

LLaMA-1 trained "on pages used as references in Wikipedia" (Touvron et al. 2023, section 2.1). A link counts wherever it
stands in the article: in a footnote (named or not, on one line or on several), in a citation template of any language,
under external links, or bare. RedPajama read footnotes without a name only, one a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from curation.document import Page
from curation.errors import InputError
from curation.hashing import hash64
from curation.sources.wikipedia import read_dump
from curation.url import canonical_url, host

_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(nowiki|pre|math|syntaxhighlight|source|templatedata)(?:\s[^<>]*)?(?<!/)>.*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_MAGIC = {"{{=}}": "=", "{{!}}": "|"}  # how a template's argument writes what would end it
# What MediaWiki ends a link at, and "|" and "}", which end it inside a template. A bare "//" counts after "[" only, and
# an address without a scheme only as the value of a template's url= (archive-url=, URL=, Archiv-URL= …).
_URL = re.compile(
    r"""(?:(?<![\w/])https?:|(?<=\[))//[^\s\[\]<>"|{}\x00-\x1f\x7f]+"""
    r"""|(?<=url=)(?:www\.)[^\s\[\]<>"|{}\x00-\x1f\x7f]+""",
    re.IGNORECASE,
)
_ARGUMENT = re.compile(r"(\|[\w .-]*url)\s*=\s*(?=www\.)", re.IGNORECASE)

# Web archives whose addresses hold the address that was archived; of others they hold a number only.
_ARCHIVE = re.compile(
    r"(?:^|\.)(?:web\.archive\.org|wayback\.archive\.org|liveweb\.archive\.org|archive\.(?:today|is|ph|li|md|vn|fo)|"
    r"webarchive\.org\.uk|archive-it\.org|webarchive\.loc\.gov|webarchive\.nationalarchives\.gov\.uk|"
    r"webarchive\.proni\.gov\.uk|webarchive\.parliament\.uk|arquivo\.pt|wayback\.vefsafn\.is|vefsafn\.is|"
    r"web\.archive\.bibalex\.org|ghostarchive\.org|perma\.cc|perma-archives\.org|webcitation\.org|megalodon\.jp|"
    r"freezepage\.com|peeep\.us|timetravel\.mementoweb\.org|webcache\.googleusercontent\.com)$"
)
_ARCHIVE_PATH = re.compile(r"(?i)https?://(?:www\.)?archive\.org/(?:web|wayback)/|https?://\S+?/webarchives?/\d{4}")
_WITHIN = re.compile(r"(?i)(?:[/=]|cache:(?:[\w-]*:)?)(https?(?::|%3a)(?:/|%2f).+)")
_STAMPED = re.compile(r"/(?:\d{4}[\d*.-]*|\*)(?:[a-z]{2}_)?/((?:[\w-]+\.)+[a-z]{2,}(?:[:/?].*)?)$", re.IGNORECASE)
_QUERY = re.compile(r"[?&]url=([^&#]+)", re.IGNORECASE)

# Wikipedia and its sisters, whose links to each other are no citations.
_SISTER = re.compile(
    r"(?:^|\.)(?:wikipedia|wikimedia|wikidata|wiktionary|wikisource|wikiquote|wikibooks|wikinews|wikiversity|"
    r"wikivoyage|mediawiki|toolserver|wmflabs|toolforge)\.org$"
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
        for _, page in read_dump(stream, "wikipedia", dump.name):
            if isinstance(page, Page):
                yield from links(page.body.decode("utf-8"))


def links(wikitext: str) -> list[str]:
    """The different http and https URLs in one article, in the order of their first appearance, archives unwrapped."""
    text = _UNSEEN.sub(" ", wikitext)
    for magic, meaning in _MAGIC.items():
        # "|" inside an address is written %7C in it, so that it does not end the address here either.
        text = text.replace(magic, "%7C" if meaning == "|" else meaning)
    text = _ARGUMENT.sub(r"\1=", text)
    return list(dict.fromkeys(url for match in _URL.finditer(text) if (url := _cited(match.group()))))


def page_keys(urls: Iterable[str]) -> np.ndarray:
    """What a page is known by on both sides of the join: uint64 [urls], the hash of its canonical URL.

    At 40 million cited and 3 billion crawled pages, less than 0.01 pages are expected to be taken for another.
    """
    return np.fromiter((hash64(canonical_url(url)) for url in urls), dtype=np.uint64)


def _cited(link: str) -> str:
    """The page that a link means; "" when it is none that can be fetched, or a sister project's."""
    url = _trimmed(unescape(link))
    if not re.match(r"(?i)https?:", url):
        url = f"http:{url}" if url.startswith("//") else f"http://{url}"
    for _ in range(4):  # archives of archives
        name = host(url)
        if not _ARCHIVE.search(name) and not _ARCHIVE_PATH.match(url):
            break
        url = _archived(url)
    else:
        return ""
    return url if "." in name and not _SISTER.search(name) else ""


def _archived(url: str) -> str:
    """The page behind an archive's address; "" when the address does not say which it is."""
    path = url.partition("://")[2].partition("/")[2]
    if match := _WITHIN.search(f"/{path}"):
        inner = match[1]
        if "%" in inner[:9]:
            inner = unquote(inner.partition("&")[0])
        return re.sub(r"(?i)^(https?):/+", r"\1://", inner)
    if match := _STAMPED.search(f"/{path}"):
        return f"http://{match[1]}"
    if match := _QUERY.search(url):
        inner = unquote(match[1])
        return inner if "://" in inner else f"http://{inner}"
    return ""


def _trimmed(url: str) -> str:
    """Without the punctuation that ends a sentence rather than the URL, as MediaWiki trims it."""
    stops = ",;.:!?'" if "(" in url else ",;.:!?')"
    url = url.partition("''")[0].rstrip(stops)
    while url.endswith(")") and url.count(")") > url.count("("):
        url = url[:-1].rstrip(stops)
    return url
