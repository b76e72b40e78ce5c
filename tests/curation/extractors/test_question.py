from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.question import LARGEST_SITES, Question
from curation.sources.stackexchange import CONTENT_TYPE

BY_SA = "https://creativecommons.org/licenses/by-sa/{}/"


def answer(id: int, score: int, body: str | None = None, licence: str = "") -> dict[str, Any]:
    return {"id": id, "score": score, "licence": licence, "body": f"<p>A{id}</p>" if body is None else body}


def page(*answers: dict[str, Any], site: str = "math.stackexchange.com", **fields: Any) -> Page:
    question = {
        "id": 1,
        "score": 5,
        "licence": "",
        "body": "<p>Q</p>",
        "title": "T",
        "accepted": 0,
        "date": "",
    } | fields
    return Page(
        id="stackexchange:f#1",
        url="https://math.stackexchange.com/questions/1",
        date="2015-01-27T20:09:32.720Z",
        digest="",
        status=0,
        content_type=CONTENT_TYPE,
        charset="utf-8",
        body=json.dumps({"site": site, "question": question, "answers": answers}).encode(),
    )


def text(page: Page, **options: Any) -> str:
    document = Question(**options)(page)
    assert isinstance(document, Document)
    return document.text


def order(*answers: dict[str, Any], accepted: int = 0) -> list[int]:
    lines = text(page(*answers, accepted=accepted)).split("\n")
    return [int(line[1:]) for line in lines if line[:1] == "A" and line[1:].isdigit()]


def test_document() -> None:
    document = Question()(page(answer(2, 3), answer(3, 9), accepted=2, title=" What\n is  it? "))
    assert document == Document(
        id="stackexchange:f#1",
        url="https://math.stackexchange.com/questions/1",
        date="2015-01-27T20:09:32.720Z",
        digest="",
        text="What is it?\n\nQ\n\nAnswer:\n\nA3\n\nAccepted answer:\n\nA2",
        licence="",
    )


def test_scores_are_numbers() -> None:
    """RedPajama sorted strings: of these it made 9, 2, 100, 10, -1."""
    scores = [9, 2, 100, 10, -1]
    assert order(*(answer(10 + n, score) for n, score in enumerate(scores))) == [12, 13, 10, 11, 14]


def test_ties() -> None:
    assert order(answer(11, 1), answer(9, 1), answer(10, 1)) == [9, 10, 11]  # the older first, by number
    assert order(answer(11, 1), answer(9, 1), answer(10, 1), accepted=11) == [11, 9, 10]
    assert order(answer(11, 1), answer(9, 2), accepted=11) == [9, 11]  # the score comes before
    assert order(answer(9, 1), accepted=77) == [9]


def test_unanswered() -> None:
    assert text(page()) == "T\n\nQ"
    assert Question(min_answers=1)(page()) == Drop("too_few_answers", 0, 1)
    assert text(page(answer(2, 0)), min_answers=1) == "T\n\nQ\n\nAnswer:\n\nA2"
    assert Question(min_answers=2)(page(answer(2, 0))) == Drop("too_few_answers", 1, 2)


def test_least_scores() -> None:
    assert text(page(), min_question_score=5) == "T\n\nQ"
    assert Question(min_question_score=6)(page()) == Drop("question_score", 5, 6)
    assert text(page(answer(2, 1), answer(3, 0)), min_answer_score=1) == "T\n\nQ\n\nAnswer:\n\nA2"
    assert Question(min_answer_score=1, min_answers=1)(page(answer(3, 0))) == Drop("too_few_answers", 0, 1)
    assert Question().min_answer_score == Question().min_question_score == -math.inf


@pytest.mark.parametrize(
    "site",
    [
        *("meta.stackexchange.com", "math.meta.stackexchange.com", "meta.math.stackexchange.com"),
        *("meta.askubuntu.com", "ru.meta.stackoverflow.com"),
    ],
)
def test_meta_sites(site: str) -> None:
    assert Question()(page(site=site)) == Drop("meta_site", site, "a main site")
    assert text(page(site=site), meta_sites=True) == "T\n\nQ"


@pytest.mark.parametrize("site", ["math.stackexchange.com", "metalworking.stackexchange.com", "x.metabolism.org", ""])
def test_main_sites(site: str) -> None:
    assert text(page(site=site)) == "T\n\nQ"


def test_sites() -> None:
    coffee = page(site="coffee.stackexchange.com")
    assert Question(sites=("math.stackexchange.com",))(coffee) == Drop(
        "site", "coffee.stackexchange.com", "one of sites"
    )
    assert Question(sites=("largest",))(coffee) == Drop("site", "coffee.stackexchange.com", "one of sites")
    assert text(coffee, sites=("largest", "coffee.stackexchange.com")) == "T\n\nQ"
    assert text(page(), sites=("largest",)) == "T\n\nQ"
    assert len(set(LARGEST_SITES)) == 28


def test_licences_are_those_of_the_posts_in_the_text() -> None:
    old, new = BY_SA.format("3.0"), BY_SA.format("4.0")
    mixed = page(answer(2, 1, licence=new), answer(3, 1, licence=old), answer(4, -5, licence="x"), licence=old)
    document = Question(min_answer_score=0)(mixed)
    assert isinstance(document, Document)
    assert document.licence == f"{old} {new}"
    same = Question()(page(answer(2, 1, licence=new), licence=new))
    assert isinstance(same, Document)
    assert same.licence == new


def test_what_is_empty() -> None:
    assert Question()(page(title="", body="")) == Drop("no_text", 0, 1)
    assert text(page(body="")) == "T"
    assert text(page(answer(2, 3, body="<p><img src='x'></p>"))) == "T\n\nQ"  # nothing that can be read


def test_text_is_nfc() -> None:
    assert text(page(title="e\u0301")).startswith("\u00e9")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b"\xff", b'{"site": 1, "question": {}, "answers": []}', b"[" * 100_000, b"null"]
)
def test_pages_of_another_shape(body: bytes) -> None:
    with pytest.raises(DataError, match="malformed_page"):
        Question()(replace(page(), body=body))


def test_half_a_surrogate_pair() -> None:
    with pytest.raises(DataError, match="malformed_"):
        Question()(page(title="\ud800"))
    text(page(body="<p>\ud800</p>")).encode()  # the parser takes it out


def test_other_pages() -> None:
    assert Question()(replace(page(), content_type="text/html")) == Drop("content_type", "text/html", CONTENT_TYPE)
    size = len(page().body)
    assert Question(max_bytes=size - 1)(page()) == Drop("too_large", size, size - 1)
    assert text(page(), max_bytes=size) == "T\n\nQ"


def test_a_post_that_is_too_deep_is_an_error() -> None:
    with pytest.raises(DataError, match="too_deep"):
        Question()(page(answer(2, 1, body="<div>" * 100_000)))
