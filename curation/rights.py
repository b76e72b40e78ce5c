"""What a page says about its own use: directives to robots, and the licence that it links.

Signals are recorded, not judged: the filters `robots` and `one_of` decide. robots.txt and the terms of a site are not
part of a page and are not seen here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin

from lxml.etree import LxmlError
from lxml.html import HtmlElement, document_fromstring

# What a directive means, in directives. `noai` and `noimageai`: DeviantArt 2022; `tdm-reservation`: W3C's TDMRep.
DIRECTIVES = {
    "none": ("noindex", "nofollow"),
    **{
        name: (name,)
        for name in (
            *("noai", "noimageai", "noml", "tdm-reservation", "noindex", "nofollow", "noarchive", "nocache"),
            *("nosnippet", "noimageindex", "notranslate", "indexifembedded", "unavailable_after"),
        )
    },
}
# A publisher who tells any robot not to train says so to all who do.
_FOR_ALL = frozenset({"noai", "noimageai", "noml"})
_NO_RESTRICTION = frozenset({"noodp", "noydir"})  # directories that are no more
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview"})
_WORD = re.compile(r"[a-z][a-z_-]{1,31}")
_REFUSAL = re.compile(r"no[a-z-]{2,30}")  # also those that are not listed above

_META_HINTS, _LICENCE_HINT = ("robots", "tdm-reservation"), "license"
_LICENCE_LINKS = ("license", "cc:license", "dct:license", "dcterms:license")
_MOST_JSON = 1 << 18  # bytes of one script that are read
_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml[^>]*>")  # lxml takes no text that names an encoding
_MEDIA = re.compile(r"image|video|audio|media", re.IGNORECASE)
_CREATIVE_COMMONS = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/((?:licenses|publicdomain)/[a-z+-]+(?:/[0-9.]+)?(?:/(?!deed|legalcode)[a-z]{2,3}(?=/|$))?)",
    re.IGNORECASE,
)


def find_rights(
    html: str, tree: HtmlElement | None = None, *, header: str, url: str, agents: Iterable[str] = ()
) -> tuple[str, str]:
    """`Document.robots` and `Document.licence` of a page.

    `header` is its X-Robots-Tag, `url` what its links are relative to, and `agents` are as in `directives`.
    Most pages hold none of the words that matter; only the others are searched, in `tree` or else parsed for it.
    """
    lowered = html.lower()
    in_metas = any(hint in lowered for hint in (*_META_HINTS, *agents)) or any(name in lowered for name in _FOR_ALL)
    in_links = _LICENCE_HINT in lowered
    if tree is None and (in_metas or in_links):
        try:
            tree = document_fromstring(_DECLARATION.sub("", html))
        except (LxmlError, ValueError):  # nothing but blanks
            return directives(header, agents=agents), ""
    metas = _metas(tree) if in_metas else ()
    return directives(header, metas, agents=agents), licence(tree, url) if in_links else ""


def directives(header: str, metas: Iterable[tuple[str, str]] = (), *, agents: Iterable[str] = ()) -> str:
    """The restrictions of an X-Robots-Tag and of (name, content) of <meta>, sorted: `noai, noindex`; "" for none.

    What is said to a robot by name (`googlebot: noindex`) counts when it is one of `agents` (lower case), and noai,
    noimageai and noml count always. In the header a name holds until the next one. `none` is noindex and nofollow;
    what allows (`index`, `follow`, `all`) is left out; of a date only its directive is kept.
    """
    known = frozenset(agents)
    found: set[str] = set(_read(header, known, ours=True))
    for name, content in metas:
        name = name.strip().lower()
        if name == "tdm-reservation":
            if content.strip() == "1":
                found.add("tdm-reservation")
        elif name == "robots" or name in known:
            found.update(_read(content, known, ours=True))
        elif name.endswith("bot"):
            found.update(_read(content, known, ours=False))
    return ", ".join(sorted(found))


def _read(value: str, agents: frozenset[str], *, ours: bool) -> Iterator[str]:
    for part in re.split(r"[,;]", value.lower()):
        name, colon, rest = (piece.strip() for piece in part.partition(":"))
        if colon and name in _VALUED:
            if ours and re.fullmatch(r"-?\d{1,9}|none|standard|large", rest):
                yield f"{name}:{rest}"
            continue
        if colon and name != "unavailable_after" and (name == "*" or _WORD.fullmatch(name)):
            ours, name = name == "*" or name in agents, rest
            if name.partition(":")[0] in _VALUED | {"unavailable_after"}:
                yield from _read(name, agents, ours=True) if ours else ()
                continue
        for word in name.split():
            if word in DIRECTIVES and (ours or word in _FOR_ALL):
                yield from DIRECTIVES[word]
            elif ours and word not in _NO_RESTRICTION and _REFUSAL.fullmatch(word):
                yield word


def _metas(tree: HtmlElement) -> Iterator[tuple[str, str]]:
    for meta in tree.iter("meta"):
        name, content = meta.get("name"), meta.get("content")
        if name and content:
            yield name, content


def licence(tree: HtmlElement, url: str) -> str:
    """`stated_licence` of a parsed page."""
    elements = tree.iter("link", "a", "area")
    links = ((each.get("rel") or "", each.get("property") or "", each.get("href")) for each in elements)
    scripts = (each for each in tree.iter("script") if "ld+json" in (each.get("type") or "").lower())
    return stated_licence(links, (each.text or "" for each in scripts), url)


def stated_licence(links: Iterable[tuple[str, str, str | None]], scripts: Iterable[str], url: str) -> str:
    """The address of the licence that the page names as its own, absolute; "" when there is none.

    `links` are rel, property and href of <link>, <a> and <area>, `scripts` those of type ld+json, as they stand in it.
    The first of: a link with rel or property `license` (HTML, section 4.6.7.7; RDFa), `license` of a JSON-LD object
    that is no picture or recording. Creative Commons' addresses are given in one form, without language and deed.
    """
    for rel, property, href in links:
        names = f"{rel} {property}".lower().split()
        if any(name in _LICENCE_LINKS for name in names) and (found := _address(href, url)):
            return found
    for script in scripts:
        if len(script) <= _MOST_JSON and _LICENCE_HINT in script:
            try:
                value = json.loads(script)
            except (ValueError, RecursionError):
                continue
            for stated in _stated(value):
                if found := _address(stated, url):
                    return found
    return ""


def _stated(value: Any) -> Iterator[Any]:
    """What the objects of a JSON-LD script name as their licence, as far as they are the page or its work."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield from _stated(item)
    elif isinstance(value, dict):
        if "license" in value and not _MEDIA.search(str(value.get("@type", ""))):
            stated = value["license"]
            for one in stated if isinstance(stated, list) else [stated]:
                yield one.get("@id") or one.get("url") if isinstance(one, dict) else one
        graph = value.get("@graph")
        if isinstance(graph, list):
            yield from _stated([item for item in graph if isinstance(item, dict) and "@graph" not in item])


def _address(href: Any, url: str) -> str:
    if not isinstance(href, str) or len(href.split()) != 1 or len(href) > 2000:
        return ""
    try:
        address = urljoin(url, href.strip())
    except ValueError:
        return ""
    if not address.lower().startswith(("http://", "https://")) or address.partition("#")[0] == url.partition("#")[0]:
        return ""
    if match := _CREATIVE_COMMONS.match(address):
        return f"https://creativecommons.org/{match[1].lower()}/"
    return address
