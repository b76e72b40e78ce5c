from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.dedup.near import Near
from curation.document import Document, Drop
from curation.heldout import BAND, HeldoutBands, bands_of, in_order, is_heldout, pack

WORDS = [f"word{i}" for i in range(500)]


def prose(seed: int, count: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def edited(text: str, seed: int, share: float) -> str:
    """The text with a share of its words replaced."""
    draw = random.Random(seed)
    return " ".join(f"new{i}" if draw.random() < share else word for i, word in enumerate(text.split()))


def index(held: dict[int, list[str]]) -> HeldoutBands:
    """Held-out texts by source number."""
    found = [np.empty(0, BAND), *(bands_of(text, source) for source, texts in held.items() for text in texts)]
    packed = np.frombuffer(pack(in_order(np.concatenate(found))), np.uint8)
    return HeldoutBands(packed, ("books", "web", "wikipedia"))


def shared(a: str, b: str) -> int:
    """Bands that two texts share, by the deduplication's own hashes."""
    near = Near()
    hashes = [near.hashes(Document(id="web:f#0", url="", date="", digest="", text=text)) for text in (a, b)]
    return len(np.intersect1d(*hashes))


def test_near_is_what_the_deduplication_calls_near() -> None:
    """Against every pair's whole signatures: as many bands, of the first source that has one; or none."""
    held = {0: [prose(1), prose(2)], 2: [prose(3), edited(prose(1), 5, 0.01)]}
    bands = index(held)
    texts = [edited(prose(s), t, share) for s in (1, 2, 3, 4) for t in range(6) for share in (0.0, 0.01, 0.03, 0.1)]
    counts = []
    for text in texts:
        by_source = {source: [shared(text, other) for other in others] for source, others in held.items()}
        near = [source for source, bands_shared in by_source.items() if any(bands_shared)]
        verdict = bands.check(text)
        if not near:
            assert verdict is None
            counts.append(0)
        else:
            assert isinstance(verdict, Drop)
            assert verdict.rule == bands.sources[near[0]]
            assert max(map(max, by_source.values())) <= verdict.measured <= 14
            counts.append(verdict.measured)
    assert {0, 14} < set(counts)
    assert any(0 < count < 5 for count in counts)  # barely near, too


def test_the_very_text_shares_all_bands() -> None:
    assert index({1: [prose(1)]}).check(prose(1).upper()) == Drop("web", 14, 0)


def test_first_rows_alone_do_not_make_a_document_near() -> None:
    """Bands whose first rows are those of the text, but not the rest."""
    bands = bands_of(prose(1), 1)
    bands["whole"] ^= np.uint64(1)
    packed = np.frombuffer(pack(in_order(bands)), np.uint8)
    assert HeldoutBands(packed, ("books", "web")).check(prose(1)) is None


class Unscanned(np.ndarray):
    """An array that may be searched, but not compared as a whole."""

    def __eq__(self, other: object) -> Any:
        assert self.size <= 14, f"{self.size} bands were looked at"
        return np.asarray(self) == other


def test_what_many_documents_share_the_first_rows_of_is_searched() -> None:
    """As boilerplate is: the band of source 1 stands amid others' of the same first rows, and after an equal one."""
    mine = bands_of(prose(1), 1)
    others = np.repeat(mine, 1000)
    others["whole"], others["source"] = np.random.default_rng(0).integers(0, 1 << 63, len(others)) * 2, 0
    later = mine.copy()
    later["source"] = 2
    packed = np.frombuffer(pack(in_order(np.concatenate([mine, others, later]))), np.uint8).view(Unscanned)
    assert HeldoutBands(packed, ("books", "web", "wikipedia")).check(prose(1)) == Drop("web", 14, 0)
    packed = np.frombuffer(pack(in_order(others)), np.uint8).view(Unscanned)
    assert HeldoutBands(packed, ("books",)).check(prose(1)) is None


def test_a_text_without_words_is_near_nothing() -> None:
    assert len(bands_of(" \n", 0)) == 0
    assert index({0: [" ", "a"]}).check("\t") is None


def test_nothing_held_out_is_near_nothing() -> None:
    assert index({}).check(prose(1)) is None


def test_in_order_sorts_and_keeps_each_once() -> None:
    rows = np.array([(2, 1, 0), (1, 9, 1), (1, 9, 0), (2, 1, 0), (1, 8, 5)], dtype=BAND)
    assert in_order(rows).tolist() == [(1, 8, 5), (1, 9, 0), (1, 9, 1), (2, 1, 0)]
    assert in_order(rows[:0]).tolist() == []


@given(st.text(max_size=40), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_what_is_held_out_stays_so_when_the_fraction_grows(text: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert is_heldout(text, low) <= is_heldout(text, high)
    assert not is_heldout(text, 0.0)


def test_case_and_white_space_do_not_change_the_side() -> None:
    for seed in range(200):
        text = prose(seed, 5)
        assert is_heldout(text, 0.5) == is_heldout(f" {text.upper()}\n".replace(" ", " \t"), 0.5)
    assert 0.07 < sum(is_heldout(prose(seed, 5), 0.1) for seed in range(2000)) / 2000 < 0.13
