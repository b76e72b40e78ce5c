"""What every extractor of web pages shares: which pages are looked at, and what their text looks like."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from curation.document import Document, Drop, Page
from curation.nfc import nfc
from curation.rights import directives

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = ("text/plain",)

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


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


def most_attributes(html: str, longest: int) -> int:
    """The most attributes of one tag, of those alone that have `longest` characters or more behind their first letter.

    What is quoted holds no attribute, however long. 0 where no tag is so long.
    """
    tags = (match[0] for match in re.finditer(rf"<[A-Za-z][^>]{{{longest},}}", html))
    return max((len(_QUOTED.sub("", tag).split()) - 1 for tag in tags), default=0)


def finish(page: Page, text: str, *, agents: Iterable[str] = ()) -> Document | Drop:
    """The document of a page: NFC, lines ended by \\n alone, no spaces before them, none empty at either end.

    `robots` is what the response's header says, to all or to one of `agents`; None where there was no response.
    """
    text = nfc(_LINE_END.sub("\n", text))
    text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
    if not text.strip():
        return Drop("no_text", 0, 1)
    robots = directives(page.robots, agents=agents) if page.status else None
    return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text, robots=robots)
