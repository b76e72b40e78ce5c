"""Compiled parts of the scanner: open elements, what closes them, and the blocks of text between.

After the HTML Standard, 13.2.6, without its repairs: what those move (foster parents, the adoption agency) stays where
it is.
What a tag closes is found without a search: each name knows its innermost open element, each open element the nearest
ones that bar the way. A place on the stack is an index into `m`; 0 is none, and places grow with depth.
"""

# ruff: noqa: SIM109 (numba compiles comparisons, and loops over tuples)
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from curation.main_text import layout as at
from curation.main_text.tags import (
    ENDS_P,
    FORMATTING,
    HEADING_TAG,
    LIST_SCOPE,
    OTHER,
    PARAGRAPH,
    SCOPE,
    SECTION,
    SPECIAL,
    TABLE_PART,
    TAG,
    TAGS,
)
from curation.main_text.tokens import compiled, inlined

_P, _A, _LI, _DD, _DT, _UL, _OL, _BUTTON, _NOSCRIPT, _TEMPLATE = (
    TAG[name] for name in ("p", "a", "li", "dd", "dt", "ul", "ol", "button", "noscript", "template")
)
_TABLE, _CAPTION, _TBODY, _THEAD, _TFOOT, _TR, _TD, _TH = (
    TAG[name] for name in ("table", "caption", "tbody", "thead", "tfoot", "tr", "td", "th")
)
_HTML, _HEAD, _BODY, _OPTION, _OPTGROUP, _RB, _RP, _RT, _RTC, _H1, _H6 = (
    TAG[name] for name in ("html", "head", "body", "option", "optgroup", "rb", "rp", "rt", "rtc", "h1", "h6")
)
_KNOWN = len(TAGS)


@inlined
def _is_blank(c):
    return c == 32 or c == 10 or c == 9


@compiled
def flush(text, out, m):
    """End the block: white space at its end goes; a block of nothing else is none."""
    start, stop = m[at.START], m[at.POS]
    if stop > start:
        while stop > start and _is_blank(text[stop - 1]):
            stop -= 1
        begin = start
        if m[at.BLOCK_PRE]:  # lines without text at its start go
            i = start
            while i < stop and _is_blank(text[i]):
                i += 1
                if text[i - 1] == 10:
                    begin = i
        if stop > start and m[at.BLOCKS] < m[at.MOST_BLOCKS]:
            block, column = m[at.AT_BLOCKS] + m[at.BLOCKS], m[at.MOST_BLOCKS]
            out[block + column * at.B_ELEMENT] = m[at.BLOCK_ELEMENT]
            out[block + column * at.B_KIND] = m[at.BLOCK_KIND]
            out[block + column * at.B_FROM] = begin
            out[block + column * at.B_TO] = stop
            out[block + column * at.B_LINKED] = min(m[at.LINKED], stop - begin)
            out[block + column * at.B_EMPHASISED] = min(m[at.EMPHASISED], stop - begin)
            out[block + column * at.B_LINKS] = m[at.LINKS]
            out[block + column * at.B_BREAKS] = m[at.BREAKS]
            out[block + column * at.B_IMAGES] = m[at.IMAGES]
            out[block + column * at.B_INPUTS] = m[at.INPUTS]
            m[at.BLOCKS] += 1
        elif stop > start:
            m[at.LOST_BLOCKS] += 1
            stop = start
    m[at.START] = m[at.POS] = stop
    m[at.LINKED] = m[at.EMPHASISED] = m[at.BREAKS] = m[at.IMAGES] = m[at.INPUTS] = m[at.PENDING] = 0
    m[at.LINKS] = 1 if m[at.LINK_OPEN] > 0 else 0
    m[at.LINK_END] = -1


@inlined
def boundary(flags, text, out, m):
    """What the start or the end of an element with these flags does to the text."""
    if flags & at.LINE:
        if m[at.POS] > m[at.START] and text[m[at.POS] - 1] != 10:
            m[at.PENDING] = at.NEWLINE
    elif flags & at.BLOCKY:
        flush(text, out, m)
    elif flags & at.SPACING and m[at.PENDING] == at.NOTHING:
        m[at.PENDING] = at.SPACE


@compiled
def break_line(flags, text, out, m):
    """<br>: a line end; the second without text between them ends the block."""
    m[at.BREAKS] += 1
    if flags & at.SILENCE:
        return
    if flags & at.PREFORMAT:
        if m[at.POS] > m[at.START]:
            text[m[at.POS]] = 10
            m[at.POS] += 1
    elif m[at.PENDING] == at.NEWLINE:
        flush(text, out, m)
    else:
        m[at.PENDING] = at.NEWLINE


@inlined
def _end_effects(place, m):
    """The link or emphasis ends, and its name's innermost open element is another."""
    flags = m[place + at.FLAGS]
    if flags & at.ENDED:
        return
    if flags & at.LINKING:
        m[at.LINK_OPEN] -= 1
        m[at.LINK_END] = m[at.POS]
        if m[at.POS] == m[at.START]:  # it has no text in this block
            m[at.LINKS] = 0
    if flags & at.STRESS:
        m[at.EMPHASIS_OPEN] -= 1
    m[place + at.FLAGS] = flags | at.ENDED
    m[at.LAST + m[place + at.ID]] = m[place + at.SAME_BELOW]


@compiled
def pop_to(place, text, out, m):
    """Close the open elements from the innermost to the one at `place`, that one too."""
    while m[at.TOP] >= place:
        top = m[at.TOP]
        boundary(m[top + at.FLAGS], text, out, m)
        _end_effects(top, m)
        out[m[top + at.ELEMENT] + m[at.MOST_ELEMENTS] * at.E_END] = m[at.ELEMENTS]
        m[at.TOP] = top - at.ROW


@inlined
def push(element, id, flags, foreign_at, kind, m):
    """Open an element. There must be room."""
    below = m[at.TOP]
    top = below + at.ROW
    bits = m[at.BITS + id]
    m[at.TOP] = top
    m[top + at.ELEMENT], m[top + at.ID], m[top + at.FLAGS], m[top + at.FOREIGN_AT] = element, id, flags, foreign_at
    m[top + at.SAME_BELOW], m[at.LAST + id] = m[at.LAST + id], top
    m[top + at.SCOPE_AT] = top if bits & SCOPE else m[below + at.SCOPE_AT]
    m[top + at.SPECIAL_AT] = top if bits & SPECIAL else m[below + at.SPECIAL_AT]
    m[top + at.LIST_AT] = top if bits & LIST_SCOPE else m[below + at.LIST_AT]
    m[top + at.BLOCK_AROUND] = element if flags & at.BLOCKY and not flags & at.LINE else m[below + at.BLOCK_AROUND]
    # A paragraph in a list item is text of the list item.
    inherits = kind < 0 or (kind == PARAGRAPH and m[below + at.KIND] != OTHER)
    m[top + at.KIND] = m[below + at.KIND] if inherits else kind
    m[top + at.DEPTH] = m[below + at.DEPTH] + 1
    if flags & at.LINKING:
        m[at.LINK_OPEN] += 1
    if flags & at.STRESS:
        m[at.EMPHASIS_OPEN] += 1


@inlined
def new_element(id, hidden, out, m):
    """The number of a new element, or -1 if there is no room; it ends at once."""
    number, top = m[at.ELEMENTS], m[at.TOP]
    if number == m[at.MOST_ELEMENTS]:
        m[at.LOST_ELEMENTS] += 1
        return -1
    column = m[at.MOST_ELEMENTS]
    out[number + column * at.E_TAG] = id if id < _KNOWN else 0
    out[number + column * at.E_PARENT] = m[top + at.ELEMENT]
    out[number + column * at.E_END] = number + 1
    out[number + column * at.E_DEPTH] = m[top + at.DEPTH] + 1
    out[number + column * at.E_WORD_FROM] = m[at.WORDS]
    out[number + column * at.E_WORD_TO] = m[at.WORD]
    out[number + column * at.E_HIDDEN] = hidden or m[top + at.FLAGS] & at.HIDE != 0
    m[at.WORDS] = m[at.WORD]
    m[at.ELEMENTS] = number + 1
    return number


@compiled
def close_p(text, out, m):
    """Close the <p> that is open, unless a cell, a button or the like stands between; was there one?"""
    place = m[at.LAST + _P]
    if place > max(m[m[at.TOP] + at.SCOPE_AT], m[at.LAST + _BUTTON], m[at.LAST + _NOSCRIPT]):
        pop_to(place, text, out, m)
        return True
    return False


@inlined
def close_for_start(id, text, out, m):
    """Close what the start tag of an HTML element ends."""
    bits, top = m[at.BITS + id], m[at.TOP]
    above = m[top + at.ID]
    place = 0
    if id == _LI:
        if m[at.LAST + _LI] > max(m[top + at.LIST_AT], m[at.LAST + _DD], m[at.LAST + _DT]):
            place = m[at.LAST + _LI]
    elif id == _DD or id == _DT:
        item = max(m[at.LAST + _DD], m[at.LAST + _DT])
        if item > max(m[top + at.LIST_AT], m[at.LAST + _LI]):
            place = item
    elif bits & HEADING_TAG:
        if _H1 <= above <= _H6:
            place = top
    elif id == _TABLE or id == _TR or id == _TD or id == _TH or bits & SECTION:
        table = m[at.LAST + _TABLE] if m[at.LAST + _TABLE] > m[at.LAST + _TEMPLATE] else 0
        if table == 0:
            if above == _TD or above == _TH:
                place = top
                above = m[top - at.ROW + at.ID]
            if id == _TR and above == _TR:
                place = m[at.LAST + _TR]
        elif id == _TABLE:
            if max(m[at.LAST + _TD], m[at.LAST + _TH], m[at.LAST + _CAPTION]) < table:
                place = table
        elif bits & SECTION:
            place = table + at.ROW
        else:
            place = max(table, m[at.LAST + _TBODY], m[at.LAST + _THEAD], m[at.LAST + _TFOOT])
            if id != _TR:
                place = max(place, m[at.LAST + _TR])
            place += at.ROW
    elif id == _OPTION or id == _OPTGROUP:
        if above == _OPTION:
            place = top
            above = m[top - at.ROW + at.ID]
        if id == _OPTGROUP and above == _OPTGROUP:
            place = m[at.LAST + _OPTGROUP]
    elif id == _BUTTON:
        if m[at.LAST + _BUTTON] > m[top + at.SCOPE_AT]:
            place = m[at.LAST + _BUTTON]
    elif id == _RB or id == _RT or id == _RTC or id == _RP:
        if above == _RB or above == _RT or above == _RP:
            place = top
    elif id == _BODY:  # what was open in the head, or instead of it
        html = max(m[at.LAST + _HTML], at.STACK)
        if m[top + at.SCOPE_AT] <= html:
            place = html + at.ROW
    elif id == _A and m[at.LAST + _A] > m[top + at.SCOPE_AT]:
        if m[at.LAST + _A] > m[top + at.SPECIAL_AT]:
            place = m[at.LAST + _A]
        else:
            _end_effects(m[at.LAST + _A], m)
    if place > 0:
        pop_to(place, text, out, m)
    if bits & ENDS_P:
        close_p(text, out, m)


@inlined
def end_tag(id, text, out, m):
    """Close what an end tag ends: nothing, if its element is not open or out of its reach."""
    bits, top = m[at.BITS + id], m[at.TOP]
    place = m[at.LAST + id]
    if id == _P:
        if not close_p(text, out, m):
            boundary(at.LINE if m[top + at.FLAGS] & at.PREFORMAT else at.BLOCKY, text, out, m)
        return
    if bits & HEADING_TAG:
        for heading in range(_H1, _H6 + 1):
            place = max(place, m[at.LAST + heading])
    if place == 0 or id == _BODY or id == _HTML:
        return
    if m[top + at.FOREIGN_AT] > 0 and place >= m[top + at.FOREIGN_AT]:
        barrier = 0
    elif bits & TABLE_PART or id == _TD or id == _TH or id == _CAPTION:
        barrier = m[at.LAST + _TEMPLATE]
        if id != _TABLE:
            barrier = max(barrier, m[at.LAST + _TABLE])
    elif id == _TEMPLATE or id == _HEAD:
        barrier = 0
    elif id == _LI:
        barrier = max(m[top + at.SCOPE_AT], m[at.LAST + _UL], m[at.LAST + _OL])
    elif bits & SCOPE:  # it bars the way of others, not its own
        barrier = max(m[at.LAST + _TABLE], m[at.LAST + _TEMPLATE])
    elif bits & SPECIAL:
        barrier = m[top + at.SCOPE_AT]
    else:
        barrier = m[top + at.SPECIAL_AT]
        if bits & FORMATTING and m[top + at.SCOPE_AT] < place < barrier:
            _end_effects(place, m)
            return
    if place > barrier:
        pop_to(place, text, out, m)
