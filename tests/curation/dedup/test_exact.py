from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from curation.dedup.exact import Exact, hash_text
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.heldout import is_heldout

Deduplicate = Callable[..., list[Any]]

TEXTS = [
    "A page.\nIts second line, of 2019",
    "a page. its second  line, of 2019",  # folded
    "A page.\n\nIts second line, of 2020",  # by lines: digits are 0
    "“A page.”\n its second line, of 0000 \n",  # by lines: no CCNet punctuation
    "A page.\nIts second line, of 2019",  # the very text
    "Another page.",
]


def documents(*texts: str) -> list[Document]:
    return [Document(id=f"web:f#{i}", url="", date="", digest="", text=text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("compare", "kept"), [("text", [0, 1, 2, 3, 5]), ("folded", [0, 2, 3, 5]), ("lines", [0, 1, 5])]
)
@pytest.mark.parametrize("cut", range(7))
def test_what_counts_as_equal(deduplicate: Deduplicate, compare: str, kept: list[int], cut: int) -> None:
    pages = documents(*TEXTS)
    verdicts = deduplicate(Exact(compare=compare), pages[:cut], pages[cut:])
    assert [n for n, verdict in enumerate(verdicts) if isinstance(verdict, Document)] == kept
    assert all(verdicts[n] is pages[n] for n in kept)


@pytest.mark.parametrize(("keep", "kept"), [("smallest", [0, 3]), ("newest", [1, 3]), ("none", [3])])
@pytest.mark.parametrize("cut", range(5))
def test_which_copy_stays(deduplicate: Deduplicate, keep: str, kept: list[int], cut: int) -> None:
    dates = ["2019-05-01T00:00:00Z", "2020-05-01T00:00:00Z", "2020-05-01T00:00:00Z", ""]
    pages = [replace(p, date=date) for p, date in zip(documents("a", "a", "a", "b"), dates, strict=True)]
    verdicts = deduplicate(Exact(keep=keep), pages[:cut], pages[cut:])
    assert [n for n, verdict in enumerate(verdicts) if isinstance(verdict, Document)] == kept
    hash = f"{int(hash_text('a')[0]):016x}"
    assert {verdicts[n] for n in range(4) if n not in kept} == {Drop("same_text", hash, keep)}


def test_the_hash_is_the_beginning_of_a_blake2b() -> None:
    for text in ("", "a", "é語"):
        expected = hashlib.blake2b(text.encode(), digest_size=8).digest()
        assert hash_text(text).tolist() == [int.from_bytes(expected, "little")]
    assert hash_text("\ud800").shape == (1,)


def test_held_out_documents_are_chosen_by_the_default_comparison() -> None:
    """So that no two documents of which one is held out and one is not have been left equal by it."""
    same = ["Some  Text\nhere", "some text HERE "]
    for fraction in (0.1 * n for n in range(1, 10)):
        assert len({is_heldout(text, fraction) for text in same}) == 1
    assert len({Exact().hashes(page)[0] for page in documents(*same)}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compare": "words"}, "compare must be one of text, folded, lines, not 'words'"),
        ({"keep": "largest"}, "keep must be one of smallest, newest, none, not 'largest'"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Exact(**options)
