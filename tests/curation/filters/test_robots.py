from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.robots import Robots


@pytest.mark.parametrize(
    ("refuse", "robots", "found"),
    [
        (("noai",), "noai, noindex", "noai"),
        (("noai",), "noarchive, noindex", None),
        (("noai",), "noaindex", None),
        (("noai", "noimageai"), "noimageai", "noimageai"),
        (("noindex", "noai"), "noai, noindex", "noai"),
        (("none",), "nofollow", "nofollow"),
        (("none",), "noindex", "noindex"),
        (("tdm-reservation",), "tdm-reservation", "tdm-reservation"),
        (("noai",), "", None),
        (("noai",), None, None),
    ],
)
def test_directives(
    document: Callable[..., Document], refuse: tuple[str, ...], robots: str | None, found: str | None
) -> None:
    page = document(robots=robots)
    verdict = Robots(refuse=refuse)(page)
    assert verdict is page if found is None else verdict == Drop("refused", found, ", ".join(refuse))


def test_what_refuses_ai_is_refused_by_default(document: Callable[..., Document]) -> None:
    assert Robots() == Robots(refuse=("noai", "noimageai"))
    assert Robots().reads == ("robots",)


def test_what_cannot_be_asked() -> None:
    with pytest.raises(RecipeError, match="'noia' \\(did you mean 'noai'"):
        Robots(refuse=("noia",))
    with pytest.raises(RecipeError, match="empty"):
        Robots(refuse=())
