"""What the scanner knows of each HTML element and attribute: the HTML Standard's classes of elements, as bits.

Sections are those of the HTML Standard (https://html.spec.whatwg.org/multipage/), "13.2.4.2" and so on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Id of an element = its place here. 0 is any other name. Trained models know the ids: append only.
TAGS = (
    "",
    *("html", "head", "body", "title", "base", "link", "meta", "style", "script", "noscript", "template"),
    *("article", "section", "nav", "aside", "h1", "h2", "h3", "h4", "h5", "h6", "hgroup", "header", "footer", "main"),
    *("address", "search", "p", "hr", "pre", "blockquote", "ol", "ul", "menu", "li", "dl", "dt", "dd", "figure"),
    *("figcaption", "div", "a", "em", "strong", "small", "s", "cite", "q", "dfn", "abbr", "ruby", "rb", "rt", "rtc"),
    *("rp", "data", "time", "code", "var", "samp", "kbd", "sub", "sup", "i", "b", "u", "mark", "bdi", "bdo", "span"),
    *("br", "wbr", "ins", "del", "picture", "source", "img", "iframe", "embed", "object", "param", "video", "audio"),
    *("track", "map", "area", "table", "caption", "colgroup", "col", "tbody", "thead", "tfoot", "tr", "td", "th"),
    *("form", "label", "input", "button", "select", "datalist", "optgroup", "option", "textarea", "output"),
    *("progress", "meter", "fieldset", "legend", "details", "summary", "dialog", "canvas", "slot", "svg", "math"),
    *("font", "center", "big", "tt", "strike", "nobr", "acronym", "applet", "basefont", "bgsound", "dir", "frame"),
    *("frameset", "noframes", "noembed", "isindex", "keygen", "listing", "marquee", "plaintext", "xmp", "blink"),
    *("image", "foreignobject", "desc", "mi", "mo", "mn", "ms", "mtext", "annotation", "annotation-xml", "command"),
)
TAG = {name: number for number, name in enumerate(TAGS)}
MAX_NAMES = 1024  # of TAGS and of other names on one page; other names beyond share the last number

# Attributes that the scanner reads. Those up to LAST_WORDY give words.
ATTRIBUTES = (
    "",
    *("class", "id", "role", "itemprop", "itemtype", "aria-label", "rel", "name", "property", "data-testid"),
    *("data-test", "data-component", "data-type", "data-role", "data-module", "data-name", "data-qa", "data-area"),
    *("hidden", "aria-hidden", "style", "href", "content", "type", "lang", "xml:lang", "shadowrootmode", "encoding"),
)
ATTRIBUTE = {name: number for number, name in enumerate(ATTRIBUTES)}
LAST_WORDY = ATTRIBUTE["data-area"]

# Bits of PROPERTIES.
BLOCK = 1 << 0  # a boundary of text at its start and end
VOID = 1 << 1  # no content, no end tag (13.1.2)
RAW = 1 << 2  # up to its end tag all is text, without references (13.2.6.2 and "rawtext")
RCDATA = 1 << 3  # the same with references
ENDS_P = 1 << 4  # its start ends an open <p>
SPECIAL = 1 << 5  # 13.2.4.2: ends of inline elements do not reach over it
SCOPE = 1 << 6  # "has an element in scope" stops here (13.2.4.2)
LIST_SCOPE = 1 << 7  # special and neither address, div, p nor an item: where the search for an open item stops
SILENT = 1 << 8  # its text is not shown, or (svg, rt) is no running text
PREFORMATTED = 1 << 9  # white space is kept
EMPHASIS = 1 << 10
IN_HEAD = 1 << 11  # does not end <head>
BREAKOUT = 1 << 12  # its start ends svg and math (13.2.6.5)
FORMATTING = 1 << 13  # 13.2.4.3: its end counts across blocks
SPACED = 1 << 14  # white space on both sides of it, though it is inline
CONTROL = 1 << 15  # counts as an input
HEADING_TAG = 1 << 16
LINE_IN_PRE = 1 << 17  # in preformatted text its start and end are a line end, no boundary
CUSTOM = 1 << 18  # a name with a hyphen, of the page's own
TABLE_PART = 1 << 19  # table, tbody, thead, tfoot, tr
INTEGRATION = 1 << 20  # in svg or math: HTML inside (13.2.6, "HTML integration point" and "MathML text")
SECTION = 1 << 21  # tbody, thead, tfoot, caption, colgroup

# Kinds of blocks.
OTHER, PARAGRAPH, HEADING, LIST_ITEM, CODE, CELL, QUOTE, CAPTION, FORM, TERM = range(10)
KINDS = ("other", "paragraph", "heading", "list_item", "code", "cell", "quote", "caption", "form", "term")

_HEADINGS = "h1 h2 h3 h4 h5 h6"
_SPECIAL = (
    "address applet area article aside base basefont bgsound blockquote body br button caption center col colgroup dd "
    "details dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header "
    "hgroup hr html iframe img input keygen li link listing main marquee menu meta nav noembed noframes noscript "
    "object ol p param plaintext pre script search section select source style summary table tbody td template "
    "textarea tfoot th thead title tr track ul wbr xmp foreignobject desc mi mo mn ms mtext annotation-xml"
)
_ENDS_P = (
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer header hgroup "
    f"main menu nav ol p search section summary ul {_HEADINGS} pre listing form table hr xmp plaintext li dd dt"
)
_MEMBERS = {
    BLOCK: f"{_ENDS_P} html body caption colgroup tbody thead tfoot tr td th option optgroup legend textarea frameset "
    "noframes datalist isindex marquee",
    VOID: "area base basefont bgsound br col embed frame hr img image input keygen link meta param source track wbr "
    "command isindex",
    RAW: "style script iframe noembed noframes xmp plaintext",
    RCDATA: "title textarea",
    ENDS_P: _ENDS_P,
    SPECIAL: _SPECIAL,
    SCOPE: "applet caption html table td th marquee object template foreignobject desc mi mo mn ms mtext "
    "annotation-xml",
    LIST_SCOPE: " ".join(name for name in _SPECIAL.split() if name not in ("address", "div", "p", "li", "dd", "dt")),
    SILENT: "svg template audio video canvas rt rtc rp annotation annotation-xml style script iframe noembed noframes "
    "title datalist",
    PREFORMATTED: "pre listing xmp plaintext textarea",
    EMPHASIS: "b strong em i",
    IN_HEAD: "html head base basefont bgsound link meta title noscript noframes style script template",
    BREAKOUT: f"b big blockquote body br center code dd div dl dt em embed {_HEADINGS} head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var",
    FORMATTING: "a b big code em font i nobr s small strike strong tt u",
    SPACED: "label input select button keygen",
    CONTROL: "input button select textarea keygen",
    HEADING_TAG: _HEADINGS,
    LINE_IN_PRE: "div p li ol ul",
    TABLE_PART: "table tbody thead tfoot tr",
    INTEGRATION: "foreignobject desc title mi mo mn ms mtext annotation-xml",
    SECTION: "tbody thead tfoot caption colgroup",
}
_KINDS = {
    HEADING: _HEADINGS,
    LIST_ITEM: "li dd",
    TERM: "dt",
    CODE: "pre listing xmp",
    CELL: "td th",
    QUOTE: "blockquote",
    CAPTION: "caption figcaption",
    FORM: "button select option optgroup textarea legend label",
    PARAGRAPH: "p",
}


def hash_name(name: str) -> int:
    """FNV-1a of 64 bits over the bytes of a lower-case name, as a signed number."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value - (value >> 63 << 64)


def hash_word(word: str) -> int:
    """FNV-1a of 32 bits over the bytes of a lower-case word: what `Scan.words` holds."""
    value = 0x811C9DC5
    for byte in word.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def name_table(numbers: dict[str, int], slots: int) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """A hash table with linear probing, `slots` a power of two; a key of 0 is an empty slot."""
    keys, values = np.zeros(slots, np.int64), np.zeros(slots, np.int16)
    for name, number in numbers.items():
        key = hash_name(name)
        slot = key & (slots - 1)
        while keys[slot]:
            slot = (slot + 1) & (slots - 1)
        keys[slot], values[slot] = key, number
    return keys, values


def properties() -> NDArray[np.int32]:
    """int32[MAX_NAMES]: the bits of each id."""
    table = np.zeros(MAX_NAMES, np.int32)
    for bit, names in _MEMBERS.items():
        for name in names.split():
            table[TAG[name]] |= bit
    return table


def kinds() -> NDArray[np.int8]:
    """int8[MAX_NAMES]: the kind that an element gives to the blocks in it; -1 where it decides nothing."""
    table = np.full(MAX_NAMES, -1, np.int8)
    for kind, names in _KINDS.items():
        for name in names.split():
            table[TAG[name]] = kind
    return table
