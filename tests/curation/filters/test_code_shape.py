from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.code_shape import CodeShape

Make = Callable[..., Document]


@pytest.mark.parametrize(
    ("text", "drop"),
    [
        ("a\n" * 50 + "x" * 1000, None),
        ("a\n" * 50 + "x" * 1001, Drop("long_line", 1001, 1000)),
        ("x" * 100, None),
        ("x" * 101, Drop("long_lines", 101.0, 100.0)),
        ("x" * 99 + "\n" + "x" * 100, None),  # 200 characters in 2 lines
        ("x" * 100 + "\n" + "x" * 100, Drop("long_lines", 100.5, 100.0)),
        ("é7--" + "----", None),
        ("é7--" + "-----", Drop("few_alphanumeric", 0.2222, 0.25)),
        ("", Drop("few_alphanumeric", 0.0, 0.25)),
    ],
)
def test_limits(document: Make, text: str, drop: Drop | None) -> None:
    page = document(text)
    verdict = CodeShape()(page)
    assert verdict is page if drop is None else verdict == drop


def test_options() -> None:
    for options in ({"max_line": 0}, {"max_average_line": 0.5}, {"min_alphanumeric": 1.5}):
        with pytest.raises(RecipeError):
            CodeShape(**options)
