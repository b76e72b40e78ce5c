"""Scripts that put no space between words, by Unicode's blocks: how a text is written, whatever its language is.

Korean has spaces. A block is taken whole, with its own punctuation, digits and combining marks (a Tibetan tsheg, a Thai
vowel sign). The punctuation that East Asian scripts share (the rest of U+3000-303F, and U+FF00-FF65) belongs to none of
them: to count or part by it is for who splits a text to decide.
"""

from __future__ import annotations

# First and last code points.
UNSPACED = (
    *((0x0E00, 0x0E7F), (0x0E80, 0x0EFF), (0x0F00, 0x0FFF)),  # Thai, Lao, Tibetan
    *((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),  # Myanmar and its Extended-B, Extended-A
    *((0x1780, 0x17FF), (0x19E0, 0x19FF)),  # Khmer, Khmer Symbols
    *((0x1950, 0x197F), (0x1980, 0x19DF), (0x1A20, 0x1AAF)),  # Tai Le, New Tai Lue, Tai Tham
    (0xA980, 0xA9DF),  # Javanese
    *((0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C)),  # marks that repeat; Chinese numerals
    *((0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F)),  # kana, also half as wide and archaic
    *((0x3100, 0x312F), (0x31A0, 0x31BF)),  # Bopomofo, Bopomofo Extended
    *((0x31C0, 0x31EF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),  # CJK: Strokes, Extension A, Unified Ideographs
    *((0xF900, 0xFAFF), (0x20000, 0x3FFFF)),  # CJK: Compatibility Ideographs; the planes of Extensions B and on
)

# For a regular expression, between "[" and "]".
UNSPACED_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
