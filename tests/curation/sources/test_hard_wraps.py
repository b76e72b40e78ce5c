from __future__ import annotations

import random
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources.hard_wraps import unwrap

SENTENCE = "the boat came in late and nobody was there to see how it was brought up onto the sand by six tall men"
WORDS = SENTENCE.split()


def prose(seed: int, words: int = 120) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words)) + "."


FILLER = "\n\n".join(textwrap.fill(prose(seed), 70) for seed in range(5))  # says what the width is


def unwrapped(text: str) -> str:
    """What becomes of a text in a book that is wrapped at 70 characters."""
    found, _, _ = unwrap(f"{text}\n\n{FILLER}").partition("\n\n" + prose(0)[:60])
    return found


@given(st.integers(0, 10**6), st.integers(55, 95))
def test_wrapping_is_undone(seed: int, width: int) -> None:
    paragraphs = [prose(seed + number, 60 + 7 * number) for number in range(6)]
    assert unwrap("\n\n".join(textwrap.fill(each, width) for each in paragraphs)) == "\n\n".join(paragraphs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("for those present being used to public meetings and the after-\nlecture debates.", "after-lecture debates."),
        ("for those present being used to public meetings and nothing else--\nhe said.", "nothing else--he said."),
        ("for those present being used to public meetings and to nothing --\nhe said.", "nothing -- he said."),
        (
            "   It was in the year that the boats came in, and the whole of that\ntown was there.",
            "that town was there.",
        ),
    ],
)
def test_joints(text: str, expected: str) -> None:
    found = unwrapped(text)
    assert "\n" not in found
    assert found.endswith(expected)
    assert not found.startswith(" ")


@pytest.mark.parametrize(
    "text",
    [
        "CHAPTER I",
        "THE BOAT\nBY\nA. WRITER",
        "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\nRough winds do shake",
        "  He zedjagged so uncomen wyde\n  Thet non coude pas on eyder syde;\n  So, to com saufly thruh, I been",
        f"He said to all of them who stood about there and had come to hear it:\n    {SENTENCE[:62]}\n    and so on.",
        f"January    {SENTENCE[:60]}\nFebruary   {SENTENCE[:60]}",
        "a\n\n\n\nb",
        "",
    ],
    ids=["heading", "title page", "verse", "indented", "quoted verse", "table", "blank lines", "nothing"],
)
def test_what_was_broken_on_purpose_stays(text: str) -> None:
    assert unwrapped(text) == text


@pytest.mark.parametrize("width", [30, 45, 120])
def test_a_text_of_another_width_stays(width: int) -> None:
    """Below 50 it may be verse, and above 100 nobody wraps."""
    text = "\n\n".join(textwrap.fill(prose(seed), width) for seed in range(5))
    assert unwrap(text) == text


@given(st.text(st.sampled_from("ab \n\t-—"), max_size=300))
def test_no_word_is_lost(text: str) -> None:
    assert (
        unwrap(text + "\n\n" + FILLER).replace("\n", " ").replace("-", " ").replace("—", " ").split()
        == (text + "\n\n" + FILLER).replace("-", " ").replace("—", " ").split()
    )


def test_time_is_in_proportion_to_length() -> None:
    started = time.process_time()
    for text in ("x" * 70 + "\n", "a b " * 20 + "\n", "a   b" + " " * 60 + "\n"):
        unwrap(text * (2_000_000 // len(text)))
    unwrap("x" + " " * 2_000_000 + "x\n" * 10)
    assert time.process_time() - started < 5
