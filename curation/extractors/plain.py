"""Text that is text already: text/plain responses and WET conversions."""

from __future__ import annotations

from dataclasses import dataclass

from curation.decode import decode
from curation.document import Document, Drop, Page
from curation.extractors.gates import TEXT_TYPES, check_page, finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Pass the text through with its lines; HTML is dropped by `content_type`. Raises DataError(`binary_body`)."""

    max_bytes: int = 5 << 20  # as in Trafilatura

    def __call__(self, page: Page) -> Document | Drop:
        drop = check_page(page, TEXT_TYPES, self.max_bytes)
        return drop if drop is not None else finish(page, decode(page.body, page.charset))
