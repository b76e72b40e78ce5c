from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.c4_row import C4Row
from curation.records import Skip
from curation.sources import c4
from curation.sources.given import Given

ROW = {"text": "A page.\nWith two lines.", "timestamp": "2019-04-25T12:57:54Z", "url": "https://example.org/a"}


def given(*table: object) -> Given:
    data = gzip.compress("".join(f"{json.dumps(row)}\n" for row in table).encode())
    return Given("c4", "c4-train.00000-of-01024.json.gz", lambda: io.BytesIO(data))


def only(row: object) -> object:
    ((locator, value),) = c4.read(given(row))
    assert locator == "0"
    return value


def test_a_row() -> None:
    page = only(ROW)
    assert page == Page(
        id="c4:c4-train.00000-of-01024.json.gz#0",
        url="https://example.org/a",
        date="2019-04-25T12:57:54Z",
        digest="",
        status=0,
        content_type="text/plain",
        charset="utf-8",
        body=b"A page.\nWith two lines.",
    )
    assert isinstance(page, Page)
    assert C4Row()(page) == Document(
        id=page.id, url=page.url, date=page.date, digest="", text="A page.\nWith two lines."
    )


@pytest.mark.parametrize("row", [{"url": "u"}, {"text": None}, {"text": 5}, {"text": " \n"}])
def test_a_row_without_text(row: object) -> None:
    value = only(row)
    assert isinstance(value, DataError)
    assert value.reason == "no_text"


def test_ids_are_line_numbers_whatever_the_lines_are() -> None:
    data = b'{"text": "a"}\nnonsense\n\n{"text": "b"}\n'
    table = Given("c4", "f.json", lambda: io.BytesIO(data))
    found = list(c4.read(table))
    assert [locator for locator, _ in found] == ["0", "1", "2", "3"]
    assert [value.id for _, value in found if isinstance(value, Page)] == ["c4:f.json#0", "c4:f.json#3"]
    assert found[2][1] == Skip("blank_line")
    assert c4.count(table) == 4


@pytest.mark.parametrize(
    ("timestamp", "date"),
    [
        ("2019-04-25T12:57:54Z", "2019-04-25T12:57:54Z"),
        ("2019-04-25 12:57:54", "2019-04-25T12:57:54Z"),
        ("2019-04-25 12:57:54.5+00:00", "2019-04-25T12:57:54Z"),
        ("25 April", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_dates(timestamp: object, date: str) -> None:
    page = only({**ROW, "timestamp": timestamp})
    assert isinstance(page, Page)
    assert page.date == date


def text_of(text: str) -> object:
    page = only({"text": text})
    assert isinstance(page, Page)
    verdict = C4Row(max_bytes=100)(page)
    return verdict.text if isinstance(verdict, Document) else verdict


def test_text() -> None:
    assert text_of("e\u0301 \x00a\u0007b \r\nc\ud800d") == "\u00e9 ab\nc\ufffdd"
    assert text_of("x" * 100) == "x" * 100
    assert text_of("x" * 101) == Drop("too_large", 101, 100)
    assert text_of("\x00") == Drop("no_text", 0, 1)


def test_half_a_character() -> None:
    page = only({"text": "a\ud800b", "url": "http://a/\ud800", "timestamp": "\udfff"})
    assert isinstance(page, Page)
    assert (page.body.decode(), page.url, page.date) == ("a\ufffdb", "http://a/\ufffd", "")
    document = C4Row()(page)
    assert isinstance(document, Document)
    pa.array([document.text, document.url, document.id], pa.string())
