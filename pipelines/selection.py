"""A selection: records of a crawl that are read by their byte ranges, without the rest of their files.

It is a Parquet file with a row for each record, sorted by (warc_filename, warc_record_offset), no record twice; the
folder that the file names start from is in its metadata. `pipelines.select` makes one from a crawl's columnar index.
As an input it stands for the files that its rows name; a part is rows of one of them (docs/parts.md).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.records import MAX_BYTES
from pipelines import remote, storage

SUFFIX = ".parquet"
ROOT = b"winnow.root"  # in the metadata: where the names in warc_filename begin
PLACE = ("warc_filename", "warc_record_offset", "warc_record_length")
SCHEMA = pa.schema(
    [
        ("warc_filename", pa.string()),
        ("warc_record_offset", pa.int64()),
        ("warc_record_length", pa.int64()),
        ("url", pa.string()),
    ]
)
ROWS = 1 << 16  # a row group, and what is held at a time

_GAP = 128 << 10  # bytes between two records that are fetched with them, since a request costs as much as more bytes
_FETCH = 8 << 20  # bytes of one request; a longer record is fetched on its own
LONGEST = MAX_BYTES + (MAX_BYTES >> 8)  # of a record as stored; a longer one is not fetched


class Chosen(NamedTuple):
    """The rows of one file."""

    file: str
    path: str
    first_row: int
    rows: int
    bytes: int  # of these records, as stored
    identity: str


class Row(NamedTuple):
    offset: int
    length: int
    url: str


def files(path: str) -> Iterator[Chosen]:
    """The files that a selection names, in order. InputError if it is none, or not as `select` leaves it."""
    with storage.open_input(path) as stream:
        table = _open(stream, path)
        root = (table.schema_arrow.metadata or {})[ROOT].decode()
        file, first, digests, taken, last = "", 0, (hashlib.sha256(), hashlib.sha256()), 0, -1
        at = 0
        for batch in table.iter_batches(batch_size=ROWS, columns=[*PLACE, "url"]):
            names = batch.column(0).dictionary_encode()
            offsets, lengths = (batch.column(i).to_numpy(zero_copy_only=False) for i in (1, 2))
            codes = names.indices.to_numpy(zero_copy_only=False)
            edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
            for begin, end in pairwise(edges):
                name = names.dictionary[int(codes[begin])].as_py()
                if name != file:
                    if file:
                        yield _chosen(root, file, first, at + begin, taken, digests)
                    if name < file or not _is_name(name):
                        raise InputError(f"{path}: {name!r} does not follow {file!r}; make it with pipelines.select")
                    file, first, taken, last = name, at + begin, 0, -1
                    digests = (hashlib.sha256(), hashlib.sha256())
                mine, sizes = offsets[begin:end], lengths[begin:end]
                if mine[0] <= last or (np.diff(mine) <= 0).any() or sizes.min() < 1:
                    raise InputError(f"{path}: the records of {name} are not sorted; make it with pipelines.select")
                digests[0].update(np.stack([mine, sizes], axis=1).astype("<i8").tobytes())
                urls = batch.column(3).slice(begin, end - begin).to_pylist()
                digests[1].update("".join(f"{url}\n" for url in urls).encode())
                taken, last = taken + int(sizes.sum()), int(mine[-1])
            at += len(codes)
        if not file:
            raise InputError(f"{path}: nothing is selected")
        yield _chosen(root, file, first, at, taken, digests)


def _open(stream: BinaryIO, path: str) -> pq.ParquetFile:
    try:
        table = pq.ParquetFile(stream)
        if ROOT not in (table.schema_arrow.metadata or {}) or not set(SCHEMA.names) <= set(table.schema_arrow.names):
            raise InputError(f"{path} is not a selection; make one with pipelines.select")
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a selection: {error}") from None
    return table


def _is_name(name: str) -> bool:
    """Below the root: neither absolute, nor a URL, nor up and out of it."""
    return not (name.startswith("/") or ":" in name or ".." in name.split("/"))


def _chosen(root: str, file: str, first: int, end: int, taken: int, digests: Sequence[hashlib._Hash]) -> Chosen:
    path = storage.join(root, file) if root else file
    if storage.is_local(path) and not os.path.isfile(path):
        raise InputError(f"there is no {path}, of which records are selected; where is the crawl? (select --root)")
    size = os.path.getsize(path) if storage.is_local(path) else None
    identity = hashlib.sha256(repr(([digest.hexdigest() for digest in digests], size)).encode()).hexdigest()
    return Chosen(file, path, first, end - first, taken, identity)


def rows(path: str, first: int, end: int) -> list[Row]:
    """Rows [first, end) of a selection, without reading more than their row groups."""
    found: list[Row] = []
    with storage.open_input(path) as stream:
        table = _open(stream, path)
        at = 0
        for group in range(table.metadata.num_row_groups):
            count = table.metadata.row_group(group).num_rows
            if at < end and first < at + count:
                part = table.read_row_group(group, columns=[*PLACE[1:], "url"])
                part = part.slice(max(0, first - at), min(end, at + count) - max(first, at))
                columns = (part.column(name).to_pylist() for name in (*PLACE[1:], "url"))
                found += map(Row._make, zip(*columns, strict=True))
            at += count
    return found


def stored(path: str, wanted: Sequence[Row]) -> Iterator[tuple[Row, bytes | None]]:
    """The bytes of records of one file, in their order: fewer where the file ends first, none of one that is longer
    than LONGEST, None if there is no file.

    Neighbours come with one request. Errors as for `remote.HttpFile`.
    """
    with _Source(path) as source:
        for run in _runs(wanted):
            if run[0].length > LONGEST:
                yield run[0], b""
                continue
            start = run[0].offset
            block = source.read(start, max(row.offset + row.length for row in run))
            for row in run:
                inside = row.offset - start
                yield row, None if block is None else block[inside : inside + row.length]


def _runs(wanted: Sequence[Row]) -> Iterator[list[Row]]:
    run: list[Row] = []
    for row in wanted:
        if run:
            end = run[-1].offset + run[-1].length
            if row.offset - end > _GAP or row.offset + row.length - run[0].offset > _FETCH:
                yield run
                run = []
        run.append(row)
    if run:
        yield run


class _Source:
    """Byte ranges of one file, wherever it is."""

    def __init__(self, path: str) -> None:
        self._ranges = remote.HttpRanges(path) if storage.is_http(path) else None
        self._stream = None if self._ranges else storage.open_input(path)

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *error: object) -> None:
        for opened in (self._ranges, self._stream):
            if opened is not None:
                opened.close()

    def read(self, start: int, end: int) -> bytes | None:
        if self._ranges is not None:
            try:
                return self._ranges.read(start, end)
            except remote.RemoteMissingError:
                return None
        assert self._stream is not None
        self._stream.seek(start)
        return self._stream.read(end - start)
