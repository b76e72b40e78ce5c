from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.filters.fineweb_quality import FinewebQuality

Make = Callable[..., Document]
OFF = {
    "min_ended_lines": 0.0,
    "max_short_lines": 0.0,
    "max_duplicate_line_characters": 0.0,
    "max_newlines_per_word": 0.0,
}


def judged(page: Document, **options: object) -> Drop | None:
    verdict = FinewebQuality(**options)(page)  # type: ignore[arg-type]
    if isinstance(verdict, Drop):
        return verdict
    assert verdict is page
    return None


def only(page: Document, *rules: str, **options: object) -> Drop | None:
    return judged(page, **{**{rule: 0.0 for rule in OFF if rule not in rules}, **options})


@pytest.mark.parametrize(("ended", "drop"), [(12, None), (11, Drop("ended_lines", 0.11, 0.12))])
def test_ended_lines(document: Make, ended: int, drop: Drop | None) -> None:
    text = "\n".join([f"line {n}." for n in range(ended)] + [f"line {n}" for n in range(100 - ended)])
    assert only(document(text, language="en"), "min_ended_lines") == drop


@pytest.mark.parametrize("mark", [".", "?", "!", "。", "।", "؟", "۔", "።", "។", "။", "։"])
def test_marks_of_all_scripts(document: Make, mark: str) -> None:
    assert only(document(f"line{mark}  ", language="en"), "min_ended_lines") is None


@pytest.mark.parametrize("end", [",", ":", "…", '."', ""])
def test_what_is_no_end(document: Make, end: str) -> None:
    """As in FineWeb's script: a quote behind the mark hides it."""
    assert only(document(f"line{end}", language="en"), "min_ended_lines") == Drop("ended_lines", 0.0, 0.12)


@pytest.mark.parametrize("language", ["th", "lo", "xx", None])
def test_marks_are_asked_of_languages_that_have_them(document: Make, language: str | None) -> None:
    assert only(document("line", language=language), "min_ended_lines") is None
    assert only(document("line", language="ka"), "min_ended_lines") is not None


@pytest.mark.parametrize(("short", "drop"), [(67, None), (68, Drop("short_lines", 0.68, 0.67))])
def test_short_lines(document: Make, short: int, drop: Drop | None) -> None:
    text = "\n".join(["x" * 30] * short + ["x" * 31] * (100 - short))
    assert only(document(text, language="en"), "max_short_lines") == drop
    assert only(document(text, language="en"), "max_short_lines", short_line=29) is None
    assert only(document(text, language="zh"), "max_short_lines") is None  # 30 characters say more there
    assert only(document(text), "max_short_lines") is None


@pytest.mark.parametrize(("length", "drop"), [(990, None), (989, Drop("duplicate_line_characters", 0.01, 0.01))])
def test_characters_of_copies(document: Make, length: int, drop: Drop | None) -> None:
    """The newlines are not counted among the characters."""
    text = "\n".join(["copy!", "copy!", "copy!", "x" * (length - 5)])
    assert only(document(text), "max_duplicate_line_characters") == drop


def test_the_papers_value_for_copies(document: Make) -> None:
    page = document("copy\ncopy\n" + "x" * 32)
    assert only(page, "max_duplicate_line_characters", max_duplicate_line_characters=0.1) is None
    assert only(page, "max_duplicate_line_characters") == Drop("duplicate_line_characters", 0.1, 0.01)


@pytest.mark.parametrize(("newlines", "drop"), [(30, None), (31, Drop("newlines", 0.31, 0.3))])
def test_newlines(document: Make, newlines: int, drop: Drop | None) -> None:
    text = "word " * 99 + "\n" * newlines + "word"
    assert only(document(text), "max_newlines_per_word") == drop


def test_newlines_are_per_word_where_there_are_no_spaces(document: Make) -> None:
    assert only(document("我们的图书馆\n每天都开门。", language="zh"), "max_newlines_per_word") is None


@pytest.mark.parametrize("text", ["", " \n \n"])
def test_nothing(document: Make, text: str) -> None:
    assert judged(document(text, language="en")) == Drop("no_lines", 0, 1)


def test_prose_is_kept(document: Make, prose: tuple[str, str]) -> None:
    language, text = prose
    assert judged(document(text, language=language)) is None
    assert judged(document(text)) is None


def test_a_menu_is_dropped(document: Make) -> None:
    assert judged(document("Home\nNews\nSports\nContact us", language="en")) == Drop("ended_lines", 0.0, 0.12)
    assert judged(document("首页\n新闻\n体育\n联系我们", language="zh")) == Drop("ended_lines", 0.0, 0.12)
    assert judged(document("หน้าแรก\nข่าว\nกีฬา\nติดต่อ", language="th")) == Drop("newlines", 0.6, 0.3)


def test_the_language_of_every_document(document: Make) -> None:
    assert FinewebQuality().reads == ("language",)
    assert FinewebQuality(language="en").reads == ()
    assert judged(document("line"), language="en") == Drop("ended_lines", 0.0, 0.12)


def test_defaults_are_the_scripts() -> None:
    assert FinewebQuality() == FinewebQuality(
        min_ended_lines=0.12,
        max_short_lines=0.67,
        short_line=30,
        max_duplicate_line_characters=0.01,
        max_newlines_per_word=0.3,
        language="",
    )
