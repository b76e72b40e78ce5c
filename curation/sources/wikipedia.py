"""Wikipedia's `pages-articles` dumps: a bz2 of one large XML file, read one page at a time.

The dump is cut at its `<page>` tags before any XML is parsed. So memory holds one page, a malformed page costs only
itself, and every `<page>` gives exactly one record, which `count_pages` checks without parsing.
"""

from __future__ import annotations

import base64
import codecs
import re
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from curation.document import Page, Skip, document_id
from curation.errors import DataError, InputError
from curation.sources.given import Given
from curation.sources.wikitext import is_disambiguation, plain_text
from curation.unpacked import unpacked

MAX_PAGE_BYTES = 64 << 20  # MediaWiki stores no more than 2 MiB of wikitext in a page; beyond this the XML is broken

_TAG = re.compile(rb"<page[\s>]|</page>|</mediawiki>")
_LONGEST_TAG = len(b"</mediawiki>")
_ID = re.compile(rb"<id>(\d{1,18})</id>")
_BASE = re.compile(rb"<base>\s*([^<\s]+)\s*</base>")
_LANGUAGE = re.compile(rb"xml:lang=\"([A-Za-z-]+)\"")


@dataclass(frozen=True, slots=True)
class DumpPage:
    """One page of a dump, with its newest revision if there are several."""

    id: int
    title: str
    namespace: int  # 0 holds the articles
    redirect: str  # the title that it points to; "" if it is not a redirect
    timestamp: str  # of the revision, ISO 8601, UTC; "" if the dump has none
    text: str  # wikitext
    model: str = "wikitext"  # how `text` is to be read; others are css, javascript, Scribunto, json …
    digest: str = ""  # "sha1:" and base 32, of `text` as UTF-8, from the dump; "" if it has none


def pages(stream: BinaryIO) -> Iterator[DumpPage | DataError]:
    """The pages of a dump, bz2 or plain XML, in order; a page that cannot be read is its DataError, in its place.

    A dump that breaks off gives what was whole, then one DataError: `truncated` or `damaged_bz2`.
    """
    for _, page in _read(stream):
        if not isinstance(page, bytes):
            yield page


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """(title, plain text) of each article: namespace 0, no redirects, no disambiguation pages, none without text.

    For training models; damaged pages are left out. Raises InputError when there is no such file or no article in it.
    """
    found = False
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a pages-articles dump (.xml.bz2)") from None
    with stream:
        for page in pages(stream):
            if isinstance(page, DataError) or page.namespace or page.redirect or page.model != "wikitext":
                continue
            try:
                text = "" if is_disambiguation(page.text) else plain_text(page.text)
            except DataError:
                continue
            if text:
                found = True
                yield page.title, text
    if not found:
        raise InputError(f"{path}: no articles; give a pages-articles dump (.xml.bz2)")


def read(given: Given) -> Iterator[tuple[str, Page | Skip | DataError]]:
    with given.open() as stream:
        yield from read_dump(stream, given.source, given.file)


def count(given: Given) -> int:
    with given.open() as stream:
        return count_pages(stream)


def read_dump(stream: BinaryIO, source: str, file: str) -> Iterator[tuple[str, Page | Skip | DataError]]:
    """(page id, what it is) for each page of a dump: as many as `count_pages` counts.

    Only articles are pages. What the dump itself calls something else is skipped by type: `redirect`, `namespace`
    (talk, templates, categories …), `model` (code and data). Page ids are decimal; "0" where none could be read.
    """
    base = ""
    for locator, page in _read(stream):
        if isinstance(page, bytes):
            base = _url_base(page)
        elif isinstance(page, DataError):
            yield locator, page
        elif page.namespace != 0:
            yield locator, Skip("namespace")
        elif page.model != "wikitext":
            yield locator, Skip("model")
        elif page.redirect:
            yield locator, Skip("redirect")
        else:
            yield (
                locator,
                Page(
                    id=document_id(source, file, locator),
                    url=base + urllib.parse.quote(page.title.replace(" ", "_"), safe="/;@$!*(),:~"),
                    date=page.timestamp,
                    digest=page.digest,
                    status=0,
                    content_type="text/x-wiki",
                    charset="utf-8",
                    body=page.text.encode("utf-8"),
                    title=page.title,
                ),
            )


def count_pages(stream: BinaryIO) -> int:
    """How many records `read_dump` must give: `<page>` tags, and one more if the dump breaks off outside a page."""
    count, last, rest = 0, b"", b""
    broken = False
    try:
        for chunk in _decoded(stream):
            data, end = rest + chunk, 0
            for match in _TAG.finditer(data):
                last, end = match.group(), match.end()
                count += last.startswith(b"<page")
            rest = data[max(end, len(data) - _LONGEST_TAG + 1) :]
    except DataError:
        broken = True
    inside = last.startswith(b"<page")
    return count + (not inside and (broken or last != b"</mediawiki>"))


def _read(stream: BinaryIO) -> Iterator[tuple[str, bytes | DumpPage | DataError]]:
    """The dump's head (bytes, up to the first page) once, then (locator, page or error) for each page."""
    for segment in _segments(stream):
        if isinstance(segment, DataError):
            yield "0", segment
        elif not segment.startswith(b"<page"):
            yield "", segment
        elif not segment.endswith(b"</page>"):
            yield _locator(segment), DataError("malformed_xml", "a page without end")
        else:
            try:
                yield _locator(segment), _page(segment)
            except DataError as error:
                yield _locator(segment), error


def _segments(stream: BinaryIO) -> Iterator[bytes | DataError]:
    """The head, then each page from `<page` to `</page>`, or to where the next one begins; then the break, if any."""
    buffer = bytearray()
    inside, closed, head = False, False, False
    position = 0  # up to here the buffer holds no further tag
    broken: DataError | None = None
    chunks = _decoded(stream)
    while broken is None:
        try:
            chunk = next(chunks, b"")
        except DataError as error:
            broken, chunk = error, b""
        if not chunk:
            break
        buffer += chunk
        while match := _TAG.search(buffer, position):
            tag = match.group()
            if tag.startswith(b"<page"):
                if inside or not head:
                    yield bytes(buffer[: match.start()])
                del buffer[: match.start()]
                inside, closed, head = True, False, True
                position = len(tag)
            elif tag == b"</page>" and inside:
                yield bytes(buffer[: match.end()])
                del buffer[: match.end()]
                inside, position = False, 0
            else:
                closed = closed or (tag == b"</mediawiki>" and not inside)
                position = match.end()
        position = max(position, len(buffer) - _LONGEST_TAG + 1)
        if len(buffer) > MAX_PAGE_BYTES:
            if inside:
                yield DataError("page_too_large", f"more than {MAX_PAGE_BYTES} bytes")
            del buffer[: len(buffer) - _LONGEST_TAG]
            inside, head, position = False, True, 0
    begun = b"<mediawiki" in buffer or b"<mediawiki".startswith(bytes(buffer[: len("<mediawiki")]))
    if not (head or closed or broken or begun):
        yield DataError("not_a_dump", "no <mediawiki> in it")
    elif inside or not closed or broken is not None:
        yield broken or DataError("truncated", "the dump ends before </mediawiki>")


def _decoded(stream: BinaryIO) -> Iterator[bytes]:
    """The XML in UTF-8, decompressed when it is bz2. Raises DataError where it breaks off."""
    chunks = unpacked(stream)
    first = b""
    while len(first) < len(codecs.BOM_UTF16) and (more := next(chunks, b"")):
        first += more
    if first[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield first
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        yield decoder.decode(first).encode("utf-8")
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8")
        decoder.decode(b"", final=True)
    except UnicodeError:
        raise DataError("bad_encoding", "the dump is not the UTF-16 that it begins as") from None


def _page(segment: bytes) -> DumpPage:
    try:
        page = ET.fromstring(segment)
        revisions = page.findall("revision")
        revision = revisions[-1] if revisions else page
        redirect = page.find("redirect")
        return DumpPage(
            id=int(page.findtext("id", "")),
            title=page.findtext("title", ""),
            namespace=int(page.findtext("ns", "0")),
            redirect="" if redirect is None else redirect.get("title") or "?",
            timestamp=revision.findtext("timestamp", ""),
            text=revision.findtext("text", ""),
            model=revision.findtext("model", "wikitext"),
            digest=_digest(revision.findtext("sha1", "")),
        )
    except (ET.ParseError, ValueError) as error:
        raise DataError("malformed_xml", str(error)) from None


def _digest(base36: str) -> str:
    """A dump writes SHA-1 in base 36; a WARC in base 32, as all our digests are."""
    try:
        return "sha1:" + base64.b32encode(int(base36, 36).to_bytes(20, "big")).decode("ascii")
    except (ValueError, OverflowError):
        return ""


def _locator(segment: bytes) -> str:
    match = _ID.search(segment)
    return str(int(match.group(1))) if match else "0"


def _url_base(head: bytes) -> str:
    """`https://en.wikipedia.org/wiki/`: from the address of the main page, else from the language of the dump."""
    if match := _BASE.search(head):
        return match.group(1).decode("utf-8", "replace").rpartition("/")[0] + "/"
    language = _LANGUAGE.search(head)
    return f"https://{language.group(1).decode() if language else 'en'}.wikipedia.org/wiki/"
