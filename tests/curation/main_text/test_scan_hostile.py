from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.main_text.scan import Scan, scan
from curation.main_text.tags import TAGS
from tests.curation.main_text.hostile_pages import PAGES

MOST_LINES = 70  # of source that run for one byte of a page


def test_work_is_linear_in_the_page() -> None:
    """Counted, not timed: the scanner's source runs without its compiler, on pages of one and of two kilobytes."""
    command = [sys.executable, "-m", "tests.curation.main_text.count_work", "1000", "2000"]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)
    assert counts.keys() == PAGES.keys()
    for name, (one, two) in counts.items():
        assert two - one < MOST_LINES * 1000, name
        assert two - one < 1.3 * one, name


@pytest.mark.parametrize("name", PAGES)
def test_a_megabyte(name: str) -> None:
    page = PAGES[name](1 << 20)
    found = scan(page)
    check(found)
    # References of five bytes may be six; there is no other growth.
    assert len(found.text) <= 1.2 * len(page)
    assert len(found.tag) + len(found.kind) + len(found.words) <= 2 * len(page)


ATOMS = [
    *(f"<{name}>" for name in TAGS if name),
    *(f"</{name}>" for name in TAGS if name),
    *(
        "<",
        ">",
        "&",
        ";",
        "=",
        '"',
        "'",
        "/",
        "!",
        "?",
        "-",
        " ",
        "\n",
        "\r",
        "\t",
        "a",
        "B",
        "7",
        "é",
        "日",
        "😀",
        "\0",
    ),
    *("<!--", "-->", "--!>", "<![CDATA[", "]]>", "<p ", "class=", "style='display:none'>", " hidden>", "<a href=x>"),
    *("&amp", "&#x", "&nGt;", "&nbsp;", "\u00ad", "\u2028", "\ufeff", "<my-tag>", "</my-tag>", "<x", "/>"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(ATOMS), max_size=80).map("".join) | st.binary(max_size=200) | st.text(max_size=100))
def test_any_page(page: str | bytes) -> None:
    found = scan(page)
    check(found)
    again = scan(page)
    assert all(np.array_equal(getattr(found, name), getattr(again, name)) for name in ("tag", "end", "text", "words"))


def check(found: Scan) -> None:
    elements, blocks = len(found.tag), len(found.kind)
    number = np.arange(elements)
    assert found.parent[0] == -1
    assert found.end[0] == elements
    assert (found.end > number).all()
    inner, parent = number[1:], found.parent[1:]
    assert ((parent >= 0) & (parent < inner)).all()
    assert (found.end[inner] <= found.end[parent]).all()
    assert (inner < found.end[parent]).all()
    assert (found.depth[inner] == found.depth[parent] + 1).all()
    assert (found.hidden[inner] | ~found.hidden[parent]).all()
    assert (np.diff(found.word_from) >= 0).all()
    assert (found.word_from <= found.word_to).all()
    assert found.word_to.max() <= len(found.words)
    size = found.text_to - found.text_from
    assert (size > 0).all()
    assert (found.text_from[1:] >= found.text_to[:-1]).all()
    assert blocks == 0 or found.text_to[-1] <= len(found.text)
    assert ((found.linked >= 0) & (found.linked <= size)).all()
    assert ((found.emphasised >= 0) & (found.emphasised <= size)).all()
    assert ((found.block_element >= 0) & (found.block_element < elements)).all()
    text = bytes(found.text).decode()
    assert not any(c in text for c in "\0\x7f\u00ad\u200b\ufeff\ufffe")
    for i in range(min(blocks, 100)):
        assert found.block_text(i).strip()
