from __future__ import annotations

import sys
from contextlib import suppress

import pytest

from benchmarks.extraction import Extract, choose
from benchmarks.extraction_hostile import Cost, cost, fitting, main, raise_limits, table
from benchmarks.hostile_pages import KINDS, page
from curation.document import Document, Drop
from curation.errors import DataError, InputError
from curation.extractors.trafilatura import Trafilatura

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_extracted_when_it_is_small(kind: str) -> None:
    hostile = page(kind, 0.0005)
    assert hostile == page(kind, 0.0005)
    assert len(hostile.body) <= 100_000_000 * 0.0005 + 1000
    assert len(page(kind, 0.001).body) > len(hostile.body)
    for extract in some().values():
        with suppress(DataError):
            assert isinstance(extract(hostile), (Document, Drop))


def some() -> dict[str, Extract]:
    return {name: extract for name, extract in choose(None).items() if name in ("winnow", "trafilatura fast")}


def test_time_memory_and_verdict_of_a_page() -> None:
    limits = {"size": 0.49, "memory_bytes": 4 << 30}
    slow = cost("trafilatura fast", "unclosed p, 200 thousand", raised=False, timeout_s=1, **limits)
    assert (slow.verdict, slow.seconds) == ("killed: more than 1 s", 1)
    limits["size"] = 1.0
    large = cost("trafilatura fast", "rows, a million", raised=False, timeout_s=60, **limits)
    assert large.verdict == "too_large"
    assert large.seconds < 1
    assert 24e6 < large.peak_bytes < 60e6  # the page itself
    raised = cost("trafilatura fast", "one attribute of 20 MB", raised=True, timeout_s=60, **limits)
    assert raised.verdict == "no_text"
    assert raised.peak_bytes > 2 * 20e6  # and its text


def test_a_process_that_may_hold_too_little_says_so() -> None:
    limits = {"raised": True, "size": 1.0, "timeout_s": 60}
    found = cost("trafilatura fast", "nested div, 100 MB", memory_bytes=300 << 20, **limits)
    assert found.verdict.startswith(("killed: more than 300 MiB", "crashed"))


def test_pages_can_be_made_to_fit() -> None:
    for kind, full in (("rows, a million", False), ("nested div, 100 thousand", False), ("random bytes, 2 MB", True)):
        size = fitting(kind)
        assert (size == 1.0) is full
        body = page(kind, size).body
        assert len(body) <= 5 << 20
        assert body.count(b"<") <= 100_000
        assert full or max(len(body) / (5 << 20), body.count(b"<") / 100_000) > 0.98


def test_only_the_limits_of_size_are_raised() -> None:
    raised = raise_limits(Trafilatura(favor_precision=True))
    assert raised == Trafilatura(favor_precision=True, max_bytes=1 << 30, max_tags=1 << 30)


def test_table_and_choice() -> None:
    costs = {("x", "k"): Cost(1.234, 5_600_000, "no_text"), ("y", "k"): Cost(20, 0, "killed: more than 20 s")}
    assert table(costs, {"k": 1_200_000}).splitlines()[2] == (
        "| k | 1.2 | 1.23 s, 6 MB, no_text | **killed: more than 20 s** |"
    )
    with pytest.raises(InputError, match="there is no page x"):
        main(["--kinds", "x"])
    with pytest.raises(InputError, match="there is no extractor x"):
        main(["--extractors", "x"])
