"""What the sample crawl holds besides its pages: copies of pages, near copies, other media, errors, and junk.

All of it is made here, from the pages or from nothing, and always the same.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace

from pipelines.sample_warc import Exchange, digest

# How many of each there are at most; a crawl of few pages has fewer copies.
COPIES = {"duplicate_url": 40, "duplicate_body": 20, "near_duplicate": 40, "revisit": 8}
_MEDIA_EACH = 6
_REDIRECTS, _NOT_FOUND, _SERVER_ERRORS = 8, 8, 4

_PARAGRAPH = re.compile(rb"<p\b[^>]*>(.*?)</p>", re.IGNORECASE | re.DOTALL)
_BODY = re.compile(rb"<body\b[^>]*>", re.IGNORECASE)
_MARKUP = re.compile(rb"<[^>]*>|\s+")
_BANNER = (
    b"<div><p>We have updated our terms of use. By reading on you accept them, and the cookies that we set.</p></div>"
)
_DATE = b"<p>Last updated on Wednesday, 14 January 2026, at 09:30.</p>"


def copies(pages: Sequence[Exchange]) -> list[tuple[int, Exchange]]:
    """(number of the page that is repeated, the copy). No page is repeated twice.

    `duplicate_url` is fetched again, the same bytes; `duplicate_body` is the same bytes at another address;
    `near_duplicate` has another date or a banner, or lacks a paragraph; `revisit` is stored as a reference.
    """
    order = sorted(range(len(pages)), key=lambda number: digest("copy", number, pages[number].url))
    prose = [number for number in order if len(_prose(pages[number].body)) >= 10]
    limit = len(pages) // 20
    near = prose[: min(COPIES["near_duplicate"], limit)]
    found = [(number, _near_copy(pages[number], sort)) for sort, number in enumerate(near)]
    rest = [number for number in order if number not in set(near)]
    for kind in ("duplicate_url", "duplicate_body", "revisit"):
        count = min(COPIES[kind], limit)
        for number in rest[:count]:
            page = pages[number]
            url = page.url + ("&" if "?" in page.url else "?") + "ref=home" if kind == "duplicate_body" else page.url
            # A digest in WARC covers the body as sent, so only the same encoding gives the same digest.
            found.append((number, replace(page, kind=kind, url=url, revisit=kind == "revisit")))
        rest = rest[count:]
    return found


def _prose(body: bytes) -> list[re.Match[bytes]]:
    return [match for match in _PARAGRAPH.finditer(body) if len(_MARKUP.sub(b" ", match.group(1)).strip()) >= 80]


def _near_copy(page: Exchange, sort: int) -> Exchange:
    body, opening = page.body, _BODY.search(page.body)
    at = opening.end() if opening else 0
    if sort % 3 == 0:
        body = body[:at] + _BANNER + body[at:]
        mark = "banner"
    elif sort % 3 == 1:
        body = body[:at] + _DATE + body[at:]
        mark = "print"
    else:
        paragraph = _prose(body)[4]
        body = body[: paragraph.start()] + body[paragraph.end() :]
        mark = "short"
    url = page.url + ("&" if "?" in page.url else "?") + f"view={mark}"
    return replace(page, kind="near_duplicate", url=url, body=body)


def extras() -> list[Exchange]:
    """Responses that are no pages: other media types, redirects, errors, and what only calls itself a page."""
    site = "http://sample.example"
    made: list[Exchange] = []
    for number in range(_MEDIA_EACH):
        for kind, content_type, body in (
            ("json", "application/json", _json(number)),
            ("css", "text/css", _css(number)),
            ("javascript", "application/javascript; charset=utf-8", f"var page = {number};\nload(page);\n".encode()),
            ("png", "image/png", _png(number)),
            ("pdf", "application/pdf", _pdf(number)),
        ):
            encoding = "gzip" if kind in ("json", "css") and number % 2 else ""
            url = f"{site}/{kind}/{number}"
            made.append(Exchange(kind=kind, url=url, body=body, content_type=content_type, encoding=encoding))
    for number in range(_REDIRECTS):
        target = f"{site}/new/{number}"
        body = f'<html><body><h1>Moved</h1><p>The page is <a href="{target}">here</a> now.</p></body></html>'.encode()
        made.append(Exchange(kind="redirect", url=f"{site}/old/{number}", status=301, location=target, body=body))
    for number in range(_NOT_FOUND):
        made.append(Exchange(kind="not_found", url=f"{site}/gone/{number}", status=404, body=_apology(number)))
    for number in range(_SERVER_ERRORS):
        made.append(Exchange(kind="server_error", url=f"{site}/broken/{number}", status=500, body=_apology(number)))
    noise = hashlib.shake_256(b"noise").digest(20_000)
    for number, body in enumerate((_png(99), noise, _pdf(99), zlib.compress(noise[:9000]))):
        made.append(Exchange(kind="binary_as_html", url=f"{site}/download/{number}", body=body))
    for number in range(2):
        made.append(Exchange(kind="empty_body", url=f"{site}/empty/{number}", body=b""))
    return made


def _apology(number: int) -> bytes:
    text = "The page that you asked for is not here. It may have been moved, renamed or removed by its author. " * 8
    return f"<html><head><title>Sorry</title></head><body><h1>Sorry {number}</h1><p>{text}</p></body></html>".encode()


def _json(number: int) -> bytes:
    return json.dumps({"id": number, "items": [{"name": f"item {n}", "price": n * 1.5} for n in range(40)]}).encode()


def _css(number: int) -> bytes:
    return "".join(f".c{n} {{ margin: {n + number}px; color: #333 }}\n" for n in range(60)).encode()


def _png(number: int) -> bytes:
    """A grey picture of 32 by 32 pixels."""
    rows = b"".join(b"\0" + bytes((x * y + number) % 256 for x in range(32)) for y in range(32))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _pdf(number: int) -> bytes:
    """One page with one line of text."""
    content = f"BT /F1 24 Tf 72 700 Td (Report {number}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for at, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (at, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
