"""A scanned page to numbers: one row of features for each block, in time linear in the page.

Nothing here knows a language but the learned words (curation/main_text/vocabulary.py): lengths, links, marks, tags,
the elements around, what stands before and behind, and how often the page repeats itself.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curation.main_text import characters, elements, tags
from curation.main_text.scan import Scan
from curation.main_text.vocabulary import CATEGORIES, Vocabulary

_CANDIDATE = ("inside", "up", "place", "length", "share", "linked", "down")
_PLACES = ("before2", "before1", "after1", "after2")
_STYLE = ("blocks", "length", "linked", "paragraphs")
NAMES = (
    *characters.COLUMNS,
    *elements.PATH_COLUMNS,
    *(f"{level}_{name}" for level in elements.LEVELS for name in elements.CONTAINER_COLUMNS),
    *("to_column", "like_it", "like_it_before", "siblings", "like_parent", "like_grandparent"),
    *(f"style_{name}" for name in _STYLE),
    *(f"long_style_{name}" for name in _STYLE),
    *(f"prose_{name}" for name in _CANDIDATE),
    *(f"worth_{name}" for name in _CANDIDATE),
    *("in_run", "to_run", "run_share", "text_to_run"),
    *(f"{name}_{place}" for place in _PLACES for name in ("length", "linked", "kind", "ends")),
    *("up_before", "up_after", "to_paragraph_before", "to_paragraph_after", "text_to_paragraph_before"),
    *("text_to_paragraph_after", "up_to_paragraph_before", "up_to_paragraph_after", "paragraphs_before"),
    *("paragraphs_after", "after_heading", "after_h1", "to_next_heading", "window_length", "window_linked"),
    *("page_length", "page_blocks", "page_linked", "page_paragraphs", "longest_block", "paragraph_share", "has_h1"),
    *("articles", "elements", "place", "to_edge", "text_place", "best_word"),
)  # fmt: skip
_FIRST = {
    name: NAMES.index(column)
    for name, column in (
        *(("path", "to_article"), ("container", "block_length"), ("repeat", "to_column")),
        *(("candidate", "prose_inside"), ("near", "length_before2"), ("far", "up_before"), ("page", "page_length")),
    )
}
_PATH, _CONTAINER, _REPEAT, _CANDIDATES, _NEAR, _FAR, _PAGE = _FIRST.values()
_H1, _ARTICLE = tags.TAG["h1"], tags.TAG["article"]
_FAR_AWAY, _FAR_TEXT = 999.0, 99_999.0


@dataclass(frozen=True, slots=True)
class Features:
    """`rows` float32[blocks, len(NAMES)]. The rest is what a second look needs: block ranges of the elements (int32), a
    number for each style of block (int32[blocks]), the hashes of the first words (uint32[blocks, FIRST_WORDS])."""

    rows: NDArray[np.float32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    styles: NDArray[np.int32]
    words: NDArray[np.uint32]


@functools.cache
def _groups() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    return elements.group_of_tag(tags.MAX_NAMES), elements.level_of_tag(tags.MAX_NAMES)


def features(page: Scan, known: Vocabulary) -> Features:
    """The features of a page that has a block or more."""
    blocks = len(page.block_element)
    rows = np.zeros((blocks, len(NAMES)), np.float32)
    words = np.zeros((blocks, characters.FIRST_WORDS), np.uint32)
    bits, lower = characters.character_classes()
    title = characters.title_words(np.frombuffer(page.title, np.uint8), bits, lower)
    characters.count_characters(
        page.text, page.text_from, page.text_to, title, known.text_keys, known.text_odds,
        known.text_categories, bits, lower, rows, words,
    )  # fmt: skip
    _other_columns(
        page.text, page.text_from, page.text_to, page.linked, page.links, page.emphasised, page.breaks, page.images,
        page.inputs, page.kind, page.hidden, page.block_element, rows,
    )  # fmt: skip
    near, named, path, level, style = elements.inherit(
        page.tag, page.parent, page.depth, page.word_from, page.word_to, page.words, known.keys, known.odds,
        known.categories, *_groups(), np.array((len(elements.GROUPS), len(CATEGORIES))),
    )  # fmt: skip
    first, last = elements.block_ranges(page.parent, page.block_element)
    sums = elements.running_sums(rows)
    _paths(page.block_element, page.depth, near, named, path, level, rows)
    _containers(page.block_element, page.parent, page.depth, first, last, sums, rows)
    styles = _styles(page.block_element, page.parent, style, sums, elements.siblings(page.parent, style), rows)
    chosen = elements.candidates(rows, page.parent, page.block_element, first, last, sums, path[:, 5].copy())
    _candidate_columns(
        page.block_element, page.parent, page.end, page.depth, first, last, sums, chosen[:2], chosen[2:], rows
    )
    _surroundings(page.block_element, page.parent, page.end, page.tag, level, sums, rows)
    _page_columns(page.block_element, page.tag, path, sums, rows)
    return Features(rows, first, last, styles, words)


@njit(cache=True, nogil=True)
def _other_columns(text, starts, ends, linked, links, emphasised, breaks, images, inputs, kind, hidden, element, rows):  # type: ignore[no-untyped-def]
    blocks = len(starts)
    keys = np.empty(blocks, np.uint64)
    for b in range(blocks):
        row, size = rows[b], max(1, ends[b] - starts[b])
        row[2] = min(1.0, linked[b] / size)
        row[3] = links[b]
        row[10] = min(1.0, emphasised[b] / size)
        row[11] = breaks[b]
        row[12] = images[b]
        row[13] = inputs[b]
        row[14] = kind[b]
        row[30] = hidden[element[b]]
        value = np.uint64(14695981039346656037)
        for at in range(starts[b], ends[b]):
            value = (value ^ np.uint64(text[at])) * np.uint64(1099511628211)
        keys[b] = value | np.uint64(1)
    numbers, totals = elements.group(keys)
    for b in range(blocks):
        totals[numbers[b]] += 1
    for b in range(blocks):
        rows[b, 22] = totals[numbers[b]]


@njit(cache=True, nogil=True)
def _paths(element, depth, near, named, path, level, rows):  # type: ignore[no-untyped-def]
    for b in range(len(element)):
        row, e, at = rows[b], element[b], _PATH
        for i in range(near.shape[1]):
            row[at] = depth[e] - near[e, i] if near[e, i] >= 0 else elements.FAR
            at += 1
        row[at] = level[e]
        row[at + 1] = depth[e]
        at += 2
        for i in range(path.shape[1]):
            row[at] = path[e, i]
            at += 1
        for i in range(named.shape[1]):
            row[at] = depth[e] - named[e, i] if named[e, i] >= 0 else elements.FAR
            at += 1


@njit(cache=True, nogil=True)
def _containers(element, parent, depth, first, last, sums, rows):  # type: ignore[no-untyped-def]
    # Each element once, since many blocks ask for the same ones.
    count, total = len(parent), max(1.0, sums[-1, 0])
    known, columns = np.zeros((count, 7), np.float32), np.full(count, -1, np.int32)
    for e in range(count):
        if last[e] >= 0:
            a, z = first[e], last[e]
            length, blocks = sums[z, 0] - sums[a, 0], z - a
            known[e, 0] = length
            known[e, 1] = blocks
            known[e, 2] = (sums[z, 1] - sums[a, 1]) / max(1.0, length)
            known[e, 3] = sums[z, 2] - sums[a, 2]
            known[e, 4] = length / total
            known[e, 5] = (sums[z, 3] - sums[a, 3]) / blocks
            known[e, 6] = length / blocks
            columns[e] = e if known[e, 3] >= 3 else columns[parent[e]] if parent[e] >= 0 else -1
    for b in range(len(element)):
        row, e, at = rows[b], element[b], _CONTAINER
        for level in range(6):
            if level == 5:
                e = columns[element[b]]
                row[_REPEAT] = depth[element[b]] - depth[e] if e >= 0 else -1
            if e >= 0:
                row[at : at + 7] = known[e]
                e = parent[e]
            else:
                row[at : at + 7] = -1
            at += 7


@njit(cache=True, nogil=True)
def _styles(element, parent, style, sums, alike, rows):  # type: ignore[no-untyped-def]
    blocks = len(element)
    keys = np.empty((2, blocks), np.uint64)
    for b in range(blocks):
        e = element[b]
        key, levels = style[e], 0
        while parent[e] >= 0 and levels < 3:
            e = parent[e]
            key = key * np.uint64(0x9E3779B97F4A7C15) + style[e]
            levels += 1
            if levels == 1:
                keys[0, b] = key | np.uint64(1)
        keys[1, b] = key | np.uint64(1)
        if levels == 0:
            keys[0, b] = key | np.uint64(1)
    short, _ = elements.group(keys[0])
    long, _ = elements.group(keys[1])
    for turn in range(2):
        numbers = short if turn == 0 else long
        totals = np.zeros((blocks, 4))
        for b in range(blocks):
            total = totals[numbers[b]]
            total[0] += 1
            total[1] += sums[b + 1, 0] - sums[b, 0]
            total[2] += sums[b + 1, 1] - sums[b, 1]
            total[3] += sums[b + 1, 2] - sums[b, 2]
        for b in range(blocks):
            total, at = totals[numbers[b]], _REPEAT + 6 + 4 * turn
            rows[b, at] = total[0]
            rows[b, at + 1] = total[1] / total[0]
            rows[b, at + 2] = total[2] / max(1.0, total[1])
            rows[b, at + 3] = total[3] / total[0]
    for b in range(blocks):
        row, e = rows[b], element[b]
        row[_REPEAT + 1] = alike[e, 0]
        row[_REPEAT + 2] = alike[e, 1]
        row[_REPEAT + 3] = alike[e, 2]
        around = parent[e]
        row[_REPEAT + 4] = alike[around, 0] if around >= 0 else 0
        around = parent[around] if around >= 0 else -1
        row[_REPEAT + 5] = alike[around, 0] if around >= 0 else 0
    return short


@njit(cache=True, nogil=True)
def _candidate_columns(element, parent, end, depth, first, last, sums, chosen, run, rows):  # type: ignore[no-untyped-def]
    blocks, total = len(element), max(1.0, sums[-1, 0])
    at = _CANDIDATES
    for choice in chosen:
        if choice < 0:
            rows[:, at : at + 7] = -1
        else:
            a, z = first[choice], last[choice]
            length = sums[z, 0] - sums[a, 0]
            linked = (sums[z, 1] - sums[a, 1]) / max(1.0, length)
            for b in range(blocks):
                row, e = rows[b], element[b]
                levels, common = elements.levels_up(e, choice, parent, end)
                row[at] = choice <= e < end[choice]
                row[at + 1] = levels
                row[at + 2] = (b - a) / (z - a)
                row[at + 3] = length
                row[at + 4] = length / total
                row[at + 5] = linked
                row[at + 6] = depth[choice] - (depth[common] if common >= 0 else 0)
        at += 7
    a, z = run
    share = (sums[z, 0] - sums[a, 0]) / total
    for b in range(blocks):
        row = rows[b]
        row[at] = a <= b < z
        row[at + 1] = b - a if b < a else b - z + 1 if b >= z else 0
        row[at + 2] = share
        row[at + 3] = sums[b, 0] - sums[a, 0] if b < a else sums[b, 0] - sums[z, 0] if b >= z else 0


@njit(cache=True, nogil=True)
def _surroundings(element, parent, end, tag, level, sums, rows):  # type: ignore[no-untyped-def]
    blocks = len(element)
    paragraph_after = np.full(blocks + 1, blocks, np.int32)
    heading_after = np.full(blocks + 1, blocks, np.int32)
    h1 = -1
    for b in range(blocks - 1, -1, -1):
        paragraph_after[b] = b if sums[b + 1, 2] > sums[b, 2] else paragraph_after[b + 1]
        heading_after[b] = b if level[element[b]] > 0 else heading_after[b + 1]
        if tag[element[b]] == _H1:
            h1 = b
    paragraph = heading = -1
    for b in range(blocks):
        row, e, at = rows[b], element[b], _NEAR
        for distance in (-2, -1, 1, 2):
            other = b + distance
            if 0 <= other < blocks:
                row[at], row[at + 1] = rows[other, 0], rows[other, 2]
                row[at + 2], row[at + 3] = rows[other, 14], rows[other, 8]
            else:
                row[at : at + 4] = -1
            at += 4
        behind = paragraph_after[b + 1]
        row[_FAR] = elements.levels_up(e, element[b - 1], parent, end)[0] if b > 0 else -1
        row[_FAR + 1] = elements.levels_up(e, element[b + 1], parent, end)[0] if b + 1 < blocks else -1
        row[_FAR + 2] = b - paragraph if paragraph >= 0 else _FAR_AWAY
        row[_FAR + 3] = behind - b if behind < blocks else _FAR_AWAY
        row[_FAR + 4] = sums[b, 0] - sums[paragraph + 1, 0] if paragraph >= 0 else _FAR_TEXT
        row[_FAR + 5] = sums[behind, 0] - sums[b + 1, 0] if behind < blocks else _FAR_TEXT
        row[_FAR + 6] = elements.levels_up(e, element[paragraph], parent, end)[0] if paragraph >= 0 else -1
        row[_FAR + 7] = elements.levels_up(e, element[behind], parent, end)[0] if behind < blocks else -1
        row[_FAR + 8] = sums[b, 2]
        row[_FAR + 9] = sums[blocks, 2] - sums[b + 1, 2]
        row[_FAR + 10] = b - heading if heading >= 0 else _FAR_AWAY
        row[_FAR + 11] = b - h1 if h1 >= 0 else -_FAR_AWAY
        row[_FAR + 12] = heading_after[b + 1] - b
        a, z = max(0, b - 3), min(blocks, b + 4)
        row[_FAR + 13] = (sums[z, 0] - sums[a, 0]) / (z - a)
        row[_FAR + 14] = (sums[z, 1] - sums[a, 1]) / max(1.0, sums[z, 0] - sums[a, 0])
        if sums[b + 1, 2] > sums[b, 2]:
            paragraph = b
        if level[e] > 0:
            heading = b


@njit(cache=True, nogil=True)
def _page_columns(element, tag, path, sums, rows):  # type: ignore[no-untyped-def]
    blocks, total = len(element), max(1.0, sums[-1, 0])
    longest = in_paragraphs = 0.0
    best_word, has_h1, articles = np.float32(0), 0, 0
    for e in range(len(tag)):
        articles += tag[e] == _ARTICLE
    for b in range(blocks):
        length = sums[b + 1, 0] - sums[b, 0]
        longest = max(longest, length)
        if sums[b + 1, 2] > sums[b, 2]:
            in_paragraphs += length
        if tag[element[b]] == _H1:
            has_h1 = 1
        best_word = max(best_word, path[element[b], 3])
    for b in range(blocks):
        row = rows[b]
        row[_PAGE] = sums[blocks, 0]
        row[_PAGE + 1] = blocks
        row[_PAGE + 2] = sums[blocks, 1] / total
        row[_PAGE + 3] = sums[blocks, 2]
        row[_PAGE + 4] = longest
        row[_PAGE + 5] = in_paragraphs / total
        row[_PAGE + 6] = has_h1
        row[_PAGE + 7] = articles
        row[_PAGE + 8] = len(tag)
        row[_PAGE + 9] = b / blocks
        row[_PAGE + 10] = min(b, blocks - b)
        row[_PAGE + 11] = sums[b, 0] / total
        row[_PAGE + 12] = best_word
