"""The text of a book from Project Gutenberg, or of any other plain-text book."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from curation.decode import decode
from curation.document import Document, Drop, Page
from curation.extractors.gates import TEXT_TYPES, check_page
from curation.nfc import nfc
from curation.sources.gutenberg import body, header, without_asides
from curation.sources.hard_wraps import unwrap

_LINE_END = re.compile("\r*\n|\r|\x0c")  # a form feed begins a printed page

# What Gutenberg's headers call the languages of LLaMA's Wikipedia, and those of which it has the most other books.
_CODES = """
english=en french=fr finnish=fi german=de dutch=nl italian=it spanish=es portuguese=pt hungarian=hu chinese=zh
greek=el swedish=sv esperanto=eo latin=la danish=da tagalog=tl catalan=ca polish=pl japanese=ja norwegian=no
welsh=cy czech=cs bulgarian=bg russian=ru romanian=ro croatian=hr slovenian=sl serbian=sr ukrainian=uk icelandic=is
"""
_LANGUAGES = dict(pair.split("=") for pair in _CODES.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Gutenberg:
    """The book without what Project Gutenberg put around it (docs/sources/books.md). LLaMA's paper (section 2.1) names
    no cleaning of books; this is what its tokens would otherwise be spent on.

    `language` is what the header says, None where it says none or one we have no code for. Drops `content_type`,
    `too_large`, `too_many_lines`, `no_text`, `too_short`; raises DataError(`binary_body`).
    """

    reader: ClassVar[str] = "curation.sources.books"
    writes: ClassVar[tuple[str, ...]] = ("language",)

    unwrap: bool = True  # join the lines of a paragraph that were broken at a width
    asides: bool = False  # keep page numbers, [Illustration …] and transcriber's notes
    min_characters: int = 1
    max_bytes: int = 32 << 20  # Gutenberg's largest dictionaries have 28 MiB; above are genomes and digits of pi
    max_lines: int = 1_250_000  # and a million lines

    def __call__(self, page: Page) -> Document | Drop:
        drop = check_page(page, TEXT_TYPES, self.max_bytes)
        if drop is not None:
            return drop
        whole = _LINE_END.sub("\n", decode(page.body, page.charset))
        lines = whole.count("\n") + 1
        if lines > self.max_lines:
            return Drop("too_many_lines", lines, self.max_lines)
        text = body(whole)
        if not self.asides:
            text = without_asides(text)
        text = "\n".join(line.rstrip() for line in nfc(text).split("\n")).strip("\n")
        if self.unwrap:
            text = unwrap(text)
        if not text.strip():
            return Drop("no_text", 0, 1)
        if len(text) < self.min_characters:
            return Drop("too_short", len(text), self.min_characters)
        language = _LANGUAGES.get(header(whole).language.lower())
        return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text, language=language)
