from __future__ import annotations

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.wikitext import Wikitext


def page(body: str | bytes) -> Page:
    return Page(
        id="wikipedia:d#1",
        url="https://en.wikipedia.org/wiki/X",
        date="2024-01-01T00:00:00Z",
        digest="sha1:A",
        status=0,
        content_type="text/x-wiki",
        charset="utf-8",
        body=body if isinstance(body, bytes) else body.encode(),
        title="X",
    )


def test_article() -> None:
    assert Wikitext()(page("'''X''' is a [[letter]].")) == Document(
        id="wikipedia:d#1", url="https://en.wikipedia.org/wiki/X", date="2024-01-01T00:00:00Z", digest="sha1:A",
        text="X is a letter.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "drop"),
    [
        ("#REDIRECT [[Y#Z|z]]", Drop("redirect", "Y", "")),
        (" #ПЕРЕНАПРАВЛЕНИЕ: [[Y]]", Drop("redirect", "Y", "")),
        ("* x\n{{disambiguation}}", Drop("disambiguation", "disambiguation", "")),
        ("", Drop("stub", 0, 1)),
        ("{{x}}", Drop("stub", 0, 1)),
    ],
)
def test_drops(body: str, drop: Drop) -> None:
    assert Wikitext()(page(body)) == drop


def test_an_ordered_list_is_no_redirect() -> None:
    assert isinstance(Wikitext()(page("# one of [[many]]\n# two")), Document)


def test_min_characters() -> None:
    assert isinstance(Wikitext(min_characters=5)(page("12345")), Document)
    assert Wikitext(min_characters=6)(page("12345")) == Drop("stub", 5, 6)


def test_bytes_that_are_not_utf8() -> None:
    with pytest.raises(DataError, match="bad_utf8"):
        Wikitext()(page(b"\xff"))
