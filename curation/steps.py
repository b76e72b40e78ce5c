"""What a step is. Everything that happens to one document is one of these three shapes.

- A *filter* or an *edit* is a frozen dataclass whose fields are its thresholds: `(Document) -> Document | Drop`. One
  that needs data files (a block list) names them and is loaded like a scorer: `load(paths)` returns that function.
- An *extractor* turns a page into a document: `(Page) -> Document | Drop`.
- A *scorer* fills score fields. It names the model artifacts it needs and is loaded once per process:
  `load(paths)` returns a function from a batch of documents to the same documents with the fields filled, in order.

A step never logs, counts or does I/O. It raises DataError for a page that cannot be processed.
A recipe names a step by its file: `{ filter = "gopher_quality" }` is the class `GopherQuality` in
`curation/filters/gopher_quality.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from curation.document import Document, Drop, Page

Judge = Callable[[Document], Document | Drop]
Score = Callable[[Sequence[Document]], list[Document]]


class Step(Protocol):
    """A filter or an edit. A kept, unedited document is returned as the very same object."""

    def __call__(self, document: Document) -> Document | Drop: ...


class StepWithData(Protocol):
    """A filter or an edit whose lists are artifacts."""

    def artifacts(self) -> tuple[str, ...]:
        """Names of the artifacts (directories under --models) that it needs; () when it needs none of them."""
        ...

    def load(self, artifacts: Mapping[str, Path]) -> Judge: ...


class Extractor(Protocol):
    """Finds the text of a page. Must not depend on time, on other pages, or on the machine.

    Two things it may have besides: `prepare()`, which compiles or loads what the first page would otherwise wait for,
    and `recycle_after`, the pages after which its process is replaced (pipelines/isolation.py).
    """

    def __call__(self, page: Page) -> Document | Drop: ...


class Scorer(Protocol):
    """Learned knowledge about a document. `writes` names the Document fields that it fills."""

    writes: ClassVar[tuple[str, ...]]

    def artifacts(self) -> tuple[str, ...]:
        """Names of the model artifacts (directories under --models) that it needs."""
        ...

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        """Load the models from the verified artifact directories."""
        ...
