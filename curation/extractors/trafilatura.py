"""The main text of an HTML page, by the library trafilatura (Barbaresi 2021), behind limits that are deterministic.

Set up so that a page gives the same text alone, after others, and anywhere: no deduplication (the only state of the
library that outlives a page and matters), no metadata (its dates look at the clock), no language guess, its default
settings as a constant. Not safe in two threads of one process: lxml crashes there.
"""

from __future__ import annotations

import functools
import logging
import re
from dataclasses import dataclass, replace
from typing import ClassVar

from lxml.etree import XPath, iterwalk
from lxml.html import HtmlElement

from curation.decode import decode
from curation.document import Document, Drop, Page
from curation.extractors.gates import HTML_TYPES, TEXT_TYPES, check_page, finish, most_attributes
from curation.rights import find_rights

_LONG_TAG = 32 << 10  # characters
_REFERENCE = re.compile(r"&#([xX][0-9A-Fa-f]+|[0-9]+);?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trafilatura:
    """HTML and XHTML to their main text; text/plain and WET conversions pass through as in Plain.

    Drops: `http_status`, `content_type`, `too_large`, `too_many_tags`, `too_many_attributes`, `too_deep`, `no_text`.
    Raises DataError(`binary_body`). Fills `robots` and `licence` (curation/rights.py).
    """

    libraries: ClassVar[tuple[str, ...]] = ("jusText",)  # which trafilatura imports, and we do not
    writes: ClassVar[tuple[str, ...]] = ("robots", "licence")

    fast: bool = True  # no second opinion of other extractors: two thirds of the time (docs/reading.md)
    favor_precision: bool = False  # FineWeb turns it on; F1 falls by .014 and short pages lose all their text
    include_tables: bool = True  # also of layout: of 94 pages of 2008, 59 lose all their text without, 3 with
    include_comments: bool = False
    # Deterministic limits, because time limits are not: with each at its limit a page takes less than 10 s.
    max_bytes: int = 5 << 20  # as much of a response as Common Crawl keeps
    max_tags: int = 100_000  # occurrences of "<"; real pages have about 1,000, and a rare one 70,000
    max_attributes: int = 2_000  # of one tag of more than 32 KiB: the parser's time is quadratic in them
    max_depth: int = 200  # elements inside each other; real pages have up to about 40, and the parser stops at 256
    agents: tuple[str, ...] = ()  # robots, in lower case, whose directives are ours as well: "ccbot", say

    def __call__(self, page: Page) -> Document | Drop:
        drop = check_page(page, HTML_TYPES + TEXT_TYPES, self.max_bytes)
        if drop is not None:
            return drop
        text = decode(page.body, page.charset)
        if page.content_type in TEXT_TYPES:
            return finish(page, text, agents=self.agents)
        tags = text.count("<")
        if tags > self.max_tags:
            return Drop("too_many_tags", tags, self.max_tags)
        attributes = most_attributes(text, _LONG_TAG)
        if attributes > self.max_attributes:
            return Drop("too_many_attributes", attributes, self.max_attributes)
        return self._extract(page, text)

    def _extract(self, page: Page, html: str) -> Document | Drop:
        from trafilatura import extract  # 0.5 s, and only for those who extract
        from trafilatura.utils import load_html

        logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
        tree = load_html(_drop_bad_references(html))
        if tree is None:
            return Drop("no_text", 0, 1)
        depth = _depth_if_beyond(tree, self.max_depth)
        if depth > self.max_depth:
            return Drop("too_deep", depth, self.max_depth)
        robots, licence = find_rights(html, tree, header=page.robots, url=page.url, agents=self.agents)
        text = extract(
            tree,
            fast=self.fast,
            favor_precision=self.favor_precision,
            include_tables=self.include_tables,
            include_comments=self.include_comments,
            deduplicate=False,
            with_metadata=False,
            output_format="txt",
        )
        verdict = finish(page, text or "")
        return verdict if isinstance(verdict, Drop) else replace(verdict, robots=robots, licence=licence)


def _depth_if_beyond(tree: HtmlElement, limit: int) -> int:
    """The depth of the tree if it is beyond the limit, else 0. The question alone costs a sixth of the answer."""
    if not _deeper_than(limit)(tree):
        return 0
    depth = deepest = 0
    for event, _ in iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


@functools.cache
def _deeper_than(limit: int) -> XPath:
    return XPath(f"boolean(/{'/'.join('*' * (limit + 1))})")


def _drop_bad_references(html: str) -> str:
    """Leave out references to characters that XML forbids (XML 1.0, section 2.2), or the library gives up the page."""
    return _REFERENCE.sub(_unless_bad, html) if "&#" in html else html


def _unless_bad(reference: re.Match[str]) -> str:
    digits = reference[1]
    # None of the limits has more than seven digits, and a longer number need not be computed.
    code = (int(digits[1:], 16) if digits[0] in "xX" else int(digits)) if len(digits.lstrip("0")) < 9 else -1
    good = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
    return reference[0] if good else ""
