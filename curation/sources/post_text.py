"""The HTML of a Stack Exchange post to text: code and formulas as they are, structure as one would type it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count

from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring

from curation.errors import DataError
from curation.extractors.gates import most_attributes

MAX_DEPTH = 32  # of elements; a quotation or list within another is rewritten at each level
MAX_ATTRIBUTES = 200  # of one tag: the parser compares each with each

_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "figure"),
        *("figcaption", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main"),
        *("nav", "ol", "p", "pre", "section", "summary", "table", "ul"),
    }
)
# `del`, `s` and `strike` are what the author took back.
_SILENT = frozenset({"del", "head", "s", "script", "strike", "style", "title"})
_BREAK = "\0"  # a <br> among the characters of a paragraph
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_AT_BREAK = re.compile(r" ?\0 ?")
_EMPTY_LINES = re.compile(r"\n{3,}")
_FORMULA = re.compile(r"(\$\$[^$]+\$\$)")
_ORDINAL = re.compile(r"st|nd|rd|th")
_POWER = re.compile(r"[-+−]?\w+")
# What the site's editor puts where nobody wrote a description, now and before 2011.
_NO_DESCRIPTION = frozenset({"enter image description here", "alt text"})


def plain_text(html: str) -> str:
    """The text of a post. Lines end with \\n; blocks are parted by an empty line.

    Code keeps its lines and indentation, a formula in `$$` its lines. Items of lists begin with `- ` or their number,
    quoted lines with `> `, cells of a table are parted by ` | `. Of images the description stays, of links the text,
    of an exponent `^`. Raises DataError: `too_deep`, `too_many_attributes`, `malformed_html`.
    """
    if "<" not in html and "&" not in html:
        return _paragraph(html)
    if most_attributes(html, MAX_ATTRIBUTES) > MAX_ATTRIBUTES:
        raise DataError("too_many_attributes", f"more than {MAX_ATTRIBUTES} in one tag")
    parser = HTMLParser()
    try:
        tree = document_fromstring(f"<div>{html.replace(_BREAK, '')}</div>", parser=parser)
    except (etree.LxmlError, ValueError) as error:
        raise DataError("malformed_html", str(error)[:200]) from None
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):  # the parser stops without a word
        raise DataError("too_deep", "the parser gave up")
    return "\n".join(line.rstrip() for line in "\n\n".join(_blocks(tree, 0)).split("\n"))


def _blocks(element: HtmlElement, depth: int) -> list[str]:
    """The blocks that an element holds, each of one or more lines, none empty."""
    if depth > MAX_DEPTH:
        raise DataError("too_deep", f"more than {MAX_DEPTH} elements within each other")
    blocks: list[str] = []
    run: list[str] = []
    _walk(element, depth, run, blocks)
    _end_paragraph(run, blocks)
    return blocks


def _walk(element: HtmlElement, depth: int, run: list[str], blocks: list[str]) -> None:
    """Append what an element holds: to `run` the characters of the open paragraph, to `blocks` what is whole."""
    if depth > MAX_DEPTH:
        raise DataError("too_deep", f"more than {MAX_DEPTH} elements within each other")
    if element.text:
        run.append(element.text)
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""  # of a comment it is a function
        if tag in _BLOCKS:
            _end_paragraph(run, blocks)
            blocks += _block(child, tag, depth + 1)
        elif tag == "br":
            run.append(_BREAK)
        elif tag == "img":
            description = child.get("alt") or ""
            run.append("" if description.strip().lower() in _NO_DESCRIPTION else description)
        elif tag == "sup":
            run.append(_power("".join(child.itertext(etree.Element)), run))
        elif tag and tag not in _SILENT:
            _walk(child, depth + 1, run, blocks)
        if child.tail:
            run.append(child.tail)


def _end_paragraph(run: list[str], blocks: list[str]) -> None:
    if text := _paragraph("".join(run)):
        blocks.append(text)
    run.clear()


def _paragraph(text: str) -> str:
    """Characters as a browser would set them, but that a formula on lines of its own keeps them."""
    pieces = _FORMULA.split(text) if "$$" in text else [text]
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            before = "\n" if number and "\n" in piece[: len(piece) - len(piece.lstrip())] else ""
            after = "\n" if number + 1 < len(pieces) and "\n" in piece[len(piece.rstrip()) :] else ""
            piece = _BLANKS.sub(" ", piece)
            if before or after:
                piece = before + piece.strip(" ") + after
        pieces[number] = _AT_BREAK.sub("\n", piece)
    return _EMPTY_LINES.sub("\n\n", "".join(pieces).strip())


def _power(text: str, run: list[str]) -> str:
    """`10²` is typed as `10^2`; `5th` and notes in small print are as they are."""
    base = next((piece[-1] for piece in reversed(run) if piece), "")
    if not (base.isalnum() or base in ")]") or not _POWER.fullmatch(text) or (base.isdigit() and _ORDINAL.match(text)):
        return text
    return f"^{text}"


def _block(element: HtmlElement, tag: str, depth: int) -> list[str]:
    if tag == "pre":
        code = "".join(_code(element)).strip("\n").rstrip()
        return [code] if code.strip() else []
    if tag == "blockquote":
        text = "\n\n".join(_blocks(element, depth))
        return ["> " + text.replace("\n", "\n> ")] if text else []
    if tag in ("ul", "ol"):
        return _list(element, depth)
    if tag == "table":
        return _table(element, depth)
    return _blocks(element, depth)


def _code(element: HtmlElement) -> Iterable[str]:
    for piece in element.iter():
        if piece.tag == "br":
            yield "\n"
        elif piece.text and isinstance(piece.tag, str):
            yield piece.text
        if piece.tail and piece is not element:
            yield piece.tail


def _list(element: HtmlElement, depth: int) -> list[str]:
    start = element.get("start") or ""
    numbers = count(int(start) if re.fullmatch(r"[0-9]{1,9}", start) else 1)
    loose = any(child.find("p") is not None for child in element)  # as Markdown has it
    items = []
    for child in element:
        if not isinstance(child.tag, str):
            continue
        marker = f"{next(numbers)}. " if element.tag == "ol" else "- "
        blocks = _blocks(child, depth) if child.tag == "li" else _block(child, child.tag, depth + 1)
        if text := ("\n\n" if loose else "\n").join(blocks):
            items.append(marker + text.replace("\n", "\n" + " " * len(marker)))
    return [("\n\n" if loose else "\n").join(items)] if items else []


def _table(element: HtmlElement, depth: int) -> list[str]:
    rows = []
    for row in element.iter("tr"):
        cells = [" ".join(_blocks(cell, depth)).replace("\n", " ") for cell in row if cell.tag in ("td", "th")]
        if any(cells):
            rows.append(" | ".join(cells))
    return ["\n".join(rows)] if rows else []
