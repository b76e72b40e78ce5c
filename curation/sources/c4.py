"""C4 as it is published: `c4-train.NNNNN-of-01024.json.gz`, a JSON object a line with text, url and timestamp."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curation.document import Page
from curation.errors import DataError
from curation.sources import rows
from curation.sources.given import Given, Value

_COLUMNS = ("text", "url", "timestamp")
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)?")


def read(given: Given) -> Iterator[tuple[str, Value]]:
    """A page for each row, whose body is its text. DataErrors: those of `rows`, and `no_text`."""
    for locator, row in rows.rows(given, _COLUMNS):
        yield locator, _page(given, locator, row) if isinstance(row, dict) else row


def count(given: Given) -> int:
    return rows.count(given)


def _page(given: Given, locator: str, row: dict[str, object]) -> Page | DataError:
    text, url = row.get("text"), row.get("url")
    if not isinstance(text, str) or not text.strip():
        return DataError("no_text", "the row has no text")
    return Page(
        id=given.id(locator),
        url=url.strip() if isinstance(url, str) else "",
        date=_date(row.get("timestamp")),
        digest="",
        status=0,
        content_type="text/plain",
        charset="utf-8",
        body=text.encode("utf-8"),
    )


def _date(timestamp: object) -> str:
    match = _TIMESTAMP.fullmatch(str(timestamp).strip())  # Parquet gives a datetime, whose text is of this form too
    return f"{match[1]}T{match[2]}Z" if match else ""
