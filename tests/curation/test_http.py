from __future__ import annotations

import gzip
import random
import zlib

import pytest
import zstandard

from curation.errors import DataError
from curation.http import Response, parse_content_type, parse_response

MAX = 1 << 20
PAGE = ("<html><p>Größe und Wärme " + "x" * 5000 + "</p></html>").encode()
NOISE = random.Random(1).randbytes(3000)


def response(headers: bytes, body: bytes, status: bytes = b"HTTP/1.1 200 OK\r\n") -> Response:
    return parse_response(status + headers + b"\r\n" + body, MAX)


def chunked(body: bytes, size: int = 700) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(body) + compress.flush()


ENCODED = {
    "Content-Encoding: gzip": gzip.compress(PAGE),
    "content-encoding: X-GZIP": gzip.compress(PAGE),
    "Content-Encoding: deflate": zlib.compress(PAGE),
    "Content-Encoding:deflate": raw_deflate(PAGE),
    "Content-Encoding: zstd": zstandard.compress(PAGE),
    "Transfer-Encoding: chunked": chunked(PAGE),
    "Content-Encoding: gzip\r\nTransfer-Encoding: chunked": chunked(gzip.compress(PAGE)),
    "Content-Encoding: deflate, gzip": gzip.compress(zlib.compress(PAGE)),
    "Content-Encoding: identity": PAGE,
    "Content-Encoding: utf-8": PAGE,
}


@pytest.mark.parametrize("headers", ENCODED)
def test_encodings_are_undone(headers: str) -> None:
    assert response(headers.encode() + b"\r\n", ENCODED[headers]).body == PAGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br", "gzip, br", "compress"])
@pytest.mark.parametrize("name", ["Content-Encoding", "Transfer-Encoding"])
def test_a_plain_body_stays_whatever_the_header_claims(name: str, encoding: str) -> None:
    assert response(f"{name}: {encoding}\r\nTransfer-Encoding: chunked\r\n".encode(), PAGE).body == PAGE


@pytest.mark.parametrize("text", [b"cafe\n babe", b"5\nfive and more", b"12 monkeys", b""])
def test_text_that_looks_like_a_chunk_stays(text: bytes) -> None:
    assert response(b"Transfer-Encoding: chunked\r\n", text).body == text


def test_brotli_if_there() -> None:
    brotli = pytest.importorskip("brotli")
    assert response(b"Content-Encoding: br\r\n", brotli.compress(PAGE)).body == PAGE


def test_bodies_that_break_off_give_what_came() -> None:
    assert (
        PAGE.startswith(body := response(b"Content-Encoding: gzip\r\n", gzip.compress(NOISE + PAGE)[:2000]).body)
        or body
    )
    half = chunked(NOISE)[:1800]
    assert NOISE.startswith(response(b"Transfer-Encoding: chunked\r\n", half).body)
    assert len(response(b"Transfer-Encoding: chunked\r\n", half).body) > 1700
    assert response(b"Transfer-Encoding: chunked\r\n", chunked(PAGE)[: -len(b"0\r\nTrailer: x\r\n\r\n")]).body == PAGE


def damaged_gzip() -> bytes:
    data = bytearray(gzip.compress(NOISE + PAGE))
    data[-7] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        (b"Content-Encoding: gzip\r\n", damaged_gzip(), "damaged_encoding"),
        (b"Content-Encoding: deflate\r\n", NOISE, "damaged_encoding"),
        (b"Content-Encoding: zstd\r\n", zstandard.compress(PAGE)[:10] + NOISE, "damaged_encoding"),
        (b"Content-Encoding: compress\r\n", NOISE, "unsupported_encoding"),
        (b"Content-Encoding: gzip\r\n", gzip.compress(bytes(MAX + 1)), "too_large"),
        (b"Content-Encoding: deflate\r\n", zlib.compress(bytes(MAX + 1)), "too_large"),
        (b"Content-Encoding: zstd\r\n", zstandard.compress(bytes(MAX + 1)), "too_large"),
        (b"Transfer-Encoding: chunked\r\n", chunked(PAGE)[:3000] + b"zzz" + PAGE, "damaged_encoding"),
    ],
)
def test_damage(headers: bytes, body: bytes, reason: str) -> None:
    with pytest.raises(DataError) as raised:
        response(headers, body)
    assert raised.value.reason == reason


def test_the_limit_itself_is_allowed() -> None:
    assert len(response(b"Content-Encoding: gzip\r\n", gzip.compress(bytes(MAX))).body) == MAX


@pytest.mark.parametrize(
    ("block", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", 200, b"body"),
        (b"HTTP/1.0 404\r\n\r\nbody", 404, b"body"),
        (b"HTTP/2 301\nLocation: x\n\nbody", 301, b"body"),
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\nA: b\r\n", 204, b""),
        (b"HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n\nbody", 200, b"\r\n\nbody"),
    ],
)
def test_status_and_body(block: bytes, status: int, body: bytes) -> None:
    parsed = parse_response(block, MAX)
    assert (parsed.status, parsed.body) == (status, body)


@pytest.mark.parametrize(
    "block", [b"", b"<html>", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"\r\nHTTP/1.1 200\r\n\r\n"]
)
def test_no_status_line(block: bytes) -> None:
    with pytest.raises(DataError, match="malformed_http"):
        parse_response(block, MAX)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("", ("", "")),
        ("text/html", ("text/html", "")),
        ('Text/HTML; Charset="UTF-8"', ("text/html", "utf-8")),
        ("text/html;charset=ISO-8859-1;q=1", ("text/html", "iso-8859-1")),
        ("text/html; boundary=x; charset = 'gb2312'", ("text/html", "gb2312")),
        ("text/html, text/html; charset=utf-8", ("text/html", "utf-8")),
    ],
)
def test_content_type(value: str, parsed: tuple[str, str]) -> None:
    assert parse_content_type(value) == parsed


@pytest.mark.parametrize(
    ("headers", "robots"),
    [
        (b"", ""),
        (b"X-Robots-Tag: noindex\r\n", "noindex"),
        (b"X-Robots-Tag: noai\r\nServer: x\r\nx-robots-tag:  otherbot: noindex , nofollow \r\n",
         "noai, otherbot: noindex , nofollow"),
        (b"X-ROBOTS-TAG:\r\nX-Robots-Tag: none\r\n", "none"),
        (b"X-Robots-Tag: noindex,\r\n\tnoarchive\r\n", "noindex, noarchive"),
        (b"X-Robots-Tag: gro\xc3\x9f\xff\r\n", "groß\ufffd"),
        (b"My-X-Robots-Tag: noindex\r\n", ""),
    ],
)  # fmt: skip
def test_every_robots_header_counts(headers: bytes, robots: str) -> None:
    assert response(headers, b"X-Robots-Tag: in the body\r\n").robots == robots
    assert response(headers.replace(b"\r\n", b"\n"), b"\nX-Robots-Tag: in the body\n").robots == robots
