from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from curation.dedup.url import Url
from curation.document import Document, Drop
from curation.errors import RecipeError

Deduplicate = Callable[..., list[Any]]

PAGES = [
    ("https://Example.org/a?utm_source=x", "2024-01-01T00:00:00Z"),
    ("http://example.org/a", "2024-03-01T00:00:00Z"),
    ("https://www.example.org/a#top", "2024-03-01T00:00:00Z"),  # as new, but larger
    ("https://example.org/b", ""),
    ("https://example.org/b/", ""),
    ("https://example.org/c", ""),
    ("https://example.org/c", "1980-01-01T00:00:00Z"),
    ("", "2024-01-01T00:00:00Z"),
    ("", "2024-01-01T00:00:00Z"),
]


def documents(*rows: tuple[str, str]) -> list[Document]:
    return [
        Document(id=f"web:f#{i}", url=url, date=date, digest="", text=f"text {i}") for i, (url, date) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("keep", "kept"), [("newest", [1, 3, 6, 7, 8]), ("smallest", [0, 3, 5, 7, 8]), ("none", [7, 8])]
)
@pytest.mark.parametrize("cuts", [(0, 0), (1, 2), (2, 4), (3, 6), (5, 9), (9, 9)])
def test_which_copy_stays(deduplicate: Deduplicate, keep: str, kept: list[int], cuts: tuple[int, int]) -> None:
    pages = documents(*PAGES)
    verdicts = deduplicate(Url(keep=keep), pages[: cuts[0]], pages[cuts[0] : cuts[1]], pages[cuts[1] :])
    assert [n for n, verdict in enumerate(verdicts) if isinstance(verdict, Document)] == kept
    assert all(verdicts[n] is pages[n] for n in kept)
    if 0 not in kept:
        assert verdicts[0] == Drop("same_url", "example.org/a", keep)


def test_a_document_without_an_address_is_left_alone() -> None:
    nameless, named = documents(("", ""), ("https://example.org/", ""))
    assert (Url().units(nameless), Url().units(named)) == (0, 1)
    assert (Url().hashes(nameless).shape, Url().hashes(named).shape) == ((0,), (1,))


def test_of_captures_that_differ_in_date_the_newest_stays_wherever_it_stands(deduplicate: Deduplicate) -> None:
    generator = random.Random(3)
    days = list(range(1, 29))
    for _ in range(20):
        generator.shuffle(days)
        pages = documents(*(("https://example.org/", f"2024-02-{day:02d}T00:00:00Z") for day in days))
        cuts = sorted(generator.sample(range(29), 2))
        verdicts = deduplicate(Url(), pages[: cuts[0]], pages[cuts[0] : cuts[1]], pages[cuts[1] :])
        (kept,) = [verdict for verdict in verdicts if isinstance(verdict, Document)]
        assert kept.date == "2024-02-28T00:00:00Z"


def test_what_cannot_be_asked() -> None:
    with pytest.raises(RecipeError, match="keep must be one of smallest, newest, none, not 'oldest'"):
        Url(keep="oldest")
