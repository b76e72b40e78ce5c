"""Choose records by a crawl's columnar index, before anything of the crawl itself is fetched:

    python -m pipelines.select --crawl CC-MAIN-2024-10 --files 0:300 --tld de --language deu --output german.parquet
    python -m pipelines.run --input german.parquet --output run

Values of one option are alternatives, and all options must hold. Of an index file only the columns that are needed are
read, and only the row groups whose statistics do not rule the conditions out. The output is a selection: names, offsets
and lengths of records, sorted (pipelines/selection.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from pipelines import crawl, inputs, storage
from pipelines.selection import PLACE, ROOT, ROWS, SCHEMA

# Options and the columns that they are about, in the table cc-index of Common Crawl.
COLUMNS = {
    "host": "url_host_name",
    "domain": "url_host_registered_domain",
    "tld": "url_host_tld",
    "language": "content_languages",
    "mime": "content_mime_detected",
    "status": "fetch_status",
}
RUN_ROWS = 1 << 20  # rows that are sorted in memory at a time


def condition(wanted: Mapping[str, Sequence[str]]) -> ds.Expression:
    """What a row must fulfil. `wanted` has values by option; a page's language is the first that its row names."""
    parts = []
    for option, values in wanted.items():
        field = pc.field(COLUMNS[option])
        if option == "status":
            parts.append(field.isin([int(value) for value in values]))
        elif option == "language":  # "deu,eng": most of the text is German
            first = [(field == value) | pc.starts_with(field, f"{value},") for value in values]
            parts.append(reduce(or_, first))
        else:
            parts.append(field.isin(list(values)))
    return reduce(and_, parts)


def matches(path: str, keep: ds.Expression, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Rows of one index file that fulfil a condition, as SCHEMA, a batch at a time. InputError if it is no index."""
    with storage.open_input(path) as stream:
        try:
            fragment = ds.ParquetFileFormat().make_fragment(stream)
            missing = sorted({*columns, *SCHEMA.names} - set(fragment.physical_schema.names))
            if missing:
                raise InputError(f"{path}: no column {', '.join(missing)}; is it a columnar index, and new enough?")
            # Without threads: a remote file is for one at a time. Without reading ahead: memory is one row group.
            batches = fragment.to_batches(
                columns=SCHEMA.names, filter=keep, batch_size=ROWS, use_threads=False, batch_readahead=0
            )
            for batch in batches:
                if batch.num_rows:
                    yield pa.Table.from_batches([batch]).cast(SCHEMA)
        except pa.ArrowInvalid as error:
            raise InputError(f"{path} is not a Parquet index: {error}") from None


class Sorted:
    """Sorts rows by file and offset with at most RUN_ROWS of them in memory: sorted runs, then file by file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[pa.Table] = []
        self._runs = 0
        self._count: Counter[str] = Counter()

    @property
    def rows(self) -> int:
        return self._count.total()

    @property
    def files(self) -> int:
        return len(self._count)

    def add(self, table: pa.Table) -> None:
        for entry in pc.value_counts(table.column("warc_filename")).to_pylist():
            self._count[entry["values"]] += entry["counts"]
        self._held.append(table)
        if sum(held.num_rows for held in self._held) >= RUN_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            run = pa.concat_tables(self._held).sort_by([(name, "ascending") for name in PLACE[:2]])
            pq.write_table(run, self._folder / f"{self._runs:05d}.parquet", row_group_size=1 << 14)
            self._runs += 1
            self._held = []

    def tables(self) -> Iterator[pa.Table]:
        """All rows in order, each record once."""
        self._flush()
        if not self._runs:
            return
        runs = ds.dataset(self._folder, format="parquet", schema=SCHEMA)
        name = pc.field("warc_filename")
        for first, last in _stretches(self._count):
            rows = runs.to_table(filter=(name >= first) & (name <= last), use_threads=False)
            yield _once(rows.sort_by([(column, "ascending") for column in PLACE[:2]]))


def _stretches(count: Counter[str]) -> Iterator[tuple[str, str]]:
    """First and last of successive files that have about RUN_ROWS rows together."""
    names, first, rows = sorted(count), "", 0
    for number, name in enumerate(names):
        first = first or name
        rows += count[name]
        if rows >= RUN_ROWS or number == len(names) - 1:
            yield first, name
            first, rows = "", 0


def _once(table: pa.Table) -> pa.Table:
    """Without rows that repeat the place of the one before: index files may be given twice."""
    if table.num_rows < 2:
        return table
    columns = [table.column(name).combine_chunks() for name in PLACE[:2]]
    same = pc.and_(*(pc.equal(column[1:], column[:-1]) for column in columns))
    return table.filter(pa.concat_arrays([pa.array([True]), pc.invert(same)]))


def write(path: str, rows: Sorted, root: str) -> int:
    """Write a selection under its name when it is whole; the number of its rows."""
    written = 0
    with storage.scratch(path) as folder:
        file = folder / "selection"
        with pq.ParquetWriter(file, SCHEMA.with_metadata({ROOT: root.encode()}), compression="zstd") as writer:
            for table in rows.tables():
                writer.write_table(table.replace_schema_metadata({ROOT: root.encode()}), row_group_size=ROWS)
                written += table.num_rows
        storage.publish(file, path)
    return written


def parser() -> CommandLine:
    result = CommandLine(prog="pipelines.select", description="Choose records of a crawl by its columnar index.")
    result.add_argument("--index", action="append", default=[], metavar="PATTERN", help="Parquet files of the index")
    result.add_argument("--crawl", help="the index of this crawl, such as CC-MAIN-2024-10")
    result.add_argument("--files", default="0:", metavar="A:B", help="which of its index files (with --crawl)")
    for option, column in COLUMNS.items():
        result.add_argument(
            f"--{option}", action="append", default=[], metavar="VALUE[,…]", help=f"one of these in {column}"
        )
    result.add_argument("--root", default=crawl.CRAWL_ROOT, help="where the crawl's files are: a folder, https, s3, gs")
    result.add_argument("--output", required=True, help="the selection, a .parquet file")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    wanted = {
        option: [value for given in getattr(arguments, option) for value in given.split(",") if value]
        for option in COLUMNS
        if getattr(arguments, option)
    }
    keep = _checked(arguments, wanted)
    paths = [path for pattern in arguments.index for path, _ in inputs.expand(pattern)]
    if arguments.crawl:
        listed_at = arguments.root if storage.is_http(arguments.root) else crawl.CRAWL_ROOT
        paths += crawl.crawl_files(arguments.crawl, "index", *crawl.file_range(arguments.files), listed_at)
    if not paths:
        raise InputError("nothing to choose from: give --index or --crawl")
    root = os.path.abspath(arguments.root) if storage.is_local(arguments.root) else arguments.root.rstrip("/")
    started = time.monotonic()
    columns = [COLUMNS[option] for option in wanted]
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        rows = Sorted(Path(folder))
        for number, path in enumerate(paths, 1):
            for table in matches(path, keep, columns):
                rows.add(table)
            took = f"{time.monotonic() - started:.0f} s"
            print(f"index file {number} of {len(paths)}: {rows.rows:,} records so far, {took}", flush=True)
        if not rows.rows:
            raise InputError("no record of the index fulfils the conditions")
        written = write(arguments.output, rows, root)
    print(f"{written:,} records of {rows.files:,} files: {arguments.output}")
    return 0


def _checked(arguments: argparse.Namespace, wanted: Mapping[str, Sequence[str]]) -> ds.Expression:
    if not any(wanted.values()):
        raise UserError(f"say what to choose: {', '.join(f'--{option}' for option in COLUMNS)}")
    if bad := next((value for value in wanted.get("status", ()) if not value.isdigit()), None):
        raise UserError(f"--status is a number such as 200, not {bad!r}")
    if bad := next((value for value in wanted.get("language", ()) if len(value) != 3), None):
        raise UserError(f"--language is a code of three letters, as the index has them, such as deu, not {bad!r}")
    if not arguments.output.endswith(".parquet"):
        raise UserError(
            f"--output ends in .parquet, so that a run knows it for a selection; {arguments.output} does not"
        )
    return condition({option: values for option, values in wanted.items() if values})


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
