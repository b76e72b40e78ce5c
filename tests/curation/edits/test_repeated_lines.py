from __future__ import annotations

import pytest

from curation.document import Document, Drop
from curation.edits.repeated_lines import RepeatedLines


def numbered(first: int, last: int) -> str:
    """Words that occur nowhere else."""
    return " ".join(f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(first, last))


def left(text: str, **options: float) -> list[str] | Drop:
    page = Document(id="web:f#0", url="", date="", digest="", text=text)
    verdict = RepeatedLines(**options)(page)  # type: ignore[arg-type]
    if isinstance(verdict, Drop):
        return verdict
    assert (verdict is page) == (verdict.text == text)
    return verdict.text.split("\n")


FIRST = numbered(0, 10)


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        (FIRST, False),
        (FIRST.upper(), False),  # the same in small letters
        (f"{numbered(0, 8)} {numbered(20, 22)}", True),  # 8 words of 10
        (f"{numbered(0, 9)} {numbered(20, 22)}", False),  # 9 of 11
        (f"{numbered(20, 22)} {numbered(0, 8)}", True),
        (f"{numbered(20, 22)} {numbered(0, 9)}", False),
        (f"{numbered(0, 4)} x {numbered(5, 9)} x y", True),  # no five in a row
        (numbered(0, 9), True),  # 9 words
        (f"{numbered(0, 9)} 12 : | 34", True),  # numbers and symbols are no words
        ("", True),
    ],
)
def test_a_line_goes_when_nearly_all_of_it_was_there_before(line: str, stays: bool) -> None:
    assert left(f"{FIRST}\n{line}") == [FIRST, *([line] if stays else [])]


def test_a_line_that_repeats_itself_goes() -> None:
    message = "error: the disk is full again; "
    assert left(f"{FIRST}\n{message * 6}") == [FIRST]  # 30 words of 36
    assert left(f"{FIRST}\n{message * 5}") == [FIRST, message * 5]  # 24 of 30


def test_lines_of_a_log_differ_by_their_numbers_alone() -> None:
    log = [
        f"12:{n}:59 warning: id={n} lost user{n} on page{n} of host-{n} with error{n} at screen{n} and job{n}"
        for n in range(10, 40)
    ]
    assert left("\n".join([FIRST, *log])) == [FIRST, log[0]]


def test_rows_of_a_table_stay() -> None:
    rows = ["| Fat | 19 g | (16 %) | | more |", "| Fibre | 12 g | (39 %) | | more |", "| Salt | 3 g | (9 %) | | more |"]
    assert left("\n".join(rows)) == rows


def test_overlapping_ngrams_are_counted_once() -> None:
    # "a" twelve times: the first n-gram is new, and the seven after it cover words 2 to 12.
    assert left(f"{FIRST}\n{'a ' * 12}", max_coverage=11 / 12) == [FIRST, "a " * 12]
    assert left(f"{FIRST}\n{'a ' * 12}", max_coverage=0.9) == [FIRST]


def test_words_are_those_of_the_script() -> None:
    line = "吾輩は猫である。名前はまだ無い。どこで生れたか見当がつかぬ。"
    other = "今日は天気が良いので散歩に行きましょう。"
    assert left(f"{line}\n{other}\n{line}") == [line, other]


def test_thresholds_can_be_moved() -> None:
    text = f"{FIRST}\n{numbered(0, 5)} {numbered(20, 25)}"
    assert left(text) == text.split("\n")
    assert left(text, max_coverage=0.49) == [FIRST]
    assert left(text, max_coverage=0.49, n=6) == text.split("\n")
    assert left(text, max_coverage=0.49, min_words=11) == text.split("\n")
    assert left(f"{FIRST}\n{numbered(0, 9)}", min_words=9) == [FIRST]


def test_nothing_left() -> None:
    assert left("a " * 20) == Drop("all_lines_repeat", 1, 0)
    assert left(f"{'a ' * 20}\n\n") == Drop("all_lines_repeat", 3, 0)
