"""Many files in one: folders, tar, zip and 7z archives, read member by member under limits.

Nothing is unpacked to disk, so a member's name is only a name; one that would leave the bundle is refused all the same,
since it becomes part of a document's id.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from curation.errors import DataError
from curation.records import Skip
from curation.sources.given import Given
from curation.unpacked import RATIO, unpacked

BLOCK = tarfile.BLOCKSIZE
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a bundle may ask of the machine that reads it."""

    member_bytes: int = 64 << 20  # of one member, unpacked
    ratio: int = RATIO  # unpacked : packed, beyond the first MiB
    members: int = 10_000_000  # of a zip or 7z, whose table of contents is held


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle. Its body is b"" if it was not wanted, Skip for a link or a device, or why it is not there.

    Reasons: `too_large`, `truncated`, `unsafe_path`, `unreadable`, `encrypted`, `bomb`, `damaged_…`. A bundle that
    breaks off gives what was whole, and last a member named "" with the reason.
    """

    name: str  # "/"-separated, within the bundle; "" for a file that is no bundle
    body: bytes | Skip | DataError


# Asked by name whether a member is wanted; not asked of a file that is no bundle. None: nothing is, not even that.
Wanted = Callable[[str], bool] | None


def everything(name: str) -> bool:
    return True


def _is_wanted(wanted: Wanted, name: str) -> bool:
    return wanted is not None and wanted(name)


def members(given: Given, wanted: Wanted = everything, limits: Limits = Limits()) -> Iterator[Member]:
    """The files of a folder, sorted, or of an archive, as stored; any other file is itself one member, decompressed."""
    if given.folder is not None:
        for name in _paths(given):
            yield _file(given.folder, name, wanted, limits)
        return
    with given.open() as stream:
        yield from _of_stream(stream, wanted, limits)


def unpack(data: bytes, wanted: Wanted = everything, limits: Limits = Limits()) -> Iterator[Member]:
    """The same for an archive in memory, such as a member of another. One level of compression is undone."""
    yield from _of_stream(io.BytesIO(data), wanted, limits)


def count(given: Given, limits: Limits = Limits()) -> int:
    """How many members `members` gives, from headers and tables of contents alone."""
    if given.folder is not None:
        return sum(_count_files(given.folder / entry) for entry in given.entries)
    with given.open() as stream:
        return sum(1 for _ in _of_stream(stream, None, limits))


def _of_stream(stream: BinaryIO, wanted: Wanted, limits: Limits) -> Iterator[Member]:
    head = stream.read(len(_SEVEN_ZIP))
    stream.seek(0)
    if head == _SEVEN_ZIP:
        from curation.seven_zip import members as of_seven_zip  # only those who read 7z need py7zr

        yield from of_seven_zip(stream, wanted or (lambda name: False), limits)
    elif head.startswith(_ZIP):
        yield from _of_zip(stream, wanted, limits)
    else:
        yield from _of_tape(_Tape(unpacked(stream, limits.ratio)), wanted, limits)


def safe_name(name: str) -> str:
    """A member's name as it stands in document ids. Raises DataError(`unsafe_path`) if it leaves the bundle."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise DataError("unsafe_path", repr(name)[:200])
    return "/".join(parts).encode("utf-8", "backslashreplace").decode("utf-8")


# Folders


def _paths(given: Given) -> Iterator[str]:
    """Files below the given entries, each a path in the folder, sorted by name within each folder.

    A folder that cannot be listed is itself one.
    """
    assert given.folder is not None
    waiting = [*reversed(given.entries)]
    while waiting:
        name = waiting.pop()
        path = given.folder / name
        if path.is_symlink() or not path.is_dir():
            yield name
            continue
        try:
            waiting += [f"{name}/{child}" for child in sorted(os.listdir(path), reverse=True)]
        except OSError:
            yield name


def _file(folder: Path, name: str, wanted: Wanted, limits: Limits) -> Member:
    try:
        safe = safe_name(os.fsencode(name).decode("utf-8", "backslashreplace"))
        mode = os.lstat(folder / name).st_mode
        if stat.S_ISDIR(mode):
            return Member(safe, DataError("unreadable", "a folder that cannot be listed"))
        if not stat.S_ISREG(mode):  # a pipe would never end
            return Member(safe, Skip("link" if stat.S_ISLNK(mode) else "device"))
        if not _is_wanted(wanted, safe):
            return Member(safe, b"")
        with open(folder / name, "rb") as stream:
            body = stream.read(limits.member_bytes + 1)
    except DataError as error:
        return Member("", error)
    except OSError as error:
        return Member(safe, DataError("unreadable", error.strerror or ""))
    if len(body) > limits.member_bytes:
        return Member(safe, DataError("too_large", f"more than {limits.member_bytes} bytes"))
    return Member(safe, body)


def _count_files(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return 1
    unlisted: list[OSError] = []
    found = sum(
        len(files) + sum(os.path.islink(os.path.join(root, name)) for name in folders)
        for root, folders, files in os.walk(path, onerror=unlisted.append)
    )
    return found + len(unlisted)


# Tar, and files that are none


class _Tape:
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


def _of_tape(tape: _Tape, wanted: Wanted, limits: Limits) -> Iterator[Member]:
    try:
        head = tape.read(BLOCK)
        if (first := _header(head)) is None and (head.strip(b"\0") or len(head) < BLOCK):
            yield Member("", _single(tape, head, limits) if wanted is not None else b"")
            return
    except DataError as error:
        yield Member("", error)
        return
    for entry in _tar_entries(tape, first):
        if entry.value is None:
            yield Member(entry.name, _body(tape, entry.size, limits) if _is_wanted(wanted, entry.name) else b"")
        else:
            yield Member(entry.name, entry.value)


def _single(tape: _Tape, head: bytes, limits: Limits) -> bytes | DataError:
    body = head + tape.read(limits.member_bytes + 1 - len(head))
    if len(body) > limits.member_bytes:
        return DataError("too_large", f"more than {limits.member_bytes} bytes")
    return body


def _body(tape: _Tape, size: int, limits: Limits) -> bytes | DataError:
    if size > limits.member_bytes:
        return DataError("too_large", f"{size} bytes, more than {limits.member_bytes}")
    try:
        body = tape.read(size)
    except DataError as error:
        return error
    return body if len(body) == size else DataError("truncated", f"{len(body)} of {size} bytes")


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    value: Skip | DataError | None = None  # None: a file, whose body is next on the tape


def _tar_entries(tape: _Tape, header: tarfile.TarInfo | None) -> Iterator[_Entry]:
    """What a tar holds, folders aside. `header` is the one just read, or None at the end mark.

    tarfile itself ends without a word at a damaged header; here that is an entry, and reading goes on at the next
    block that is a header.
    """
    try:
        while header is not None:
            header, extended = _extensions(tape, header)
            if header is None:
                break
            end = tape.position + -(-header.size // BLOCK) * BLOCK
            if not header.isdir():
                yield _entry(header, extended)
            tape.skip(end - tape.position)
            block = tape.read(BLOCK)
            if len(block) == BLOCK and not block.strip(b"\0"):
                tape.skip(sys.maxsize)  # behind the end mark: padding, and the checksum of the compression
                return
            header = _header(block)
            if header is None:
                yield _Entry("", 0, DataError("damaged_tar" if len(block) == BLOCK else "truncated", "no header"))
                header = _next_header(tape)
    except DataError as error:
        yield _Entry("", 0, error)


def _header(block: bytes) -> tarfile.TarInfo | None:
    """A block as a tar header, if its checksum says that it is one."""
    if not block.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError:
        return None
    return header if header.size >= 0 else None


def _next_header(tape: _Tape) -> tarfile.TarInfo | None:
    while len(block := tape.read(BLOCK)) == BLOCK:
        if (header := _header(block)) is not None:
            return header
    return None


def _extensions(tape: _Tape, header: tarfile.TarInfo) -> tuple[tarfile.TarInfo | None, str]:
    """The header that follows GNU's long names and pax records, and the name that these give it, or ""."""
    name = ""
    while header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        data = tape.read(min(header.size, 1 << 20))
        tape.skip(-(-header.size // BLOCK) * BLOCK - len(data))
        size = -1
        if header.type == tarfile.GNUTYPE_LONGNAME:
            name = data.rstrip(b"\0").decode("utf-8", "backslashreplace")
        elif header.type == tarfile.XHDTYPE:
            pax = _pax_records(data)
            name = pax.get("path", name)
            size = int(pax["size"]) if pax.get("size", "").isdecimal() else -1
        following = _header(tape.read(BLOCK))
        if following is None:
            raise DataError("damaged_tar", "no header after an extension")
        if size >= 0:
            following.size = size
        header = following
    return header, name


def _pax_records(data: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE` lines (POSIX.1-2001, pax)."""
    records = {}
    at = 0
    while (space := data.find(b" ", at)) > 0 and data[at:space].isdigit() and space - at < 10:
        end = at + int(data[at:space])
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space or not equals:
            break
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "backslashreplace")
        at = end
    return records


def _entry(header: tarfile.TarInfo, extended: str) -> _Entry:
    try:
        name = safe_name(extended or header.name)
    except DataError as error:
        return _Entry("", header.size, error)
    if header.isreg():
        return _Entry(name, header.size)
    return _Entry(name, header.size, Skip("link" if header.issym() or header.islnk() else "device"))


# Zip


def _of_zip(stream: BinaryIO, wanted: Wanted, limits: Limits) -> Iterator[Member]:
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        yield Member("", DataError("damaged_zip", str(error)))
        return
    infos = [info for info in archive.infolist() if not info.is_dir()]
    for info in infos[: limits.members]:
        yield _zipped(archive, info, wanted, limits)
    if len(infos) > limits.members:
        yield Member("", DataError("too_large", f"{len(infos)} members, more than {limits.members}"))


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, wanted: Wanted, limits: Limits) -> Member:
    try:
        name = safe_name(info.filename)
    except DataError as error:
        return Member("", error)
    if stat.S_ISLNK(info.external_attr >> 16):
        return Member(name, Skip("link"))
    if not _is_wanted(wanted, name):
        return Member(name, b"")
    if info.flag_bits & 1:
        return Member(name, DataError("encrypted"))
    if info.file_size > limits.member_bytes:
        return Member(name, DataError("too_large", f"{info.file_size} bytes, more than {limits.member_bytes}"))
    try:
        with archive.open(info) as stream:
            body = stream.read(limits.member_bytes + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
        return Member(name, DataError("damaged_zip", str(error)))
    if len(body) > limits.member_bytes:
        return Member(name, DataError("too_large", f"more than {limits.member_bytes} bytes"))
    return Member(name, body)
