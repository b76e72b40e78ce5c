"""How many members archives have, from headers alone, by other code than reads them. Only decompression is shared."""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from curation.errors import DataError
from curation.tar import BLOCK, MAX_EXTENSION, Tape

_OCTAL = re.compile(rb" *([0-7]*) *(?:\0.*)?", re.DOTALL)
_RECORD = re.compile(rb"([0-9]{1,9}) ")
_ZERO = bytes(BLOCK)


class _State(enum.Enum):
    WITHIN = "where a header or the end mark should be"
    DAMAGED = "damage that was counted; the next header is looked for"
    ENDED = "behind the end mark"
    BEHIND = "the same, and something that is no header was seen there"


def in_tape(tape: Tape) -> int:
    """Members of a tar, damage included, or 1 for a file that is none. Names are not looked at."""
    found = 0
    try:
        block = tape.read(BLOCK)
        if block != _ZERO and _size(block) is None:
            return 1
        found, state = 0, _State.WITHIN
        while len(block) == BLOCK:
            size = _size(block)
            if size is None:
                if block == _ZERO:
                    state = _State.ENDED if state is _State.WITHIN else state
                elif state is _State.WITHIN:
                    found += 1
                    state = _State.DAMAGED
                elif state is _State.ENDED:
                    state = _State.BEHIND
                block = tape.read(BLOCK)
                continue
            found += state is _State.BEHIND
            state = _State.WITHIN
            override: bytes = b""
            while size is not None and chr(block[156]) in "LKxg":
                data = tape.read(min(size, MAX_EXTENSION))
                tape.skip(size + -size % BLOCK - len(data))
                if chr(block[156]) == "x":
                    override = _pax_size(data, override)
                block = tape.read(BLOCK)
                size = _size(block)
            if size is None:  # the extension of nothing
                found += 1
                state = _State.DAMAGED
                continue
            if override and not re.fullmatch(rb"[0-9]{1,19}", override):
                found += 1
                state = _State.DAMAGED
                block = tape.read(BLOCK)
                continue
            size = int(override) if override else size
            old_folder = block[156] == 0 and _name(block).endswith(b"/")
            found += chr(block[156]) != "5" and not old_folder
            tape.skip(size + -size % BLOCK)
            block = tape.read(BLOCK)
        return max(1, found + (state is _State.WITHIN))  # the missing end mark is one
    except DataError:
        return found + 1


def _size(block: bytes) -> int | None:
    """The size that a header gives; None for a block whose checksum says that it is no header."""
    if len(block) < BLOCK or (checksum := _field(block[148:156])) is None:
        return None
    outside = memoryview(block)[:148], memoryview(block)[156:]
    sums = {8 * 32 + sum(map(sum, outside)), 8 * 32 + sum(sum(part.cast("b")) for part in outside)}
    return _field(block[124:136]) if checksum in sums else None


def _field(field: bytes) -> int | None:
    if field.startswith(b"\x80"):
        return int(field[1:].hex(), 16)
    match = _OCTAL.fullmatch(field)
    return int(b"0" + match[1], 8) if match else None


def _name(block: bytes) -> bytes:
    """The name, with the prefix that ustar's headers have before it."""
    return block[:100].split(b"\0")[0] or (b"/" if block[257:263] == b"ustar\0" and block[345:346] != b"\0" else b"")


def _pax_size(data: bytes, size: bytes) -> bytes:
    at = 0
    while match := _RECORD.match(data, at):
        end = at + int(match[1])
        record = data[match.end() : end - 1] if end > match.end() else b""
        if b"=" not in record:
            break
        if record.startswith(b"size="):
            size = record[5:]
        at = end
    return size


# Zip

_END, _LOCATOR, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")  # a line of the directory
_LONGEST_COMMENT = 1 << 16
_NEWEST = 63  # version of the format that zipfile reads
_UTF8 = 0x800
_MUST_64 = 0xFFFFFFFF
_FIELD_64, _FIELD_NAME = 1, 0x7075


@dataclass(frozen=True, slots=True)
class Directory:
    """What a zip's end record says of its table of contents."""

    start: int  # byte in the file
    size: int  # bytes
    entries: int  # folders too; -1 if it is not known


def directory(stream: BinaryIO) -> Directory | None:
    """Found as zipfile does: the table lies just before the end record. None if there is no end record."""
    length = stream.seek(0, 2)
    at = max(0, length - _END.size - _LONGEST_COMMENT)
    stream.seek(at)
    tail = stream.read(length - at)
    plain = len(tail) - _END.size
    found = plain if tail[max(plain, 0) :].startswith(b"PK\5\6") and tail.endswith(b"\0\0") else tail.rfind(b"PK\5\6")
    if found < 0 or found + _END.size > len(tail):
        return None
    _, _, _, _, entries, size, _, _ = _END.unpack_from(tail, found)
    end = at + found
    stream.seek(max(0, end - _LOCATOR.size - _END_64.size))
    before = stream.read(min(end, _LOCATOR.size + _END_64.size))
    if before[-_LOCATOR.size :].startswith(b"PK\6\7"):
        entries = -1  # unsound, unless the wide end record is there
        if len(before) == _LOCATOR.size + _END_64.size and before.startswith(b"PK\6\6"):
            record, locator = _END_64.unpack_from(before), _LOCATOR.unpack_from(before, _END_64.size)
            size, end = record[8], end - len(before)
            entries = record[7] if locator[1] == 0 and locator[3] <= 1 else -1
    return Directory(end - size, size, entries)


def in_zip(stream: BinaryIO, found: Directory) -> int | None:
    """Files of a zip by its table of contents; None if this is not sound in every respect."""
    if found.start < 0:
        return None
    stream.seek(found.start)
    table = stream.read(found.size)
    at = lines = files = 0
    while at + _ENTRY.size <= len(table):
        line = _ENTRY.unpack_from(table, at)
        magic, version, flags, packed, size = line[0], line[2] & 0xFF, line[3], line[8], line[9]
        name_end = at + _ENTRY.size + line[10]
        name, extra = table[at + _ENTRY.size : name_end], table[name_end : name_end + line[11]]
        wide = (packed, size, line[16]).count(_MUST_64)
        if magic != b"PK\1\2" or version > _NEWEST or not _sound(extra, wide):
            return None
        if flags & _UTF8:
            try:
                name.decode()
            except UnicodeDecodeError:
                return None
        lines += 1
        files += not name.partition(b"\0")[0].endswith(b"/")
        at = name_end + line[11] + line[12]
    return files if at == len(table) == found.size and lines == found.entries else None


def _sound(extra: bytes, wide: int) -> bool:
    """Whether the fields fill the space, and one has the `wide` numbers that a line has no room for."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if length + 4 > len(extra) or kind == _FIELD_NAME or (kind == _FIELD_64 and length < 8 * wide):
            return False
        extra = extra[length + 4 :]
    return True
