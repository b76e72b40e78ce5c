"""NFC is Python's own, but for runs of combining characters that no text has, and never slow."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.nfc import MARKS, nfc

ACUTE, BELOW = "\u0301", "\u0316"


@given(st.text(alphabet=st.sampled_from("ae\u0301\u0316\u0344\u1161\u1100\u0e38\ud800 \U0001d165é"), max_size=MARKS))
def test_it_is_nfc_where_runs_are_short(text: str) -> None:
    assert nfc(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("base", ["q", ""])
@pytest.mark.parametrize(("marks", "kept"), [(MARKS, MARKS), (MARKS + 1, MARKS), (10 * MARKS, MARKS)])
def test_the_first_thirty_marks_of_a_run_stay(base: str, marks: int, kept: int) -> None:
    text = base + (BELOW * marks) + "x" + ACUTE * 2
    assert nfc("e\u0301" + text) == "é" + base + BELOW * (kept - (base == "")) + "x" + ACUTE * 2


def test_a_million_marks_out_of_order_are_thirty() -> None:
    assert nfc("a" + (ACUTE + BELOW) * 1_000_000) == unicodedata.normalize("NFC", "a" + (ACUTE + BELOW) * (MARKS // 2))
    page = (ACUTE + BELOW) * 500_000
    assert len(nfc(page + "a" + page)) == 2 * MARKS + 1 - 1  # the vowel and one acute are one character
