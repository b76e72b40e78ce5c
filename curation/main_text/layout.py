"""Where things stand in the two arrays of numbers that the compiled scanner works on, and its limits.

`m`, int64[MEMORY], holds everything that changes while a page is scanned; `out`, int32, holds what is found: columns of
elements, columns of blocks, words, and rows of spans (attributes and scripts that curation/rights.py reads).
"""

from __future__ import annotations

from curation.main_text.tags import ATTRIBUTES, MAX_NAMES

MAX_BYTES = 1 << 30  # of a page
MAX_ELEMENTS = 1 << 22
MAX_BLOCKS = 1 << 21
MAX_SPANS = 1 << 12
MAX_WORDS = 64  # of one element
MAX_DEPTH = 256  # elements inside each other, as in libxml2; browsers stop at 512

# `m`: the block that is being filled,
POS, START, PENDING, LINKED, LINKS, EMPHASISED, BREAKS, IMAGES, INPUTS, BLOCK_ELEMENT, BLOCK_KIND, BLOCK_PRE = range(12)
# the page so far,
TOP, LINK_OPEN, EMPHASIS_OPEN, LINK_END, ELEMENTS, BLOCKS, WORDS, SPANS, NAMES = range(12, 21)
TITLE_FROM, TITLE_TO, LANGUAGE_FROM, LANGUAGE_TO = range(21, 25)
LOST_ELEMENTS, LOST_BLOCKS, LOST_WORDS, LOST_SPANS, TOO_DEEP, STAMP = range(25, 31)
# what there is room for, where in `out` it stands,
MOST_ELEMENTS, MOST_BLOCKS, MOST_WORDS, AT_BLOCKS, AT_WORDS, AT_SPANS = range(31, 37)
# the tag that is being read,
SEEN, CLOSED, WORD, KEY, HYPHEN = range(37, 42)
# and tables: begin and end of each attribute's value; by name, its innermost open element; names that are not in TAGS
# and their numbers; by name, its bits; the open elements.
PLACES = 64
LAST = PLACES + 2 * len(ATTRIBUTES)
OTHER_KEYS = LAST + MAX_NAMES
OTHER_VALUES = OTHER_KEYS + MAX_NAMES
BITS = OTHER_VALUES + MAX_NAMES
STACK = BITS + MAX_NAMES

# An open element: ROW numbers from its place on. *_AT are the places of the nearest of a class, itself included.
ELEMENT, ID, SAME_BELOW, SCOPE_AT, SPECIAL_AT, LIST_AT, FOREIGN_AT, BLOCK_AROUND, KIND, FLAGS, DEPTH = range(11)
ROW = 11
MEMORY = STACK + ROW * (MAX_DEPTH + 1)
# Bits of FLAGS; what is INHERITED holds for what is inside as well.
SILENCE, PREFORMAT, FOREIGN, HIDE, BLOCKY, LINKING, STRESS, ENDED, SPACING, LINE = (1 << bit for bit in range(10))
INHERITED = SILENCE | PREFORMAT | FOREIGN | HIDE

# Columns in `out`, of MOST_ELEMENTS and MOST_BLOCKS each; columns of a row of spans.
E_TAG, E_PARENT, E_END, E_DEPTH, E_WORD_FROM, E_WORD_TO, E_HIDDEN = range(7)
ELEMENT_COLUMNS = 7
B_ELEMENT, B_FROM, B_TO, B_LINKED, B_LINKS, B_EMPHASISED, B_BREAKS, B_IMAGES, B_INPUTS, B_KIND = range(10)
BLOCK_COLUMNS = 10
SPAN_COLUMNS = 7  # what it is, and three pairs of positions, -1 for none
META, LICENCE, LINKED_DATA = 1, 2, 3

NOTHING, SPACE, NEWLINE = 0, 1, 2  # of PENDING
