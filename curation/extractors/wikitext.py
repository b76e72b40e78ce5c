"""The text of a Wikipedia article."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.sources.wikitext import is_disambiguation, plain_text

# In any language a redirect is `#WORD [[target]]` at the very beginning, so the word need not be known.
_REDIRECT = re.compile(r"\s*#\s*[^\W\d_]+\s*:?\s*\[\[([^\[\]|#]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wikitext:
    """Wikitext without its markup. LLaMA's paper (section 2.1) removes "hyperlinks, comments and other formatting
    boilerplate"; it names no shortest article, so by default only an article without any text is dropped.

    Raises DataError(`bad_utf8`).
    """

    reader: ClassVar[str] = "curation.sources.wikipedia"

    min_characters: int = 1

    def __call__(self, page: Page) -> Document | Drop:
        try:
            wikitext = page.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError("bad_utf8", str(error)) from None
        if match := _REDIRECT.match(wikitext):
            return Drop("redirect", match.group(1).strip(), "")
        if (template := is_disambiguation(wikitext)) is not None:
            return Drop("disambiguation", template, "")
        text = plain_text(wikitext)
        if len(text) < self.min_characters:
            return Drop("stub", len(text), self.min_characters)
        return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text)
