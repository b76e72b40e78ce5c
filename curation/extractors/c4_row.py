"""The text of a row of published C4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.gates import TEXT_TYPES, check_page, finish


@dataclass(frozen=True, slots=True, kw_only=True)
class C4Row:
    """The text as it is: C4's rules were applied when it was made, so a recipe needs to repeat none of them.

    NFC, with lines that end in \\n, as of every source. Drops `too_large` and `no_text`; raises DataError(`bad_utf8`).
    """

    reader: ClassVar[str] = "curation.sources.c4"

    max_bytes: int = 5 << 20  # as in the extractors of pages

    def __call__(self, page: Page) -> Document | Drop:
        drop = check_page(page, TEXT_TYPES, self.max_bytes)
        if drop is not None:
            return drop
        try:
            text = page.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError("bad_utf8", str(error)) from None
        return finish(page, text.translate(_CONTROLS))


# Not characters of a text (XML 1.0 allows only tab and line ends); what ends a line is left to `finish`.
_CONTROLS = dict.fromkeys([*range(9), *range(0x0E, 0x1C), 0x1F, 0x7F, 0xFFFE, 0xFFFF])
