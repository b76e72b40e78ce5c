"""Kept blocks to text: a paragraph, heading or item a line, items marked, rows of tables in one line, code as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.main_text.scan import Scan
from curation.main_text.tags import CELL, LIST_ITEM, TAG

_ITEMS = (TAG["li"], TAG["dd"])
_ROW = TAG["tr"]
_CELLS = (TAG["td"], TAG["th"])
_LONGEST_CELL = 400  # bytes; what is longer is text in a table of layout
_MOST_LEVELS = 8  # between a block and its item or cell


def render(page: Scan, kept: NDArray[np.bool_]) -> str:
    """The text of the blocks for which `kept` (bool[blocks]) is true.

    The first block of a list item begins with "- ". Cells of a row stand in one line, " | " between them, as far as
    the row has one block a cell and none that is long.
    """
    numbers = np.flatnonzero(kept).tolist()
    tags, parents, elements, kinds = page.tag, page.parent, page.block_element, page.kind
    starts, ends, text = page.text_from, page.text_to, page.text.tobytes()
    pieces: list[bytes] = []
    marked = open_row = -1
    rows = _rows(page, numbers)
    for number in numbers:
        block = text[starts[number] : ends[number]].strip(b"\n")
        kind = kinds[number]
        row = rows.get(number, -1)
        if row >= 0 and row == open_row:
            pieces.append(b" | ")
        elif pieces:
            pieces.append(b"\n")
        open_row = row
        if kind == LIST_ITEM:
            item = _around(tags, parents, int(elements[number]), _ITEMS)
            if item != marked:
                pieces.append(b"- ")
                marked = item
        pieces.append(block)
    return b"".join(pieces).decode("utf-8", "replace")


def _around(tags: NDArray[np.int16], parents: NDArray[np.int32], element: int, wanted: tuple[int, ...]) -> int:
    """The nearest element of these tags, this one or one around it; -1 for none nearby."""
    for _ in range(_MOST_LEVELS):
        if element < 0:
            return -1
        if tags[element] in wanted:
            return element
        element = int(parents[element])
    return -1


def _rows(page: Scan, numbers: list[int]) -> dict[int, int]:
    """The row of each kept block that stands in a line with others: the row has one block a cell, all short."""
    found: dict[int, list[tuple[int, int]]] = {}
    for number in numbers:
        if page.kind[number] == CELL:
            cell = _around(page.tag, page.parent, int(page.block_element[number]), _CELLS)
            row = int(page.parent[cell]) if cell >= 0 else -1
            if row >= 0 and page.tag[row] == _ROW:
                found.setdefault(row, []).append((number, cell))
    lines = {}
    for row, members in found.items():
        cells = [cell for _, cell in members]
        longest = max(int(page.text_to[number] - page.text_from[number]) for number, _ in members)
        if len(set(cells)) == len(cells) and longest <= _LONGEST_CELL:
            lines.update({number: row for number, _ in members})
    return lines
