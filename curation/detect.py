"""Which character encoding, where nothing declares it and it is not UTF-8.

The encodings of Chinese, Japanese and Korean are told by how many of their characters are common ones: what one of
them makes of another's bytes is rare characters, or no characters. For single bytes charset-normalizer decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from charset_normalizer import from_bytes

_SAMPLE = 4096
# Stretches around what is not ASCII, none of it markup.
_AROUND = re.compile(rb"[^<>\x00-\x1f]{0,40}[\x80-\xff][^<>\x00-\x1f]{0,40}")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_DOUBLE = re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]")
_SINGLE_BYTE = [
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "cp1258",
    "cp874",
    "koi8_r",
]


def _share(text: str, common: Callable[[str], bool]) -> float:
    letters = [c for c in _NOT_ASCII.findall(text) if c.isalpha()]
    return sum(map(common, letters)) / len(letters) if letters else 0.0


def _kana(text: str) -> float:
    """Japanese is a third to two thirds kana; Chinese and Korean have none. Half-width ones are misread bytes."""
    return min(1.0, 3 * _share(text, lambda c: "\u3041" <= c <= "\u30ff"))


def _hangul(text: str) -> float:
    """Korean is nearly all syllables; Chinese read as Korean is half of them, the rest hanja."""
    return _share(text, lambda c: "\uac00" <= c <= "\ud7a3")


def _common_in(codec: str, first: int, last: int) -> Callable[[str], float]:
    """The standards put the common characters first: the share whose first byte is in that part of the table."""

    def common(c: str) -> bool:
        code = c.encode(codec, "ignore")
        return len(code) == 2 and first <= code[0] <= last and (codec != "gb18030" or code[1] >= 0xA1)

    return lambda text: _share(text, common)


_EAST_ASIAN: tuple[tuple[str, Callable[[str], float]], ...] = (
    ("euc_jp", _kana),
    ("cp932", _kana),
    ("cp949", _hangul),
    ("gb18030", _common_in("gb18030", 0xB0, 0xD7)),  # GB 2312, level 1
    ("big5hkscs", _common_in("big5hkscs", 0xA4, 0xC6)),  # Big5, level 1
)
_MIN_COMMON = 0.85


def detect(body: bytes) -> str | None:
    """Python's name of the likeliest codec; None where there is nothing to go by."""
    parts: list[bytes] = []
    length = 0
    for match in _AROUND.finditer(body):
        parts.append(match[0])
        length += len(match[0])
        if length > _SAMPLE:
            break
    sample = b"\n".join(parts)
    return _detect_double(sample) or _detect_single(sample)


def _detect_double(sample: bytes) -> str | None:
    best, best_share = None, _MIN_COMMON
    if len(_DOUBLE.findall(sample)) < 4:
        return None
    for codec, share in _EAST_ASIAN:
        text = sample.decode(codec, "replace")
        if text.count("\ufffd") * 20 <= len(text) and (found := share(text)) > best_share:
            best, best_share = codec, found
    return best


def _detect_single(sample: bytes) -> str | None:
    matches = from_bytes(sample, cp_isolation=_SINGLE_BYTE)
    best = matches.best()
    if best is None:
        return None
    for match in matches:
        # Where it reads nearly as well, the commonest encoding is the likeliest.
        as_well = match.chaos <= best.chaos + 0.1 and match.coherence >= best.coherence - 0.1
        if as_well and "cp1252" in (match.encoding, *match.could_be_from_charset):
            return "cp1252"
    return best.encoding
