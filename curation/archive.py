"""The records of WARC (WET, WAT) and ARC: their headers, their lengths, and where the next one begins.

Works on inflated bytes that come in chunks; at most one record is held, and none longer than `max_bytes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from curation.errors import DataError

LONGEST_LINE = 1 << 14  # of an ARC header, in bytes: a URL and five short fields
_LONGEST_HEADER = 1 << 16

_WARC_LINE = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?\n")
# ARC version 1: URL, IP, date, media type, length. Version 2 puts five more fields before the length. URLs and media
# types may hold spaces, which is why the date is what the line is recognised by.
_ARC_LINE = re.compile(
    rb"(?P<url>[A-Za-z][A-Za-z0-9+.\-]*:[^\n]*?) [0-9A-Za-z.:_\-]+ (?P<date>(?:19|20)\d{12})"
    rb"(?: (?P<type>[^\n]*))? (?P<length>\d{1,18})[ \t]*\r?\n"
)
_WARC = re.compile(rb"\n(?=WARC/\d+\.\d+[ \t]*\r?\n[A-Za-z])")
_ARC = re.compile(
    rb"\n(?=[A-Za-z][A-Za-z0-9+.\-]*:[^\n]{0,16000}? [0-9A-Za-z.:_\-]+ (?:19|20)\d{12}"
    rb"(?: [^\n]{0,2000})? \d{1,18}[ \t]*\r?\n)"
)
_BLANK_LINE = re.compile(rb"\n\r?\n")

ARC_TYPE = "arc-content-type"  # the field that holds the media type of an ARC line


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as archived: [start, end) of the inflated bytes, or of a plain file.

    `fields` has the header by lower-case name (an ARC line is given WARC's names). `error` says why `block` is None:
    `malformed_header`, `short_body` (fewer bytes than Content-Length says), `long_body` (more), `too_large`, or the
    reason why the bytes end.
    """

    start: int
    end: int
    fields: Mapping[str, str]
    block: bytes | None
    error: DataError | None = None

    @property
    def type(self) -> str:
        return self.fields.get("warc-type", "").lower()


class Tape:
    """Bytes that come in chunks, addressed from 0; those before the last `drop` are gone."""

    def __init__(self, chunks: Iterable[bytes], length: int | None = None) -> None:
        self.length = length  # if known beforehand
        self.front = 0
        self.kind: re.Pattern[bytes] | None = None  # how the next header is found; known from the first on
        self.base = 0
        self._buffer = bytearray()
        self._chunks = iter(chunks)

    def fill(self, stop: int) -> bool:
        """Hold the bytes up to `stop`. False if they end before that."""
        while self.front < stop:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.length = self.front
                return False
            self._buffer += chunk
            self.front += len(chunk)
        return True

    def read(self, start: int, stop: int) -> bytes:
        self.fill(stop)
        with memoryview(self._buffer) as view:
            return bytes(view[start - self.base : stop - self.base])

    def drop(self, before: int) -> None:
        before = min(before, self.front)
        del self._buffer[: before - self.base]
        self.base = before

    def skip(self, stop: int) -> bool:
        """Go on to `stop` and hold nothing before it."""
        while self.front < stop:
            self.drop(self.front)
            if not self.fill(min(self.front + 1, stop)):
                return False
        self.drop(stop)
        return True

    def search(self, pattern: re.Pattern[bytes], start: int, stop: int) -> int | None:
        """The end of the first match in the held part of [start, stop)."""
        match = pattern.search(self._buffer, start - self.base, stop - self.base)
        return match.end() + self.base if match else None


def begins_record(head: bytes) -> bool:
    """Is this the first line of a WARC record, or the line that heads an ARC record?"""
    return bool(_WARC_LINE.match(head) or _ARC_LINE.match(head, 0, LONGEST_LINE))


def find_record(head: bytes) -> int | None:
    """Where in these bytes the first record begins at the beginning of a line."""
    if begins_record(head):
        return 0
    found = [m.end() for pattern in (_WARC, _ARC) if (m := pattern.search(head))]
    return min(found) if found else None


def read_records(tape: Tape, max_bytes: int, *, cut: str, resume: bool) -> Iterator[Raw]:
    """The records of `tape`, one after the other without a gap; a damaged one in its place as a Raw with its error.

    `cut` is the reason to give when a record does not end before the bytes do. `resume`: after a record whose length
    is wrong, go on at the next line that looks like a header. Where a gzip member is one record that must not be done:
    its body may well quote such a line, and the member's end is known.
    """
    at = 0
    while tape.fill(at + 1):
        raw = _read_record(tape, at, max_bytes, cut, resume)
        yield raw
        at = raw.end
        tape.drop(at)


def _read_record(tape: Tape, at: int, max_bytes: int, cut: str, resume: bool) -> Raw:
    fields: dict[str, str] = {}
    try:
        body = _read_header(tape, at, fields, "malformed_header" if cut == "short_body" else cut)
    except DataError as error:
        return Raw(at, _next_record(tape, at + 1, resume)[0], fields, None, error)
    length = int(fields["content-length"])
    stop = body + length
    whole, search_from = False, body
    if tape.length is None or stop <= tape.length:
        if length <= max_bytes:
            whole = tape.fill(stop)
        elif whole := tape.skip(stop):
            search_from = stop
        else:
            search_from = tape.front
    if whole and (end := _boundary(tape, stop)) is not None:
        if length > max_bytes:
            return Raw(at, end, fields, None, DataError("too_large", f"{length} bytes, more than {max_bytes}"))
        return Raw(at, end, fields, tape.read(body, stop))
    end, found = _next_record(tape, search_from, resume)
    if end >= stop:
        return Raw(at, end, fields, None, DataError("long_body", f"more than the {length} bytes that the header says"))
    reason = "short_body" if found else cut
    return Raw(at, end, fields, None, DataError(reason, f"fewer than the {length} bytes that the header says"))


def _boundary(tape: Tape, stop: int) -> int | None:
    """Where the next record begins, or ought to begin; None if the body does not end at `stop`.

    It does if only line ends come before the next header or the end. In WARC two line ends suffice: then it is the
    next header that is damaged. In ARC one is too weak a sign, unless the bytes end in the middle of the next line.
    """
    tail = tape.read(stop, stop + 64)
    line_ends = len(tail) - len(tail.lstrip(b"\r\n"))
    at = stop + line_ends
    if line_ends == len(tail):
        return at if line_ends < 64 else None
    if tape.kind is _WARC:
        return at if tail.startswith(b"\r\n\r\n") or tail[line_ends:].startswith(b"WARC/") else None
    line = tape.read(at, at + LONGEST_LINE)
    broken_off = line_ends > 0 and len(line) < LONGEST_LINE and b"\n" not in line
    return at if broken_off or begins_record(line) else None


def _next_record(tape: Tape, search_from: int, resume: bool) -> tuple[int, bool]:
    """Where to go on after a damaged record, and whether a record begins there."""
    patterns = [tape.kind] if tape.kind else [_WARC, _ARC]
    start = max(search_from - 1, tape.base)  # the line end that the next header follows may be the byte before
    while True:
        more = tape.fill(max(tape.front + 1, start + _LONGEST_HEADER))
        found = [m for pattern in patterns if (m := tape.search(pattern, start, tape.front)) is not None]
        if resume and found:
            return min(found), True
        if not more:
            return tape.front, False
        start = max(start, tape.front - LONGEST_LINE)
        tape.drop(start)


def _read_header(tape: Tape, at: int, fields: dict[str, str], cut: str) -> int:
    """Fill `fields` with the header at `at`; where its body begins. Raises DataError."""
    tape.fill(at + _LONGEST_HEADER)
    if tape.read(at, at + 5) == b"WARC/":
        body = tape.search(_BLANK_LINE, at, at + _LONGEST_HEADER)
        if body is None:
            raise DataError(cut if tape.front < at + _LONGEST_HEADER else "malformed_header", "no end of the header")
        header = tape.read(at, body)
        if not _WARC_LINE.match(header):
            raise DataError("malformed_header", f"begins {header[:20]!r}")
        fields.update(parse_fields(header))
        tape.kind = _WARC
        length = fields.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            raise DataError("malformed_header", f"Content-Length is {length[:40]!r}")
        if not fields.get("warc-type"):
            raise DataError("malformed_header", "no WARC-Type")
        return body
    line = _ARC_LINE.match(tape.read(at, at + LONGEST_LINE))
    if line is None:
        ended = b"\n" not in tape.read(at, at + LONGEST_LINE) and tape.front < at + LONGEST_LINE
        raise DataError(cut if ended else "malformed_header", "no WARC or ARC header here")
    tape.kind = _ARC
    fields.update(_arc_fields(line))
    return at + line.end()


def parse_fields(header: bytes) -> dict[str, str]:
    """The `Name: value` lines after the first line, names in lower case. Of a name given twice the last one counts."""
    fields: dict[str, str] = {}
    name = ""
    for line in header.decode("utf-8", "replace").split("\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            fields[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if colon:
            fields[name] = value.strip()
        else:
            name = ""
    return fields


def _arc_fields(line: re.Match[bytes]) -> dict[str, str]:
    url = line["url"].decode("utf-8", "replace")
    date = line["date"].decode()
    return {
        "warc-type": "filedesc" if url.startswith("filedesc:") else "response",
        "warc-target-uri": url,
        "warc-date": f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14]}Z",
        "content-length": line["length"].decode(),
        ARC_TYPE: (line["type"] or b"").decode("utf-8", "replace").split(" ")[0],
    }
