from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import LedgerError
from curation.ledger import Balance, total

COUNTS = st.integers(0, 10**12)
BY_NAME = st.dictionaries(st.text("abc.", min_size=1, max_size=3), COUNTS, max_size=3).map(Counter)
NUMBERS = ("incoming", "split", "kept", "merged")
NAMED = ("dropped", "failed", "skipped")


@st.composite
def balanced(draw: st.DrawFn, unit: str = "documents") -> Balance:
    balance = Balance(unit, 0, 0, draw(COUNTS), draw(COUNTS), draw(BY_NAME), draw(BY_NAME), draw(BY_NAME))
    split = draw(st.integers(0, balance.outgoing))
    return replace(balance, split=split, incoming=balance.outgoing - split)


def miscounted(balance: Balance, field: str, by: int) -> Balance:
    if field in NUMBERS:
        return replace(balance, **{field: getattr(balance, field) + by})
    return replace(balance, **{field: getattr(balance, field) + Counter({"one more": by})})


@given(balanced())
def test_a_balanced_account_passes(balance: Balance) -> None:
    balance.check("here")


@given(balanced(), st.sampled_from(NUMBERS + NAMED), st.integers(1, 10**6))
def test_any_miscount_is_an_error(balance: Balance, field: str, by: int) -> None:
    with pytest.raises(LedgerError, match="here"):
        miscounted(balance, field, by).check("here")
    if field in NUMBERS and getattr(balance, field) >= by:
        with pytest.raises(LedgerError, match="here"):
            miscounted(balance, field, -by).check("here")


@given(balanced(), st.sampled_from(NUMBERS[2:]), st.sampled_from(NAMED))
def test_a_negative_count_hides_nothing(balance: Balance, less: str, more: str) -> None:
    """Two wrongs that add up to a balance are still wrong."""
    by = getattr(balance, less) + 1
    wrong = miscounted(miscounted(balance, less, -by), more, by)
    assert wrong.incoming + wrong.split == wrong.outgoing
    with pytest.raises(LedgerError, match="negative"):
        wrong.check("here")


def test_the_message_names_every_figure() -> None:
    counts = Counter({"a": 3}), Counter({"b": 4}), Counter({"c": 5})
    with pytest.raises(LedgerError) as caught:
        Balance("lines", 1, 6, 2, 7, *counts).check("part 3")
    assert str(caught.value) == (
        "part 3: 1 lines in + 6 split, but 2 kept + 3 dropped + 4 failed + 7 merged + 5 skipped = 21"
    )


@given(balanced())
def test_json_brings_it_back(balance: Balance) -> None:
    row = json.loads(json.dumps(balance.to_json()))
    assert Balance.from_json(row) == balance
    assert list(row["dropped"]) == sorted(row["dropped"])


def test_json_says_in_and_not_incoming() -> None:
    assert Balance("bytes", 3, kept=2, dropped=Counter({"x.y": 1})).to_json() == {
        "unit": "bytes",
        "in": 3,
        "split": 0,
        "kept": 2,
        "merged": 0,
        "dropped": {"x.y": 1},
        "failed": {},
        "skipped": {},
    }


@given(balanced(), balanced())
def test_sums_of_balanced_accounts_balance(a: Balance, b: Balance) -> None:
    both = a + b
    both.check("sum")
    for field in NUMBERS:
        assert getattr(both, field) == getattr(a, field) + getattr(b, field)
    for field in NAMED:
        for name in {*getattr(a, field), *getattr(b, field)}:
            assert getattr(both, field)[name] == getattr(a, field)[name] + getattr(b, field)[name]
    assert total("documents", [a, b]) == both


def test_units_are_never_added() -> None:
    with pytest.raises(LedgerError, match="lines and bytes"):
        Balance("lines") + Balance("bytes")


def test_a_total_is_of_one_unit() -> None:
    rows = [Balance("lines", 1, kept=1), Balance("bytes", 9, kept=9), Balance("lines", 2, kept=2)]
    assert total("lines", rows) == Balance("lines", 3, kept=3)
    assert total("records", rows) == Balance("records")
    assert rows[0] == Balance("lines", 1, kept=1)
