"""What the extractors record beside the text: directives to robots, and the licence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from curation.document import Document, Page
from curation.extractors.plain import Plain
from curation.extractors.trafilatura import Trafilatura

LICENCE = "https://creativecommons.org/licenses/by-sa/4.0/"
PROSE = "The river rose in the night, and by morning the lower town was under water. " * 5
HEAD = f'<meta name="robots" content="noai"><meta name="ccbot" content="nofollow"><link rel="license" href="{LICENCE}">'
TYPES = ("text/html", "application/xhtml+xml")


def page(type: str, head: str = "", **fields: Any) -> Page:
    html = (
        f"<!DOCTYPE html><html><head><title>t</title>{head}</head><body><article><p>{PROSE}</p></article></body></html>"
    )
    body = PROSE if type == "text/plain" else html
    known = {"id": "web:f#0", "url": "https://example.org/", "date": "", "digest": "", "status": 200}
    return Page(**{**known, "content_type": type, "charset": "utf-8", "body": body.encode(), **fields})  # type: ignore[arg-type]


def signals(extractor: Any, page: Page) -> tuple[str | None, str | None]:
    document = extractor(page)
    assert isinstance(document, Document)
    assert "the lower town" in document.text
    return document.robots, document.licence


@pytest.mark.parametrize("type", TYPES)
def test_html(type: str) -> None:
    assert signals(Trafilatura(), page(type)) == ("", "")
    assert signals(Trafilatura(), page(type, HEAD)) == ("noai", LICENCE)
    assert signals(Trafilatura(), page(type, HEAD, robots="googlebot: none, otherbot: all")) == ("noai", LICENCE)
    assert signals(Trafilatura(), page(type, robots="noindex")) == ("noindex", "")
    assert signals(Trafilatura(agents=("ccbot",)), page(type, HEAD, robots="CCBot: noindex")) == (
        "noai, nofollow, noindex", LICENCE,
    )  # fmt: skip


def test_a_licence_in_the_footer() -> None:
    html = (
        page("text/html").body.decode().replace("</body>", '<footer><a rel=license href="/terms">x</a></footer></body>')
    )
    assert signals(Trafilatura(), page("text/html", body=html.encode())) == ("", "https://example.org/terms")


@pytest.mark.parametrize("extractor", [Plain(), Trafilatura()])
def test_plain_text_has_only_the_header(extractor: Any) -> None:
    assert signals(extractor, page("text/plain", robots="noindex")) == ("noindex", None)
    assert signals(extractor, page("text/plain")) == ("", None)


@pytest.mark.parametrize("extractor", [Plain(), Trafilatura()])
def test_of_a_conversion_nothing_is_known(extractor: Any) -> None:
    assert signals(extractor, replace(page("text/plain"), status=0)) == (None, None)


def test_the_text_is_what_it_was() -> None:
    plain, marked = Trafilatura()(page("text/html")), Trafilatura()(page("text/html", HEAD))
    assert isinstance(plain, Document)
    assert marked == replace(plain, robots="noai", licence=LICENCE)


def test_they_say_what_they_write() -> None:
    assert Trafilatura().writes == ("robots", "licence")
    assert Plain().writes == ("robots",)
