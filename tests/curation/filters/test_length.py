from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.length import Length


@pytest.mark.parametrize(
    ("length", "drop"),
    [
        (0, Drop("too_short", 0, 300)),
        (299, Drop("too_short", 299, 300)),
        (300, None),
        (1_000_000, None),
        (1_000_001, Drop("too_long", 1_000_001, 1_000_000)),
    ],
)
def test_defaults(document: Callable[..., Document], length: int, drop: Drop | None) -> None:
    page = document("x" * length)
    verdict = Length()(page)
    assert verdict is page if drop is None else verdict == drop


def test_code_points_count_and_not_bytes(document: Callable[..., Document]) -> None:
    for character in ("é", "語", "😀"):
        page = document(character * 3)
        assert Length(min_characters=3, max_characters=3)(page) is page
        assert Length(min_characters=4)(page) == Drop("too_short", 3, 4)
        assert Length(min_characters=0, max_characters=2)(page) == Drop("too_long", 3, 2)


def test_white_space_counts_as_ccnet_counts_it(document: Callable[..., Document]) -> None:
    page = document("a\n\nb ")
    assert Length(min_characters=5)(page) is page
    assert Length(min_characters=6)(page) == Drop("too_short", 5, 6)


@pytest.mark.parametrize("limits", [{"min_characters": -1}, {"min_characters": 2, "max_characters": 1}])
def test_limits_that_nothing_meets(limits: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="min_characters <= max_characters"):
        Length(**limits)
