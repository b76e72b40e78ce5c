"""Writes HTTP exchanges as the gzip members of a WARC file, the same bytes every time.

Every date and record id follows from the content and the place in the crawl; none is taken from the clock.
"""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

CRAWL = "SAMPLE-2026"
_START = datetime(2026, 1, 1, tzinfo=UTC)
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"

# How a body travels. "stripped" is what Common Crawl stores: decoded, the original headers renamed to X-Crawl-.
ENCODINGS = ("", "gzip", "chunked", "gzip chunked", "stripped")
_SERVERS = ("nginx", "Apache/2.4.58 (Unix)", "cloudflare", "Microsoft-IIS/10.0", "LiteSpeed", "openresty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back. `kind` is what crawl.json counts it as."""

    kind: str
    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    encoding: str = ""  # one of ENCODINGS
    location: str = ""
    revisit: bool = False  # nothing new: the headers are stored, and the digest of the body that is elsewhere
    damage: str = ""  # "flipped": one bit of the response's compressed bytes; "truncated": they end in the middle


def digest(*parts: object) -> bytes:
    """16 bytes that depend on all parts and nothing else."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8"), digest_size=16).digest()


def pick(count: int, *parts: object) -> int:
    """A number in [0, count) that depends on the parts alone."""
    return int.from_bytes(digest(*parts)[:8], "big") % count


def file_head(name: str, file: int) -> bytes:
    """The warcinfo record that begins a file."""
    fields = {
        "software": "Winnow sample",
        "format": "WARC File Format 1.0",
        "isPartOf": CRAWL,
        "description": "Real pages, laid out as a crawl, with faults put in on purpose",
    }
    payload = "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode()
    return _record("warcinfo", "", payload, _date(file, 0), ("head", name), {"WARC-Filename": name.rpartition("/")[2]})


def members(exchange: Exchange, file: int, place: int) -> list[bytes]:
    """The gzip members of an exchange: request, response or revisit, metadata.

    A truncated response is the last member, as where a writer was killed. `place` counts from 1 within the file.
    """
    date = _date(file, place)
    key = (file, place, exchange.url)
    response_id = _record_id("response", *key)
    target = urlsplit(exchange.url)
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    request_fields = [
        ("User-Agent", "winnow-sample/1"),
        ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
        ("Accept-Encoding", "gzip"),
        ("Host", target.netloc),
        ("Connection", "keep-alive"),
    ]
    request = _record(
        "request",
        exchange.url,
        b"",
        date,
        ("request", *key),
        {"WARC-Concurrent-To": response_id},
        StatusAndHeaders(f"GET {path} HTTP/1.1", request_fields, is_http_request=True),
    )
    http, body = _response(exchange, date)
    extra: dict[str, str] = {}
    if exchange.revisit:
        extra = {
            "WARC-Profile": "http://netpreserve.org/warc/1.0/revisit/identical-payload-digest",
            "WARC-Refers-To-Target-URI": exchange.url,
            "WARC-Payload-Digest": "sha1:" + base64.b32encode(hashlib.sha1(body).digest()).decode("ascii"),
        }
    kind = "revisit" if exchange.revisit else "response"
    response = _record(kind, exchange.url, b"" if exchange.revisit else body, date, ("response", *key), extra, http)
    if exchange.damage == "flipped":
        middle = len(response) // 2
        response = response[:middle] + bytes([response[middle] ^ 0x10]) + response[middle + 1 :]
    elif exchange.damage == "truncated":
        return [request, response[: len(response) * 3 // 5]]
    metadata = _record(
        "metadata",
        exchange.url,
        f"fetchTimeMs: {30 + pick(900, 'time', *key)}\r\n".encode(),
        date,
        ("metadata", *key),
        {"WARC-Concurrent-To": response_id},
    )
    return [request, response, metadata]


def _date(file: int, place: int) -> datetime:
    return _START + timedelta(hours=file, seconds=7 * place)


def _record_id(*parts: object) -> str:
    return f"<urn:uuid:{uuid.UUID(bytes=digest(*parts), version=4)}>"


def _record(
    kind: str,
    url: str,
    payload: bytes,
    date: datetime,
    id_parts: tuple[object, ...],
    fields: dict[str, str],
    http: StatusAndHeaders | None = None,
) -> bytes:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True, warc_version="1.0")
    headers = {
        "WARC-Type": kind,
        "WARC-Record-ID": _record_id(*id_parts),
        "WARC-Date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **fields,
    }
    record = writer.create_warc_record(
        url, kind, payload=io.BytesIO(payload), length=len(payload), warc_headers_dict=headers, http_headers=http
    )
    writer.write_record(record)
    return out.getvalue()


def _response(exchange: Exchange, date: datetime) -> tuple[StatusAndHeaders, bytes]:
    """Status line and headers, and the body as it went over the wire."""
    server = _SERVERS[pick(len(_SERVERS), "server", urlsplit(exchange.url).netloc)]
    fields = [("Date", date.strftime(_HTTP_DATE)), ("Server", server)]
    if exchange.content_type:
        fields.append(("Content-Type", exchange.content_type))
    if exchange.location:
        fields.append(("Location", exchange.location))
    if pick(3, "cache", exchange.url) == 0:
        fields.append(("Cache-Control", "max-age=0, no-cache"))
    body = exchange.body
    if exchange.encoding == "stripped":
        packed = _gzip(body)
        fields += [("X-Crawl-Content-Encoding", "gzip"), ("X-Crawl-Content-Length", str(len(packed)))]
    if "gzip" in exchange.encoding:
        body = _gzip(body)
        fields += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    if "chunked" in exchange.encoding:
        body = _chunked(body, 1 + pick(16, "chunk", len(body)))
        fields.append(("Transfer-Encoding", "chunked"))
    else:
        fields.append(("Content-Length", str(len(body))))
    fields.append(("Connection", "keep-alive"))
    return StatusAndHeaders(f"{exchange.status} {HTTPStatus(exchange.status).phrase}", fields, "HTTP/1.1"), body


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # zlib's own header carries no time
    return packer.compress(body) + packer.flush()


def _chunked(body: bytes, kilobytes: int) -> bytes:
    step = kilobytes << 10
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
