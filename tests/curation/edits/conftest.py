from __future__ import annotations

from collections.abc import Callable

import pytest

from curation.document import Document


@pytest.fixture(scope="session")
def document() -> Callable[..., Document]:
    def make(text: str = "", **scores: object) -> Document:
        return Document(id="web:f#0", url="", date="", digest="", text=text, **scores)  # type: ignore[arg-type]

    return make
