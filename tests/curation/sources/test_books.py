from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from curation.document import Page
from curation.errors import DataError
from curation.records import Skip
from curation.sources import books
from curation.sources.given import Given, Value

HEADER = "The Project Gutenberg EBook of X\n\nTitle: X\nRelease Date: May 8, 2007 [EBook #3261]\n"
START = "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n"
FILES = {
    "3/2/3261.txt": (HEADER + START + "A").encode(),
    "3/2/3261-0.txt.gz": gzip.compress((HEADER + START + "B").encode()),
    "3/2/3261.zip": b"PK\x03\x04",
    "3/2/3261-readme.txt": b"read me",
    "GUTINDEX.ALL": b"index",
    "GUTINDEX.2004.txt": b"index",
    "index.html": b"<p>",
    "LICENSE.txt": b"licence",
    "empty.txt": b"",
    "damaged.txt.gz": gzip.compress(b"x" * 1000, mtime=0)[:-9],
    "plain.TXT": b"Mary had a little lamb.",
}


def folder(tmp_path: Path) -> Given:
    root = tmp_path / "library"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    names = sorted({name.partition("/")[0] for name in FILES})
    return Given("books", "library", lambda: io.BytesIO(), root, tuple(names))


def tar(_: Path) -> Given:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in sorted(FILES.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return Given("books", "library.tar.gz", lambda: io.BytesIO(out.getvalue()))


def zipped(_: Path) -> Given:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(FILES.items()):
            archive.writestr(name, content)
    return Given("books", "library.zip", lambda: io.BytesIO(out.getvalue()))


@pytest.mark.parametrize("make", [folder, tar, zipped])
def test_a_library(make: Callable[[Path], Given], tmp_path: Path) -> None:
    given = make(tmp_path)
    found = list(books.read(given))
    assert books.count(given) == len(found) == len(FILES)
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
        id=f"books:{given.file}#3/2/3261.txt", url="https://www.gutenberg.org/ebooks/3261", date="2007-05-08",
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
    def opened() -> BinaryIO:
        return io.BytesIO(content)

    given = Given("books", file, opened)
    ((locator, value),) = books.read(given)
    assert locator == "0"
    assert books.count(given) == 1
    return value


def test_a_single_file() -> None:
    plain, packed = one(FILES["3/2/3261.txt"]), one(gzip.compress(FILES["3/2/3261.txt"]), "book.txt.gz")
    assert isinstance(plain, Page)
    assert plain.id == "books:book.txt#0"
    assert isinstance(packed, Page)
    assert packed.body == plain.body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (gzip.compress(b"a book " * 1000, mtime=0)[:-20], "truncated"),
        (b"x" * ((64 << 20) + 1), "too_large"),
    ],
)
def test_bad_files(content: bytes, reason: str) -> None:
    value = one(content)
    assert isinstance(value, DataError)
    assert value.reason == reason


def test_a_bundle_in_a_bundle_is_not_opened() -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.txt", "a")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("b.txt.gz", inner.getvalue())
    ((_, value),) = books.read(Given("books", "z.zip", lambda: io.BytesIO(out.getvalue())))
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
