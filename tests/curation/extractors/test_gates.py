from __future__ import annotations

import pytest

from curation.extractors.gates import most_attributes


@pytest.mark.parametrize(
    ("html", "longest", "most"),
    [
        ("", 1, 0),
        ("<p a b c>", 8, 0),  # 7 characters behind the letter
        ("<p a b c>", 6, 3),
        ("<p a b c>", 7, 0),
        ("<p a b c", 6, 3),  # never closed
        ("<p a b c><q a b c d><r a>", 1, 4),
        ("<q a b c d><p a b c>", 1, 4),
        ("<p a='b c d' e=\"f g 'h'\" i>", 1, 3),
        ("<path d='M 1 2 3 4 5 6'/>", 1, 1),
        ("</p a b c>", 1, 0),
        ("< p a b c>", 1, 0),
        ("1 <2 a b c>", 1, 0),
    ],
)
def test_most_attributes(html: str, longest: int, most: int) -> None:
    assert most_attributes(html, longest) == most
