"""What a source's reader is given, and what it gives: one interface for dumps, tables, archives and folders.

A reader is a module with two functions, and an extractor names it (`reader = "curation.sources.books"`):

    read(given)   (locator, value) for each record, in a fixed order: a Page for the extractor, Merged for a record that
                  went into another's page, Skip for one that is none, or the DataError that it is
    count(given)  how many records `read` must give, without parsing them; found by other code, but of damaged
                  zips and of 7z by the one that lists them for `read` (curation/bundle.py)

What cannot be opened at all is one record, with locator "0". Nothing is held beyond one record and some fixed limits.

A module with `FOLDERS = True` reads a folder as one input. For the others a folder stands for the files in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from curation.document import Page, Skip, document_id
from curation.errors import DataError


@dataclass(frozen=True, slots=True)
class Merged:
    """A record that became part of another record's page: an answer, in its question's."""


Value = Page | Skip | Merged | DataError


@dataclass(frozen=True, slots=True)
class Given:
    """One input file of a source; or, of an input folder, those of its entries that are this part's."""

    source: str
    file: str  # its name in document ids
    open: Callable[[], BinaryIO]  # the file from its first byte, seekable; meaningless for a folder
    folder: Path | None = None
    entries: tuple[str, ...] = ()  # names of files and folders directly in `folder`, sorted

    def id(self, locator: str) -> str:
        return document_id(self.source, self.file, locator)


class Reader(Protocol):
    """The shape of a reader's module."""

    def read(self, given: Given) -> Iterator[tuple[str, Value]]: ...

    def count(self, given: Given) -> int: ...
