"""The main text of an HTML page, by the library Resiliparse (Bevendorff et al. 2018), behind deterministic limits.

A quarter of Trafilatura's time, and .05 less F1 (docs/benchmarks.md). DCLM extracts with it (Li et al. 2024).
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from curation.decode import decode
from curation.document import Document, Drop, Page
from curation.extractors.gates import HTML_TYPES, TEXT_TYPES, check_page, finish, most_attributes
from curation.languages import CLOSERS, SENTENCE_ENDS
from curation.rights import find_rights

# Ends of a sentence, a quotation or a bracket, in any script: such a line is text, however short.
_ENDS = tuple(SENTENCE_ENDS + CLOSERS + "…")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f\ufffe\uffff]")  # references to characters that are none: &#1;

_LONG_TAG = 8 << 10  # characters
_OPTION = re.compile(r"<opt", re.IGNORECASE)
# The formatting elements of the HTML standard (section 13.2.4.3) that do not close themselves.
_FORMATTING = re.compile(r"<(/?)(b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s/>])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resiliparse:
    """HTML and XHTML to their main text; text/plain and WET conversions pass through as in Plain.

    Defaults have the best F1 on the development half of the pages in docs/benchmarks.md. Lines of code and of verse can
    be short: `min_line_characters = 0` keeps them, for .01 less F1.
    Drops: `http_status`, `content_type`, `too_large`, `too_many_tags`, `too_many_attributes`, `too_many_options`,
    `too_much_reopened`, `too_deep`, `no_text`. Raises DataError(`binary_body`).
    Fills `robots` and `licence` (curation/rights.py).
    """

    writes: ClassVar[tuple[str, ...]] = ("robots", "licence")

    main_content: bool = True  # False: all text of the page, as in Common Crawl's WET files
    alt_texts: bool = False
    comments: bool = False
    post_meta: bool = False  # author and date lines
    list_bullets: bool = True
    min_line_characters: int = 20  # shorter lines go unless they end as a sentence does; 0 keeps every line
    # Deterministic limits, because time limits are not: with each at its limit a page takes less than 10 s.
    max_bytes: int = 5 << 20  # as in Trafilatura
    max_tags: int = 100_000  # as in Trafilatura
    max_attributes: int = 2_000  # of one tag of more than 8 KiB: the parser's time is quadratic in them
    max_options: int = 10_000  # of all menus: the parser's time is quadratic in those of one
    max_reopened: int = 1_000_000  # tags times open formatting elements: each block repeats those left open before it
    max_depth: int = 200  # elements inside each other: the library's time is quadratic in it
    agents: tuple[str, ...] = ()  # robots, in lower case, whose directives are ours as well: "ccbot", say

    def __call__(self, page: Page) -> Document | Drop:
        drop = check_page(page, HTML_TYPES + TEXT_TYPES, self.max_bytes)
        if drop is not None:
            return drop
        text = decode(page.body, page.charset)
        if page.content_type in TEXT_TYPES:
            return finish(page, text, agents=self.agents)
        drop = self._check_html(text)
        return drop if drop is not None else self._extract(page, text)

    def _check_html(self, html: str) -> Drop | None:
        tags = html.count("<")
        if tags > self.max_tags:
            return Drop("too_many_tags", tags, self.max_tags)
        attributes = most_attributes(html, _LONG_TAG)
        if attributes > self.max_attributes:
            return Drop("too_many_attributes", attributes, self.max_attributes)
        if tags > self.max_options:
            options = sum(1 for _ in _OPTION.finditer(html))
            if options > self.max_options:
                return Drop("too_many_options", options, self.max_options)
        if tags * tags > self.max_reopened:
            reopened = tags * _most_open(html)
            if reopened > self.max_reopened:
                return Drop("too_much_reopened", reopened, self.max_reopened)
        return None

    def _extract(self, page: Page, html: str) -> Document | Drop:
        tree = HTMLTree.parse(html)
        if tree.document is None:
            return Drop("no_text", 0, 1)
        if tree.document.query_selector(_deeper_than(self.max_depth)) is not None:
            return Drop("too_deep", self.max_depth + 1, self.max_depth)  # or deeper: to find out takes longer
        text = extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=self.main_content,
            list_bullets=self.list_bullets,
            alt_texts=self.alt_texts,
            comments=self.comments,
            post_meta=self.post_meta,
        )
        text = _CONTROLS.sub("", text)
        if self.min_line_characters:
            text = "\n".join(line for line in text.split("\n") if self._is_text(line.strip()))
        verdict = finish(page, text)
        if isinstance(verdict, Drop):
            return verdict
        robots, licence = find_rights(html, header=page.robots, url=page.url, agents=self.agents)
        return replace(verdict, robots=robots, licence=licence)

    def _is_text(self, line: str) -> bool:
        return not line or len(line) >= self.min_line_characters or line.endswith(_ENDS)


def _most_open(html: str) -> int:
    """The most formatting elements that are open at one time."""
    is_open: Counter[str] = Counter()
    now = most = 0
    for match in _FORMATTING.finditer(html):
        name = match[2].lower()
        if not match[1]:
            is_open[name] += 1
            now += 1
            most = max(most, now)
        elif is_open[name]:
            is_open[name] -= 1
            now -= 1
    return most


@functools.cache
def _deeper_than(limit: int) -> str:
    """A selector of the elements that have `limit` others around them."""
    return " > ".join("*" * (limit + 1))
