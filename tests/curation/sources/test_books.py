from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curation.document import Page
from curation.errors import DataError
from curation.records import Skip
from curation.sources import books
from curation.sources.given import Given, Value
from tests.curation.archives import given, given_folder, gz, tar_gz, zipped

HEADER = "The Project Gutenberg EBook of X\n\nTitle: X\nRelease Date: May 8, 2007 [EBook #3261]\n"
START = "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n"
FILES = {
    "3/2/3261.txt": (HEADER + START + "A").encode(),
    "3/2/3261-0.txt.gz": gz((HEADER + START + "B").encode()),
    "3/2/3261.zip": b"PK\x03\x04",
    "3/2/3261-readme.txt": b"read me",
    "GUTINDEX.ALL": b"index",
    "GUTINDEX.2004.txt": b"index",
    "index.html": b"<p>",
    "LICENSE.txt": b"licence",
    "empty.txt": b"",
    "damaged.txt.gz": gz(b"x" * 1000)[:-9],
    "plain.TXT": b"Mary had a little lamb.",
}


def folder(tmp_path: Path) -> Given:
    root = tmp_path / "library"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return given_folder("books", root)


def in_tar(_: Path) -> Given:
    return given("books", "library.tar.gz", tar_gz(dict(sorted(FILES.items()))))


def in_zip(_: Path) -> Given:
    return given("books", "library.zip", zipped(dict(sorted(FILES.items()))))


@pytest.mark.parametrize("make", [folder, in_tar, in_zip])
def test_a_library(make: Callable[[Path], Given], tmp_path: Path) -> None:
    library = make(tmp_path)
    found = list(books.read(library))
    assert books.count(library) == len(found) == len(FILES)
    assert list(dict(found)) == sorted(FILES)
    kinds = {name: describe(value) for name, value in found}
    assert kinds == {
        "3/2/3261.txt": "A",
        "3/2/3261-0.txt.gz": "B",
        "3/2/3261.zip": "not_text",
        "3/2/3261-readme.txt": "not_a_book",
        "GUTINDEX.ALL": "not_text",
        "GUTINDEX.2004.txt": "not_a_book",
        "index.html": "not_text",
        "LICENSE.txt": "not_a_book",
        "empty.txt": "empty_file",
        "damaged.txt.gz": "truncated",
        "plain.TXT": ".",
    }
    page = dict(found)["3/2/3261.txt"]
    assert page == Page(
        id=f"books:{library.file}#3/2/3261.txt", url="https://www.gutenberg.org/ebooks/3261", date="2007-05-08",
        digest="", status=0, content_type="text/plain", charset="", body=FILES["3/2/3261.txt"], title="X",
    )  # fmt: skip


def describe(value: Value) -> str:
    if isinstance(value, Page):
        return value.body.decode()[-1]
    if isinstance(value, Skip):
        return value.type
    assert isinstance(value, DataError)
    return value.reason


def one(content: bytes, file: str = "book.txt") -> Value:
    book = given("books", file, content)
    ((locator, value),) = books.read(book)
    assert locator == "0"
    assert books.count(book) == 1
    return value


def test_a_single_file() -> None:
    plain, packed = one(FILES["3/2/3261.txt"]), one(gz(FILES["3/2/3261.txt"]), "book.txt.gz")
    assert isinstance(plain, Page)
    assert plain.id == "books:book.txt#0"
    assert isinstance(packed, Page)
    assert packed.body == plain.body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (gz(b"a book " * 1000)[:-20], "truncated"),
        (b"x" * ((64 << 20) + 1), "too_large"),
    ],
)
def test_bad_files(content: bytes, reason: str) -> None:
    value = one(content)
    assert isinstance(value, DataError)
    assert value.reason == reason


def test_a_bundle_in_a_bundle_is_not_opened() -> None:
    outer = zipped({"b.txt.gz": zipped({"a.txt": "a"})})
    ((_, value),) = books.read(given("books", "z.zip", outer))
    assert isinstance(value, DataError)
    assert value.reason == "nested"


@pytest.mark.parametrize(
    ("line", "charset"),
    [
        ("ISO-646-US (US-ASCII)", "US-ASCII"),
        ("ISO-8859-1", "ISO-8859-1"),
        ("ISO Latin-1 (ISO-8859-1)", "Latin-1"),
        ("UTF-8", "UTF-8"),
        ("Unicode UTF-8", "UTF-8"),
        ("windows-1252 (aka cp-1252)", "windows-1252"),
        ("Braille", ""),
        ("", ""),
    ],
)
def test_charset_of_the_header(line: str, charset: str) -> None:
    value = one(f"{HEADER}\r\nCharacter set encoding: {line}\r\n\r\n{START}".encode())
    assert isinstance(value, Page)
    assert value.charset.lower() == charset.lower()


@pytest.mark.parametrize(
    ("text", "file", "url"),
    [
        (HEADER, "1.txt", "3261"),
        ("The Project Gutenberg eBook of X\nTitle: X\n", "pg12.txt", "12"),
        ("The Project Gutenberg eBook of X\nTitle: X\n", "12-8.txt", "12"),
        ("The Project Gutenberg eBook of X\nTitle: X\n", "boat10.txt", ""),
        ("Title: X\n", "12.txt", ""),  # numbers of other libraries are not Gutenberg's
    ],
)
def test_address(text: str, file: str, url: str) -> None:
    value = one(text.encode(), file)
    assert isinstance(value, Page)
    assert value.url == (f"https://www.gutenberg.org/ebooks/{url}" if url else "")
