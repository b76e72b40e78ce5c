"""Lines that were broken because a column was full are joined; lines that were broken on purpose stay.

Plain text of books is typed to a width of 60 to 80 characters. A break is the width's where the first word of the next
line would not have fitted on this one; a verse, a title or a table ends its lines before that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

NARROWEST, WIDEST = 50, 100  # widths that people wrap at; what lies outside is verse, or lines that no width broke
SLACK = 10  # characters that a typist left free at the end of a line, if the next word was short
MOST_EARLY = 0.2  # of a paragraph's breaks, those that may come earlier
_TABLE = re.compile(r"\S(?: {3,}|\t)\S")  # two spaces may follow a sentence


def unwrap(text: str) -> str:
    """The text with one line for each paragraph of prose. Paragraphs are parted by blank lines, which stay.

    A paragraph is joined when it is not indented (its first line may be), has no columns, and four of five of its
    breaks are the width's. The width is the length that nine of ten of the text's full lines keep to.
    """
    lines = text.split("\n")
    width = _width(lines)
    if not NARROWEST <= width <= WIDEST:
        return text
    return "\n".join(line for paragraph in _paragraphs(lines) for line in _joined(paragraph, width))


def _width(lines: Sequence[str]) -> int:
    """The ninth decile of the lengths of unindented lines that another follows; 0 for none."""
    lengths = Counter(
        len(line)
        for line, following in pairwise(lines)
        if line and following and not line[0].isspace() and not following[0].isspace()
    )
    left = lengths.total() * 0.9
    for length in sorted(lengths):
        left -= lengths[length]
        if left <= 0:
            return length
    return 0


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    """The lines, each stretch of non-blank ones together, each blank one alone."""
    paragraph: list[str] = []
    for line in lines:
        if line.strip():
            paragraph.append(line)
            continue
        if paragraph:
            yield paragraph
            paragraph = []
        yield [line]
    if paragraph:
        yield paragraph


def _joined(paragraph: Sequence[str], width: int) -> Sequence[str]:
    if len(paragraph) == 1 or any(line[0].isspace() for line in paragraph[1:]):
        return paragraph
    if sum(_TABLE.search(line) is not None for line in paragraph) > 1:
        return paragraph
    early = sum(
        len(line.rstrip()) + 1 + len(following.split(None, 1)[0]) <= width - SLACK
        for line, following in pairwise(paragraph)
    )
    if early > MOST_EARLY * (len(paragraph) - 1):
        return paragraph
    pieces = [paragraph[0].strip()]
    for line in paragraph[1:]:
        pieces.append("" if _ends_in_dash(pieces[-1]) else " ")
        pieces.append(line.strip())
    return ["".join(pieces)]


def _ends_in_dash(line: str) -> bool:
    """Whether what follows is written without a space: `after-` / `lecture`, `here--` / `and`."""
    return line.endswith(("-", "—")) and not line.endswith((" -", " --", " —"))
