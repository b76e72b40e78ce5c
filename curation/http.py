"""An archived HTTP response: its status, its media type, and its body with the encodings undone.

Crawls differ in what they keep: Common Crawl stores bodies decoded under headers that still claim gzip or chunks,
others store what came over the wire. So an encoding is undone where it is there, and a body that is plain already
stays as it is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curation.archive import parse_fields
from curation.decode import is_binary
from curation.errors import DataError

try:
    import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    brotli = None
try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

_STATUS_LINE = re.compile(rb"HTTP/\d[\d.]*[ \t]+(\d{3})(?!\d)")
_HEADER_END = re.compile(rb"\n\r?\n")
_ROBOTS = re.compile(rb"\n[xX]-[rR][oO][bB][oO][tT][sS]-[tT][aA][gG][ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
_CHUNK_SIZE = re.compile(rb"\s*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?\r\n")


@dataclass(frozen=True, slots=True)
class Response:
    """A response. `content_type` is the media type alone, lower case, and like `charset` "" if it is not declared."""

    status: int
    content_type: str
    charset: str
    body: bytes
    robots: str = ""  # X-Robots-Tag; several are joined by ", "


def parse_response(block: bytes, max_bytes: int) -> Response:
    """Split and decode an archived response.

    Raises DataError: `malformed_http` (no status line), `damaged_encoding` (the body begins as encoded but is not),
    `unsupported_encoding`, `too_large` (more than `max_bytes` when decoded).
    """
    line = _STATUS_LINE.match(block)
    if line is None:
        raise DataError("malformed_http", f"begins {block[:20]!r}")
    end = _HEADER_END.search(block)
    body_at = end.end() if end else len(block)
    fields = parse_fields(block[:body_at])
    body = block[body_at:]
    encodings = [fields.get("content-encoding", ""), fields.get("transfer-encoding", "")]
    names = [name.strip().lower() for value in encodings for name in value.split(",")]
    for name in reversed(names):
        if name not in ("", "identity", "none"):
            body = _undo(name, body, max_bytes)
    media_type, charset = parse_content_type(fields.get("content-type", ""))
    return Response(int(line[1]), media_type, charset, body, _robots(block[:body_at]))


def parse_content_type(value: str) -> tuple[str, str]:
    """("text/html", "utf-8") from `Text/HTML; charset="UTF-8"`; "" for what is not there."""
    media_type, _, parameters = value.partition(";")
    match = re.search(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", parameters, re.IGNORECASE)
    return media_type.partition(",")[0].strip().lower(), match[1].lower() if match else ""


def _robots(header: bytes) -> str:
    """What all X-Robots-Tag headers say: unlike others it is often sent several times, once for each crawler."""
    values = (b" ".join(match[1].split()).decode("utf-8", "replace") for match in _ROBOTS.finditer(header))
    return ", ".join(value for value in values if value)


def _undo(name: str, body: bytes, max_bytes: int) -> bytes:
    if name == "chunked":
        return _dechunk(body)
    if name in ("gzip", "x-gzip"):
        if not body.startswith(b"\x1f\x8b"):
            return body
        return _inflate(body, 31, max_bytes)
    if name in ("deflate", "x-deflate"):
        # "deflate" ought to be zlib's format (RFC 9110, section 8.4.1.2); servers also send it bare.
        return _guess(lambda: _inflate(body, 15, max_bytes), lambda: _inflate(body, -15, max_bytes), body=body)
    if name == "br" and brotli is not None:
        return _guess(lambda: _stream(brotli.Decompressor().process, body, max_bytes), body=body)
    if name == "zstd" and zstandard is not None:
        if not body.startswith(b"\x28\xb5\x2f\xfd"):
            return body
        decompress: Any = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj().decompress
        return _guess(lambda: _stream(decompress, body, max_bytes), body=b"\0" * 64)
    if is_binary(body):
        raise DataError("unsupported_encoding", name[:40])
    return body


def _guess(*attempts: Callable[[], bytes], body: bytes) -> bytes:
    """The first attempt that works; else the body itself, if it looks like text."""
    for attempt in attempts:
        try:
            return attempt()
        except DataError as error:
            if error.reason == "too_large":
                raise
    if is_binary(body):
        raise DataError("damaged_encoding", "neither what the header says nor plain text")
    return body


def _dechunk(body: bytes) -> bytes:
    """Undo `chunked`. A body that does not begin with a chunk is plain already; one that breaks off gives what came."""
    parts: list[bytes] = []
    at = 0
    while size := _CHUNK_SIZE.match(body, at):
        start = size.end()
        length = int(size[1], 16)
        if length == 0:
            break
        if not parts and body[start + length : start + length + 1] not in (b"", b"\r", b"\n"):
            return body  # a text that happens to begin with hexadecimal digits
        parts.append(body[start : start + length])
        at = start + length
    else:
        if not parts:
            return body
        if at < len(body) and body[at:].strip():
            raise DataError("damaged_encoding", f"no chunk at byte {at}")
    return b"".join(parts)


def _inflate(body: bytes, wbits: int, max_bytes: int) -> bytes:
    """Inflate all members. One that breaks off gives what came, as in a browser; damage is a DataError."""
    out: list[bytes] = []
    room = max_bytes
    while body:
        inflate = zlib.decompressobj(wbits)
        try:
            out.append(inflate.decompress(body, room + 1))
        except zlib.error as error:
            if out:
                break  # bytes after a whole member that are no member are padding
            raise DataError("damaged_encoding", str(error)) from None
        room -= len(out[-1])
        if room < 0:
            raise DataError("too_large", f"more than {max_bytes} bytes when decoded")
        body = inflate.unused_data if wbits == 31 else b""
    return b"".join(out)


def _stream(decompress: Callable[[bytes], bytes], body: bytes, max_bytes: int) -> bytes:
    out: list[bytes] = []
    room = max_bytes
    for at in range(0, len(body), 1024):  # small bites bound what one of them can swell to
        try:
            out.append(decompress(body[at : at + 1024]))
        except EOFError:
            break
        except Exception as error:  # each library has its own class of errors
            raise DataError("damaged_encoding", str(error)[:100]) from None
        room -= len(out[-1])
        if room < 0:
            raise DataError("too_large", f"more than {max_bytes} bytes when decoded")
    return b"".join(out)
