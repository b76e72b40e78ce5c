from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.dedup.lines import Lines
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.normalize import paragraph_hash, paragraph_key_text

Deduplicate = Callable[..., list[Any]]

CCNET = Lines(semantics="ccnet")
WINNOW = Lines(semantics="winnow")
LINES = st.sampled_from(["A", "a", "B", "C", "D", "", " ", "7", "8 ", "é", "E"])
TEXTS = st.lists(st.lists(LINES, min_size=1, max_size=5).map("\n".join), max_size=6)


def documents(*texts: str) -> list[Document]:
    return [Document(id=f"web:f#{i}", url="", date="", digest="", text=text) for i, text in enumerate(texts)]


def texts(verdicts: list[Document | Drop]) -> list[str | None]:
    return [None if isinstance(verdict, Drop) else verdict.text for verdict in verdicts]


EXAMPLE = documents("A\nB", "A\nC\nC", "D\nD")


@pytest.mark.parametrize("cut", range(4))
def test_ccnets_worked_example(deduplicate: Deduplicate, cut: int) -> None:
    """A is gone everywhere; of C and D, which repeat inside their document only, the first stays."""
    assert texts(deduplicate(CCNET, EXAMPLE[:cut], EXAMPLE[cut:])) == ["B", "C", "D"]


@pytest.mark.parametrize("cut", range(4))
def test_winnow_keeps_the_copy_in_the_smallest_document(deduplicate: Deduplicate, cut: int) -> None:
    verdicts = deduplicate(WINNOW, EXAMPLE[:cut], EXAMPLE[cut:])
    assert texts(verdicts) == ["A\nB", "C", "D"]
    assert verdicts[0] is EXAMPLE[0]


@pytest.mark.parametrize(
    ("dedup", "expected"),
    [
        (Lines(semantics="ccnet", keep="smallest"), ["A\nB", "C", "D"]),
        (Lines(semantics="winnow", keep="none"), ["B", "C", "D"]),
    ],
)
def test_which_copy_stays_can_be_said(deduplicate: Deduplicate, dedup: Lines, expected: list[str]) -> None:
    assert texts(deduplicate(dedup, EXAMPLE)) == expected


def test_blank_lines(deduplicate: Deduplicate) -> None:
    """To CCNet a blank line is one more line that repeats; Winnow does not compare it, nor lose a document by it."""
    pages = documents("A\n\nB", "C\n\t\nD\n")
    assert texts(deduplicate(CCNET, pages)) == ["A\nB", "C\nD"]
    assert all(verdict is page for verdict, page in zip(deduplicate(WINNOW, pages), pages, strict=True))
    assert [WINNOW.units(page) for page in pages] == [2, 2]
    assert [CCNET.units(page) for page in pages] == [3, 4]


def test_a_document_that_loses_every_line_is_dropped(deduplicate: Deduplicate) -> None:
    pages = documents("A\nB", "b\n a \nB")
    assert deduplicate(WINNOW, pages) == [pages[0], Drop("all_lines_repeat", 3, 0)]
    assert deduplicate(CCNET, pages) == [Drop("all_lines_repeat", 2, 0), Drop("all_lines_repeat", 3, 0)]


def test_lines_are_compared_by_ccnets_key_and_kept_as_they_are(deduplicate: Deduplicate) -> None:
    pages = documents("Posted 12:30…\nFirst", "  POSTED 07:59 \n  Second  ")
    assert texts(deduplicate(CCNET, pages)) == ["First", "  Second  "]
    assert texts(deduplicate(WINNOW, pages)) == ["Posted 12:30…\nFirst", "  Second  "]


def test_hashes_are_those_of_the_compared_lines() -> None:
    page = documents("a\n\n b")[0]
    assert CCNET.hashes(page).tolist() == [paragraph_hash("a"), paragraph_hash(""), paragraph_hash("b")]
    assert WINNOW.hashes(page).tolist() == [paragraph_hash("a"), paragraph_hash("b")]
    assert WINNOW.hashes(documents("")[0]).shape == (0,)


@pytest.mark.parametrize(("dedup", "blank_too"), [(WINNOW, False), (CCNET, True)])
@given(contents=TEXTS, cut=st.integers(0, 6))
def test_what_is_left_is_what_the_definition_says(
    deduplicate: Deduplicate, dedup: Lines, blank_too: bool, contents: list[str], cut: int
) -> None:
    """Of each key of each line: CCNet keeps those of one document alone, Winnow those of the first. Order stays."""
    pages = documents(*contents)
    verdicts = deduplicate(dedup, pages[:cut], pages[cut:])
    keys = [[paragraph_key_text(line) for line in text.split("\n")] for text in contents]
    for number, (page, verdict) in enumerate(zip(pages, verdicts, strict=True)):
        left, seen = [], set[str]()
        for line, key in zip(page.text.split("\n"), keys[number], strict=True):
            others = [i for i, other in enumerate(keys) if key in other and i != number]
            repeats = any(other < number for other in others) if dedup is WINNOW else bool(others)
            if (blank_too or key) and not repeats and key not in seen:
                left.append(line)
            seen.add(key)
        compared = [line for line in page.text.split("\n") if blank_too or line.strip()]
        if left == compared:
            assert verdict is page
        elif not left:
            assert verdict == Drop("all_lines_repeat", len(compared), 0)
        else:
            assert [line for line in verdict.text.split("\n") if blank_too or line.strip()] == left


def test_an_edited_document_keeps_everything_but_its_text() -> None:
    page = Document(id="web:f#1", url="u", date="d", digest="x", text="A\nB", language="en", perplexity=3.0)
    verdict, kept = WINNOW.apply(page, np.array([False, True]))
    assert verdict == Document(id="web:f#1", url="u", date="d", digest="x", text="B", language="en", perplexity=3.0)
    assert kept == 1


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 verdicts for a document of"):
        WINNOW.apply(EXAMPLE[0], np.array([False, True, True]))


def test_the_rule_follows_from_the_semantics_unless_it_is_said() -> None:
    assert (WINNOW.keep, CCNET.keep) == ("smallest", "none")
    assert Lines(semantics="ccnet", keep="smallest").keep == "smallest"
    assert Lines() == WINNOW == Lines(keep="smallest")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"semantics": "CCNet"}, "semantics must be"),
        ({"keep": "largest"}, "keep must be one of smallest, newest, none, not 'largest'"),
        ({"group_files": -1}, "group_files"),
        ({"file_groups": -1}, "file_groups"),
        ({"file_groups": 2, "group_files": 2}, "file_groups"),
        ({"id_groups": -1}, "id_groups"),
        ({"id_groups": 1 << 32}, "id_groups"),
        ({"keep": "none", "max_documents": 0}, "max_documents is at least 1"),
        ({"max_documents": 2}, 'max_documents goes with keep = "none"; keep = "smallest" leaves one'),
        ({"keep": "newest", "max_documents": 2}, 'keep = "newest" leaves one'),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Lines(**options)


@pytest.mark.parametrize("cut", range(9))
@pytest.mark.parametrize(("most", "stays"), [(1, False), (5, False), (6, False), (7, True)])
def test_more_than_so_many_documents(deduplicate: Deduplicate, cut: int, most: int, stays: bool) -> None:
    """Llama 3's rule: a line that 7 documents hold goes from all of them if 6 are allowed, and else stays in each."""
    pages = documents(*(f"own {'abcdefg'[n]}\nMenu" for n in range(7)), "Menu x")
    left = texts(deduplicate(Lines(keep="none", max_documents=most), pages[:cut], pages[cut:]))
    assert left == [f"own {'abcdefg'[n]}" + "\nMenu" * stays for n in range(7)] + ["Menu x"]


def test_of_a_line_that_stays_a_document_keeps_the_first(deduplicate: Deduplicate) -> None:
    pages = documents("A\nB\nA", "A")
    assert texts(deduplicate(Lines(keep="none", max_documents=2), pages)) == ["A\nB", "A"]


def test_the_newest_copy_of_a_line(deduplicate: Deduplicate) -> None:
    dates = ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", ""]
    pages = [replace(page, date=date) for page, date in zip(documents("A\nB", "A\nC", "A\nD"), dates, strict=True)]
    for cut in range(4):
        assert texts(deduplicate(Lines(keep="newest"), pages[:cut], pages[cut:])) == ["B", "A\nC", "D"]


def test_groups_of_documents_by_their_keys(deduplicate: Deduplicate) -> None:
    """Copies in different groups do not meet; groups are equal ranges of the first half of the keys."""
    pages = documents(*["Menu"] * 60)
    groups = [int.from_bytes(page.key[:8], "little") * 4 >> 64 for page in pages]
    first = [groups.index(group) for group in range(4)]  # every group has some
    verdicts = deduplicate(Lines(id_groups=4), pages[:31], pages[31:])
    assert [n for n, verdict in enumerate(verdicts) if isinstance(verdict, Document)] == sorted(first)
    rare = min(range(4), key=groups.count)
    most = groups.count(rare)  # allowed in the smallest group, and in no larger one
    verdicts = deduplicate(Lines(id_groups=4, keep="none", max_documents=most), pages)
    stay = [group for group in range(4) if groups.count(group) <= most]
    assert (
        {groups[n] for n, verdict in enumerate(verdicts) if isinstance(verdict, Document)} == set(stay) != set(range(4))
    )


def test_hashes_without_groups_are_ccnets() -> None:
    page = documents("a\nb")[0]
    assert Lines(id_groups=0).hashes(page).tolist() == [paragraph_hash("a"), paragraph_hash("b")]
    assert not np.isin(Lines(id_groups=1).hashes(page), Lines().hashes(page)).any()
    assert len(set(Lines(id_groups=1).hashes(page).tolist())) == 2


def test_paragraphs_that_stay_are_still_set_apart():
    lines = Lines()
    document = Document(id="a:b#1", url="", date="", digest="", text="\nA\n\nB\n\n\nC\nD\n")
    left = lines.apply(document, np.array([True, False, True, True]))
    assert left[0].text == "A\n\nC\nD"
    assert left[1] == 3
    assert lines.apply(document, np.array([False, False, False, True]))[0].text == "D"


@pytest.mark.parametrize("files", [1, 2, 31, 32, 33, 100, 80_000])
def test_groups_of_files_are_those_of_ccnets_shards(files: int) -> None:
    """CCNet: shard k of 1,600 is files[k * n // 1600 : (k + 1) * n // 1600], and 50 shards make a group."""
    shards = [range(k * files // 1600, (k + 1) * files // 1600) for k in range(1600)]
    expected = {file: shard // 50 for shard, of_shard in enumerate(shards) for file in of_shard}
    lines = Lines(semantics="ccnet", file_groups=32)
    assert [lines.file_group(number, files) for number in range(files)] == [expected[n] for n in range(files)]
