"""The main text of an HTML page, by a model that keeps or drops each of its blocks (docs/reading.md).

One pass cuts the page into blocks (curation/main_text), trees that learned from trafilatura decide about each, and only
a page about which they are in doubt is given to trafilatura itself. No state outlives a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from curation.decode import decode_to_utf8
from curation.document import Document, Drop, Page
from curation.errors import DataError, RecipeError
from curation.extractors.gates import HTML_TYPES, TEXT_TYPES, check_page, finish
from curation.extractors.trafilatura import Trafilatura
from curation.main_text.layout import MAX_BYTES
from curation.main_text.model import Model, Verdict, judge, read, shipped
from curation.main_text.render import render
from curation.main_text.scan import Scan, scan
from curation.main_text.tags import CELL
from curation.rights import directives, stated_licence

_SOME_PAGE = Page(
    id="", url="", date="", digest="", status=200, content_type="text/html", charset="", body=b"<p>A page.</p>"
)
_XHTML = "application/xhtml+xml"
_EMPTY = re.compile(rb"<((?:script|style|title|textarea|iframe|noscript|noframes|template)\b[^<>]*)/>", re.IGNORECASE)
_NEVER = 0.5  # the most that doubt can be
_MOST_BYTES = MAX_BYTES // 3  # the scanner's limit; a byte of a page may become three of UTF-8
_NEXT_TO_NOTHING = 250  # bytes; trafilatura calls a shorter text too short, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Winnow:
    """HTML and XHTML to their main text; text/plain and WET conversions pass through as in Plain.

    `model` names the artifact of a model of your own (`python -m models.train_extractor`); "" is the one that comes
    with Winnow. Drops: `http_status`, `content_type`, `too_large`, `too_many_tags`, `no_text`. Raises
    DataError(`binary_body`). Fills `robots` and `licence` (curation/rights.py).
    """

    libraries: ClassVar[tuple[str, ...]] = (*Trafilatura.libraries, "llvmlite")
    writes: ClassVar[tuple[str, ...]] = ("robots", "licence")
    recycle_after: ClassVar[int] = 20_000  # pages; a process starts in a second or two, and few pages reach libxml2

    model: str = ""
    # Pages with more doubt go to trafilatura, one or two in a hundred (docs/benchmarks.md); at 0.5 and above none does.
    max_doubt: float = 0.38
    max_slow_tags: int = 2_000  # of a page that goes there, occurrences of "<": the others would take over 0.1 s
    include_tables: bool = True  # also of layout, as in Trafilatura
    include_comments: bool = False
    max_bytes: int = 5 << 20  # as in Trafilatura
    max_tags: int = 100_000  # as in Trafilatura; memory is a kilobyte a block
    agents: tuple[str, ...] = ()  # robots, in lower case, whose directives are ours as well: "ccbot", say

    def __post_init__(self) -> None:
        if self.max_doubt < 0:
            raise RecipeError("winnow: max_doubt is at least 0, and 0.5 for no page to go to trafilatura")
        if min(self.max_slow_tags, self.max_tags) < 0:
            raise RecipeError("winnow: max_slow_tags and max_tags are at least 0")
        if not 1 <= self.max_bytes <= _MOST_BYTES:
            raise RecipeError(f"winnow: max_bytes is from 1 to {_MOST_BYTES}")

    def __call__(self, page: Page) -> Document | Drop:
        return self.extract(page, shipped())

    def prepare(self) -> None:
        """Compile, which takes up to a minute on a machine where no page was ever scanned, and under 2 s after that."""
        self(_SOME_PAGE)

    def artifacts(self) -> tuple[str, ...]:
        return (self.model,) if self.model else ()

    def check(self, artifacts: Mapping[str, Path]) -> None:
        """Raises ModelError for a model that this version cannot read, before a run begins."""
        if self.model:
            read(artifacts[self.model])
        else:
            shipped()

    def load(self, artifacts: Mapping[str, Path]) -> Callable[[Page], Document | Drop]:
        return WithModel(self, artifacts[self.model]) if self.model else self

    def extract(self, page: Page, model: Model) -> Document | Drop:
        """The document of a page, as a model has it."""
        drop = check_page(page, HTML_TYPES + TEXT_TYPES, self.max_bytes)
        if drop is not None:
            return drop
        html = decode_to_utf8(page.body, page.charset)
        if page.content_type in TEXT_TYPES:
            return finish(page, html.decode(), agents=self.agents)
        tags = html.count(b"<")
        if tags > self.max_tags:
            return Drop("too_many_tags", tags, self.max_tags)
        scanned = scan(_closed(html) if page.content_type == _XHTML else html)
        verdict = judge(model, scanned, comments=self.include_comments)
        if verdict.doubt > self.max_doubt or (self.max_doubt < _NEVER and _is_elsewhere(scanned, verdict)):
            second = self._second_opinion(page)
            if second is not None:
                return second
        kept = verdict.kept | verdict.comments if self.include_comments else verdict.kept
        if not self.include_tables:
            kept = kept & (scanned.kind != CELL)
        document = finish(page, render(scanned, kept))
        return document if isinstance(document, Drop) else self._with_rights(document, page, scanned)

    def _second_opinion(self, page: Page) -> Document | None:
        slow = Trafilatura(
            fast=True,
            include_tables=self.include_tables,
            include_comments=self.include_comments,
            max_bytes=self.max_bytes,
            max_tags=min(self.max_slow_tags, self.max_tags),
            agents=self.agents,
        )
        try:
            verdict = slow(page)
        except DataError:
            return None
        return verdict if isinstance(verdict, Document) else None

    def _with_rights(self, document: Document, page: Page, scanned: Scan) -> Document:
        robots = directives(page.robots, scanned.metas, agents=self.agents)
        return replace(
            document, robots=robots, licence=stated_licence(scanned.licence_links, scanned.linked_data, page.url)
        )


def _closed(xhtml: bytes) -> bytes:
    """With an end tag for each empty element that HTML would take to go on to the end of the page."""
    return _EMPTY.sub(lambda tag: b"<" + tag[1] + b"></" + tag[1].split(None, 1)[0] + b">", xhtml)


def _is_elsewhere(scanned: Scan, verdict: Verdict) -> bool:
    """Whether next to nothing is kept of a page that has its text in JSON-LD (https://schema.org/articleBody)."""
    if not any("articleBody" in script for script in scanned.linked_data):
        return False
    return int((scanned.text_to - scanned.text_from)[verdict.kept].sum()) < _NEXT_TO_NOTHING


@dataclass(frozen=True, slots=True)
class WithModel:
    """An extractor with the model of an artifact. Processes that get it read the model themselves."""

    extractor: Winnow
    model: Path
    recycle_after: ClassVar[int] = Winnow.recycle_after

    def prepare(self) -> None:
        self(_SOME_PAGE)

    def __call__(self, page: Page) -> Document | Drop:
        return self.extractor.extract(page, read(self.model))
