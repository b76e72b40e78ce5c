"""What the elements around a block say about it: their tags and class words, the text they hold, their repetitions."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curation.main_text.characters import find
from curation.main_text.tags import TAG, TAGS
from curation.main_text.vocabulary import CATEGORIES

# Elements of which a block's distance to the nearest around it counts.
GROUPS = (
    *("article", "main", "section", "nav", "header", "footer", "aside", "form fieldset button label select legend"),
    *("li dd dt", "ul ol menu dl", "td th", "table", "figure figcaption caption", "p", "h1 h2 h3 h4 h5 h6", "a"),
    *("blockquote q", "pre code", "details summary dialog", "address time", "div", "body"),
)
FAR = 40  # the distance to what is not there
WORD_COLUMNS = (
    *("nearest_word", "to_nearest_word", "least_word", "most_word", "sum_of_words", "own_word", "next_nearest_word"),
)
CONTAINER_COLUMNS = ("length", "blocks", "linked", "paragraphs", "share", "link_blocks", "block_length")
LEVELS = ("block", "parent", "second", "third", "fourth", "column")  # column: the nearest with three paragraphs
PATH_COLUMNS = (
    *(f"to_{group.split()[0]}" for group in GROUPS),
    *("heading_level", "depth"),
    *WORD_COLUMNS,
    *(f"to_{name}_word" for name in CATEGORIES),
)


def group_of_tag(count: int) -> NDArray[np.int8]:
    """int8[count]: the group of each tag, -1 for none."""
    table = np.full(count, -1, np.int8)
    for number, names in enumerate(GROUPS):
        for name in names.split():
            table[TAG[name]] = number
    return table


def level_of_tag(count: int) -> NDArray[np.int8]:
    """int8[count]: 1 to 6 for headings, else 0."""
    table = np.zeros(count, np.int8)
    for level in range(1, 7):
        table[TAGS.index(f"h{level}")] = level
    return table


@njit(cache=True, nogil=True)
def inherit(tag, parent, depth, word_from, word_to, words, keys, odds, categories, groups, levels, sizes):  # type: ignore[no-untyped-def]
    """Per element what its path from the root says: depths of the nearest of each group and category, word odds, style.

    `sizes` is (groups, categories), as numbers that the compiler does not know, or it would unroll the loops.
    """
    count = len(tag)
    near = np.full((count, sizes[0]), -1, np.int16)
    named = np.full((count, sizes[1]), -1, np.int16)
    path = np.zeros((count, 7), np.float32)
    level = np.zeros(count, np.int8)
    style = np.zeros(count, np.uint64)
    for e in range(count):
        around = parent[e]
        if around >= 0:
            near[e] = near[around]
            named[e] = named[around]
            path[e] = path[around]
            path[e, 1] = min(99, path[e, 1] + 1)
            level[e] = level[around]
        else:
            path[e, 1] = 99
        path[e, 5] = 0
        group = groups[tag[e]]
        if group >= 0:
            near[e, group] = depth[e]
        if levels[tag[e]] > 0:
            level[e] = levels[tag[e]]
        value = np.uint64(tag[e] + 1) * np.uint64(0x9E3779B97F4A7C15)
        best, found = np.float32(0), False
        for at in range(word_from[e], word_to[e]):
            word = words[at]
            value = (value ^ np.uint64(word)) * np.uint64(0xFF51AFD7ED558CCD)
            slot = find(keys, word)
            if slot >= 0:
                bits = categories[slot]
                if bits:
                    for number in range(sizes[1]):
                        if (bits >> number) & 1:
                            named[e, number] = depth[e]
                odd = odds[slot]
                if odd == odd:  # not NaN
                    found = True
                    if abs(odd) > abs(best):
                        best = odd
        style[e] = value ^ (value >> np.uint64(29))
        if found:
            path[e, 6] = path[e, 0]
            path[e, 0] = best
            path[e, 1] = 0
            path[e, 2] = min(path[e, 2], best)
            path[e, 3] = max(path[e, 3], best)
            path[e, 4] += best
            path[e, 5] = best
    return near, named, path, level, style


@njit(cache=True, nogil=True)
def block_ranges(parent, block_element):  # type: ignore[no-untyped-def]
    """For each element the first block in it, and the one behind its last: int32 twice; (blocks, -1) where none is."""
    count, blocks = len(parent), len(block_element)
    first, last = np.full(count, blocks, np.int32), np.full(count, -1, np.int32)
    for b in range(blocks):
        e = block_element[b]
        first[e] = min(first[e], b)
        last[e] = max(last[e], b + 1)
    for e in range(count - 1, 0, -1):
        around = parent[e]
        if last[e] >= 0:
            first[around] = min(first[around], first[e])
            last[around] = max(last[around], last[e])
    return first, last


@njit(cache=True, nogil=True)
def running_sums(rows):  # type: ignore[no-untyped-def]
    """float64[blocks + 1, 5]: of length, linked length, paragraphs, blocks of links, and worth as main text."""
    blocks = len(rows)
    sums = np.zeros((blocks + 1, 5))
    for b in range(blocks):
        row = rows[b]
        length, linked = float(row[0]), float(row[2])
        prose = length >= 70 and linked < 0.4 and (row[5] > 0 or row[8] > 0 or length > 200)
        worth = length * (1 - linked) * (1.0 if prose else 0.4 if length > 40 else 0.0)
        sums[b + 1, 0] = sums[b, 0] + length
        sums[b + 1, 1] = sums[b, 1] + length * linked
        sums[b + 1, 2] = sums[b, 2] + (1 if prose else 0)
        sums[b + 1, 3] = sums[b, 3] + (1 if linked > 0.6 else 0)
        sums[b + 1, 4] = sums[b, 4] + worth - (0.0 if prose else 60.0) - length * linked
    return sums


@njit(cache=True, nogil=True)
def candidates(rows, parent, block_element, first, last, sums, own_word):  # type: ignore[no-untyped-def]
    """Two elements that may hold the main text, and a run of blocks.

    The first has the most marks of prose in its children (as in Readability: commas and length of paragraphs, which
    count for the parent and half for the one around it, less links); the second is the subtree of the greatest worth;
    the run is the subsequence of the greatest worth (Pasternack and Roth 2009).
    """
    count, blocks = len(parent), len(block_element)
    marks = np.zeros(count)
    for b in range(blocks):
        length = float(rows[b, 0])
        if length >= 25:
            mark = (1 + rows[b, 4] + min(length / 100, 3.0)) * (1 - rows[b, 2])
            around = parent[block_element[b]]
            if around >= 0:
                marks[around] += mark
                if parent[around] >= 0:
                    marks[parent[around]] += mark / 2
    prose, worthiest, most, greatest = -1, -1, 0.0, -1e18
    for e in range(count):
        if last[e] < 0:
            continue
        if marks[e] > 0:
            length = sums[last[e], 0] - sums[first[e], 0]
            linked = (sums[last[e], 1] - sums[first[e], 1]) / max(1.0, length)
            mark = marks[e] * (1 - linked) * (1 + 0.25 * max(-2.0, min(2.0, own_word[e])))
            if mark > most:
                prose, most = e, mark
        worth = sums[last[e], 4] - sums[first[e], 4]
        if worth >= greatest:
            worthiest, greatest = e, worth
    run_first, run_last = best_run(sums[:, 4])
    return prose, worthiest, run_first, run_last


@njit(cache=True, nogil=True)
def best_run(sums):  # type: ignore[no-untyped-def]
    """The contiguous run [first, last) whose part of these running sums is greatest; (0, 0) if none is above 0."""
    first = last = start = 0
    best = now = 0.0
    for b in range(len(sums) - 1):
        if now <= 0:
            now, start = 0.0, b
        now += sums[b + 1] - sums[b]
        if now > best:
            first, last, best = start, b + 1, now
    return first, last


@njit(cache=True, nogil=True)
def levels_up(e, other, parent, end):  # type: ignore[no-untyped-def]
    """How many levels above an element the nearest one is that holds another element too, and that one."""
    levels = 0
    while e >= 0 and not e <= other < end[e]:
        e = parent[e]
        levels += 1
    return levels, e


@njit(cache=True, nogil=True)
def siblings(parent, style):  # type: ignore[no-untyped-def]
    """int32[elements, 3]: siblings of the same tag and words, those before it, and all children of its parent."""
    count = len(parent)
    found, children = np.zeros((count, 3), np.int32), np.zeros(count, np.int32)
    keys = (style ^ ((parent + 2).astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))) | np.uint64(1)
    slots, totals = group(keys)
    for e in range(count):
        found[e, 1] = totals[slots[e]]
        totals[slots[e]] += 1
        if parent[e] >= 0:
            children[parent[e]] += 1
    for e in range(count):
        found[e, 0] = totals[slots[e]]
        if parent[e] >= 0:
            found[e, 2] = children[parent[e]]
    return found


@njit(cache=True, nogil=True)
def group(keys):  # type: ignore[no-untyped-def]
    """Number equal keys (uint64, none 0) from 0 in order of their first: int32[keys], and a zero for each number."""
    size = 16
    while size < 2 * len(keys):
        size *= 2
    table, numbers = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    found = np.empty(len(keys), np.int32)
    count = 0
    for i in range(len(keys)):
        key = keys[i]
        slot = int((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (size - 1)
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & (size - 1)
        if table[slot] == 0:
            table[slot] = key
            numbers[slot] = count
            count += 1
        found[i] = numbers[slot]
    return found, np.zeros(count, np.int32)
