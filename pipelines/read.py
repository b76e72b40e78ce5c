"""Open a part and hand out its pages, counting what comes in by code that has no part in what becomes of it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO

from curation.document import Page, Skip, document_id
from curation.errors import DataError, LedgerError
from curation.ledger import Balance
from curation.records import Record, clean_url, read_indexed, read_range
from curation.sources.given import Merged, Reader
from pipelines import selection
from pipelines.apply_steps import Account
from pipelines.inputs import ARCHIVE, SELECTION, Part
from pipelines.selection import LONGEST

STEP = "read"


class Reading(AbstractContextManager["Reading"]):
    """The pages of one part. Skipped and failed records go to the account; pages are yielded.

    An archive is proven complete by its bytes: the records' spans must follow each other without gap or overlap, here
    within the part and in `check_tiling` across the parts of a file. What `reader`, a module's name, reads (dumps,
    tables, folders) is proven complete by the reader's other function, which only counts; the selected records of a
    file by the rows that name them.
    """

    def __init__(self, part: Part, account: Account, reader: str = "") -> None:
        self._part = part
        self._account = account
        self._reader = reader
        self._bytes = Balance("bytes")
        self.span: tuple[int, int] | None = None
        self._stream: BinaryIO | None = part.open() if part.kind == ARCHIVE else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def pages(self) -> Iterator[Page]:
        if self._part.kind == SELECTION:
            return self._selected()
        return self._archive() if self._part.kind == ARCHIVE else self._whole()

    def balances(self) -> list[Balance]:
        """Further accounts of the part; bytes for an archive."""
        if self.span is None or self._part.kind not in (ARCHIVE, SELECTION):
            return []
        if self._part.kind == ARCHIVE:
            self._bytes.incoming = self.span[1] - self.span[0]
        return [self._bytes]

    def _archive(self) -> Iterator[Page]:
        part = self._part
        if part.size == 0:
            self._account.balance.incoming += 1
            self._account.fail(document_id(part.source, part.file, "0"), "", STEP, DataError("empty_file"))
        stream = self._opened()
        for record in read_range(stream, part.size, part.start, part.end, part.source, part.file):
            first, position = self.span or (record.start, record.start)
            if record.start != position:
                raise LedgerError(
                    f"{part.file}: a record ends at byte {position} and the next begins at {record.start}"
                )
            self.span = (first, record.end)
            self._account.balance.incoming += 1
            yield from self._enter(record)

    def _enter(self, record: Record) -> Iterator[Page]:
        """Enter a record in the books; a page is given on."""
        if isinstance(record.value, DataError):
            self._bytes.failed[record.value.reason] += record.end - record.start
            self._fail(record.locator, record.value)
            return
        self._bytes.kept += record.end - record.start
        if isinstance(record.value, Skip):
            self._account.skip(record.value.type)
        else:
            yield record.value

    def _fail(self, locator: str, error: DataError) -> None:
        self._account.fail(document_id(self._part.source, self._part.file, locator), "", STEP, error)

    def _opened(self) -> BinaryIO:
        if self._stream is None:
            raise TypeError("a part of a selection has no stream")
        return self._stream

    def _selected(self) -> Iterator[Page]:
        """The records that the part's rows declare: each is read, or fails; those of which nobody knew are `split`."""
        part = self._part
        rows = selection.rows(part.selection, part.first_row + part.start, part.first_row + part.end)
        self._account.balance.incoming = part.end - part.start
        self._bytes.incoming = sum(row.length for row in rows)
        for count, (row, data) in enumerate(selection.stored(part.path, rows), 1):
            self.span = (part.start, part.start + count)
            if missing := row.length - len(data or b""):
                reason = "missing_file" if data is None else "truncated" if row.length <= LONGEST else "too_large"
                self._bytes.failed[reason] += missing
                if not data:
                    self._fail(str(row.offset), DataError(reason, f"{row.length} bytes from {row.offset}"))
                    continue
            for number, record in enumerate(read_indexed(data or b"", row.offset, part.source, part.file)):
                self._account.balance.split += number > 0
                value = record.value
                if number == 0 and isinstance(value, Page) and value.url != clean_url(row.url):
                    value = DataError("other_record", f"the index says {row.url}, the record {value.url}"[:200])
                yield from self._enter(replace(record, value=value))

    def _whole(self) -> Iterator[Page]:
        part, books = self._part, self._account
        reader: Reader = importlib.import_module(self._reader)  # type: ignore[assignment]
        given = part.given()
        self.span = (part.start, part.end)
        books.balance.incoming = reader.count(given)
        for locator, value in reader.read(given):
            if isinstance(value, DataError):
                self._fail(locator, value)
            elif isinstance(value, Skip):
                books.skip(value.type)
            elif isinstance(value, Merged):
                books.balance.merged += 1
            else:
                yield value


def check_tiling(parts: list[Part], spans: dict[int, tuple[int, int] | None]) -> None:
    """The parts of each file must cover every byte of it once, or every row of its selection, or every entry of the
    folder that it is. Raises LedgerError.
    """
    position: dict[tuple[str, str], int] = {}
    sizes: dict[tuple[str, str], int] = {}
    for part in parts:
        file = (part.source, part.file)
        sizes[file] = part.size
        at = position.setdefault(file, 0)
        span = spans[part.number]
        if span is not None:
            if span[0] != at:
                raise LedgerError(f"{part.file}: parts leave {at} to {span[0]} unread, or read them twice")
            position[file] = span[1]
    for file, size in sizes.items():
        if position[file] != size:
            raise LedgerError(f"{file[1]}: read to {position[file]} of {size}")
