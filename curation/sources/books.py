"""Books as plain text: a folder, a tar or a zip of `.txt` and `.txt.gz` files, or one such file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curation import bundle
from curation.bundle import Limits, Member
from curation.decode import codec_of, decode
from curation.document import Page, Skip
from curation.errors import DataError
from curation.sources.given import Given, Value
from curation.sources.gutenberg import Header, header

FOLDERS = True  # a folder is one input, cut between its entries

LIMITS = Limits()
_HEAD = 1 << 16  # bytes among which a header lies
_SUFFIXES = (".txt", ".txt.gz")
# What Gutenberg's mirrors and books' archives hold beside books.
_NO_BOOK = re.compile(
    r"(?:.*[-_.])?(?:readme|licen[cs]e|copying|notice|index|contents|gutindex|pglicens|donate|donate-howto|changes|"
    r"changelog|manifest|requirements|robots|small-?print)(?:[-_.].*)?",
    re.IGNORECASE,
)
_ENCODING = re.compile(rb"^[ \t]*Character set encoding:[ \t]*([^\r\n]{1,80})", re.IGNORECASE | re.MULTILINE)
_LABEL = re.compile(r"[A-Za-z0-9_:.\-]+")
_NUMBERED = re.compile(r"(?:pg)?(\d{1,6})(?:-[0-9]|-tei)?\.txt(?:\.gz|\.utf-?8)?")


def read(given: Given) -> Iterator[tuple[str, Value]]:
    """A page for each `.txt` or `.txt.gz`; the locator is the member's path, or "0" for a file that is no bundle.

    Skips `not_text` (other names) and `not_a_book` (readmes, indexes and licences, by name). DataErrors: those of
    `bundle`, `empty_file`, and `nested` for a compressed member that is itself a bundle.
    """
    for member in bundle.members(given, _is_text, LIMITS):
        yield member.name or "0", _value(given, member)


def count(given: Given) -> int:
    return bundle.count(given, LIMITS)


def _is_text(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not _NO_BOOK.fullmatch(_stem(name))


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def _value(given: Given, member: Member) -> Value:
    if not isinstance(member.body, bytes):
        return member.body
    if member.name and not _is_text(member.name):
        return Skip("not_a_book" if member.name.lower().endswith(_SUFFIXES) else "not_text")
    body = member.body
    if member.name.lower().endswith(".gz"):
        try:
            body = _unpacked(body)
        except DataError as error:
            return error
    if not body:
        return DataError("empty_file")
    return _page(given, member.name, body)


def _unpacked(body: bytes) -> bytes:
    inside = list(bundle.unpack(body, lambda name: False, LIMITS))
    if len(inside) != 1 or inside[0].name:
        raise DataError("nested", "a bundle in a bundle")
    (member,) = bundle.unpack(body, limits=LIMITS)
    if isinstance(member.body, DataError):
        raise member.body
    return member.body if isinstance(member.body, bytes) else b""


def _page(given: Given, name: str, body: bytes) -> Page:
    charset = _declared(body[:_HEAD])
    try:
        found = header(decode(body[:_HEAD], charset))
    except DataError:  # the extractor will meet it too, and say so
        found = Header()
    return Page(
        id=given.id(name or "0"),
        url=_url(found, name or given.file),
        date=found.date,
        digest="",
        status=0,
        content_type="text/plain",
        charset=charset,
        body=body,
        title=found.title,
    )


def _declared(head: bytes) -> str:
    """What the header calls the file's encoding, as a label that is known: `ISO-646-US (US-ASCII)` is us-ascii."""
    match = _ENCODING.search(head)
    labels = _LABEL.findall(match[1].decode("ascii", "replace")) if match else []
    return next((label for label in labels if codec_of(label) and label.lower() != "unicode"), "")


def _url(found: Header, name: str) -> str:
    """The ebook's address, if the header gives its number, or has none and the file is named by one."""
    number = found.number
    if not number and found != Header() and (match := _NUMBERED.fullmatch(name.rpartition("/")[2].lower())):
        number = int(match[1])
    return f"https://www.gutenberg.org/ebooks/{number}" if number else ""
