"""Text that is text already: text/plain responses and WET conversions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from curation.decode import decode
from curation.document import Document, Drop, Page
from curation.errors import DataError, RecipeError
from curation.extractors.gates import TEXT_TYPES, check_page, finish

_LINE_END = re.compile("\r\n|\r|\n")  # what ends a line of a file that Python reads as text
_FIRST_LINE = "WARC/1.0"  # to CCNet a record ends where such a line stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Pass the text through with its lines; HTML is dropped by `content_type`. Raises DataError(`binary_body`).

    semantics = "ccnet" reads a WET conversion as CCNet does: each line is stripped, the first is the title and no part
    of the text, and blank lines stay (docs/ccnet.md). Drops `not_a_conversion` and `too_few_lines`; raises
    DataError(`bad_utf8`).
    """

    writes: ClassVar[tuple[str, ...]] = ("robots",)  # from the response's header; None for a WET conversion

    semantics: str = "winnow"
    max_bytes: int = 5 << 20  # as in Trafilatura; CCNet has no such limit

    def __post_init__(self) -> None:
        if self.semantics not in ("winnow", "ccnet"):
            raise RecipeError(f'plain: semantics must be "winnow" or "ccnet", not {self.semantics!r}')

    def __call__(self, page: Page) -> Document | Drop:
        if self.semantics == "ccnet" and page.status:
            return Drop("not_a_conversion", page.status, 0)
        drop = check_page(page, TEXT_TYPES, self.max_bytes)
        if drop is not None:
            return drop
        if self.semantics == "winnow":
            return finish(page, decode(page.body, page.charset))
        try:
            return _as_ccnet(page, page.body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DataError("bad_utf8", str(error)) from None


def _as_ccnet(page: Page, block: str) -> Document | Drop:
    """CCNet sees the lines of the file, so also those that part this record from the next; a record ends with CRLFCRLF.

    Where the block ends with a newline these are two blank lines, and go. Where it does not, it is one, which stays.
    """
    lines = [line.strip() for line in _LINE_END.split(block + "\r\n\r\n")[:-1]]
    if _FIRST_LINE in lines:
        lines = lines[: lines.index(_FIRST_LINE)]
    if len(lines) < 2:  # CCNet stops with an IndexError at a single blank line
        return Drop("too_few_lines", len(lines), 2)
    if not lines[-1] and not lines[-2]:
        lines = lines[:-2]
    text = "\n".join(lines[1:])
    if not text:
        return Drop("no_text", 0, 1)
    return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text)
