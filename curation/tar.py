"""Tar archives read from front to back, block by block, without a word lost: damage is itself an entry.

tarfile ends silently at a damaged header. Here reading goes on at the next block that is a header, and behind an end
mark too, where `cat a.tar b.tar` has its second archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curation.document import Skip
from curation.errors import DataError

BLOCK = 512
MAX_EXTENSION = 1 << 20  # bytes of a long name or of pax records that are looked at
_FILES = b"0\x007S"  # types: a file, an old file, a contiguous one, GNU's sparse one
_LINKS = b"12"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"LKxg"
_EXTENSIONS = b"LKxg"
_FOLDER = b"5"
_OLD_FILE = 0
_MAX_DIGITS = 19  # of a size: less than 10^19 bytes


class Tape:
    """Bytes that come in chunks, read from front to back. After an error every further read raises it again."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._error: DataError | None = None
        self.position = 0

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end. Raises DataError where they break off."""
        pieces = []
        while size > 0 and (piece := self._next(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        while size > 0 and (piece := self._next(size)):
            size -= len(piece)

    def _next(self, size: int) -> memoryview:
        if not self._rest:
            if self._error is not None:
                raise self._error
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except DataError as error:
                self._error = error
                raise
        piece, self._rest = self._rest[:size], self._rest[size:]
        self.position += len(piece)
        return piece


@dataclass(frozen=True, slots=True)
class Entry:
    name: str  # as it is stored; "" for damage
    size: int
    value: Skip | DataError | None = None  # None: a file, whose body is next on the tape


@dataclass(frozen=True, slots=True)
class _Header:
    type: int
    name: str
    size: int

    @property
    def padded(self) -> int:
        return -(-self.size // BLOCK) * BLOCK


def may_begin(block: bytes) -> bool:
    """Whether a file that begins with this block is read as a tar: with a header, or at least with an end mark."""
    return len(block) == BLOCK and (not block.strip(b"\0") or _header(block) is not None)


def entries(tape: Tape, block: bytes) -> Iterator[Entry]:
    """What a tar holds, folders aside; `block` is its first, just read. Whoever gets a file may read its body.

    Reasons of DataErrors: `damaged_tar`, once for what lies between two headers; `truncated`; those of the tape.
    What follows the end mark is padding, unless a header comes again.
    """
    told = ended = lost = anything = False
    try:
        while len(block) == BLOCK:
            if not block.strip(b"\0"):
                ended = ended or not told
            elif (header := _header(block)) is None:
                if ended:
                    lost = True  # padding, unless there is a header behind it
                elif not told:
                    told = anything = True
                    yield Entry("", 0, DataError("damaged_tar", "no header"))
            else:
                if lost:
                    anything = True
                    yield Entry("", 0, DataError("damaged_tar", "no header behind an end mark"))
                ended = told = lost = False
                block, last, entry = _extended(tape, block, header)
                anything = anything or entry is not None
                if entry is not None and isinstance(entry.value, DataError):
                    yield entry
                    told = True
                    if last is None:
                        continue  # the block is no header: what is it?
                elif last is not None:
                    end = tape.position + last.padded
                    if entry is not None:
                        yield entry
                    tape.skip(end - tape.position)
            block = tape.read(BLOCK)
        if not (told or ended):
            yield Entry("", 0, DataError("truncated", "no end mark"))
        elif lost and not anything:
            yield Entry("", 0, DataError("damaged_tar", "no header"))
    except DataError as error:
        yield Entry("", 0, error)


def _extended(tape: Tape, block: bytes, header: _Header) -> tuple[bytes, _Header | None, Entry | None]:
    """The block and the header that end a run of GNU's long names and pax records, and what they say there is.

    No header if a block follows that is none; no entry for a folder.
    """
    name, size = "", ""
    while header.type in _EXTENSIONS:
        data = tape.read(min(header.size, MAX_EXTENSION))
        tape.skip(header.padded - len(data))
        if header.type == _LONG_NAME:
            name = data.rstrip(b"\0").decode("utf-8", "backslashreplace")
        elif header.type == _PAX:
            pax = _pax_records(data)
            name, size = pax.get("path", name), pax.get("size", size)
        block = tape.read(BLOCK)
        following = _header(block)
        if following is None:
            reason = "damaged_tar" if len(block) == BLOCK else "truncated"
            return block, None, Entry("", 0, DataError(reason, "no header after an extension"))
        header = following
    if size:
        if len(size) > _MAX_DIGITS or not (size.isascii() and size.isdigit()):
            return block, header, Entry("", 0, DataError("damaged_tar", f"a size of {size[:50]!r}"))
        header = _Header(header.type, header.name, int(size))
    if header.type in _FOLDER or (header.type == _OLD_FILE and header.name.endswith("/")):
        return block, header, None
    value = None if header.type in _FILES else Skip("link" if header.type in _LINKS else "device")
    return block, header, Entry(name or header.name, header.size, value)


def _header(block: bytes) -> _Header | None:
    """A block as a tar header, if its checksum says that it is one (of unsigned bytes, or as once of signed ones)."""
    if len(block) != BLOCK:
        return None
    told, size = _number(block[148:156]), _number(block[124:136])
    if told is None or size is None:
        return None
    summed = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(summed)
    if told != unsigned and told != unsigned - 256 * sum(byte > 127 for byte in summed):
        return None
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    return _Header(block[156], name, size)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _number(field: bytes) -> int | None:
    """Octal digits; or, as GNU has it for what is larger, a byte of 128 and then the number itself."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    return None if digits.strip(b"01234567") else int(digits or b"0", 8)


def _pax_records(data: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE` lines (POSIX.1-2001, pax)."""
    records = {}
    at = 0
    while (space := data.find(b" ", at, at + 10)) > 0 and data[at:space].isdigit():
        end = at + int(data[at:space])
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space or not equals:
            break
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "backslashreplace")
        at = end
    return records
