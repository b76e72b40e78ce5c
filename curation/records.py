"""Records of web archives: WARC, WET, WAT and ARC, read from any byte range, whatever is damaged (docs/reading.md).

Own code, because one flipped bit makes the common readers lose the rest of the file: of 1,800 fuzzed records warcio
gave 499 and FastWARC 441.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from curation import archive, gzip_members
from curation.archive import Raw, Tape
from curation.document import Page, document_id
from curation.errors import DataError
from curation.gzip_members import Member, Window
from curation.http import parse_content_type, parse_response

HEAD_BYTES = 1 << 16
MAX_BYTES = 32 << 20

_FILE_CHUNK = 1 << 18
_FRAMING = 4096  # what a gzip header and the headers of a record may add to max_bytes
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True, slots=True)
class Skip:
    """A record that is no page, and of no interest: counted by its type, never read."""

    type: str


@dataclass(frozen=True, slots=True)
class Record:
    """One archived record, or one stretch of a file that cannot be read.

    [start, end) are bytes of the file; the spans of a file's records tile it. Of several records in one gzip member
    the first has the member's span and the others are empty, at its end. `locator` is the offset in decimal, for the
    second record of a member on with `.1`, `.2` …; `type` is WARC-Type, `filedesc` at the head of an ARC file, or ""
    where no header could be read.
    """

    start: int
    end: int
    locator: str
    type: str
    value: Page | Skip | DataError


class _Layout(enum.Enum):
    MEMBERS = "a gzip member for each record, or not known"
    ONE_MEMBER = "several records in a gzip member"
    PLAIN = "not compressed"


def splittable(head: bytes) -> bool:
    """May the file be cut into byte ranges? `head` is its first HEAD_BYTES (fewer only if it has no more)."""
    return _layout(head[:HEAD_BYTES]) is _Layout.MEMBERS


def read_range(
    stream: BinaryIO, size: int, start: int, end: int, source: str, file: str, *, max_bytes: int = MAX_BYTES
) -> Iterator[Record]:
    """The records that start in [start, end) of a seekable stream of `size` bytes; the last may reach beyond `end`.

    The ranges of a file, however cut, give the same records, and their spans tile [0, size). Of a file that cannot be
    split, the range from 0 gives everything and the others nothing. What cannot be read is a Record with a DataError,
    and reading goes on behind it: `damaged_gzip`, `truncated`, `malformed_header`, `short_body`, `long_body`,
    `too_large` (more than `max_bytes` inflated), `not_an_archive`, and those of `parse_response`.

    Memory: a few times `max_bytes`. A range from s also inflates the `max_bytes` before s, to know where it is.
    """
    if start >= min(end, size):
        return
    window = Window(stream, size)
    layout = _layout(window.at(0, HEAD_BYTES))
    reader = _Reader(window, source, file, max_bytes)
    if layout is _Layout.PLAIN:
        if start == 0:
            yield from reader.plain()
    elif layout is _Layout.ONE_MEMBER:
        if start == 0:
            yield from reader.members(0, size, size, resume=True)
    else:
        # Longer members, when compressed, are given up: deflate makes nothing more than 0.03 % longer (RFC 1951).
        yield from reader.members(start, min(end, size), max_bytes + max_bytes // 1000 + _FRAMING, resume=False)


def _layout(head: bytes) -> _Layout:
    window = Window(io.BytesIO(head), len(head))
    member = 0 if head.startswith(gzip_members.MAGIC) else gzip_members.next_start(window, 0, len(head))
    plain = None if member == 0 else archive.find_record(head)
    if plain is not None and (member is None or plain < member):
        return _Layout.PLAIN
    if member is None:
        return _Layout.MEMBERS
    tape = Tape(gzip_members.inflated(window, member, len(head)))
    first = next(archive.read_records(tape, MAX_BYTES, cut="truncated", resume=False), None)
    more = first is not None and first.error is None and tape.fill(first.end + 1)
    return _Layout.ONE_MEMBER if more else _Layout.MEMBERS


@dataclass(frozen=True, slots=True)
class _Reader:
    window: Window
    source: str
    file: str
    max_bytes: int

    def plain(self) -> Iterator[Record]:
        size = self.window.size
        chunks = (self.window.at(at, _FILE_CHUNK) for at in range(0, size, _FILE_CHUNK))
        for raw in archive.read_records(Tape(chunks, size), self.max_bytes, cut="truncated", resume=True):
            yield self._record(raw.start, raw.end, str(raw.start), raw)

    def members(self, start: int, stop: int, span: int, *, resume: bool) -> Iterator[Record]:
        """Records of the members that start in [start, stop).

        What follows a position depends on at most `span` bytes before it: a whole member is passed over, so a member
        inside it (an archived archive) is no record, but a whole member is never longer than `span`. From a damaged one
        the next start counts, wherever it is. So whoever begins `span` bytes early arrives at the same records.
        """
        window = self.window
        at: int | None = 0 if start <= span else gzip_members.next_start(window, start - span, stop)
        while at is not None and at < stop:
            keep = self.max_bytes if at >= start else archive.LONGEST_LINE
            member = gzip_members.read_member(window, at, span, keep)
            begins = gzip_members.is_whole_start(window, at, member)
            if begins and not member.flaw:
                end = member.end
            else:
                end = gzip_members.next_start(window, at + 1, window.size) or window.size
            if at < start:
                pass
            elif begins:
                yield from self._member_records(at, end, span, member, resume)
            else:
                yield Record(at, end, str(at), "", self._no_record(at, end, member))
            at = end

    def _no_record(self, at: int, end: int, member: Member) -> DataError:
        magic = self.window.at(at, len(gzip_members.MAGIC)) == gzip_members.MAGIC
        if magic and member.flaw == "truncated" and member.length < archive.LONGEST_LINE:
            return DataError("truncated", "the file ends before the first record does")
        if (at, end) == (0, self.window.size):
            return DataError("not_an_archive", "neither WARC nor ARC, neither plain nor gzip")
        if magic and not member.flaw:
            return DataError("malformed_header", "a gzip member that begins with no WARC or ARC header")
        return DataError("damaged_gzip", "no gzip member begins here")

    def _member_records(self, at: int, end: int, span: int, member: Member, resume: bool) -> Iterator[Record]:
        for number, raw in enumerate(self._raws(at, span, member, resume)):
            if number == 0:
                yield self._record(at, end, str(at), raw)
            else:
                yield self._record(end, end, f"{at}.{number}", raw)

    def _raws(self, at: int, span: int, member: Member, resume: bool) -> Iterator[Raw]:
        if not member.flaw and member.length <= self.max_bytes:
            tape = Tape([member.data], member.length)
            yield from archive.read_records(tape, self.max_bytes, cut="short_body", resume=resume)
            return
        if not member.flaw:
            tape = Tape(gzip_members.inflated(self.window, at, span), member.length)
        else:
            tape = Tape(gzip_members.inflated(self.window, at, span, careful=True))
        raws = archive.read_records(tape, self.max_bytes, cut=member.flaw or "short_body", resume=resume)
        yield from _proven(raws, member) if member.flaw else raws

    def _record(self, start: int, end: int, locator: str, raw: Raw) -> Record:
        value: Page | Skip | DataError
        try:
            value = self._value(raw, document_id(self.source, self.file, locator))
        except DataError as error:
            value = error
        return Record(start, end, locator, raw.type, value)

    def _value(self, raw: Raw, id: str) -> Page | Skip:
        fields = raw.fields
        if raw.type not in ("response", "conversion") and (raw.error is None or raw.error.reason == "too_large"):
            return Skip(raw.type)
        if raw.error is not None:
            raise raw.error
        assert raw.block is not None
        # WARC 1.0's grammar had the brackets by mistake; ARC files have spaces in URLs.
        url = fields.get("warc-target-uri", "").strip("<>").replace(" ", "%20")
        if not url:
            raise DataError("malformed_header", "no WARC-Target-URI")
        date = fields.get("warc-date", "")
        page = Page(
            id=id,
            url=url,
            date=date if _ISO_DATE.fullmatch(date) else "",
            digest=fields.get("warc-payload-digest") or fields.get("warc-block-digest", ""),
            status=0,
            content_type="",
            charset="",
            body=raw.block,
        )
        in_arc = archive.ARC_TYPE in fields
        declared, charset = parse_content_type(fields.get("content-type", fields.get(archive.ARC_TYPE, "")))
        if raw.type == "response" and (declared.endswith("/http") or (in_arc and url[:4].lower() == "http")):
            response = parse_response(raw.block, self.max_bytes)
            known = fields.get("warc-identified-payload-type", declared if in_arc else "")
            return replace(
                page,
                status=response.status,
                content_type=response.content_type or known,
                charset=response.charset,
                body=response.body,
                robots=response.robots,
            )
        return replace(page, content_type=declared, charset=charset)


def _proven(raws: Iterator[Raw], member: Member) -> Iterator[Raw]:
    """Of a member that is not whole, the records that can be relied upon; the others with an error.

    With no checksum over it, a record counts if its own digest holds. If the member only breaks off, one without a
    digest counts too, unless it is the only one: of that there is no sign that it was read rightly.
    """
    first, second = next(raws), next(raws, None)
    failed = False
    for raw in itertools.chain([first], [second] if second is not None else [], raws):
        proven = _prove(raw, member, alone=second is None)
        if raw.fields or not failed:  # without a header it is but the rest of the one that failed
            yield proven
        failed = proven.error is not None


def _prove(raw: Raw, member: Member, *, alone: bool) -> Raw:
    if raw.error is not None and raw.error.reason == "too_large":
        return raw
    digest = raw.fields.get("warc-block-digest", "")
    if raw.error is None and not alone and (_digest_holds(digest, raw.block) if digest else member.flaw == "truncated"):
        return raw
    return replace(raw, block=None, error=DataError(member.flaw, "in a gzip member that is not whole"))


def _digest_holds(digest: str, block: bytes | None) -> bool:
    name, _, value = digest.partition(":")
    if name.lower() != "sha1" or block is None:
        return False
    computed = hashlib.sha1(block, usedforsecurity=False).digest()
    return value in (base64.b32encode(computed).decode(), computed.hex())
