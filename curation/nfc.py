"""Unicode's composed form, in time linear in the text."""

from __future__ import annotations

import functools
import sys
import unicodedata

import numpy as np
from numpy.typing import NDArray

MARKS = 30  # combining characters after one another that are kept: UAX #15, section 13, Stream-Safe Text Format


def nfc(text: str) -> str:
    """NFC. Of more than 30 combining characters in a row the first 30 stay: no script writes so many, and to put a long
    run of them into canonical order takes quadratic time, hours for a page of nothing else.
    """
    if unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", _without_long_runs(text))


def _without_long_runs(text: str) -> str:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    combining = _combining()[codes]
    places = np.arange(len(codes), dtype=np.int32)
    latest_base = np.maximum.accumulate(np.where(combining, np.int32(-1), places))
    kept = places - latest_base <= MARKS
    return text if kept.all() else codes[kept].tobytes().decode("utf-32-le", "surrogatepass")


@functools.cache
def _combining() -> NDArray[np.bool_]:
    """By code point: has it a combining class, so that its place among others is put in order?"""
    return np.fromiter((unicodedata.combining(chr(code)) > 0 for code in range(sys.maxunicode + 1)), np.bool_)
