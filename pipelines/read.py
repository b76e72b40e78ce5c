"""Open a part and hand out its pages, counting what comes in by code that has no part in what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import BinaryIO

from curation.document import Page, document_id
from curation.errors import DataError, LedgerError
from curation.ledger import Balance
from curation.records import Skip, read_range
from curation.sources import wikipedia
from pipelines.apply_steps import Account
from pipelines.inputs import Part

STEP = "read"


class Reading(AbstractContextManager["Reading"]):
    """The pages of one part. Skipped and failed records go to the account; pages are yielded.

    An archive is proven complete by its bytes: the records' spans must follow each other without gap or overlap, here
    within the part and in `check_tiling` across the parts of a file. A dump is proven complete by a second reader
    that only counts.
    """

    def __init__(self, part: Part, account: Account) -> None:
        self._part = part
        self._account = account
        self._bytes = Balance("bytes")
        self.span: tuple[int, int] | None = None
        self._stream: BinaryIO = part.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def pages(self) -> Iterator[Page]:
        return self._dump() if self._part.is_dump else self._archive()

    def balances(self) -> list[Balance]:
        """Further accounts of the part; bytes for an archive."""
        if self.span is None:
            return []
        self._bytes.incoming = self.span[1] - self.span[0]
        return [self._bytes]

    def _archive(self) -> Iterator[Page]:
        part = self._part
        if part.size == 0:
            self._account.balance.incoming += 1
            self._account.fail(document_id(part.source, part.file, "0"), "", STEP, DataError("empty_file"))
        for record in read_range(self._stream, part.size, part.start, part.end, part.source, part.file):
            first, position = self.span or (record.start, record.start)
            if record.start != position:
                raise LedgerError(
                    f"{part.file}: a record ends at byte {position} and the next begins at {record.start}"
                )
            self.span = (first, record.end)
            self._account.balance.incoming += 1
            if isinstance(record.value, DataError):
                self._bytes.failed[record.value.reason] += record.end - record.start
                self._account.fail(document_id(part.source, part.file, record.locator), "", STEP, record.value)
                continue
            self._bytes.kept += record.end - record.start
            if isinstance(record.value, Skip):
                self._account.skip(record.value.type)
            else:
                yield record.value

    def _dump(self) -> Iterator[Page]:
        part = self._part
        with part.open() as again:
            self._account.balance.incoming = wikipedia.count_pages(again)
        for locator, value in wikipedia.read_dump(self._stream, part.source, part.file):
            if isinstance(value, DataError):
                self._account.fail(document_id(part.source, part.file, locator), "", STEP, value)
            elif isinstance(value, Skip):
                self._account.skip(value.type)
            else:
                yield value


def check_tiling(parts: list[Part], spans: dict[int, tuple[int, int] | None]) -> None:
    """The parts of each archive, read one by one, must cover every byte of it once. Raises LedgerError."""
    position: dict[tuple[str, str], int] = {}
    sizes: dict[tuple[str, str], int] = {}
    for part in parts:
        if part.is_dump:
            continue
        file = (part.source, part.file)
        sizes[file] = part.size
        at = position.setdefault(file, 0)
        span = spans[part.number]
        if span is not None:
            if span[0] != at:
                raise LedgerError(f"{part.file}: parts leave bytes {at} to {span[0]} unread, or read them twice")
            position[file] = span[1]
    for file, size in sizes.items():
        if position[file] != size:
            raise LedgerError(f"{file[1]}: read to byte {position[file]} of {size}")
