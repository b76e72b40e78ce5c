from __future__ import annotations

from dataclasses import replace

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError, RecipeError
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


# WET as CCNet reads it. Expected values were obtained from CCNet's own functions.


def wet(body: bytes) -> str | Drop:
    verdict = Plain(semantics="ccnet")(page(body, status=0))
    return verdict.text if isinstance(verdict, Document) else verdict


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("Title\nOne\nTwo\n", "One\nTwo"),  # the record's end shows as two blank lines, which go
        ("Title\nOne\nTwo", "One\nTwo\n"),  # here it shows as one, which is kept
        ("Title\nOne\n\n", "One\n"),  # of three, two go
        ("Title\nOne\n\n\n", "One\n\n"),
        ("\nTitle\nOne\n", "Title\nOne"),  # the first line is the title, blank or not
        ("Title\n\nOne\n\n\nTwo\n", "\nOne\n\n\nTwo"),  # blank lines are paragraphs
        ("  Title \n\t One \u00a0\u2003\n  \nTwo\x1c\x85\n", "One\n\nTwo"),  # every line stripped, of all white space
        ("Title\r\nOne\r\nTwo\r\n", "One\nTwo"),
        ("Title\rOne\r\r\nTwo\r", "One\n\nTwo"),  # a carriage return alone ends a line too
        ("Title\nOne\x0bTwo\x0cThree\u2028Four\x85Five\n", "One\x0bTwo\x0cThree\u2028Four\x85Five"),  # these do not
        ("Title\nCafe\u0301 \x00 \ufeff\x07.\n", "Cafe\u0301 \x00 \ufeff\x07."),  # no normal form, nothing cleaned
        ("Title\nOne\nWARC/1.0\nTwo\n", "One"),  # a record ends where the next one seems to begin
        ("Title\nOne\n\n\n  WARC/1.0 \nTwo\n", "One"),
        ("Title\nOne\nWARC/1.0 and so on\nWARC/1.1\n", "One\nWARC/1.0 and so on\nWARC/1.1"),
    ],
)
def test_a_conversion_as_ccnet_reads_it(block: str, text: str) -> None:
    assert wet(block.encode()) == text


@pytest.mark.parametrize(
    ("block", "drop"),
    [
        ("", Drop("no_text", 0, 1)),
        ("Title", Drop("no_text", 0, 1)),
        ("Title\n", Drop("no_text", 0, 1)),
        ("Title\nWARC/1.0\nOne\n", Drop("too_few_lines", 1, 2)),
        ("\nWARC/1.0\n", Drop("too_few_lines", 1, 2)),  # here CCNet stops with an IndexError
        ("WARC/1.0\nOne\n", Drop("too_few_lines", 0, 2)),
    ],
)
def test_a_conversion_without_enough_lines(block: str, drop: Drop) -> None:
    assert wet(block.encode()) == drop


def test_ccnet_reads_conversions_in_utf8_only() -> None:
    ccnet = Plain(semantics="ccnet")
    assert ccnet(page(b"Title\nOne\n")) == Drop("not_a_conversion", 200, 0)
    assert ccnet(replace(page(b"<p>Title"), content_type="text/html")) == Drop("not_a_conversion", 200, 0)
    assert ccnet(page(b"Title\nOne\n", 0, "text/html")) == Drop("content_type", "text/html", "text/plain")
    with pytest.raises(DataError, match="bad_utf8"):
        ccnet(page("Title\nCafé\n".encode("latin-1"), status=0))
    with pytest.raises(RecipeError, match="semantics"):
        Plain(semantics="CCNet")
