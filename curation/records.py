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

from curation import archive, frames, gzip_members
from curation.archive import Raw, Tape
from curation.document import Page, Skip, document_id
from curation.errors import DataError
from curation.gzip_members import GZIP
from curation.http import parse_content_type, parse_response
from curation.members import Member, Packing, Window, is_start, next_start, read_member, set_aside

HEAD_BYTES = (4 << 20) + (1 << 16)  # the first block of an lz4 frame, which gives nothing until it is whole
MAX_BYTES = 32 << 20

_SHORT_HEAD = 1 << 16
_FILE_CHUNK = 1 << 18
_FRAMING = 4096  # what a gzip header and the headers of a record may add to max_bytes
_SHA1 = re.compile(r"(?i:sha1):([A-Z2-7]{32}|[0-9a-f]{40})")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True, slots=True)
class Record:
    """One archived record, or one stretch of a file that cannot be read.

    [start, end) are bytes of the file; the spans of a file's records tile it. Of several records in one member (of
    gzip, zstd or lz4) the first has the member's span and the others are empty, at its end. `locator` is the offset in
    decimal, for the second record of a member on with `.1`, `.2` …; `type` is WARC-Type, `filedesc` at the head of an
    ARC file, or "" where no header could be read.
    """

    start: int
    end: int
    locator: str
    type: str
    value: Page | Skip | DataError


class _Layout(enum.Enum):
    MEMBERS = "a member (gzip, zstd, lz4) for each record, or not known"
    ONE_MEMBER = "several records in a member"
    PLAIN = "not compressed"


def splittable(head: bytes) -> bool:
    """May the file be cut into byte ranges? `head` is its first HEAD_BYTES (fewer only if it has no more)."""
    return _layout(head[:HEAD_BYTES])[0] is _Layout.MEMBERS


def read_range(
    stream: BinaryIO, size: int, start: int, end: int, source: str, file: str, *, max_bytes: int = MAX_BYTES
) -> Iterator[Record]:
    """The records that start in [start, end) of a seekable stream of `size` bytes; the last may reach beyond `end`.

    The ranges of a file, however cut, give the same records, and their spans tile [0, size). Of a file that cannot be
    split, the range from 0 gives everything and the others nothing. What cannot be read is a Record with a DataError,
    and reading goes on behind it: `damaged_gzip` (`_zstd`, `_lz4`), `truncated`, `malformed_header`, `short_body`,
    `long_body`, `too_large` (more than `max_bytes` unpacked), `not_an_archive`, `wrong_digest`,
    `unsupported_compression`, and those of `parse_response`.

    Memory: a few times `max_bytes`. A range from s also inflates the `max_bytes` before s, to know where it is.
    """
    if start >= min(end, size):
        return
    window = Window(stream, size)
    layout, name = _layout(window.at(0, HEAD_BYTES))
    packing = _packing(window, name or _by_suffix(file))
    if packing is None:
        if start == 0:
            error = DataError("unsupported_compression", f"{file}: reading it needs the package {name}")
            yield Record(0, size, "0", "", error)
        return
    reader = _Reader(window, packing, source, file, max_bytes)
    if layout is _Layout.PLAIN:
        if start == 0:
            yield from reader.plain()
    elif layout is _Layout.ONE_MEMBER:
        if start == 0:
            yield from reader.members(0, size, size, resume=True)
    else:
        # Longer members, when compressed, are given up: deflate makes nothing more than 0.03 % longer (RFC 1951), and
        # the frames of zstd and lz4 add a few bytes to a block.
        yield from reader.members(start, min(end, size), max_bytes + max_bytes // 1000 + _FRAMING, resume=False)


def read_indexed(data: bytes, offset: int, source: str, file: str, *, max_bytes: int = MAX_BYTES) -> Iterator[Record]:
    """The records in `data`, which an index says is one record, or the member of one, at `offset` of a file.

    They are those that `read_range` gives for these bytes, if the index is right; their spans are of `data` and tile
    it, their locators of the file. A dictionary at the beginning of the file is not known here.
    """
    window = Window(io.BytesIO(data), len(data))
    layout, name = _layout(data[:HEAD_BYTES])
    packing = _packing(window, name)
    if packing is None:
        error = DataError("unsupported_compression", f"{file}: reading it needs the package {name}")
        yield Record(0, len(data), str(offset), "", error)
        return
    reader = _Reader(window, packing, source, file, max_bytes, offset)
    yield from reader.plain() if layout is _Layout.PLAIN else reader.members(0, len(data), len(data), resume=False)


def _packing(window: Window, name: str) -> Packing | None:
    return {"zstd": lambda: frames.zstd_packing(window), "lz4": frames.lz4_packing}.get(name, lambda: GZIP)()


def _by_suffix(file: str) -> str:
    """Asked only where the first bytes are of no kind."""
    return {"zst": "zstd", "lz4": "lz4"}.get(file.rpartition(".")[2], "gzip")


def _layout(head: bytes) -> tuple[_Layout, str]:
    """How a file is laid out and what its members are packed with, "" if there is no telling."""
    window = Window(io.BytesIO(head), len(head))
    at = 0
    while length := frames.skippable(window, at):
        at += length
    if head.startswith(frames.DICTIONARY_MAGIC):
        return _Layout.MEMBERS, "zstd"  # a dictionary is of use only where each record has its frame
    magics = {GZIP.magic: "gzip", frames.ZSTD_MAGIC: "zstd", frames.LZ4_MAGIC: "lz4"}
    name = next((name for magic, name in magics.items() if head.startswith(magic, at)), "")
    if not name:
        at, name = _first_record(head[:_SHORT_HEAD])
        if not name:
            return (_Layout.PLAIN if at >= 0 else _Layout.MEMBERS), ""
    if name == "gzip":
        window = Window(io.BytesIO(head[:_SHORT_HEAD]), min(len(head), _SHORT_HEAD))
    packing = _packing(window, name)
    if packing is None:
        return _Layout.ONE_MEMBER, name
    tape = Tape(packing.unpack(window, at, len(head), False))
    first = next(archive.read_records(tape, MAX_BYTES, cut="truncated", resume=False), None)
    more = first is not None and first.error is None and tape.fill(first.end + 1)
    return (_Layout.ONE_MEMBER if more else _Layout.MEMBERS), name


def _first_record(head: bytes) -> tuple[int, str]:
    """Where in a head of no kind the first record begins, and what it is packed with; -1 where none does."""
    window = Window(io.BytesIO(head), len(head))
    found = [(plain, "")] if (plain := archive.find_record(head)) is not None else []
    for name in ("gzip", "zstd", "lz4"):
        packing = _packing(window, name)
        if packing is not None and (at := next_start(packing, window, 0, len(head))) is not None:
            found.append((at, name))
    return min(found, default=(-1, ""))


@dataclass(frozen=True, slots=True)
class _Reader:
    window: Window
    packing: Packing
    source: str
    file: str
    max_bytes: int
    base: int = 0  # where in the file the window begins

    def plain(self) -> Iterator[Record]:
        size = self.window.size
        chunks = (self.window.at(at, _FILE_CHUNK) for at in range(0, size, _FILE_CHUNK))
        for raw in archive.read_records(Tape(chunks, size), self.max_bytes, cut="truncated", resume=True):
            raw = _not_disproved(raw)
            yield self._record(raw.start, raw.end, str(self.base + raw.start), raw)

    def members(self, start: int, stop: int, span: int, *, resume: bool) -> Iterator[Record]:
        """Records of the members that start in [start, stop).

        What follows a position depends on at most `span` bytes before it: a whole member is passed over, so a member
        inside it (an archived archive) is no record, but a whole member is never longer than `span`. From a damaged one
        the next start counts, wherever it is. So whoever begins `span` bytes early arrives at the same records.
        """
        window, packing = self.window, self.packing
        at: int | None = 0 if start <= span else next_start(packing, window, start - span, stop)
        while at is not None and at < stop:
            if (end := set_aside(packing, window, at, span)) > at:
                if at >= start:
                    yield Record(at, end, str(self.base + at), "skippable", Skip("skippable"))
                at = end
                continue
            keep = self.max_bytes if at >= start else archive.LONGEST_LINE
            member = read_member(packing, window, at, span, keep)
            if packing is GZIP:
                begins = gzip_members.is_whole_start(window, at, member)
            else:
                begins = is_start(packing, window, at)
            if begins and not member.flaw:
                end = member.end
            else:
                end = next_start(packing, window, at + 1, window.size) or window.size
            if at < start:
                pass
            elif begins:
                yield from self._member_records(at, end, span, member, resume)
            else:
                yield Record(at, end, str(self.base + at), "", self._no_record(at, end, member))
            at = end

    def _no_record(self, at: int, end: int, member: Member) -> DataError:
        packing = self.packing
        magic = self.window.at(at, len(packing.magic)) == packing.magic
        if magic and member.flaw == "truncated" and member.length < archive.LONGEST_LINE:
            return DataError("truncated", "the file ends before the first record does")
        if at == 0 and self.window.at(0, 4) == frames.DICTIONARY_MAGIC:
            return DataError(packing.damaged, "no frame can be read with the dictionary that the file begins with")
        if (at, end) == (0, self.window.size):
            return DataError("not_an_archive", "neither WARC nor ARC, neither plain nor gzip, zstd or lz4")
        if magic and not member.flaw:
            return DataError("malformed_header", f"a {packing.name} member that begins with no WARC or ARC header")
        return DataError(packing.damaged, f"no {packing.name} member begins here")

    def _member_records(self, at: int, end: int, span: int, member: Member, resume: bool) -> Iterator[Record]:
        for number, raw in enumerate(self._raws(at, span, member, resume)):
            if number == 0:
                yield self._record(at, end, str(self.base + at), raw)
            else:
                yield self._record(end, end, f"{self.base + at}.{number}", raw)

    def _raws(self, at: int, span: int, member: Member, resume: bool) -> Iterator[Raw]:
        whole = not member.flaw
        if whole and member.length <= self.max_bytes:
            tape = Tape([member.data], member.length)
        elif whole:
            tape = Tape(self.packing.unpack(self.window, at, span, False), member.length)
        else:
            tape = Tape(self.packing.unpack(self.window, at, span, True))
        raws = archive.read_records(tape, self.max_bytes, cut=member.flaw or "short_body", resume=resume)
        if not whole:
            raws = _proven(raws, member)
        elif not self.packing.is_checked(self.window, at):
            raws = map(_not_disproved, raws)
        yield from raws

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
        url = clean_url(fields.get("warc-target-uri", ""))
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


def clean_url(field: str) -> str:
    """WARC-Target-URI as a page has it. WARC 1.0's grammar had brackets by mistake; ARC files have spaces in URLs."""
    return field.strip("<>").replace(" ", "%20")


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
    return replace(raw, block=None, error=DataError(member.flaw, "in a member that is not whole"))


def _not_disproved(raw: Raw) -> Raw:
    """A record that no checksum vouches for, in a plain file or a frame without one: its digest must not deny it."""
    digest = raw.fields.get("warc-block-digest", "")
    if raw.error is None and _SHA1.fullmatch(digest) and not _digest_holds(digest, raw.block):
        return replace(raw, block=None, error=DataError("wrong_digest", "the block is not what its digest says"))
    return raw


def _digest_holds(digest: str, block: bytes | None) -> bool:
    name, _, value = digest.partition(":")
    if name.lower() != "sha1" or block is None:
        return False
    computed = hashlib.sha1(block, usedforsecurity=False).digest()
    return value in (base64.b32encode(computed).decode(), computed.hex())
