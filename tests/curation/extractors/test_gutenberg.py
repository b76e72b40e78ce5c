from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.gutenberg import Gutenberg
from curation.sources import books
from curation.sources.given import Given

HEADER = (
    "The Project Gutenberg EBook of X\r\n\r\nTitle: X\r\nLanguage: {language}\r\nCharacter set encoding: {encoding}\r\n"
)
START = "\r\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\r\n"
BOOK = "\r\n\r\nÀ la fin – “tout” va bien.\r\n\r\nOui.  \r\n"
END = "\r\n\r\n*** END OF THIS PROJECT GUTENBERG EBOOK X ***\r\n"
DATA = Path(os.environ.get("WINNOW_EXTRA_DATA", "/nowhere")) / "books"


def page(body: str | bytes, charset: str = "") -> Page:
    return Page(
        id="books:b#1.txt",
        url="https://www.gutenberg.org/ebooks/1",
        date="2007-05-08",
        digest="",
        status=0,
        content_type="text/plain",
        charset=charset,
        body=body if isinstance(body, bytes) else body.encode(),
        title="X",
    )


def extracted(body: str | bytes, charset: str = "", **options: object) -> str:
    document = Gutenberg(**options)(page(body, charset))  # type: ignore[arg-type]
    assert isinstance(document, Document)
    return document.text


def test_a_book() -> None:
    text = HEADER.format(language="French", encoding="UTF-8") + START + BOOK + END
    assert Gutenberg()(page(text)) == Document(
        id="books:b#1.txt", url="https://www.gutenberg.org/ebooks/1", date="2007-05-08", digest="",
        text="À la fin – “tout” va bien.\n\nOui.", language="fr",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("language", "code"),
    [("English", "en"), ("german", "de"), ("Klingon", None), ("", None), ("English and French", None)],
)
def test_language(language: str, code: str | None) -> None:
    document = Gutenberg()(page(HEADER.format(language=language, encoding="UTF-8") + START + BOOK))
    assert isinstance(document, Document)
    assert document.language == code


@pytest.mark.parametrize(
    ("codec", "charset"),
    [
        ("utf-8", ""),
        ("utf-8", "UTF-8"),
        ("utf-8", "ISO-8859-1"),  # what is valid UTF-8 is nothing else
        ("utf-8-sig", ""),
        ("cp1252", "windows-1252"),
        ("cp1252", "ISO-8859-1"),
        ("cp1252", "US-ASCII"),
        ("utf-16", ""),
    ],
)
def test_encodings(codec: str, charset: str) -> None:
    text = HEADER.format(language="French", encoding=charset) + START + BOOK + END
    assert extracted(text.encode(codec), charset) == "À la fin – “tout” va bien.\n\nOui."


def test_what_the_header_declares_decides_where_bytes_do_not() -> None:
    assert extracted("Žena šla.".encode("iso8859-2"), "ISO-8859-2") == "Žena šla."
    assert extracted("Žena šla.".encode("cp1250"), "windows-1250") == "Žena šla."


def test_invalid_bytes_are_replaced() -> None:
    text = b"caf\xe9 and \xc3\xa9t\xc3\xa9 and \xff " * 3 + b"plain words follow here and go on " * 30
    assert "plain words follow" in extracted(text)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\r\r\n"])
def test_line_ends(ends: str) -> None:
    one = "One line of a book, and then another one."
    text = f"{one}{ends}{ends}Two.  {ends}Three.\x0cFour.\x1a"  # DOS ended files with ^Z
    assert extracted(text) == f"{one}\n\nTwo.\nThree.\nFour."


def test_options() -> None:
    text = "One [Pg 3]two.\n\n[Illustration]\n\n" + "\n".join(["word " * 13 + "word"] * 9)
    assert extracted(text).count("\n") == 3
    assert "[Pg 3]" in extracted(text, asides=True)
    assert extracted(text, unwrap=False).count("word\nword") == 8


@pytest.mark.parametrize(
    ("body", "drop"),
    [
        (HEADER + START + END, Drop("no_text", 0, 1)),
        ("[Illustration]", Drop("no_text", 0, 1)),
        ("x" * 99, Drop("too_short", 99, 100)),
        ("x" * 301, Drop("too_large", 301, 300)),
        ("x" * 200 + "\n" * 30, Drop("too_many_lines", 31, 30)),
    ],
)
def test_drops(body: str, drop: Drop) -> None:
    assert Gutenberg(min_characters=100, max_bytes=300, max_lines=30)(page(body)) == drop


def test_the_least_that_is_kept() -> None:
    assert extracted("x" * 100, min_characters=100, max_bytes=100, max_lines=1) == "x" * 100


def test_other_types() -> None:
    assert Gutenberg()(replace(page("x"), content_type="text/html")) == Drop("content_type", "text/html", "text/plain")
    with pytest.raises(DataError, match="binary_body"):
        Gutenberg()(page(b"\0\1\2" * 100))


@pytest.mark.skipif(not DATA.is_dir(), reason="WINNOW_EXTRA_DATA names no folder with books in it")
def test_real_books() -> None:
    names = ("3261.txt", "972.txt", "nwsnw10.txt")
    found = dict(books.read(Given("books", "books", lambda: (DATA / names[0]).open("rb"), DATA, names)))
    first = {"3261.txt": "NEWS FROM NOWHERE\nOR\n", "972.txt": "THE DEVIL'S", "nwsnw10.txt": "NEWS FROM NOWHERE\nor AN"}
    last = {"3261.txt": "he must have meant.", "972.txt": "every two years.", "nwsnw10.txt": "he must have meant."}
    for name in names:
        value = found[name]
        assert isinstance(value, Page)
        assert value.url == f"https://www.gutenberg.org/ebooks/{972 if name == '972.txt' else 3261}"
        document = Gutenberg()(value)
        assert isinstance(document, Document)
        assert document.language == "en"
        assert document.text.startswith(first[name])
        assert document.text.endswith(last[name])
        assert "gutenberg" not in document.text.lower()
