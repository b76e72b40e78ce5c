"""Many files in one: folders, tar, zip and 7z archives, read member by member under limits.

Nothing is unpacked to disk, so a member's name is only a name; one that would leave the bundle is refused all the same,
since it becomes part of a document's id.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from curation import bundle_count
from curation.bundle_count import Directory
from curation.document import Skip
from curation.errors import DataError
from curation.hashing import hash64
from curation.sources.given import Given
from curation.tar import BLOCK, Tape, entries, may_begin
from curation.unpacked import RATIO, unpacked

MAX_DIRECTORY = 64 << 20  # bytes of a zip's table of contents; zipfile makes about ten out of each
MAX_DICTIONARY = 1 << 28  # bytes that an LZMA decoder may ask for
MAX_NAME = 4096  # bytes, as Linux has it
MAX_PARTS = 256

_SEVEN_ZIP, _ZIP, _TAPE = "7z", "zip", "tape"
SEVEN_ZIP_MAGIC = b"7z\xbc\xaf\x27\x1c"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_FREE = 1 << 20  # unpacked bytes before the ratio is looked at
_PIECE = 1 << 12  # packed bytes that zipfile gives its decoders, which know no limit of their own, at once
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, ValueError),
    *(RuntimeError, struct.error, LookupError, OverflowError),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a bundle may ask of the machine that reads it."""

    member_bytes: int = 64 << 20  # of one member, unpacked
    ratio: int = RATIO  # unpacked : packed, beyond the first MiB
    members: int = 10_000_000  # of an archive: names are remembered, and of a zip or 7z the table of contents


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle. Its body is b"" if it was not wanted, Skip for a link or a device, or why it is not there.

    Reasons: `too_large`, `truncated`, `unsafe_path`, `unreadable`, `encrypted`, `bomb`, `duplicate_path`,
    `damaged_…`, and `empty_file` for an archive of nothing. A bundle that breaks off gives what was whole, and last a
    member named "" with the reason.
    """

    name: str  # "/"-separated, within the bundle; "" for a file that is no bundle
    body: bytes | Skip | DataError


# Asked by name whether a member is wanted; not asked of a file that is no bundle.
Wanted = Callable[[str], bool]


def everything(name: str) -> bool:
    return True


def members(given: Given, wanted: Wanted = everything, limits: Limits = Limits()) -> Iterator[Member]:
    """The files of a folder, sorted, or of an archive, as stored; any other file is itself one member, decompressed.

    Of an archive's wanted members of one name the first is given, as the name becomes a document's id; each other is
    the DataError `duplicate_path`.
    """
    if given.folder is not None:
        for name in _paths(given):
            yield _file(given.folder, name, wanted, limits)
        return
    seen: set[int] = set()
    with given.open() as stream:
        for number, member in enumerate(_of_stream(stream, wanted, limits)):
            if number == limits.members:
                yield Member("", DataError("too_large", f"more than {limits.members} members"))
                return
            if member.name and not isinstance(member.body, Skip) and wanted(member.name):
                before = len(seen)
                seen.add(hash64(member.name))
                if len(seen) == before:
                    member = Member("", DataError("duplicate_path", member.name[:200]))
            yield member


def unpack(data: bytes, wanted: Wanted = everything, limits: Limits = Limits()) -> Iterator[Member]:
    """The same for an archive in memory, such as a member of another; names may repeat. One level of compression is
    undone.
    """
    yield from _of_stream(io.BytesIO(data), wanted, limits)


def count(given: Given, limits: Limits = Limits()) -> int:
    """How many members `members` gives, from headers and tables of contents alone.

    Of tars and sound zips by code that shares only the decompression with `members`. Of a 7z, and of a zip whose
    table is damaged, by the code that lists them for `members`: there it cannot tell a fault in that code.
    """
    if given.folder is not None:
        return sum(_count_files(given.folder / entry) for entry in given.entries)
    with given.open() as stream:
        return min(_count(stream, limits), limits.members + 1)


def _count(stream: BinaryIO, limits: Limits) -> int:
    kind = _kind(stream)
    if kind == _TAPE:
        return bundle_count.in_tape(Tape(unpacked(stream, limits.ratio)))
    if kind == _ZIP:
        found = bundle_count.directory(stream)
        if _refused(found, limits) is not None:
            return 1
        if found is not None and (files := bundle_count.in_zip(stream, found)) is not None:
            return max(files, 1)
        stream.seek(0)
    return sum(1 for _ in _of_stream(stream, lambda name: False, limits))


def _kind(stream: BinaryIO) -> str:
    head = stream.read(len(SEVEN_ZIP_MAGIC))
    stream.seek(0)
    return _SEVEN_ZIP if head == SEVEN_ZIP_MAGIC else _ZIP if head.startswith(_ZIP_MAGICS) else _TAPE


def _of_stream(stream: BinaryIO, wanted: Wanted, limits: Limits) -> Iterator[Member]:
    kind = _kind(stream)
    if kind == _SEVEN_ZIP:
        from curation.seven_zip import members as of_seven_zip  # only those who read 7z need py7zr

        found = of_seven_zip(stream, wanted, limits)
    elif kind == _ZIP:
        found = _of_zip(stream, wanted, limits)
    else:
        found = _of_tape(Tape(unpacked(stream, limits.ratio)), wanted, limits)
    first = next(found, None)
    yield Member("", DataError("empty_file", "nothing is in it")) if first is None else first
    yield from found


def safe_name(name: str) -> str:
    """A member's name as it stands in document ids. Raises DataError(`unsafe_path`) if it leaves the bundle, or is of
    more than 4,096 bytes or 256 parts.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise DataError("unsafe_path", repr(name[:200])[:200])
    safe = "/".join(parts).encode("utf-8", "backslashreplace")
    if len(safe) > MAX_NAME or len(parts) > MAX_PARTS:
        raise DataError("unsafe_path", f"{len(safe)} bytes in {len(parts)} parts: {name[:100]!r}")
    return safe.decode("utf-8")


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
        if not wanted(safe):
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


def _of_tape(tape: Tape, wanted: Wanted, limits: Limits) -> Iterator[Member]:
    try:
        head = tape.read(BLOCK)
        if not may_begin(head):
            yield Member("", _single(tape, head, limits))
            return
    except DataError as error:
        yield Member("", error)
        return
    for entry in entries(tape, head):
        name, value = "", entry.value
        if not isinstance(value, DataError):
            try:
                name = safe_name(entry.name)
            except DataError as error:
                value = error
        if value is None:
            yield Member(name, _body(tape, entry.size, limits) if wanted(name) else b"")
        else:
            yield Member(name, value)


def _single(tape: Tape, head: bytes, limits: Limits) -> bytes | DataError:
    body = head + tape.read(limits.member_bytes + 1 - len(head))
    if len(body) > limits.member_bytes:
        return DataError("too_large", f"more than {limits.member_bytes} bytes")
    return body


def _body(tape: Tape, size: int, limits: Limits) -> bytes | DataError:
    if size > limits.member_bytes:
        return DataError("too_large", f"{size} bytes, more than {limits.member_bytes}")
    try:
        body = tape.read(size)
    except DataError as error:
        return error
    return body if len(body) == size else DataError("truncated", f"{len(body)} of {size} bytes")


# Zip


def _of_zip(stream: BinaryIO, wanted: Wanted, limits: Limits) -> Iterator[Member]:
    if (error := _refused(bundle_count.directory(stream), limits)) is not None:
        yield Member("", error)
        return
    try:
        archive = zipfile.ZipFile(stream)
    except _ZIP_ERRORS as failure:
        yield Member("", DataError("damaged_zip", str(failure)[:200]))
        return
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    for info in infos:
        yield _zipped(archive, info, wanted, limits)


def _refused(found: Directory | None, limits: Limits) -> DataError | None:
    """Why a zip's table of contents, which zipfile holds as a whole, is not read."""
    if found is not None and found.size > MAX_DIRECTORY:
        return DataError("too_large", f"a table of contents of {found.size} bytes")
    if found is not None and found.entries > limits.members:
        return DataError("too_large", f"{found.entries} members, more than {limits.members}")
    return None


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, wanted: Wanted, limits: Limits) -> Member:
    try:
        name = safe_name(info.filename)
    except DataError as error:
        return Member("", error)
    if stat.S_ISLNK(info.external_attr >> 16):
        return Member(name, Skip("link"))
    if not wanted(name):
        return Member(name, b"")
    if info.flag_bits & 1:
        return Member(name, DataError("encrypted"))
    if info.file_size > limits.member_bytes:
        return Member(name, DataError("too_large", f"{info.file_size} bytes, more than {limits.member_bytes}"))
    if info.file_size > _FREE and info.file_size > limits.ratio * info.compress_size:
        return Member(name, DataError("bomb", f"{info.file_size} bytes out of {info.compress_size}"))
    try:
        if info.compress_type == zipfile.ZIP_LZMA and (dictionary := _dictionary(archive, info)) > MAX_DICTIONARY:
            return Member(name, DataError("too_large", f"a dictionary of {dictionary} bytes"))
        with archive.open(info) as stream:  # which gives no more than `file_size` bytes
            body = b"".join(iter(lambda: stream.read(_PIECE), b""))
    except _ZIP_ERRORS as failure:
        return Member(name, DataError("damaged_zip", str(failure)[:200]))
    return Member(name, body)


def _dictionary(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """The memory that a member's LZMA decoder asks for: behind the member's own header, its version and a byte."""
    assert archive.fp is not None
    archive.fp.seek(info.header_offset)
    header = archive.fp.read(30)
    archive.fp.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    return int.from_bytes(archive.fp.read(9)[5:9], "little")
