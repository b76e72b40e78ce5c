"""The compiled scanner: one pass over the bytes of a page (HTML Standard, 13.2.5 and 13.2.6)."""

# ruff: noqa: SIM109 (numba compiles comparisons, and loops over tuples)
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit, types

from curation.main_text import layout as at
from curation.main_text import runs, tags
from curation.main_text import tokens as t
from curation.main_text import tree as r
from curation.main_text.tags import ATTRIBUTE, BLOCK, BREAKOUT, CUSTOM, PREFORMATTED, RAW, RCDATA, SPACED, TAG, VOID
from curation.main_text.tokens import compiled, inlined

_A, _AREA, _LINK, _META, _BR, _IMG, _IMAGE, _BUTTON, _FORM, _P = (
    TAG[name] for name in ("a", "area", "link", "meta", "br", "img", "image", "button", "form", "p")
)
_HTML, _HEAD, _BODY, _TITLE, _SCRIPT, _TEMPLATE, _PLAINTEXT, _SVG, _MATH = (
    TAG[name] for name in ("html", "head", "body", "title", "script", "template", "plaintext", "svg", "math")
)
_HREF, _REL, _PROPERTY, _NAME, _CONTENT, _TYPE, _LANG, _XML_LANG = (
    np.int64(ATTRIBUTE[name]) for name in ("href", "rel", "property", "name", "content", "type", "lang", "xml:lang")
)
_HIDDEN, _ARIA_HIDDEN, _STYLE, _SHADOW = (
    np.int64(ATTRIBUTE[name]) for name in ("hidden", "aria-hidden", "style", "shadowrootmode")
)
_HIDING = 1 << _HIDDEN | 1 << _STYLE | 1 << _ARIA_HIDDEN
_COLUMN_1, _COLUMN_3, _COLUMN_5 = np.int64(1), np.int64(3), np.int64(5)
_KINDS = tags.kinds()


@compiled
def _skip_comment(page, i, end):
    """Behind the comment whose text begins at i."""
    if i < end and page[i] == 62:
        return i + 1
    if i + 1 < end and page[i] == 45 and page[i + 1] == 62:
        return i + 2
    first = i
    while True:
        i = t.find(page, i, end, t.GREATER)
        if i >= end:
            return end
        if i - first >= 2 and page[i - 1] == 45 and page[i - 2] == 45:
            return i + 1
        if i - first >= 3 and page[i - 1] == 33 and page[i - 2] == 45 and page[i - 3] == 45:
            return i + 1
        i += 1


@compiled
def _declaration(page, i, end, text, m):
    """Behind what begins with "<!" or "<?" at i: a comment, a doctype, in svg and math a CDATA section."""
    if page[i + 1] == 33 and i + 3 < end and page[i + 2] == 45 and page[i + 3] == 45:
        return _skip_comment(page, i + 4, end)
    top = m[at.TOP]
    if m[top + at.FLAGS] & at.FOREIGN and i + 8 < end and page[i + 2] == 91 and page[i + 3] == 67 and page[i + 8] == 91:
        begin = i = i + 9
        while i < end and not (page[i] == 62 and i - begin >= 2 and page[i - 1] == 93 and page[i - 2] == 93):
            i = t.find(page, i + 1, end, t.GREATER)
        if not m[top + at.FLAGS] & at.SILENCE:
            stop = i - 2 if i < end else end
            runs.run(page, begin, stop, runs.AS_IT_STANDS, m[top + at.BLOCK_AROUND], m[top + at.KIND], text, m)
    else:
        i = t.find(page, i + 2, end, t.GREATER)
    return min(i + 1, end)


@compiled
def _raw_end(page, i, end, name, size):
    """Where the end tag of a raw text element stands; its name stands in the page at `name`."""
    while True:
        i = t.find(page, i, end, t.LESS_THAN)
        if i + 2 + size >= end:
            return end
        if page[i + 1] == 47 and t.IN_TAG[page[i + 2 + size]] & t.ENDS_NAME:
            k = 0
            while k < size and page[i + 2 + k] | 32 == page[name + k] | 32:
                k += 1
            if k == size:
                return i
        i += 1


@compiled
def _script_end(page, i, end):
    """Where the end tag of a script stands; in "<!--" one more "<script" wants one more end (13.2.5.15 and on)."""
    while True:
        i = t.find(page, i, end, t.LESS_THAN)
        if i + 3 >= end:
            return end
        if page[i + 1] == 47:
            if t.is_script(page, i + 2, end):
                return i
            i += 2
        elif page[i + 1] == 33 and page[i + 2] == 45 and page[i + 3] == 45:
            i += 4
            nested = False
            while i < end:
                c = page[i]
                if c == 62 and page[i - 1] == 45 and page[i - 2] == 45:
                    break
                if c == 60 and i + 1 < end:
                    if page[i + 1] == 47:
                        if t.is_script(page, i + 2, end):
                            if not nested:
                                return i
                            nested = False
                    elif t.is_script(page, i + 1, end):
                        nested = True
                i += 1
        else:
            i += 1


@compiled
def _note(kind, out, m):
    """A new row of spans, of -1 but for its kind; 0 if there is no room."""
    if m[at.SPANS] == at.MAX_SPANS:
        m[at.LOST_SPANS] += 1
        return 0
    row = m[at.AT_SPANS] + m[at.SPANS] * at.SPAN_COLUMNS
    m[at.SPANS] += 1
    out[row] = kind
    for column in range(1, at.SPAN_COLUMNS):
        out[row + column] = -1
    return row


@compiled
def _note_value(row, column, attribute, out, m):
    if row and m[at.SEEN] >> attribute & 1:
        out[row + column] = m[at.PLACES + 2 * attribute]
        out[row + column + 1] = m[at.PLACES + 2 * attribute + 1]


@compiled
def _note_rights(id, page, out, m):
    """Keep what curation/rights.py reads of this tag."""
    seen = m[at.SEEN]
    if id == _META:
        if seen >> _NAME & 1 and seen >> _CONTENT & 1:
            row = _note(at.META, out, m)
            _note_value(row, _COLUMN_1, _NAME, out, m)
            _note_value(row, _COLUMN_3, _CONTENT, out, m)
    elif seen >> _HREF & 1 and (
        t.has_pattern(page, _REL, t.LICENSE, m) or t.has_pattern(page, _PROPERTY, t.LICENSE, m)
    ):
        row = _note(at.LICENCE, out, m)
        _note_value(row, _COLUMN_1, _REL, out, m)
        _note_value(row, _COLUMN_3, _PROPERTY, out, m)
        _note_value(row, _COLUMN_5, _HREF, out, m)


@compiled
def _raw_text(page, i, end, name, size, id, element, kind, text, out, m):
    """Read the content of an element that has no elements in it; returns the place of its end tag."""
    bits = m[at.BITS + id]
    if id == _PLAINTEXT:
        stop = end
    elif id == _SCRIPT:
        stop = _script_end(page, i, end)
        if t.has_pattern(page, _TYPE, t.LD_JSON, m):
            row = _note(at.LINKED_DATA, out, m)
            if row:
                out[row + 1], out[row + 2] = i, stop
    else:
        stop = _raw_end(page, i, end, name, size)
    if id == _TITLE:
        if m[at.TITLE_FROM] < 0:
            m[at.TITLE_FROM], m[at.TITLE_TO] = i, stop
    elif bits & PREFORMATTED and not m[m[at.TOP] + at.FLAGS] & at.SILENCE:
        runs.run(page, i, stop, runs.PRE | (runs.REFERENCES if bits & RCDATA else 0), element, kind, text, m)
        r.flush(text, out, m)
    return stop


@inlined
def _text_flags(id, around, not_shown, m):
    """How an element cuts or silences the text."""
    bits = m[at.BITS + id]
    in_p = m[at.LAST + _P] > m[m[at.TOP] + at.SCOPE_AT]
    if around & at.FOREIGN:
        return at.BLOCKY if not_shown else 0
    flags = at.SPACING if bits & SPACED else 0
    if bits & BLOCK or (not in_p and (not_shown or bits & CUSTOM or id == _BUTTON)):
        flags |= at.BLOCKY
        if around & at.PREFORMAT and bits & tags.LINE_IN_PRE:
            flags |= at.LINE
    elif not_shown:  # in a sentence, so no block of its own
        flags |= at.SILENCE
    return flags


@inlined
def _start_tag(page, i, end, text, out, m):
    """Read the start tag at i, of raw text its content too; returns the place behind."""
    name = i + 1
    i = t.read_name(page, name, end, m)
    size = i - name
    id = t.number_of_name(m)
    i = t.read_attributes(page, i, end, out, m)
    if i < 0:
        return end
    if id == _IMAGE:
        id = _IMG
    bits, seen = m[at.BITS + id], m[at.SEEN]
    if id == _META or id == _LINK or id == _A or id == _AREA:
        _note_rights(id, page, out, m)
    if m[at.LAST + _HEAD] > 0 and not bits & tags.IN_HEAD and m[at.LAST + _TEMPLATE] < m[at.LAST + _HEAD]:
        r.pop_to(m[at.LAST + _HEAD], text, out, m)
    if m[m[at.TOP] + at.FLAGS] & at.FOREIGN and bits & BREAKOUT:
        r.pop_to(m[m[at.TOP] + at.FOREIGN_AT], text, out, m)
    foreign = m[m[at.TOP] + at.FLAGS] & at.FOREIGN
    if not foreign:
        if id == _HTML and m[at.LANGUAGE_FROM] < 0:
            language = _LANG if seen >> _LANG & 1 else _XML_LANG
            if seen >> language & 1:
                m[at.LANGUAGE_FROM], m[at.LANGUAGE_TO] = m[at.PLACES + 2 * language], m[at.PLACES + 2 * language + 1]
        if (id == _HTML or id == _BODY or id == _HEAD or (id == _FORM and m[at.LAST + _TEMPLATE] == 0)) and (
            m[at.LAST + id] > 0
        ):
            return i  # there is one
        r.close_for_start(id, text, out, m)
    top = m[at.TOP]
    around = m[top + at.FLAGS]
    not_shown = hidden = False
    if seen & _HIDING:
        not_shown = (
            seen >> _HIDDEN & 1 != 0
            or t.has_pattern(page, _STYLE, t.DISPLAY_NONE, m)
            or t.has_pattern(page, _STYLE, t.VISIBILITY_HIDDEN, m)
        )
        hidden = not_shown or t.has_pattern(page, _ARIA_HIDDEN, t.TRUE, m)
    flags = _text_flags(id, around, not_shown, m)
    r.boundary(flags, text, out, m)
    if id == _BR and not foreign:
        r.break_line(around, text, out, m)
    elif id == _IMG:
        m[at.IMAGES] += 1
    elif id == _A and seen >> _HREF & 1:
        m[at.LINKS] += 1
        flags |= at.LINKING
        if m[at.LINK_END] == m[at.POS] and m[at.PENDING] == at.NOTHING:  # two links are two words
            m[at.PENDING] = at.SPACE
    elif bits & tags.CONTROL:
        m[at.INPUTS] += 1
    if bits & tags.EMPHASIS:
        flags |= at.STRESS

    element = r.new_element(id, hidden, out, m)
    kind = -1 if foreign else np.int64(_KINDS[id])
    if not foreign:
        if bits & (RAW | RCDATA):
            if element < 0:
                element = m[top + at.BLOCK_AROUND]
            return _raw_text(page, i, end, name, size, id, element, kind, text, out, m)
        if bits & VOID:
            return i
    if element < 0:
        return i
    if m[at.CLOSED] or (id == _FORM and m[at.BITS + m[top + at.ID]] & tags.TABLE_PART):
        r.boundary(flags, text, out, m)
        return i
    flags |= around & at.INHERITED
    if hidden:
        flags |= at.HIDE
    if bits & tags.SILENT and not (id == _TEMPLATE and seen >> _SHADOW & 1):
        flags |= at.SILENCE
    foreign_at = m[top + at.FOREIGN_AT]
    if m[top + at.DEPTH] == at.MAX_DEPTH:  # it takes the place of the innermost
        m[at.TOO_DEEP] += 1
        r.pop_to(top, text, out, m)
        top = m[at.TOP]
        out[element + m[at.MOST_ELEMENTS] * at.E_PARENT] = m[top + at.ELEMENT]
        out[element + m[at.MOST_ELEMENTS] * at.E_DEPTH] = at.MAX_DEPTH
    if not foreign and (id == _SVG or id == _MATH):
        flags |= at.FOREIGN
        foreign_at = top + at.ROW
    elif foreign and bits & tags.INTEGRATION:
        flags &= ~at.FOREIGN
    if bits & PREFORMATTED and not foreign:
        flags |= at.PREFORMAT
    r.push(element, id, flags, foreign_at, kind, m)
    return i


@inlined
def _end_tag(page, i, end, text, out, m):
    """Read the end tag at i; returns the place behind."""
    if not t.IN_TAG[page[i + 2]] & 4 or page[i + 2] >= 128:  # no letter: a comment
        return min(t.find(page, i + 2, end, t.GREATER) + 1, end)
    i = t.read_name(page, i + 2, end, m)
    id = t.number_of_name(m)
    lost = m[at.LOST_WORDS]
    i = t.read_attributes(page, i, end, out, m)
    m[at.LOST_WORDS] = lost
    if i < 0:
        return end
    if id == _BR:
        r.break_line(m[m[at.TOP] + at.FLAGS], text, out, m)
    elif m[at.LOST_ELEMENTS] == 0:
        r.end_tag(id, text, out, m)
    elif m[at.BITS + id] & BLOCK:  # ends of elements that were never opened
        r.flush(text, out, m)
    return i


def build() -> Callable[..., None]:
    """Compile the scanner, or take it from the cache of an earlier process.

    The cache is found by the digest of all sources that are compiled in; numba itself would look at this file alone.
    """
    folder = Path(__file__).parent
    sources = ("kernel.py", "tree.py", "tokens.py", "tags.py", "references.py", "layout.py", "runs.py")
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in sources)).digest()
    stamp = int.from_bytes(digest[:7], "big")

    def scan_page(page, text, out, m):
        m[at.STAMP] = stamp
        i, end = np.int64(0), np.int64(len(page))
        while i < end:
            top = m[at.TOP]
            flags = m[top + at.FLAGS]
            if page[i] == 60 and t.starts_markup(page, i, end):
                c = page[i + 1]
                if c == 33 or c == 63:
                    i = _declaration(page, i, end, text, m)
                elif c == 47:
                    i = _end_tag(page, i, end, text, out, m)
                else:
                    i = _start_tag(page, i, end, text, out, m)
            elif flags & at.SILENCE:
                i = t.find(page, i + 1, end, t.LESS_THAN)
            elif m[top + at.ID] == _HEAD:
                if runs.CLASSES[page[i]] == runs.WHITE:
                    i += 1
                else:
                    r.pop_to(top, text, out, m)
            else:
                how = runs.MARKUP | runs.REFERENCES | (runs.PRE if flags & at.PREFORMAT else 0)
                i = runs.run(page, i, end, how, m[top + at.BLOCK_AROUND], m[top + at.KIND], text, m)
        r.pop_to(at.STACK + at.ROW, text, out, m)
        r.flush(text, out, m)
        out[m[at.MOST_ELEMENTS] * at.E_END] = m[at.ELEMENTS]

    built: Callable[..., None]
    try:
        built = njit(_SIGNATURE, _nrt=False, nogil=True, cache=True)(scan_page)
    except RuntimeError:  # there is no folder for the cache
        built = njit(_SIGNATURE, _nrt=False, nogil=True)(scan_page)
    return built


_SIGNATURE = types.void(
    types.Array(types.uint8, 1, "C", readonly=True), types.uint8[::1], types.int32[::1], types.int64[::1]
)
