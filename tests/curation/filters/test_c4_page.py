from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.filters.c4_page import C4Page

Make = Callable[..., Document]


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("One. Two. Three.", "en", None),
        ("One. Two.", "en", 2),
        ("", "en", 0),
        ("一。二。三。", "zh", None),
        ("一。二。", "zh", 2),
        ("एक। दो। तीन।", "hi", None),
        ("एक। दो।", "hi", 2),
        ("หนึ่ง สอง", "th", None),
        ("One.", None, None),
        ("One.", "xx", None),
    ],
)
def test_sentences(document: Make, text: str, language: str | None, count: int | None) -> None:
    page = document(text, language=language)
    verdict = C4Page()(page)
    assert verdict is page if count is None else verdict == Drop("too_few_sentences", count, 3)


def test_the_papers_number(document: Make) -> None:
    five, four = (document("A word. " * n, language="en") for n in (5, 4))
    assert C4Page(min_sentences=5)(five) is five
    assert C4Page(min_sentences=5)(four) == Drop("too_few_sentences", 4, 5)


def test_the_language_of_every_document(document: Make) -> None:
    assert C4Page().reads == ("language",)
    assert C4Page(language="en").reads == ()
    assert C4Page(language="en")(document("One.")) == Drop("too_few_sentences", 1, 3)


def test_prose_is_kept(document: Make, prose: tuple[str, str]) -> None:
    language, text = prose
    page = document(text, language=language)
    assert C4Page()(page) is page
