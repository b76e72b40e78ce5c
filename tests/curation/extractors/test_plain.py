from __future__ import annotations

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.plain import Plain
from curation.extractors.trafilatura import Trafilatura

EXTRACTORS = [Plain(), Trafilatura()]


def page(body: bytes, status: int = 200, content_type: str = "text/plain", charset: str = "") -> Page:
    return Page(
        id="s:f#0", url="http://a.org", date="2024-01-01T00:00:00Z", digest="sha1:A", status=status,
        content_type=content_type, charset=charset, body=body,
    )  # fmt: skip


@pytest.mark.parametrize("extract", EXTRACTORS)
def test_text_passes_with_its_lines(extract: Plain | Trafilatura) -> None:
    document = extract(page(b"\r\n\n  one \t\r\n\r\ntwo\rthree\x0cfour <b>\n \n", status=0))
    assert document == Document(
        id="s:f#0",
        url="http://a.org",
        date="2024-01-01T00:00:00Z",
        digest="sha1:A",
        text="  one\n\ntwo\nthree\nfour <b>",
    )


@pytest.mark.parametrize("extract", EXTRACTORS)
def test_text_is_nfc_and_decoded(extract: Plain | Trafilatura) -> None:
    for body, charset in (("Cafe\u0301".encode(), ""), ("Café".encode("latin-1"), "iso-8859-1")):
        document = extract(page(body, charset=charset))
        assert isinstance(document, Document)
        assert document.text == "Café"


@pytest.mark.parametrize("extract", EXTRACTORS)
@pytest.mark.parametrize("body", [b"", b" \n\t\r\n", b"\xef\xbb\xbf", "\u2003\u2029".encode()])
def test_no_text(extract: Plain | Trafilatura, body: bytes) -> None:
    assert extract(page(body)) == Drop("no_text", 0, 1)


@pytest.mark.parametrize("extract", EXTRACTORS)
def test_gates_in_their_order(extract: Plain | Trafilatura) -> None:
    for status in (0, 200):
        assert isinstance(extract(page(b"a", status)), Document)
    for status in (100, 199, 201, 206, 301, 404, 500):
        assert extract(page(b"a", status, "image/png")) == Drop("http_status", status, 200)
    for content_type in ("", "image/png", "application/pdf", "text/css", "text/htm"):
        drop = extract(page(b"a" * 100, 200, content_type))
        assert isinstance(drop, Drop)
        assert (drop.rule, drop.measured) == ("content_type", content_type)


@pytest.mark.parametrize("kind", [Plain, Trafilatura])
def test_size_limit(kind: type[Plain] | type[Trafilatura]) -> None:
    extract = kind(max_bytes=10)
    assert isinstance(extract(page(b"x" * 10)), Document)
    assert extract(page(b"x" * 11)) == Drop("too_large", 11, 10)


def test_html_is_not_for_plain() -> None:
    assert Plain()(page(b"<p>x", 200, "text/html")) == Drop("content_type", "text/html", "text/plain")


@pytest.mark.parametrize("extract", EXTRACTORS)
def test_binary_is_an_error(extract: Plain | Trafilatura) -> None:
    with pytest.raises(DataError, match="binary_body"):
        extract(page(b"\x89PNG\r\n\x1a\n" + bytes(50)))
