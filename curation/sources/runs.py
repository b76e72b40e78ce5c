"""Records sorted by key in bounded memory: runs sorted in memory, spilled to one temporary file, and merged.

Sorted runs rather than buckets: nothing must be known of the keys, no bucket can be too large, and one file that has no
name serves any number of runs. It goes with the process, however that ends.
"""

from __future__ import annotations

import heapq
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

Key = tuple[int, int]  # both at least 0; the first below 2 ** 63, the second below 256

_BLOCK = 1 << 16  # bytes of records that are packed together; one block of each run is held while merging
_OVERHEAD = 200  # bytes that a record takes in memory beside its own
_HEAD = struct.Struct("<QBQI")
_LENGTH = struct.Struct("<I")


class Runs:
    """Add records, then read them all once: by key, those of equal key in the order in which they came."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes held before a run is written to the directory for temporary files (TMPDIR)."""
        self._limit = limit
        self._held: list[tuple[int, int, int, bytes]] = []
        self._size = 0
        self._added = 0
        self._file: BinaryIO | None = None
        self._runs: list[tuple[int, int]] = []  # where each begins and ends in the file

    def add(self, key: Key, data: bytes) -> None:
        self._held.append((*key, self._added, data))
        self._added += 1
        self._size += len(data) + _OVERHEAD
        if self._size > self._limit:
            self._spill()

    def sorted(self) -> Iterator[tuple[Key, bytes]]:
        self._held.sort()  # the number of a record differs, so its bytes are never compared
        runs = [self._read(start, end) for start, end in self._runs]
        for first, second, _, data in heapq.merge(*runs, iter(self._held)):
            yield (first, second), data

    def close(self) -> None:
        self._held.clear()
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="winnow-runs-")  # noqa: SIM115 - closed by close()
        start = self._file.tell()
        self._held.sort()
        block = bytearray()
        for first, second, number, data in self._held:
            block += _HEAD.pack(first, second, number, len(data)) + data
            if len(block) >= _BLOCK:
                self._write(block)
                block.clear()
        self._write(block)
        self._file.flush()
        self._runs.append((start, self._file.tell()))
        self._held.clear()
        self._size = 0

    def _write(self, block: bytearray) -> None:
        assert self._file is not None
        packed = zlib.compress(block, 1)
        self._file.write(_LENGTH.pack(len(packed)) + packed)

    def _read(self, start: int, end: int) -> Iterator[tuple[int, int, int, bytes]]:
        assert self._file is not None
        descriptor = self._file.fileno()
        while start < end:
            (length,) = _LENGTH.unpack(os.pread(descriptor, _LENGTH.size, start))
            block = zlib.decompress(os.pread(descriptor, length, start + _LENGTH.size))
            start += _LENGTH.size + length
            at = 0
            while at < len(block):
                first, second, number, size = _HEAD.unpack_from(block, at)
                at += _HEAD.size
                yield first, second, number, block[at : at + size]
                at += size
