"""The values that travel through the pipeline: a Page becomes a Document, and a Document is kept or dropped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields


def document_id(source: str, file: str, locator: str) -> str:
    """`source:file#locator`, the name a document keeps for ever (docs/ids.md)."""
    return f"{source}:{file}#{locator}"


def document_key(id: str) -> bytes:
    """16-byte BLAKE2b of a document id: the fixed-size form that is hashed, sorted and shuffled."""
    return hashlib.blake2b(id.encode("utf-8"), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page as it was archived, before its text is known.

    `body` has its HTTP transfer and content encodings undone. `content_type` is the media type alone, lower case;
    `charset` is what the HTTP header declared, or "" when it declared none. `status` is the HTTP status, or 0 where the
    record is not an HTTP response (a WET conversion, a dump).
    """

    id: str
    url: str
    date: str  # ISO 8601, UTC, of the fetch; "" if unknown
    digest: str  # of the payload, as archived; "" if unknown
    status: int
    content_type: str
    charset: str
    body: bytes
    title: str = ""  # dumps know it; pages do not
    robots: str = ""  # what the HTTP header X-Robots-Tag said; several headers are joined by ", "
    licence: str = ""  # a licence's address or SPDX identifier, where the dump says which; pages say it in their HTML


@dataclass(frozen=True, slots=True)
class Skip:
    """A record that is no page, and of no interest: counted by its type, never read."""

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text, where it came from, and what was found out about it.

    The score fields (`SCORE_FIELDS`) are None until a step fills them; they are stored with kept and dropped documents.
    """

    id: str
    url: str
    date: str
    digest: str
    text: str
    language: str | None = None
    language_score: float | None = None
    perplexity: float | None = None
    perplexity_bucket: str | None = None  # CCNet's head, middle or tail; "all" where its language has no model
    reference_score: float | None = None
    quality_score: float | None = None  # a fastText classifier's (DCLM)
    token_divergence: float | None = None  # from the token distribution of a corpus (Llama 3)
    robots: str | None = None  # directives of header and <meta>, sorted: "noai, noindex"; "" when there are none
    licence: str | None = None  # the address (or SPDX identifier) of the licence that it is given under; "" for none

    @property
    def source(self) -> str:
        return self.id.partition(":")[0]

    @property
    def key(self) -> bytes:
        return document_key(self.id)


_ORIGIN_FIELDS = ("id", "url", "date", "digest", "text")
SCORE_FIELDS = tuple(field.name for field in fields(Document) if field.name not in _ORIGIN_FIELDS)
NUMERIC_FIELDS = tuple(field.name for field in fields(Document) if str(field.type).startswith("float"))


@dataclass(frozen=True, slots=True)
class Drop:
    """The verdict of a rule: which one, what it measured, and the limit that was passed."""

    rule: str
    measured: float | str
    limit: float | str

    def __bool__(self) -> bool:
        raise TypeError("a Drop has no truth value: compare with `is document` or use isinstance(verdict, Drop)")
