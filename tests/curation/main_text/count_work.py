"""How many lines of the scanner's source run for a page, without its compiler.

    python -m tests.curation.main_text.count_work SIZE...

Prints one JSON object: {name of the page: [lines for each size]}.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["NUMBA_DISABLE_JIT"] = "1"
warnings.simplefilter("ignore", RuntimeWarning)  # hashes wrap

from curation.main_text import kernel  # noqa: E402
from curation.main_text.scan import scan  # noqa: E402
from tests.curation.main_text.hostile_pages import PAGES  # noqa: E402

FOLDER = str(Path(kernel.__file__).parent)


def lines(page: bytes) -> int:
    count = 0

    def inside(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return inside

    def calls(frame: FrameType, event: str, _: Any) -> Any:
        return inside if frame.f_code.co_filename.startswith(FOLDER) else None

    sys.settrace(calls)
    try:
        scan(page)
    finally:
        sys.settrace(None)
    return count


if __name__ == "__main__":
    scan(b"")
    print(json.dumps({name: [lines(page(int(size))) for size in sys.argv[1:]] for name, page in PAGES.items()}))
