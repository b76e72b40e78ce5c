from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

PROSE = tomllib.loads((Path(__file__).parent / "prose.toml").read_text(encoding="utf-8"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`prose`: (language, text), for each text of prose.toml."""
    if "prose" in metafunc.fixturenames:
        metafunc.parametrize("prose", [(language, text.strip()) for language, text in PROSE.items()], ids=PROSE)
