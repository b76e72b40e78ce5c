from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.compare_datatrove import ENOUGH, Text, compare, main, measured, stripped, tightened
from benchmarks.datatrove_rules import PAIRS, Limits, Pair, Run, Verdict, our_run
from curation.document import Drop
from curation.errors import InputError, UserError

TEXTS = [Text(f"u{n}", "x" * n) for n in range(1, 101)]


def longer(shift: int, least: bool = False) -> Callable[[Limits], Run]:
    """A filter that drops texts of more than `most` characters, or fewer; `shift` is what it counts too many."""

    def make(limits: Limits) -> Run:
        def run(text: str) -> tuple[Verdict, str]:
            length = len(text) + shift
            wrong = length < limits["most"] if least else length > limits["most"]
            # datatrove gives the reason alone
            return ("long" if shift else Drop("long", length, limits["most"]), "") if wrong else (None, text[shift:])

        return run

    return make


def pair(shift: int = 0, paper: float = 1000, least: bool = False) -> Pair:
    return Pair(
        ours=longer(0, least),
        theirs=longer(shift, least),
        limits={"most": paper},
        least=frozenset({"most"} if least else ()),
    )


def test_disagreements_are_found_and_measured() -> None:
    found = compare("x", pair(2), {"most": 50}, TEXTS)
    assert found.dropped == (50, 52)
    assert [TEXTS[number].url for number in found.disagreements] == ["u49", "u50"]
    assert found.row() == "| x | 100 | 50 | 52 | 98.00 | 2 |"
    assert len(found.edited_apart) == 48
    assert compare("x", pair(), {"most": 50}, TEXTS).disagreements == []
    assert measured(pair(2), "most", TEXTS[48].text) == pytest.approx((49, 51))
    assert measured(pair(2, least=True), "most", TEXTS[48].text) == pytest.approx((49, 51))


def test_the_limit_is_moved_no_further_than_it_must() -> None:
    for paper in (200, 333, 500, 777, 1000):
        for shift in (-3, 0, 3):
            limit = tightened(pair(shift, paper), "most", TEXTS)
            assert min(compare("x", pair(shift), {"most": limit}, TEXTS).dropped) >= ENOUGH
            assert min(compare("x", pair(shift), {"most": limit * 1.06}, TEXTS).dropped) < ENOUGH
    assert math.isnan(tightened(pair(), "most", TEXTS[:19]))
    assert tightened(pair(paper=10), "most", TEXTS) == 10
    limit = tightened(pair(paper=2, least=True), "most", TEXTS)
    assert 20 < limit < 22


@pytest.mark.parametrize("name", PAIRS)
def test_our_side_of_each_pair_can_be_made_whole_and_rule_by_rule(name: str) -> None:
    """Each rule alone lets prose pass; what a limit has to do is shown where datatrove is installed."""
    found = PAIRS[name]
    words = ("the", "river", "and", "of", "town", "that", "have", "night", "house", "bridge", "water", "people", "with")
    prose = "\n".join(
        " ".join(words[(n * n + k * (n + 1)) % 13] + "abcdefg"[(k * n) % 7] * (k % 2) for k in range(12))
        + f" the to {n}x."
        for n in range(12)
    )
    for limits in ({}, found.limits, *({rule: limit} for rule, limit in found.limits.items())):
        verdict, text = found.ours(limits)(prose)
        assert (verdict, text) == (None, prose), limits


def test_steps_run_one_after_the_other() -> None:
    run = our_run([("edits.c4_lines:C4Lines", {"min_words": 3}), ("filters.c4_page:C4Page", {"min_sentences": 2})])
    assert run("One two three.\nmenu\nFour five six.") == (None, "One two three.\nFour five six.")
    assert run("One two three.\nmenu") == (Drop("too_few_sentences", 1, 2), "")


def test_stripped() -> None:
    assert stripped("  a \n\t\n \n\n b\nc \n") == "a\n\nb\nc"


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--peer names"):
        main(["--peer", str(tmp_path / "absent"), "--warc", "x"])
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(InputError, match="--warc names"):
        main(["--peer", str(python)])
    texts = tmp_path / "texts.json"
    texts.write_text("{}")
    with pytest.raises(UserError, match="status 3"):
        main(["--peer", str(python), "--texts", str(texts)])
