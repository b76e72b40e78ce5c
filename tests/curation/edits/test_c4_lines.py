from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.edits.c4_lines import C4Lines

Make = Callable[..., Document]
GOOD = "This line has enough words."


def edited(document: Make, text: str, scored: str | None = "en", **options: object) -> str | Drop:
    page = document(text, language=scored, perplexity=1.0)
    verdict = C4Lines(**options)(page)  # type: ignore[arg-type]
    if isinstance(verdict, Drop):
        return verdict
    assert (verdict.id, verdict.language, verdict.perplexity) == (page.id, scored, 1.0)
    assert verdict is page or verdict.text != text
    return verdict.text


@pytest.mark.parametrize(
    "line",
    [
        "Five words are enough here.",
        "Is this one a question?",
        "What a line this is!",
        'He said "this is it"',
        "One with a full stop。" + " and then.",
        f"{'x' * 1000} and four more words.",
        "A line [of] words stays here.",
        "We like cookies and milk here.",
        "It is in Java and Script.",
    ],
)
def test_lines_that_stay(document: Make, line: str) -> None:
    assert edited(document, f"{GOOD}\n{line}") == f"{GOOD}\n{line}"


@pytest.mark.parametrize(
    "line",
    [
        "Four words are few.",
        "No mark at the end",
        "A mark of another kind;",
        "It goes on and on...",
        "It goes on and on…",
        "A quote of another kind.”",
        "Someone said 'this is it.'",
        "A bracket closes it all.)",
        f"{'x' * 1001} and four more words.",
        "Please turn on JavaScript to go on.",
        "These are the Terms of Use here.",
        "This is our privacy policy for you.",
        "This is our cookie policy for you.",
        "This site uses cookies for your comfort.",
        "We explain our use of cookies here.",
        "We and our partners use cookies here.",
        "",
        "   ",
    ],
)
def test_lines_that_go(document: Make, line: str) -> None:
    assert edited(document, f"{GOOD}\n{line}\n{GOOD}") == f"{GOOD}\n{GOOD}"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("The town has forty inhabitants.[1]", "The town has forty inhabitants."),
        ("The town[12] has[] forty[citation needed] inhabitants.", "The town has forty inhabitants."),
        ("History of the town.[edit] It grew.", "History of the town. It grew."),
        ("Only four words.[1] here.", None),
    ],
)
def test_citations(document: Make, line: str, left: str | None) -> None:
    assert edited(document, f"{GOOD}\n{line}") == (GOOD if left is None else f"{GOOD}\n{left}")
    assert edited(document, f"{GOOD}\n{line}", citations=False) != f"{GOOD}\n{left}"


def test_page_rules_look_at_lines_that_stand(document: Make) -> None:
    """In the order of C4's code: a line that is gone already drops no page."""
    lorem, curly = "Then comes Lorem Ipsum dolor sit.", "Then if (x) { return y."
    assert edited(document, f"{GOOD}\n{lorem}") == Drop("lorem_ipsum", 2, 0)
    assert edited(document, f"{GOOD}\n{curly}") == Drop("curly_bracket", 2, 0)
    assert edited(document, f"{GOOD}\nLorem ipsum.\nif (x) {{") == GOOD
    assert edited(document, f"{GOOD}\nWithout javascript {{ this does nothing.") == GOOD
    assert edited(document, f"{GOOD}\nLorem ipsum is javascript for some.") == Drop("lorem_ipsum", 2, 0)
    assert edited(document, f"{GOOD}\nOur terms of use {{ are these.") == Drop("curly_bracket", 2, 0)


def test_every_rule_can_be_set(document: Make) -> None:
    for line, options in (
        ("Four words are few.", {"min_words": 4}),
        ("No mark at the end", {"terminal_punctuation": False}),
        ("A mark of another kind;", {"end_marks": (".", ";")}),
        (f"{'x' * 1001} and four more words.", {"max_word_length": 1001}),
        ("Please turn on javascript to go on.", {"javascript": False}),
        ("This is our privacy policy for you.", {"policies": ()}),
        ("Then comes lorem ipsum dolor sit.", {"lorem_ipsum": False}),
        ("Then if (x) { return y.", {"curly_bracket": False}),
    ):
        assert edited(document, f"{GOOD}\n{line}") != f"{GOOD}\n{line}"
        assert edited(document, f"{GOOD}\n{line}", **options) == f"{GOOD}\n{line}"


@pytest.mark.parametrize("text", ["", "\n \n", "Home\nNews"])
def test_nothing_left(document: Make, text: str) -> None:
    assert edited(document, text) == Drop("no_lines", 0, 1)


def test_lines_are_python_s(document: Make) -> None:
    """C4 splits at every line end that str.splitlines knows."""
    assert edited(document, f"{GOOD}\u2028Four words are few.\r\n  {GOOD}  ") == f"{GOOD}\n{GOOD}"


@pytest.mark.parametrize(
    ("line", "language", "stays"),
    [
        ("他昨天晚上走了，再也没有回来。", "zh", True),
        ("他说：“我明天就回来看你们。”", "zh", True),
        ("他昨天晚上走了，再也没有回来，", "zh", False),
        ("首页。", "zh", False),
        ("我" * 1001 + "。", "zh", True),
        ("वह कल अपने घर चला गया।", "hi", True),
        ("वह कल अपने घर चला गया", "hi", False),
        ("هل ذهب الولد إلى المدرسة أمس؟", "ar", True),
        ("ልጁ ትናንት ወደ ትምህርት ቤት ሄደ።", "am", True),
        ("เด็กไปโรงเรียนเมื่อวานนี้", "th", True),
        ("เด็ก ไป", "th", False),
        ("Il est parti hier soir. »", "fr", True),
        ("No mark at the end", "xx", True),
        ("No mark at the end", None, True),
        ("No mark at the end", "fr", False),
    ],
)
def test_other_languages(document: Make, line: str, language: str | None, stays: bool) -> None:
    assert edited(document, line, language) == (line if stays else Drop("no_lines", 0, 1))


def test_the_language_of_every_document(document: Make) -> None:
    assert C4Lines().reads == ("language",)
    assert C4Lines(language="en").reads == C4Lines(terminal_punctuation=False).reads == ()
    assert edited(document, "No mark at the end", None, language="en") == Drop("no_lines", 0, 1)


def test_prose_stays_as_it_is(document: Make, prose: tuple[str, str]) -> None:
    language, text = prose
    page = document(text, language=language)
    assert C4Lines()(page) is page
    assert C4Lines(terminal_punctuation=False, min_words=3)(page) is page


def test_defaults_are_those_of_the_code() -> None:
    assert (C4Lines().min_words, C4Lines().max_word_length) == (5, 1000)
    assert C4Lines().end_marks == (".", "?", "!", '"')
    assert len(C4Lines().policies) == 6
