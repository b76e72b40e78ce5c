"""C4's rule about whole pages (Raffel et al. 2020, section 2.2): are there enough sentences?"""

from __future__ import annotations

from dataclasses import dataclass

from curation.document import Document, Drop
from curation.languages import sentence_ends
from curation.words import sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class C4Page:
    """Enough sentences. C4 asks it twice: of the lines that `c4_lines` leaves, and again after their deduplication.

    C4's code has 3 sentences a page and 5 words a line; the paper's text has 5 and 3, and so has datatrove (FineWeb).
    C4 counts with NLTK's trained splitter, this with `curation.words.sentences`. The rule does not apply where a
    language ends its sentences in no mark. `language` is that of every document, or "" for each document's own.
    """

    min_sentences: int = 3  # the paper's text: 5
    language: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.language else ("language",)

    def __call__(self, document: Document) -> Document | Drop:
        if not sentence_ends(self.language or document.language):
            return document
        count = len(sentences(document.text))
        return document if count >= self.min_sentences else Drop("too_few_sentences", count, self.min_sentences)
