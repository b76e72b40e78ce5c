"""Lines that repeat across the crawl (CCNet: Wenzek et al. 2019, section 3.1; docs/recipe.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from curation.dedup.verdict import KEEP
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.hashing import splitmix64
from curation.mixture import keys64, shard_of
from curation.normalize import paragraph_hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Remove lines that other documents hold too.

    A line is compared by CCNet's key: stripped, lower-cased, digits as 0, CCNet's punctuation deleted; the first 8
    bytes of the SHA-1 of that.

    semantics = "winnow" keeps the copy in the smallest document, over the whole run, and leaves blank lines alone.
    semantics = "ccnet" removes every copy, within each of `file_groups` stretches of files, and treats a blank line as
    one more line that repeats. A document that loses all its lines is dropped; how long it must still be is for a
    filter to say.

    keep = "none" removes a line that more than `max_documents` documents hold, from all of them; a line of fewer stays
    in each. Llama 3 (Dubey et al. 2024, section 3.1.1) removes what appears more than 6 times in each bucket of 30
    million documents: keep = "none", max_documents = 6, id_groups = documents / 30 million.
    """

    unit: ClassVar[str] = "lines"

    semantics: str = "winnow"
    keep: str = ""  # "smallest", "newest" or "none"; "" is the semantics' own
    max_documents: int = 1  # with keep = "none": how many may hold a line before it goes
    group_files: int = 0  # groups of so many consecutive files; 0: no such groups
    file_groups: int = 0  # so many groups of consecutive files, of equal size or one more; 0: no such groups
    id_groups: int = 0  # groups of documents, by equal ranges of their keys; 0: no such groups

    def __post_init__(self) -> None:
        if self.semantics not in ("winnow", "ccnet"):
            raise RecipeError(f'dedup lines: semantics must be "winnow" or "ccnet", not {self.semantics!r}')
        if not self.keep:
            object.__setattr__(self, "keep", "smallest" if self.semantics == "winnow" else "none")
        if self.keep not in KEEP:
            raise RecipeError(f"dedup lines: keep must be one of {', '.join(KEEP)}, not {self.keep!r}")
        if self.max_documents < 1:
            raise RecipeError("dedup lines: max_documents is at least 1")
        if self.max_documents > 1 and self.keep != "none":
            raise RecipeError(
                f'dedup lines: max_documents goes with keep = "none"; keep = "{self.keep}" leaves one copy of a line'
            )
        if min(self.group_files, self.file_groups) < 0:
            raise RecipeError("dedup lines: group_files and file_groups are numbers, or 0 for the whole run")
        if self.group_files and self.file_groups:
            raise RecipeError("dedup lines: give group_files, the size of a group, or file_groups, their number")
        if not 0 <= self.id_groups < 1 << 32:
            raise RecipeError("dedup lines: id_groups is a number of groups, or 0 for none")

    def hashes(self, document: Document) -> np.ndarray:
        """uint64 [lines that are compared]."""
        hashes = paragraph_hashes(self._compared(document.text))
        return splitmix64(hashes ^ self._group(document)) if self.id_groups else hashes

    def file_group(self, number: int, files: int) -> int:
        """Which group file `number` of `files` is in. Of G groups, number g begins at file floor(g * files / G)."""
        if self.file_groups:
            return ((number + 1) * self.file_groups - 1) // files
        return number // self.group_files if self.group_files else 0

    def _group(self, document: Document) -> np.ndarray:
        """The number of the document's group, mixed: uint64 [1]. Lines of different groups never meet."""
        key = np.frombuffer(document.key, dtype=np.uint8)[None]
        return splitmix64(shard_of(keys64(key), self.id_groups).astype(np.uint64))

    def _compared(self, text: str) -> list[str]:
        lines = text.split("\n")
        return lines if self.semantics == "ccnet" else [line for line in lines if line.strip()]

    def units(self, document: Document) -> int:
        """How many lines stand for this document in the ledger."""
        return document.text.count("\n") + 1 if self.semantics == "ccnet" else len(self._compared(document.text))

    def apply(self, document: Document, survives: np.ndarray) -> tuple[Document | Drop, int]:
        """The document without its losing lines, or a Drop when none is left; and how many lines were kept."""
        if len(survives) != self.units(document):
            raise ValueError(f"{len(survives)} verdicts for a document of {self.units(document)} lines")
        kept = int(survives.sum())
        if kept == len(survives):
            return document, kept
        if not kept:
            return Drop("all_lines_repeat", len(survives), 0), 0
        return replace(document, text="\n".join(self._remaining(document.text, survives))), kept

    def _remaining(self, text: str, survives: np.ndarray) -> Iterator[str]:
        """Surviving lines; where paragraphs were set apart by blank lines, those left still are, by one."""
        if self.semantics == "ccnet":
            yield from (line for line, stays in zip(text.split("\n"), survives, strict=True) if stays)
            return
        verdicts = iter(survives)
        first, apart = True, False
        for line in text.split("\n"):
            if not line.strip():
                apart = True
            elif next(verdicts):
                if apart and not first:
                    yield ""
                yield line
                first, apart = False, False
