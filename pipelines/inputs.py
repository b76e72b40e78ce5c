"""Stage 0: freeze what is read. `inputs.parquet` lists the files and cuts them into parts (docs/parts.md)."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from curation.errors import InputError
from curation.recipe import SOURCE_NAME
from curation.records import splittable
from pipelines import remote, storage

RANGE_SIZE = 128 << 20
DUMP_SUFFIXES = (".xml.bz2", ".xml")


class InputFile(NamedTuple):
    source: str
    path: str  # where it is read from
    file: str  # what it is called in document ids
    size: int
    identity: str  # sha256 of a local file; size and entity tag of a remote one


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

    @property
    def is_dump(self) -> bool:
        """Whether this is a Wikipedia dump rather than an archive."""
        return self.file.endswith(DUMP_SUFFIXES)

    def open(self) -> BinaryIO:
        """The whole file, which must still be the one that was listed."""
        listed = remote.RemoteStat(self.size, self.identity.partition(" ")[2]) if storage.is_http(self.path) else None
        return storage.open_input(self.path, listed)


def find(declared: Iterable[str]) -> list[InputFile]:
    """Files behind `[SOURCE=]PATTERN` arguments, sorted by (source, name). InputError for one that matches nothing."""
    files: dict[tuple[str, str], InputFile] = {}
    for argument in declared:
        declared_source, pattern = _split(argument)
        for path, name in _expand(pattern):
            source = declared_source or _source_of(name)
            found = _describe(source, path, name)
            other = files.setdefault((source, name), found)
            if other.path != path:
                raise InputError(
                    f"{path} and {other.path} would both be called {name} in document ids; "
                    "give their common folder as input"
                )
    return [files[key] for key in sorted(files)]


def _split(argument: str) -> tuple[str, str]:
    """(source, pattern); "" for a source that is left to the files' names."""
    source, mark, pattern = argument.partition("=")
    return (source, pattern) if mark and re.fullmatch(SOURCE_NAME, source) else ("", argument)


def _source_of(name: str) -> str:
    return "wikipedia" if name.endswith(DUMP_SUFFIXES) else "commoncrawl"


def _expand(pattern: str) -> list[tuple[str, str]]:
    """(path, name in ids) of each file that matches. Names start at `crawl-data/`, else below the pattern's folder."""
    if storage.is_http(pattern):
        return [(pattern, _name(pattern, os.path.dirname(pattern)))]
    if not storage.is_local(pattern):
        storage.check(pattern)
        matches = [m.path for m in FileSystems.match([pattern])[0].metadata_list]
    elif os.path.isdir(pattern):
        matches = [p for p in glob.glob(os.path.join(glob.escape(pattern), "**"), recursive=True) if os.path.isfile(p)]
    else:
        matches = [p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)]
    if not matches:
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
    if storage.is_http(path):
        size, tag = remote.stat(path)
        return InputFile(source, path, name, size, f"{size} {tag}")
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


def cut(files: Sequence[InputFile], range_size: int) -> list[Part]:
    """Parts in the order of (source, file, offset). Only files with a gzip member per record are cut."""
    parts: list[Part] = []
    position: dict[str, int] = {}
    for file in files:
        file_number = position[file.source] = position.get(file.source, -1) + 1
        step = file.size
        if file.size > range_size:
            with storage.open_input(file.path) as stream:
                if splittable(stream.read(1 << 16)):
                    step = range_size
        for start in range(0, max(file.size, 1), max(step, 1)):
            end = min(start + step, file.size)
            parts.append(
                Part(len(parts), file.source, file.path, file.file, file_number, file.size, file.identity, start, end)
            )
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
    if {(p.source, p.file, p.identity) for p in frozen} != {(f.source, f.file, f.identity) for f in files}:
        raise InputError(
            f"{output} was begun with other input files; continue with the same ones or choose a new --output"
        )
    paths = {(file.source, file.file): file.path for file in files}
    moved = [part._replace(path=paths[part.source, part.file]) for part in frozen]
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
