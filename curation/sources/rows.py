"""Tables that are published as files: JSON lines, plain or compressed, and Parquet. One row at a time.

A line that cannot be read costs only itself. Every line is one record, also a blank one, so that `count` need only
count line ends; of a Parquet file the footer tells how many rows there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation.document import Skip
from curation.errors import DataError
from curation.sources.given import Given
from curation.unpacked import unpacked

MAX_ROW_BYTES = 32 << 20
MAX_VALUES = 200_000  # strings, numbers, lists … of one JSON row: each takes some hundred bytes when it is parsed
RATIO = 250  # unpacked : packed, beyond the first MiB; C4 has 2.5, code 5, and line ends alone 1,000
SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

_BATCH_ROWS, _BATCH_BYTES = 256, 32 << 20  # of Parquet, read at a time
_BUFFER = 1 << 20
_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[,\[{]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_PARQUET = b"PAR1"

Row = dict[str, Any] | Skip | DataError


def is_table(file: str) -> bool:
    """Does the name say that this is a table that `rows` reads?"""
    name = file.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(SUFFIXES) and not name.endswith("/")


def rows(given: Given, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """(number from 0, row) for each row: those of `columns` that it has; Skip("blank_line"); or a DataError.

    Reasons: `empty_file`, `malformed_json`, `bad_utf8`, `too_large`, `too_many_values`, `malformed_value`,
    `damaged_parquet`, and those of `curation.unpacked`, of which the last record is one where the file breaks off.
    Strings are Unicode: a surrogate that is alone, which JSON can spell, is U+FFFD.
    """
    with given.open() as stream:
        found = _parquet_rows(stream, columns) if _is_parquet(stream) else _lines(stream, frozenset(columns))
        for number, row in enumerate(found):
            yield str(number), row


def count(given: Given) -> int:
    """How many rows `rows` must give: lines, and one more where the file breaks off; or what the footer says."""
    with given.open() as stream:
        if _is_parquet(stream):
            try:
                return max(1, int(_footer(stream).metadata.num_rows))
            except DataError:
                return 1
        ends, tail = 0, False
        try:
            for chunk in unpacked(stream, RATIO):
                ends += chunk.count(b"\n")
                tail = not chunk.endswith(b"\n")
        except DataError:
            tail = True
        return max(1, ends + tail)


def _is_parquet(stream: BinaryIO) -> bool:
    magic = stream.read(len(_PARQUET))
    stream.seek(0)
    return magic == _PARQUET


def _lines(stream: BinaryIO, columns: frozenset[str]) -> Iterator[Row]:
    """Of a line that is too long only the beginning is ever held."""
    buffer = bytearray()
    empty, length = True, 0  # of the line so far, which the buffer holds unless it is too long
    try:
        for chunk in unpacked(stream, RATIO):
            empty, start = False, 0
            while (end := chunk.find(b"\n", start)) >= 0:
                length += end - start
                if length <= MAX_ROW_BYTES:
                    buffer += memoryview(chunk)[start:end]
                yield _json_row(buffer, length, columns)
                buffer.clear()
                length, start = 0, end + 1
            length += len(chunk) - start
            if length <= MAX_ROW_BYTES:
                buffer += memoryview(chunk)[start:]
    except DataError as error:
        yield error
        return
    if length:
        yield _json_row(buffer, length, columns)
    elif empty:
        yield DataError("empty_file")


def _json_row(line: bytearray, length: int, columns: frozenset[str]) -> Row:
    if length > MAX_ROW_BYTES:
        return DataError("too_large", f"a line of {length} bytes, more than {MAX_ROW_BYTES}")
    if not line.strip():
        return Skip("blank_line")
    if length > MAX_VALUES:
        for number, _ in enumerate(_VALUE.finditer(line)):
            if number > MAX_VALUES:
                return DataError("too_many_values", f"more than {MAX_VALUES}")
    try:
        row = json.loads(line.decode("utf-8-sig"))
        if b"\\u" in line and isinstance(row, dict):
            row = {name: _spelled(value) for name, value in row.items() if name in columns}
    except UnicodeDecodeError as error:
        return DataError("bad_utf8", str(error.reason))
    except (ValueError, RecursionError) as error:
        return DataError("malformed_json", str(error)[:200])
    if not isinstance(row, dict):
        return DataError("malformed_json", f"a {type(row).__name__}, not an object")
    return {name: value for name, value in row.items() if name in columns}


def _spelled(value: Any) -> Any:
    """A value of JSON, each of whose strings can be written: its escapes can spell half a character."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_spelled(inner) for inner in value]
    if isinstance(value, dict):
        return {_spelled(name): _spelled(inner) for name, inner in value.items()}
    return value


def _footer(stream: BinaryIO) -> pq.ParquetFile:
    """The opened file. Raises DataError(`damaged_parquet`)."""
    try:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DataError("damaged_parquet", " ".join(str(error).split())[:200]) from None
    size = stream.seek(0, 2)
    if not 0 <= file.metadata.num_rows <= size:  # a text takes a byte at least, and the number is what would be read
        raise DataError("damaged_parquet", f"{file.metadata.num_rows} rows in {size} bytes")
    return file


def _parquet_rows(stream: BinaryIO, columns: Sequence[str]) -> Iterator[Row]:
    try:
        file = _footer(stream)
    except DataError as error:
        yield error
        return
    names = [name for name in file.schema_arrow.names if name in columns]
    for group in range(file.metadata.num_row_groups):
        yield from _group_rows(file, group, names)
    if file.metadata.num_rows == 0:
        yield DataError("empty_file")


def _group_rows(file: pq.ParquetFile, group: int, names: Sequence[str]) -> Iterator[Row]:
    """The rows of one row group: as many as the footer says, those behind damage each with its error."""
    metadata = file.metadata.row_group(group)
    given, expected = 0, metadata.num_rows
    step = max(1, min(_BATCH_ROWS, _BATCH_BYTES * expected // max(1, metadata.total_byte_size)))
    flaw = "fewer rows than the footer says"
    try:
        for batch in file.iter_batches(step, row_groups=[group], columns=names, use_threads=False):
            columns = [batch.column(name) for name in names]
            for index in range(min(batch.num_rows, expected - given)):
                given += 1
                yield _parquet_row(names, columns, index)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        flaw = " ".join(str(error).split())[:200]
    for _ in range(given, expected):
        yield DataError("damaged_parquet", flaw)


def _parquet_row(names: Sequence[str], columns: Sequence[pa.Array], index: int) -> Row:
    row = {}
    for name, column in zip(names, columns, strict=True):
        try:
            row[name] = column[index].as_py()
        except UnicodeDecodeError as error:
            return DataError("bad_utf8", str(error.reason))
        except (ValueError, OverflowError) as error:  # a date that Python does not have, say
            return DataError("malformed_value", str(error)[:200])
        if isinstance(row[name], str | bytes) and len(row[name]) > MAX_ROW_BYTES:
            return DataError("too_large", f"{name} has more than {MAX_ROW_BYTES} bytes")
    return row
