from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.threshold import Threshold

NUMERIC = ("language_score", "perplexity", "reference_score")


@pytest.mark.parametrize("field", NUMERIC)
@pytest.mark.parametrize(
    ("options", "value", "rule", "limit"),
    [
        ({"min": 0.5}, 0.5, None, None),
        ({"min": 0.5}, math.nextafter(0.5, 0), "low", 0.5),
        ({"min": 0.5}, 1e308, None, None),
        ({"max": 340.0}, 340.0, None, None),
        ({"max": 340.0}, math.nextafter(340.0, 400), "high", 340.0),
        ({"max": 340.0}, -1e308, None, None),
        ({"min": 1.0, "max": 1.0}, 1.0, None, None),
        ({"min": 1.0, "max": 2.0}, 0.0, "low", 1.0),
        ({"min": 1.0, "max": 2.0}, 3.0, "high", 2.0),
        ({"min": 0.0}, 0.0, None, None),
        ({"max": 0.0}, 0.0, None, None),
    ],
)
def test_both_limits_are_kept(
    document: Callable[..., Document], field: str, options: Any, value: float, rule: str | None, limit: float
) -> None:
    page = document(**{field: value})
    verdict = Threshold(field=field, **options)(page)
    assert verdict is page if rule is None else verdict == Drop(f"{field}_{rule}", value, limit)


@pytest.mark.parametrize("field", NUMERIC)
def test_what_is_not_scored_is_not_judged_unless_asked(document: Callable[..., Document], field: str) -> None:
    page = document(**{other: 0.0 for other in NUMERIC if other != field})
    assert Threshold(field=field, min=1.0)(page) is page
    assert Threshold(field=field, min=1.0, unscored="drop")(page) == Drop(f"{field}_missing", "none", "a score")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field": "language", "min": 1.0}, "'language'; there are language_score, perplexity, reference_score"),
        ({"field": "text", "min": 1.0}, "'text'"),
        ({"field": "perplexity"}, "give min, max or both"),
        ({"field": "perplexity", "min": math.inf}, "give min, max or both"),
        ({"field": "perplexity", "min": 2.0, "max": 1.0}, "min <= max"),
        ({"field": "perplexity", "min": math.nan}, "min <= max"),
        ({"field": "perplexity", "max": math.nan}, "min <= max"),
        ({"field": "perplexity", "min": 1.0, "unscored": "no"}, "unscored"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Threshold(**options)


def test_it_reads_the_field_that_it_names() -> None:
    assert Threshold(field="perplexity", max=1.0).reads == ("perplexity",)
