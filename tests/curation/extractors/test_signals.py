"""What the extractors record beside the text: directives to robots, and the licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from curation.document import Document, Page
from curation.extractors.plain import Plain
from curation.extractors.trafilatura import Trafilatura

LICENCE = "https://creativecommons.org/licenses/by-sa/4.0/"
PROSE = "The river rose in the night, and by morning the lower town was under water. " * 5
HEAD = f'<meta name="robots" content="noai"><meta name="ccbot" content="nofollow"><link rel="license" href="{LICENCE}">'
TYPES = ("text/html", "application/xhtml+xml")


def resiliparse(**options: Any) -> Callable[[Page], object]:
    """Its extractor. The package is an extra, so it is imported where it is asked for."""
    extractor: Callable[[Page], object] = import_module("curation.extractors.resiliparse").Resiliparse(**options)
    return extractor


INSTALLED = pytest.mark.skipif(find_spec("resiliparse") is None, reason="resiliparse is not installed")
EXTRACTORS = (Trafilatura, pytest.param(resiliparse, marks=INSTALLED))
BEFORE = ("", '<?xml version="1.0" encoding="UTF-8"?>', '\ufeff<?xml version="1.0" encoding="UTF-8"?>\n')


def page(type: str, head: str = "", before: str = "", **fields: Any) -> Page:
    html = f"{before}<!DOCTYPE html><html><head><title>t</title>{head}</head><body>"
    html += f"<article><p>{PROSE}</p></article></body></html>"
    body = PROSE if type == "text/plain" else html
    known = {"id": "web:f#0", "url": "https://example.org/", "date": "", "digest": "", "status": 200}
    return Page(**{**known, "content_type": type, "charset": "utf-8", "body": body.encode(), **fields})  # type: ignore[arg-type]


def signals(extractor: Any, page: Page) -> tuple[str | None, str | None]:
    document = extractor(page)
    assert isinstance(document, Document)
    assert "the lower town" in document.text
    return document.robots, document.licence


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_html(extractor: Any, type: str, before: str) -> None:
    extract, marked = extractor(), partial(page, type, HEAD, before)
    assert signals(extract, page(type, before=before)) == ("", "")
    assert signals(extract, marked()) == ("noai", LICENCE)
    assert signals(extract, marked(robots="googlebot: none, otherbot: all")) == ("noai", LICENCE)
    assert signals(extract, page(type, before=before, robots="noindex")) == ("noindex", "")
    named = extractor(agents=("ccbot",))
    assert signals(named, marked(robots="CCBot: noindex")) == ("noai, nofollow, noindex", LICENCE)


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_a_licence_in_the_footer(extractor: Any) -> None:
    html = (
        page("text/html").body.decode().replace("</body>", '<footer><a rel=license href="/terms">x</a></footer></body>')
    )
    assert signals(extractor(), page("text/html", body=html.encode())) == ("", "https://example.org/terms")


@pytest.mark.parametrize("extractor", [Plain, *EXTRACTORS])
def test_plain_text_has_only_the_header(extractor: Any) -> None:
    extract = extractor()
    assert signals(extract, page("text/plain", robots="noindex")) == ("noindex", None)
    assert signals(extract, page("text/plain", robots="ccbot: noindex")) == ("", None)
    assert signals(extract, page("text/plain")) == ("", None)


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_our_own_robots_are_named_in_the_header_of_plain_text(extractor: Any) -> None:
    ours = extractor(agents=("ccbot",))
    assert signals(ours, page("text/plain", robots="CCBot: noindex, otherbot: nofollow")) == ("noindex", None)
    assert signals(ours, replace(page("text/plain"), status=0)) == (None, None)


@pytest.mark.parametrize("extractor", [Plain, *EXTRACTORS])
def test_of_a_conversion_nothing_is_known(extractor: Any) -> None:
    assert signals(extractor(), replace(page("text/plain"), status=0)) == (None, None)


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_the_text_is_what_it_was(extractor: Any) -> None:
    plain, marked = extractor()(page("text/html")), extractor()(page("text/html", HEAD))
    assert isinstance(plain, Document)
    assert marked == replace(plain, robots="noai", licence=LICENCE)


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_they_say_what_they_write(extractor: Any) -> None:
    assert extractor().writes == ("robots", "licence")


def test_plain_says_what_it_writes() -> None:
    assert Plain().writes == ("robots",)
