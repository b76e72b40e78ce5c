from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from curation.document import Document
from curation.sources.wikipedia import articles

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def english() -> list[str]:
    """Real English texts that every Python brings along: the chapters of its language reference, the longer ones."""
    texts = [str(text) for _, text in sorted(topics.items()) if len(text) > 1500]
    assert len(texts) > 30
    return texts


@pytest.fixture
def in_new_process() -> Callable[[str, str, Path], None]:
    """Run Python code in a process with its own PYTHONHASHSEED; `{out}` in the code is a path."""

    def run(code: str, seed: str, out: Path) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [sys.executable, "-c", code, str(out)],
            env=environment,
            cwd=ROOT,
            check=True,
            timeout=300,
            capture_output=True,
        )

    return run


@pytest.fixture(scope="session")
def document() -> Callable[..., Document]:
    def make(text: str, **fields: object) -> Document:
        return Document(id="web:f#0", url="", date="", digest="", text=text, **fields)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def wikipedia_dump() -> Path:
    """A real dump, where one is at hand."""
    folder = os.environ.get("WINNOW_EXTRA_DATA")
    if not folder or not (dumps := sorted(Path(folder, "wikipedia").glob("*.xml.bz2"))):
        pytest.skip("WINNOW_EXTRA_DATA names no folder with wikipedia/*.xml.bz2")
    return dumps[0]


@pytest.fixture(scope="session")
def wikipedia(wikipedia_dump: Path) -> list[tuple[str, str]]:
    """Its articles: title and text."""
    return list(articles(wikipedia_dump))
