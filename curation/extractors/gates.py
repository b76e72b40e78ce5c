"""What every extractor of web pages shares: which pages are looked at, and what their text looks like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from curation.document import Document, Drop, Page
from curation.rights import directives

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = ("text/plain",)

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_TRAILING = re.compile(r"[^\S\n]+(?=\n)")


def check_page(page: Page, types: Collection[str], max_bytes: int) -> Drop | None:
    """None for a page to extract; else the Drop: `http_status`, `content_type` or `too_large`, in this order.

    A status of 0 means no HTTP response (a WET conversion), which passes.
    """
    if page.status not in (0, 200):
        return Drop("http_status", page.status, 200)
    if page.content_type not in types:
        return Drop("content_type", page.content_type, " ".join(types))
    if len(page.body) > max_bytes:
        return Drop("too_large", len(page.body), max_bytes)
    return None


def finish(page: Page, text: str) -> Document | Drop:
    """The document of a page: NFC, lines ended by \\n alone, no spaces before them, none empty at either end.

    `robots` is what the response's header says; None where there was no response.
    """
    text = unicodedata.normalize("NFC", _LINE_END.sub("\n", text))
    text = _TRAILING.sub("", text).strip("\n").rstrip()
    if not text.strip():
        return Drop("no_text", 0, 1)
    robots = directives(page.robots) if page.status else None
    return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text, robots=robots)
