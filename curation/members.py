"""The compressed members of a file of which any byte may be damaged, found again from any position.

A member is a gzip member, a zstd frame or an lz4 frame. A *start* is a position whose bytes are a member that unpacks
to the first line of an archived record (docs/reading.md). Whether a position is a start depends on nothing before it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import BinaryIO

from curation.archive import LONGEST_LINE, begins_record

_BLOCK = 1 << 20

# Unpacked bytes in chunks; returns the member's end and its flaw (see Member).
Unpacked = Generator[bytes, None, tuple[int, str]]


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
class Packing:
    """How the members of a file are compressed.

    `unpack(window, position, span, careful)` gives the bytes of the member at `position`, which may have `span`
    compressed bytes; `careful` gets out all that there is before an error. `head` is the number of compressed bytes in
    which the first line of a record must be found. `is_checked` says whether a whole member has a checksum over its
    content. `aside` is the length of what a reader passes over at a position (a skippable frame), or 0.
    """

    name: str
    magic: bytes
    head: int
    unpack: Callable[[Window, int, int, bool], Unpacked]
    is_checked: Callable[[Window, int], bool] = lambda window, position: True
    aside: Callable[[Window, int], int] = lambda window, position: 0

    @property
    def damaged(self) -> str:
        return f"damaged_{self.name}"


@dataclass(frozen=True, slots=True)
class Member:
    """One member, unpacked. `flaw` is "" if it is whole, with the checksum and length that it declares."""

    data: bytes  # the first bytes, as many as were asked for
    length: int  # unpacked bytes in all
    end: int  # the position after it if it is whole, else of no meaning
    flaw: str  # "", "damaged_…", "truncated" (the file ends first) or "too_large" (longer than the span allowed)


def read_member(packing: Packing, window: Window, position: int, span: int, keep: int) -> Member:
    """Unpack the member at `position`, of at most `span` compressed bytes, and keep its first `keep` bytes."""
    kept: list[bytes] = []
    length = 0
    chunks = packing.unpack(window, position, span, False)
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as stop:
            end, flaw = stop.value
            return Member(b"".join(kept), length, end, flaw)
        if length < keep:
            kept.append(chunk[: keep - length])
        length += len(chunk)


def is_start(packing: Packing, window: Window, position: int) -> bool:
    """Does an archived record begin with a member at `position`? Damage behind its first line is no matter."""
    head = b""
    for chunk in packing.unpack(window, position, packing.head, True):
        head += chunk
        if b"\n" in chunk or len(head) >= LONGEST_LINE:
            break
    return begins_record(head[:LONGEST_LINE])


def next_start(packing: Packing, window: Window, position: int, stop: int) -> int | None:
    """The first start in [position, stop)."""
    while position < stop:
        block = window.at(position, _BLOCK)
        at = block.find(packing.magic)
        while at >= 0 and position + at < stop:
            if is_start(packing, window, position + at):
                return position + at
            at = block.find(packing.magic, at + 1)
        if len(block) < _BLOCK:
            return None
        position += len(block) - len(packing.magic) + 1
    return None


def set_aside(packing: Packing, window: Window, position: int, span: int) -> int:
    """The end of the skippable frames at `position`, or `position` where there are none.

    Such a frame has no checksum: it counts only if a member, another one or the end of the file follows, so that a
    damaged length swallows no record.
    """
    at = position
    while (length := packing.aside(window, at)) and at + length <= min(window.size, position + span):
        at += length
    follows = at == window.size or is_start(packing, window, at)
    return at if follows else position
