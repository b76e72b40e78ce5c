"""7z archives, read member by member from a stream, in bounded memory.

py7zr gives members to a writer that one hands it. A reader would have to run that in a thread behind a queue, and stop
it when it has seen enough. Here py7zr reads the table of contents and makes the decoders, and bytes are asked of these
when they are wanted: no thread, no file, and nothing to stop.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from py7zr import SevenZipFile
from py7zr.archiveinfo import Folder, HeaderStreamsInfo
from py7zr.compressor import SevenZipDecompressor
from py7zr.exceptions import UnsupportedCompressionMethodError
from py7zr.properties import COMPRESSION_METHOD, PROPERTY

from curation.bundle import SEVEN_ZIP_MAGIC, Limits, Member, safe_name
from curation.document import Skip
from curation.errors import DataError

MAX_CONTENTS = 4 << 20  # bytes of the table of contents; py7zr makes up to 250 bytes out of each
MAX_DICTIONARY = 1 << 28  # bytes that a decoder may ask for: what 7-Zip's strongest setting does

_FREE = 1 << 20  # unpacked bytes before the ratio is looked at
_PIECE = 1 << 18  # unpacked bytes asked for at once
_INPUT = 1 << 12  # packed bytes given at once: deflate, which knows no limit, makes at most 4 MiB of them

# What 7-Zip writes, without BCJ2 (for programs) and PPMd: pyppmd 1.3 brings the process down on damaged bytes.
_CODERS = frozenset(
    {
        *(COMPRESSION_METHOD.COPY, COMPRESSION_METHOD.DELTA, COMPRESSION_METHOD.LZMA, COMPRESSION_METHOD.LZMA2),
        *(COMPRESSION_METHOD.MISC_BZIP2, COMPRESSION_METHOD.MISC_DEFLATE, COMPRESSION_METHOD.P7Z_BCJ),
    }
)
_ENCRYPTED = b"\x06\xf1\x07\x01"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of the archive, in its order."""

    name: str
    folder: int  # the number of the compressed stream that holds it; -1 if it is empty
    size: int
    crc: int | None
    value: Skip | DataError | None  # what it is instead of a file that can be read


@dataclass(frozen=True, slots=True)
class _Archive:
    source: _Source
    entries: list[_Entry]
    folders: list[tuple[Folder, int, int]]  # (description, position in the file, packed size)
    hidden: int  # members beyond the limit


def members(stream: BinaryIO, wanted: Callable[[str], bool], limits: Limits) -> Iterator[Member]:
    """The files of a 7z in stored order; folders are left out. What is not wanted is not unpacked, but where it
    stands in one compressed stream before something that is.

    Reasons of errors: `damaged_7z`, `truncated`, `encrypted`, `unsupported_compression`, `too_large`, `bomb`,
    `unsafe_path`. An archive that cannot be opened is one member named "".
    """
    try:
        archive = _open(stream, limits)
    except DataError as error:
        yield Member("", error)
        return
    reader: _Folder | None = None
    for entry in archive.entries:
        if entry.folder >= 0 and (reader is None or reader.number != entry.folder):
            reader = _Folder(archive, entry.folder, limits)
        value: bytes | Skip | DataError = b""
        passed = entry.folder >= 0
        if entry.value is not None:
            value = entry.value
        elif wanted(entry.name) and entry.size > limits.member_bytes:
            value = DataError("too_large", f"{entry.size} bytes, more than {limits.member_bytes}")
        elif reader is not None and passed and wanted(entry.name):
            passed = False
            try:
                value = b"".join(reader.read(entry))
            except DataError as error:
                value = error
        if reader is not None and passed:
            reader.behind.append(entry)
        yield Member(entry.name, value)
    if archive.hidden:
        found = len(archive.entries) + archive.hidden
        yield Member("", DataError("too_large", f"{found} members, more than {limits.members}"))


@contextmanager
def open_member(stream: BinaryIO, wanted: Callable[[str], bool], limits: Limits) -> Iterator[Iterator[bytes]]:
    """The bytes of the first member whose name is wanted, in pieces of at most 4 MiB, whatever its size.

    `limits.member_bytes` is not asked. Raises DataError as in `members`, and `no_member` if there is none; the pieces
    raise one where they break off or if their checksum, which stands at the end, is wrong.
    """
    archive = _open(stream, limits)
    reader: _Folder | None = None
    for entry in archive.entries:
        if entry.folder >= 0 and (reader is None or reader.number != entry.folder):
            reader = _Folder(archive, entry.folder, limits)
        if entry.name and wanted(entry.name):
            if isinstance(entry.value, DataError):
                raise entry.value
            if entry.value is None:
                yield reader.read(entry) if reader is not None and entry.folder >= 0 else iter(())
                return
        if reader is not None and entry.folder >= 0:
            reader.behind.append(entry)
    raise DataError("no_member", "the archive has no such member")


class _Source(io.RawIOBase):
    """The archive's file for py7zr, which raises anything on damaged bytes: tells a file that cannot be read apart."""

    def __init__(self, stream: BinaryIO) -> None:
        self.failure: Exception | None = None
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        try:
            pieces = [self._stream.read(size)]
            while size > 0 and pieces[-1] and sum(map(len, pieces)) < size:
                pieces.append(self._stream.read(size - sum(map(len, pieces))))
        except Exception as error:
            self.failure = error
            raise
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@contextmanager
def _damage(source: _Source) -> Iterator[None]:
    """py7zr's complaints, and those of its decoders, as DataErrors."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except UnsupportedCompressionMethodError as error:
        raise DataError("unsupported_compression", str(error)[:200]) from None
    except Exception as error:  # of bad bytes it may raise anything: AssertionError, KeyError, struct.error …
        if source.failure is not None:
            raise source.failure from None
        raise DataError("damaged_7z", f"{type(error).__name__}: {error}"[:200]) from None


def _open(stream: BinaryIO, limits: Limits) -> _Archive:
    source = _Source(stream)
    with _damage(source):
        _check_contents(source)
        source.seek(0)
        with SevenZipFile(cast(BinaryIO, source)) as archive:  # does not close what it was handed
            return _read_contents(source, archive, limits)


def _check_contents(source: _Source) -> None:
    """Look at the table of contents before py7zr unpacks it."""
    head = source.read(32)
    if head[:6] != SEVEN_ZIP_MAGIC:
        raise DataError("damaged_7z", "no 7z archive")
    if len(head) < 32:
        raise DataError("truncated", "the header has no end")
    offset, size = struct.unpack("<QQ", head[12:28])
    if zlib.crc32(head[12:32]) != int.from_bytes(head[8:12], "little"):
        raise DataError("damaged_7z", "the header's checksum is wrong")
    if size > MAX_CONTENTS:
        raise DataError("too_large", f"a table of contents of {size} bytes")
    length = source.seek(0, io.SEEK_END)
    if 32 + offset + size > length:
        raise DataError("truncated", f"{length} of {32 + offset + size} bytes")
    source.seek(32 + offset)
    contents = io.BytesIO(source.read(size))
    if contents.read(1) != PROPERTY.ENCODED_HEADER:
        return
    packed = HeaderStreamsInfo.retrieve(contents)
    for folder in packed.unpackinfo.folders:
        _check_coders(folder)
        if sum(folder.unpacksizes) > MAX_CONTENTS:
            raise DataError("too_large", f"a table of contents of {sum(folder.unpacksizes)} bytes")


def _check_coders(folder: Folder) -> None:
    for coder in folder.coders:
        method, properties = coder["method"], coder["properties"] or b""
        if method == _ENCRYPTED:
            raise DataError("encrypted")
        if method not in _CODERS or coder["numinstreams"] != 1 or coder["numoutstreams"] != 1:
            raise DataError("unsupported_compression", f"coder {method.hex()}")
        dictionary = 0
        if method == COMPRESSION_METHOD.LZMA:
            dictionary = int.from_bytes(properties[1:5], "little")
        elif method == COMPRESSION_METHOD.LZMA2 and properties:
            dictionary = (2 | properties[0] & 1) << (properties[0] // 2 + 11)  # LZMA2's own way to write a size
        if dictionary > MAX_DICTIONARY:
            raise DataError("too_large", f"a dictionary of {dictionary} bytes")


def _read_contents(source: _Source, archive: SevenZipFile, limits: Limits) -> _Archive:
    files = list(getattr(archive, "files", ()))  # an archive of nothing has none
    streams = getattr(getattr(archive, "header", None), "main_streams", None)
    folders: list[tuple[Folder, int, int]] = []
    numbers: dict[int, int] = {}
    if streams is not None and streams.unpackinfo is not None:
        position = 32 + streams.packinfo.packpos
        for folder, packed in zip(streams.unpackinfo.folders, streams.packinfo.packsizes, strict=True):
            numbers[id(folder)] = len(folders)
            folders.append((folder, position, packed))
            position += packed
    entries = [_entry(file, numbers) for file in files if not _is_folder(file)]
    return _Archive(source, entries[: limits.members], folders, max(0, len(entries) - limits.members))


def _is_folder(file: Any) -> bool:
    return bool(file.is_directory or (file.st_fmt is not None and file.st_fmt & 0o170000 == 0o040000))


def _entry(file: Any, numbers: dict[int, int]) -> _Entry:
    folder = numbers[id(file.folder)] if file.folder is not None else -1
    value: Skip | DataError | None = None
    try:
        name = safe_name(file.filename)
    except DataError as error:
        name, value = "", error
    if value is None and (file.is_symlink or file.is_junction):
        value = Skip("link")
    elif value is None and not file.is_file:
        value = Skip("device")
    return _Entry(name, folder, file.uncompressed, file.crc32, value)


class _Folder:
    """One compressed stream, in which files stand one after the other. Read from front to back."""

    def __init__(self, archive: _Archive, number: int, limits: Limits) -> None:
        self.number = number
        self.behind: list[_Entry] = []  # passed, and not unpacked yet
        self._folder, self._position, self._packed = archive.folders[number]
        self._ratio = limits.ratio
        self._source = archive.source
        self._decoder: SevenZipDecompressor | None = None
        self._given = 0  # bytes unpacked
        self._error: DataError | None = None

    def read(self, entry: _Entry) -> Iterator[bytes]:
        """The bytes of a file, which is the next but for those that were passed. Raises DataError."""
        for passed in self.behind:
            for _ in self._pieces(passed.size, None):
                pass
        self.behind.clear()
        yield from self._pieces(entry.size, entry.crc)

    def _pieces(self, left: int, expected: int | None) -> Iterator[bytes]:
        if self._error is not None:
            raise self._error
        crc = 0
        while left:
            try:
                piece = self._next(min(left, _PIECE))
            except DataError as error:
                self._error = error  # what follows in this stream is lost too
                raise
            left -= len(piece)
            crc = zlib.crc32(piece, crc)
            yield piece
        if expected is not None and crc != expected:
            raise DataError("damaged_7z", "the checksum is wrong")

    def _next(self, size: int) -> bytes:
        """Up to `size` bytes, and at least one."""
        with _damage(self._source):
            if self._decoder is None:
                _check_coders(self._folder)
                self._decoder = SevenZipDecompressor(
                    self._folder.coders, self._packed, self._folder.unpacksizes, None, None, _INPUT
                )
            idle = 0
            while idle < 2:  # without new input a decoder may still give, once, what it held back
                before = self._decoder.consumed
                self._source.seek(self._position + before)  # the stream is not ours alone
                piece = bytes(self._decoder.decompress(self._source, size))
                if piece:
                    break
                idle = idle + 1 if self._decoder.consumed == before else 0
            else:
                raise DataError("truncated", f"the stream ends after {self._given} bytes")
        self._given += len(piece)
        if self._given > max(_FREE, self._ratio * self._decoder.consumed):
            raise DataError("bomb", f"{self._given} bytes out of {self._decoder.consumed}")
        return piece
