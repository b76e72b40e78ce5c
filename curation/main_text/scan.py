"""A page cut into elements and blocks of text, in one compiled pass."""

from __future__ import annotations

import functools
import html as html_module
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.entities import html5

import numpy as np
from numpy.typing import NDArray

from curation.main_text import layout as at
from curation.main_text import tags


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over a page finds. Arrays of E elements and of B blocks, both in document order.

    A block is a run of text without a boundary inside: the start or end of a block-level element, <hr>, or two <br>
    with nothing between. Runs of white space alone are no blocks. In its text references are read, white space (what
    `str.split` takes for it) is one space, a single <br> a line end; controls, soft hyphens, U+200B, U+2060 and U+FEFF
    are left out. Preformatted text (<pre>, <textarea>) is one block with its white space, lines without text at its
    ends left out. No text are: script, style, svg, template, iframe, noframes, audio, video, canvas, datalist, rt, rp,
    annotation, title (which has a field); that of <noscript> is.
    """

    # Of each element; element 0 is the root, which has no name.
    tag: NDArray[np.int16]  # place in tags.TAGS; 0 for other names
    parent: NDArray[np.int32]  # the element around it; -1 for the root
    end: NDArray[np.int32]  # one past its last descendant
    depth: NDArray[np.int16]
    word_from: NDArray[np.int32]  # its words in `words`, word_from to word_to
    word_to: NDArray[np.int32]
    hidden: NDArray[np.bool_]  # by hidden, aria-hidden or style, of its own or of one around it
    # tags.hash_word of the words (lower case, cut at what is no letter and before capitals) of the attributes in
    # tags.ATTRIBUTES up to LAST_WORDY; at most layout.MAX_WORDS of an element.
    words: NDArray[np.uint32]
    # Of each block.
    block_element: NDArray[np.int32]  # the nearest block-level element around it; also a hidden one or a button
    kind: NDArray[np.int8]  # one of tags.KINDS, by the nearest element that decides; OTHER stands outside of any <p>
    text_from: NDArray[np.int32]  # its bytes in `text`
    text_to: NDArray[np.int32]
    linked: NDArray[np.int32]  # bytes inside of <a href>
    links: NDArray[np.int32]  # <a href> that start in it or are open where it starts
    emphasised: NDArray[np.int32]  # bytes inside of b, strong, em, i
    breaks: NDArray[np.int32]  # <br>
    images: NDArray[np.int32]  # <img>
    inputs: NDArray[np.int32]  # input, button, select, textarea
    text: NDArray[np.uint8]  # UTF-8
    # Of the page.
    title: bytes  # UTF-8, white space collapsed
    language: str  # lang or xml:lang of <html>
    metas: tuple[tuple[str, str], ...]  # name and content
    licence_links: tuple[tuple[str, str, str], ...]  # rel, property, href of links with "license" in one of the former
    linked_data: tuple[str, ...]  # scripts of type ld+json
    lost: tuple[int, int, int, int, int]  # beyond layout's limits: elements, blocks, words, metas and links, depth

    def block_text(self, number: int) -> str:
        """The text of one block."""
        return bytes(self.text[self.text_from[number] : self.text_to[number]]).decode()


@functools.cache
def _compiled() -> Callable[..., None]:
    from curation.main_text import kernel  # numba: half a second, and only for those who scan

    return kernel.build()


@functools.cache
def _memory() -> NDArray[np.int64]:
    """`m` at the start of a page: one element is open, the root."""
    m = np.zeros(at.MEMORY, np.int64)
    m[[at.TITLE_FROM, at.LANGUAGE_FROM, at.LINK_END]] = -1
    m[at.ELEMENTS] = 1
    m[at.NAMES] = len(tags.TAGS)
    m[at.BITS : at.BITS + tags.MAX_NAMES] = tags.properties()
    m[at.TOP] = at.STACK
    m[[at.STACK + column for column in (at.SCOPE_AT, at.SPECIAL_AT, at.LIST_AT)]] = at.STACK
    return m


def scan(html: str | bytes) -> Scan:
    """One pass over a page. Bytes are UTF-8; what is not becomes U+FFFD.

    Time and memory are linear in the page, whatever it is. Raises ValueError for more than MAX_BYTES.
    """
    source = html.encode("utf-8", "replace") if isinstance(html, str) else _valid(html)
    if len(source) > at.MAX_BYTES:
        raise ValueError(f"{len(source)} bytes are more than {at.MAX_BYTES}")
    # Each element and each block has a "<" of its own, each word a letter and what ends it.
    most = source.count(b"<") + 1
    m = _memory().copy()
    m[at.MOST_ELEMENTS], m[at.MOST_BLOCKS] = min(most, at.MAX_ELEMENTS), min(most, at.MAX_BLOCKS)
    m[at.MOST_WORDS] = min(len(source) // 2 + 1, at.MAX_WORDS * most)
    m[at.AT_BLOCKS] = m[at.MOST_ELEMENTS] * at.ELEMENT_COLUMNS
    m[at.AT_WORDS] = m[at.AT_BLOCKS] + m[at.MOST_BLOCKS] * at.BLOCK_COLUMNS
    m[at.AT_SPANS] = m[at.AT_WORDS] + m[at.MOST_WORDS]
    out = np.empty(int(m[at.AT_SPANS]) + at.MAX_SPANS * at.SPAN_COLUMNS, np.int32)
    out[: m[at.AT_BLOCKS] : m[at.MOST_ELEMENTS]] = (0, -1, 1, 0, 0, 0, 0)
    # Text is shorter than the page but for references such as "&nGt;": six bytes for five.
    text = np.empty(len(source) * 6 // 5 + 8, np.uint8)
    _compiled()(np.frombuffer(source, np.uint8), text, out, m)
    return _result(source, text, out, m[: at.SEEN].tolist())


def _valid(page: bytes) -> bytes:
    try:
        page.decode()
    except UnicodeDecodeError:
        return page.decode("utf-8", "replace").encode()
    return page


def _result(source: bytes, text: NDArray[np.uint8], out: NDArray[np.int32], m: list[int]) -> Scan:
    elements = out[: m[at.AT_BLOCKS]].reshape(at.ELEMENT_COLUMNS, -1)[:, : m[at.ELEMENTS]]
    blocks = out[m[at.AT_BLOCKS] : m[at.AT_WORDS]].reshape(at.BLOCK_COLUMNS, -1)[:, : m[at.BLOCKS]]
    spans = out[m[at.AT_SPANS] :].reshape(-1, at.SPAN_COLUMNS)[: m[at.SPANS]].tolist()

    def value(begin: int, stop: int) -> str:
        return _unescape(source[begin:stop].decode()) if begin >= 0 else ""

    title = source[max(m[at.TITLE_FROM], 0) : m[at.TITLE_TO]].decode()
    return Scan(
        tag=elements[at.E_TAG].astype(np.int16),
        parent=elements[at.E_PARENT],
        end=elements[at.E_END],
        depth=elements[at.E_DEPTH].astype(np.int16),
        word_from=elements[at.E_WORD_FROM],
        word_to=elements[at.E_WORD_TO],
        words=out[m[at.AT_WORDS] : m[at.AT_WORDS] + m[at.WORDS]].view(np.uint32),
        hidden=elements[at.E_HIDDEN] != 0,
        block_element=blocks[at.B_ELEMENT],
        text_from=blocks[at.B_FROM],
        text_to=blocks[at.B_TO],
        text=text[: m[at.POS]],
        linked=blocks[at.B_LINKED],
        links=blocks[at.B_LINKS],
        emphasised=blocks[at.B_EMPHASISED],
        breaks=blocks[at.B_BREAKS],
        images=blocks[at.B_IMAGES],
        inputs=blocks[at.B_INPUTS],
        kind=blocks[at.B_KIND].astype(np.int8),
        title=" ".join(html_module.unescape(title).split()).encode(),
        language=value(m[at.LANGUAGE_FROM], m[at.LANGUAGE_TO]).strip(),
        metas=tuple((value(a, b), value(c, d)) for kind, a, b, c, d, *_ in spans if kind == at.META),
        licence_links=tuple(
            (value(a, b), value(c, d), value(e, f)) for kind, a, b, c, d, e, f in spans if kind == at.LICENCE
        ),
        linked_data=tuple(source[a:b].decode() for kind, a, b, *_ in spans if kind == at.LINKED_DATA),
        lost=(m[at.LOST_ELEMENTS], m[at.LOST_BLOCKS], m[at.LOST_WORDS], m[at.LOST_SPANS], m[at.TOO_DEEP]),
    )


_REFERENCE = re.compile(r"&(?:#(?:[0-9]+|[xX][0-9A-Fa-f]+);?|([A-Za-z][A-Za-z0-9]*)(;|(?!=)))")


def _unescape(value: str) -> str:
    """References in the value of an attribute: there a name without semicolon is one only at the end of a word."""
    return _REFERENCE.sub(_character, value) if "&" in value else value


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    if name is None:
        return html_module.unescape(reference[0])
    return html5.get(name + reference[2], reference[0])
