"""Small archives of pages, for the benchmarks to read."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from curation.document import Page

WriteWarc = Callable[[Path, Mapping[str, str]], None]
MakePage = Callable[..., Page]


@pytest.fixture
def write_warc() -> WriteWarc:
    """Writes pages, HTML by URL, each a member of its own."""

    def write(path: Path, pages: Mapping[str, str]) -> None:
        members = []
        for url, html in pages.items():
            block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}".encode()
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
            )
            members.append(gzip.compress(head.encode() + block + b"\r\n\r\n"))
        path.write_bytes(b"".join(members))

    return write


@pytest.fixture
def make_page() -> MakePage:
    def make(body: str = "", url: str = "http://a.org/", **fields: object) -> Page:
        given = {"status": 200, "content_type": "text/html", "charset": "", **fields}
        return Page(id="s:f#0", url=url, date="", digest="", body=body.encode(), **given)  # type: ignore[arg-type]

    return make
