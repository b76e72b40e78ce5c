from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.encoded_data import EncodedData

Make = Callable[..., Document]
CODE = "def add(left, right):\n    return left + right  # the sum\n" * 100


def base64_of(length: int) -> str:
    return base64.b64encode(random.Random(0).randbytes(length))[:length].decode()


@pytest.mark.parametrize(
    ("text", "drop"),
    [
        (CODE, None),
        (CODE + f'x = "{base64_of(1024)}"', None),
        (CODE + f'x = "{base64_of(1025)}"', Drop("encoded_data", 1025, 1024)),
        (CODE + "x = {" + "0x1f, " * 200 + "}", Drop("encoded_data", 1200, 1024)),
        (CODE + 'x = "' + "\\x1f" * 300 + '"', Drop("encoded_data", 1196, 1024)),
        (CODE + 'x = "' + "\\u001f" * 200 + '"', Drop("encoded_data", 1200, 1024)),
        (f"{'-' * 64}{base64_of(64)}", None),
        (f"{'-' * 63}{base64_of(64)}", Drop("mostly_encoded_data", 0.5039, 0.5)),
        (f"{'-' * 63}{base64_of(63)}", None),
        ("", None),
    ],
)
def test_limits(document: Make, text: str, drop: Drop | None) -> None:
    page = document(text)
    verdict = EncodedData()(page)
    assert verdict is page if drop is None else verdict == drop


@pytest.mark.parametrize("text", ["ab ,", "a" * 63 + "-", "\\u12", "0x", "12", "12 ", "1", "a\n"])
def test_time_is_linear(document: Make, text: str) -> None:
    before = time.process_time()
    EncodedData()(document(text * (200_000 // len(text))))
    assert time.process_time() - before < 2


def test_options() -> None:
    for options in ({"max_stretch": 63}, {"max_share": 1.1}):
        with pytest.raises(RecipeError):
            EncodedData(**options)
