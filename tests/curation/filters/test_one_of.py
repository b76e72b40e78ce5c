from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.one_of import OneOf


def test_what_is_on_the_list_is_kept(document: Callable[..., Document]) -> None:
    keep = OneOf(values=("en", "de"))
    for language in ("en", "de"):
        page = document(language=language)
        assert keep(page) is page


@pytest.mark.parametrize(
    ("language", "measured"), [("e", "e"), ("EN", "EN"), ("en,de", "en,de"), ("", ""), (None, "none")]
)
def test_what_is_not_is_dropped(document: Callable[..., Document], language: str | None, measured: str) -> None:
    assert OneOf(values=("en", "de"))(document(language=language)) == Drop("language_other", measured, "en,de")


def test_another_field(document: Callable[..., Document]) -> None:
    keep = OneOf(field="language_score", values=(0.5, 1.0))  # type: ignore[arg-type]
    page = document(language_score=0.5)
    assert keep(page) is page
    assert OneOf(field="reference_score", values=("a",))(page) == Drop("reference_score_other", "none", "a")


def test_it_reads_the_field_that_it_names() -> None:
    assert OneOf(values=("en",)).reads == ("language",)
    assert OneOf(field="perplexity", values=("1",)).reads == ("perplexity",)


def test_what_cannot_be_asked() -> None:
    with pytest.raises(RecipeError, match="'langage'; there are language, "):
        OneOf(field="langage", values=("en",))
    with pytest.raises(RecipeError, match="empty"):
        OneOf(values=())
