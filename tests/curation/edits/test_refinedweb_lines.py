from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.edits.refinedweb_lines import RefinedwebLines

Make = Callable[..., Document]

PROSE = "the words of a line that stays as it is and goes on for a while"


def edited(page: Document, **options: float) -> list[str] | Drop:
    """The lines that are left of one line between two of prose, or the drop. Nothing is too much to remove."""
    verdict = RefinedwebLines(**{"max_removed": 1.0, **options})(page)  # type: ignore[arg-type]
    return verdict if isinstance(verdict, Drop) else verdict.text.split("\n")


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("ABCD efgh", "ABCD efgh"),  # 4 of 9
        ("ABCDE fgh.", "ABCDE fgh."),  # 5 of 10
        ("ABCDEF fg.", None),  # 6 of 10
        ("  ABCD efgh  ", "  ABCD efgh  "),
        ("ΑΒΓΔΕ αβ", None),
        ("これは 日本語", "これは 日本語"),
        ("12345", None),
        ("١٢٣٤٥", None),
        ("12 345", "12 345"),
        ("word", None),
        ("word.", None),
        ("two words", "two words"),
        ("3 likes", None),
        ("(1,234.5K Views)", None),
        ("12m  followers!", None),
        ("3 likes it", "3 likes it"),
        ("likes 3", "likes 3"),
        ("3 liked", "3 liked"),
        ("", ""),
        ("\t ", "\t "),
    ],
)
def test_lines(document: Make, line: str, left: str | None) -> None:
    page = document(f"{PROSE}\n{line}\n{PROSE}", language="en")
    assert edited(page) == [PROSE, *([] if left is None else [left]), PROSE]


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Sign-in to see all of it", "to see all of it"),
        ("Please sign-in", "Please sign-in"),  # only at the start
        ("They said a lot Read more...", "They said a lot"),
        ("They said a lot read more…", "They said a lot"),
        ("Read more... of what they said", "Read more... of what they said"),  # only at the end
        ("You have 3 items in cart now", "You have 3 now"),  # anywhere
        ("Items in Cart", None),
        ("Read more...", None),
        ("one two three four five six seven eight Read more...", "one two three four five six seven eight"),  # 10 words
        ("one two three four five six seven eight nine Read more...", None),  # 11: not searched, and it stays
    ],
)
def test_phrases(document: Make, line: str, left: str | None) -> None:
    if line.startswith("one") and left is None:
        left = line
    page = document(f"{PROSE}\n{line}\n{PROSE}", language="en")
    assert edited(page) == [PROSE, *([] if left is None else [left]), PROSE]


@pytest.mark.parametrize("language", [None, "", "und", "de", "ja"])
def test_english_words_are_cut_from_english_pages_only(document: Make, language: str | None) -> None:
    text = f"{PROSE}\n3 likes\nSign-in to see\nnow read more...\n{PROSE}"
    page = document(text, language=language)
    assert RefinedwebLines()(page) is page


@pytest.mark.parametrize("language", ["ja", None])
def test_a_line_without_spaces_is_not_one_word(document: Make, language: str | None) -> None:
    text = "これは日本語の文章です。\n吾輩は猫である。名前はまだ無い。"
    page = document(text, language=language)
    assert RefinedwebLines()(page) is page
    thai = document("ภาษาไทยเป็นภาษาที่ไม่มีช่องว่าง\nระหว่างคำในประโยค", language="th")
    assert RefinedwebLines()(thai) is thai


def of_words(removed: int, total: int) -> str:
    """`removed` lines of one word each, and the rest in one line."""
    return "\n".join([*["word"] * removed, " ".join(["word"] * (total - removed))])


@pytest.mark.parametrize(
    ("removed", "total", "drop"),
    [
        (5, 100, None),
        (6, 100, Drop("words_removed", 0.06, 0.05)),
        (1, 20, None),
        (1, 19, Drop("words_removed", 0.0526, 0.05)),
    ],
)
def test_a_page_goes_when_more_than_a_twentieth_of_its_words_does(
    document: Make, removed: int, total: int, drop: Drop | None
) -> None:
    verdict = RefinedwebLines()(document(of_words(removed, total)))
    if drop is None:
        assert isinstance(verdict, Document)
        assert verdict.text == " ".join(["word"] * (total - removed))
    else:
        assert verdict == drop


def test_nothing_left(document: Make) -> None:
    assert RefinedwebLines()(document("WORDS\n12\nword")) == Drop("words_removed", 1.0, 0.05)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{PROSE}\n\nMENU\n\n{PROSE}", f"{PROSE}\n\n{PROSE}"),
        (f"MENU\n\n{PROSE}\n\nMENU", PROSE),
        (f"{PROSE}\n\n\n{PROSE}\nMENU", f"{PROSE}\n\n\n{PROSE}"),  # only what lay around a removed line is closed up
        (f"{PROSE}\nMENU\n\nMENU\n{PROSE}", f"{PROSE}\n\n{PROSE}"),
    ],
)
def test_paragraphs_stay_apart(document: Make, text: str, left: str) -> None:
    assert edited(document(text)) == left.split("\n")


def test_every_threshold_can_be_moved(document: Make) -> None:
    page = document(f"AB cdefghij\ntwo words\nthis here now read more...\n{PROSE}", language="en")
    kept = ["AB cdefghij", "two words", "this here now", PROSE]
    assert edited(page) == kept
    assert edited(page, max_uppercase=0.1) == kept[1:]
    assert edited(page, min_line_words=3) == kept[2:]
    assert edited(page, max_phrase_words=4) == [*kept[:2], "this here now read more...", PROSE]
    assert edited(page, max_removed=0.05) == Drop("words_removed", 0.08, 0.05)


def test_the_rest_of_the_document_stays(document: Make) -> None:
    verdict = RefinedwebLines(max_removed=1.0)(document(f"MENU\n{PROSE}", language="en", perplexity=1.5))
    assert verdict == document(PROSE, language="en", perplexity=1.5)


def test_defaults_are_the_sources() -> None:
    """Penedo et al. 2023, appendix G.2: 5 %; dclm_baseline_refinedweb.yaml: the rest."""
    assert RefinedwebLines() == RefinedwebLines(
        max_uppercase=0.5, min_line_words=2, max_phrase_words=10, max_removed=0.05
    )
