"""The gzip members of a file of which any byte may be damaged, found again from any position.

A *start* is a position whose bytes are a gzip header that inflates to the first line of an archived record
(docs/reading.md). Whether a position is a start depends on nothing before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, BinaryIO

from curation.archive import LONGEST_LINE, begins_record

MAGIC = b"\x1f\x8b\x08"  # RFC 1952, section 2.3: ID1, ID2, and CM = deflate
_OPTIONAL_FIELDS = 0x1C  # FEXTRA, FNAME, FCOMMENT: fields of any length before the data

_BLOCK = 1 << 20
_PIECE = 1 << 16
_OUTPUT = 1 << 20
_SIP = 512
_HEAD_INPUT = 1 << 17


class Window:
    """Any bytes of a seekable stream, read in blocks. What lies beyond `size` does not exist."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.size = size
        self._stream = stream
        self._base = 0
        self._data = b""

    def at(self, position: int, count: int) -> bytes:
        """`count` bytes from `position`; fewer only where the file ends."""
        count = min(count, self.size - position)
        if count <= 0:
            return b""
        offset = position - self._base
        if offset < 0 or offset + count > len(self._data):
            self._data = self._read(position, min(max(count, _BLOCK), self.size - position))
            self._base, offset = position, 0
        return self._data[offset : offset + count]

    def _read(self, position: int, count: int) -> bytes:
        self._stream.seek(position)
        data = self._stream.read(count)
        while len(data) < count and (more := self._stream.read(count - len(data))):
            data += more
        return data


@dataclass(frozen=True, slots=True)
class Member:
    """One gzip member, inflated. `flaw` is "" if it is whole, with its checksum and length as the trailer says."""

    data: bytes  # the first inflated bytes, as many as were asked for
    length: int  # inflated bytes in all
    end: int  # the position after it if it is whole, else of no meaning
    flaw: str  # "", "damaged_gzip", "truncated" (the file ends first) or "too_large" (longer than the span allowed)


def inflated(
    window: Window, position: int, span: int, *, careful: bool = False
) -> Generator[bytes, None, tuple[int, str]]:
    """The inflated bytes of the member at `position`, in chunks of at most 1 MiB; returns its end and its flaw.

    A call of zlib that meets an error gives nothing; `careful` gets out all that there is before the error.
    """
    piece_size, output = (_SIP, _SIP) if careful else (_PIECE, _OUTPUT)
    inflate = zlib.decompressobj(wbits=31)
    at, stop = position, position + span
    while not inflate.eof:
        piece = window.at(at, min(piece_size, stop - at))
        if not piece:
            return at, "truncated" if at >= window.size else "too_large"
        at += len(piece)
        try:
            while True:
                before = inflate.copy() if careful else None
                chunk = inflate.decompress(piece, output)
                if chunk:
                    yield chunk
                piece = inflate.unconsumed_tail
                if inflate.eof or (not piece and len(chunk) < output):
                    break
        except zlib.error:
            if before is not None:
                yield from _byte_by_byte(before, piece)
            return at, "damaged_gzip"
    return at - len(inflate.unused_data), ""


def _byte_by_byte(inflate: Any, piece: bytes) -> Generator[bytes, None, None]:
    for byte in piece:
        try:
            chunk = inflate.decompress(bytes([byte]))
        except zlib.error:
            return
        if chunk:
            yield chunk


def read_member(window: Window, position: int, span: int, keep: int) -> Member:
    """Inflate the member at `position`, of at most `span` compressed bytes, and keep its first `keep` bytes."""
    kept: list[bytes] = []
    length = 0
    chunks = inflated(window, position, span)
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as stop:
            end, flaw = stop.value
            return Member(b"".join(kept), length, end, flaw)
        if length < keep:
            kept.append(chunk[: keep - length])
        length += len(chunk)


def is_start(window: Window, position: int) -> bool:
    """Does an archived record begin with a gzip member at `position`? Damage behind its first line is no matter."""
    head = b""
    for chunk in inflated(window, position, _HEAD_INPUT, careful=True):
        head += chunk
        if b"\n" in chunk or len(head) >= LONGEST_LINE:
            break
    return begins_record(head[:LONGEST_LINE])


def is_whole_start(window: Window, position: int, member: Member) -> bool:
    """The answer of `is_start` for a member that was inflated already, without inflating it again if possible."""
    if member.flaw or not member.data or window.at(position + 3, 1)[0] & _OPTIONAL_FIELDS:
        return is_start(window, position)
    return begins_record(member.data[:LONGEST_LINE])


def next_start(window: Window, position: int, stop: int) -> int | None:
    """The first start in [position, stop)."""
    while position < stop:
        block = window.at(position, _BLOCK)
        at = block.find(MAGIC)
        while at >= 0 and position + at < stop:
            if is_start(window, position + at):
                return position + at
            at = block.find(MAGIC, at + 1)
        if len(block) < _BLOCK:
            return None
        position += len(block) - len(MAGIC) + 1
    return None
