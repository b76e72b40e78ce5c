"""Stage 0: freeze what is read. `inputs.parquet` lists the files and cuts them into parts (docs/parts.md)."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from curation.errors import InputError
from curation.recipe import SOURCE_NAME
from curation.records import HEAD_BYTES, splittable
from curation.sources.given import Given
from pipelines import remote, selection, storage

RANGE_SIZE = 128 << 20
_MANY = 100  # requests take seconds then
# How a file is read, which its source's extractor decides (`Kinds`): as an archive of the web, which may be cut into
# byte ranges; as a whole; or, if it is a folder, by ranges of its entries. SELECTION stands in for archives.
ARCHIVE, WHOLE, FOLDER, SELECTION = "archive", "whole", "folder", "selection"
Kinds = Mapping[str, str]  # by source: WHOLE, FOLDER (files too), or else ARCHIVE
ARCHIVES: Kinds = MappingProxyType({})
_DUMP_SUFFIXES = (".xml.bz2", ".xml")


class InputFile(NamedTuple):
    source: str
    path: str  # where it is read from
    file: str  # what it is called in document ids
    size: int
    # SHA-256 of a local file; of a folder's entries, a blank, and of what is in it; size and entity tag of a remote
    # file; of a selected file, as in `selection`:
    identity: str
    # Of a file of which a selection names records, `size` counts these, and they are rows of the selection; of a
    # folder it counts the entries:
    selection: str = ""
    first_row: int = 0
    stored: int = 0  # bytes of the selected records, or of all files in the folder
    kind: str = ARCHIVE


class Part(NamedTuple):
    """One file, or a byte range of one. The unit of scheduling, resuming and bookkeeping."""

    number: int
    source: str
    path: str
    file: str
    file_number: int  # position among the source's files, for deduplication in groups of consecutive files
    size: int
    identity: str
    start: int
    end: int
    selection: str = ""  # with one, size, start and end count the file's rows in it
    first_row: int = 0
    kind: str = ARCHIVE  # of a FOLDER, size, start and end count the sorted entries

    def open(self) -> BinaryIO:
        """The whole file, which must still be the one that was listed."""
        listed = remote.RemoteStat(self.size, self.identity.partition(" ")[2]) if storage.is_http(self.path) else None
        return storage.open_input(self.path, listed)

    def given(self) -> Given:
        """The part as its source's reader takes it. InputError for a folder that has other entries now."""
        if self.kind != FOLDER:
            return Given(self.source, self.file, self.open)
        entries = _listing(self.path)
        if _of_names(entries) != self.identity.partition(" ")[0]:  # a range would be one of other entries
            raise InputError(f"{self.path} has other files in it than when the run began")
        return Given(self.source, self.file, self.open, Path(self.path), tuple(entries[self.start : self.end]))


def find(declared: Iterable[str], kinds: Kinds = ARCHIVES) -> list[InputFile]:
    """Files behind `[SOURCE=]PATTERN` arguments, sorted by (source, name). InputError for one that matches nothing.

    A `.parquet` file of a source of archives is a selection and stands for the files that it names records of.
    """
    named: list[tuple[str, str, str]] = []
    found: list[InputFile] = []
    for argument in declared:
        source, pattern = _split(argument)
        for path, name in expand(pattern, kinds.get(source) == FOLDER):
            if name.endswith(selection.SUFFIX) and kinds.get(source, ARCHIVE) == ARCHIVE:
                found += _selected(source, path)
            else:
                named.append((source or _source_of(name), path, name))
    files: dict[tuple[str, str], InputFile] = {}
    for file in [*found, *_describe_all(named, kinds)]:
        other = files.setdefault((file.source, file.file), file)
        if other.path != file.path:
            raise InputError(
                f"{file.path} and {other.path} would both be called {file.file} in document ids; "
                "give their common folder as input"
            )
        if other.selection != file.selection:
            one, two = sorted(each.selection or each.path for each in (file, other))
            raise InputError(f"{file.file} is in {one} and in {two}; make one selection of all that is wanted")
    _check_once(files.values())
    return [files[key] for key in sorted(files)]


def _check_once(files: Iterable[InputFile]) -> None:
    """Raise InputError if a source has a file under two names, or a folder and what is in it."""
    names: dict[tuple[str, str], str] = {}
    folders = {(file.source, file.path): file.file for file in files if file.kind == FOLDER}
    for file in files:
        other = names.setdefault((file.source, file.path), file.file)
        above = next((str(up) for up in Path(file.path).parents if (file.source, str(up)) in folders), "")
        if other != file.file or (folders and above):
            twice = f"as {other} and as {file.file}" if other != file.file else f"by itself and in {above}"
            raise InputError(f"{file.path} is given twice, {twice}; give it once")


def _selected(source: str, path: str) -> Iterator[InputFile]:
    """The files that a selection names."""
    for chosen in selection.files(path):
        file = _name(chosen.file, "")
        source_of = source or _source_of(file)
        mine = (path, chosen.first_row, chosen.bytes, SELECTION)
        yield InputFile(source_of, chosen.path, file, chosen.rows, chosen.identity, *mine)


def _describe_all(named: Sequence[tuple[str, str, str]], kinds: Kinds) -> Iterator[InputFile]:
    """Those behind URLs several at a time: a crawl has tens of thousands of files."""
    remotes = list(dict.fromkeys(path for _, path, _ in named if storage.is_http(path)))
    if len(remotes) > _MANY:
        print(f"asking for the sizes of {len(remotes):,} files", file=sys.stderr, flush=True)
    stats = dict(zip(remotes, remote.stat_all(remotes), strict=True))
    for source, path, name in named:
        kind = WHOLE if kinds.get(source, ARCHIVE) == FOLDER else kinds.get(source, ARCHIVE)
        if path in stats:
            size, tag = stats[path]
            yield InputFile(source, path, name, size, f"{size} {tag}", kind=kind)
        elif storage.is_local(path) and os.path.isdir(path):
            yield _describe_folder(source, path, name)
        else:
            yield _describe(source, path, name)._replace(kind=kind)


def _split(argument: str) -> tuple[str, str]:
    """(source, pattern); "" for a source that is left to the files' names."""
    source, mark, pattern = argument.partition("=")
    return (source, pattern) if mark and re.fullmatch(SOURCE_NAME, source) else ("", argument)


def _source_of(name: str) -> str:
    return "wikipedia" if name.endswith(_DUMP_SUFFIXES) else "commoncrawl"


def expand(pattern: str, folders: bool = False) -> list[tuple[str, str]]:
    """(path, name in ids) of each file that matches. Names start at `crawl-data/`, else below the pattern's folder.

    A folder is itself an input where `folders` says so, unless the pattern has a `**`; else it is the files below it.
    """
    if storage.is_http(pattern):
        return [(pattern, _name(pattern, os.path.dirname(pattern)))]
    if not storage.is_local(pattern):
        storage.check(pattern)
        matches = [m.path for m in FileSystems.match([pattern])[0].metadata_list]
    elif os.path.isdir(pattern) and folders:
        return [(os.path.abspath(pattern), os.path.basename(os.path.abspath(pattern)))]
    elif os.path.isdir(pattern):
        matches = [p for p in glob.glob(os.path.join(glob.escape(pattern), "**"), recursive=True) if os.path.isfile(p)]
    else:
        wanted = os.path.exists if folders and "**" not in pattern else os.path.isfile
        matches = [p for p in glob.glob(pattern, recursive=True) if wanted(p)]
    if not matches:
        if storage.is_local(pattern) and any(map(os.path.isdir, glob.glob(pattern))):
            raise InputError(f"{pattern} matches folders only: give the folder that they are in, or a pattern of files")
        raise InputError(f"no input file matches {pattern}")
    root = pattern if storage.is_local(pattern) and os.path.isdir(pattern) else os.path.dirname(pattern)
    while glob.has_magic(root):
        root = os.path.dirname(root)
    if storage.is_local(pattern):
        return [(os.path.abspath(path), _name(path, root)) for path in matches]
    return [(path, _name(path, root)) for path in matches]


def _name(path: str, root: str) -> str:
    at = path.find("crawl-data/")
    if at >= 0 and (at == 0 or path[at - 1] == "/"):
        return path[at:]
    return os.path.relpath(path, root) if storage.is_local(path) else path[len(root) :].lstrip("/")


def _describe(source: str, path: str, name: str) -> InputFile:
    if not storage.is_local(path):
        found = FileSystems.match([path])[0].metadata_list[0]
        return InputFile(
            source, path, name, found.size_in_bytes, f"{found.size_in_bytes} {found.last_updated_in_seconds}"
        )
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    return InputFile(source, path, name, os.path.getsize(path), digest)


def _describe_folder(source: str, path: str, name: str) -> InputFile:
    """A folder by what is in it: its entries, and the SHA-256 of every file, which may be one that cannot be read."""
    if not (entries := _listing(path)):
        raise InputError(f"{path} is an empty folder")
    digest, stored = hashlib.sha256(), 0

    def note(file: str, content: str) -> None:
        digest.update(os.fsencode(f"{os.path.relpath(file, path)}\0{content}\n"))

    for root, folders, names in os.walk(path, onerror=lambda error: note(error.filename, "unreadable")):
        folders.sort()
        for each in folders:
            file = os.path.join(root, each)
            note(file, "link" if os.path.islink(file) else "folder")
        for each in sorted(names):
            file = os.path.join(root, each)
            content = "link" if os.path.islink(file) else "none"
            if content == "none" and os.path.isfile(file):
                try:
                    with open(file, "rb") as stream:
                        content = hashlib.file_digest(stream, "sha256").hexdigest()
                        stored += stream.tell()
                except OSError:  # the reader will meet it too, and it is one dead letter
                    content = "unreadable"
            note(file, content)
    identity = f"{_of_names(entries)} {digest.hexdigest()}"
    return InputFile(source, path, name, len(entries), identity, stored=stored, kind=FOLDER)


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from None


def _of_names(entries: Sequence[str]) -> str:
    return hashlib.sha256(b"\0".join(map(os.fsencode, entries))).hexdigest()


def cut(files: Sequence[InputFile], range_size: int) -> list[Part]:
    """Parts in the order of (source, file, offset). Folders are cut between entries, selections between rows, and of
    files those archives that have a member (gzip, zstd, lz4) per record.
    """
    parts: list[Part] = []
    position: dict[str, int] = {}
    for file in files:
        file_number = position[file.source] = position.get(file.source, -1) + 1
        step = file.size
        if file.stored:
            step = -(-file.size // -(-file.stored // range_size))  # as many as have range_size bytes on average
        elif file.kind == ARCHIVE and file.size > range_size:
            with storage.open_input(file.path) as stream:
                if splittable(stream.read(HEAD_BYTES)):
                    step = range_size
        for start in range(0, max(file.size, 1), max(step, 1)):
            end = min(start + step, file.size)
            parts.append(
                Part(
                    len(parts), file.source, file.path, file.file, file_number, file.size, file.identity,
                    start, end, file.selection, file.first_row, file.kind,
                )
            )  # fmt: skip
    return parts


def identity(files: Iterable[InputFile], source: str) -> str:
    """Identity of a source's input files, whatever the ranges they are cut into."""
    named = sorted((file.file, file.identity) for file in files if file.source == source)
    return hashlib.sha256(repr(named).encode()).hexdigest()


def freeze(output: str, files: Sequence[InputFile], range_size: int) -> list[Part]:
    """Write inputs.parquet, or take the one that is there. Its ranges stay; its files must be the ones asked for."""
    path = storage.join(output, "inputs.parquet")
    if not storage.exists(path):
        parts = cut(files, range_size)
        _write(path, parts)
        return parts
    frozen = load(output)
    if {(p.source, p.file, p.identity, p.kind) for p in frozen} != {
        (f.source, f.file, f.identity, f.kind) for f in files
    }:
        raise InputError(
            f"{output} was begun with other input files; continue with the same ones or choose a new --output"
        )
    named = {(file.source, file.file): file for file in files}
    moved = []
    for part in frozen:
        file = named[part.source, part.file]
        moved.append(part._replace(path=file.path, selection=file.selection, first_row=file.first_row))
    if moved != frozen:
        _write(path, moved)
    return moved


def _write(path: str, parts: Sequence[Part]) -> None:
    columns = {name: pa.array([getattr(part, name) for part in parts]) for name in Part._fields}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    storage.write_bytes(path, sink.getvalue())


def load(output: str) -> list[Part]:
    table = pq.read_table(io.BytesIO(storage.read_bytes(storage.join(output, "inputs.parquet"))))
    return [Part(**row) for row in table.to_pylist()]
