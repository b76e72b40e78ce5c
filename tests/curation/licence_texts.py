"""Texts of licences for tests: those of Winnow and of packages that it is tested with.

A test is skipped where the package that it takes a text from, or its licence file, is not there.
"""

from __future__ import annotations

import functools
from importlib import metadata
from pathlib import Path

import pytest

_WHOSE = {"MIT": "pytest", "BSD-2-Clause": "Pygments", "BSD-3-Clause": "idna"}


@functools.cache
def text(id: str) -> str:
    if id == "Apache-2.0":
        return (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    try:
        files = metadata.files(_WHOSE[id]) or []
        return next(file.read_text(encoding="utf-8") for file in files if "LICENSE" in file.name)
    except (metadata.PackageNotFoundError, StopIteration, FileNotFoundError):
        pytest.skip(f"no text of {id}: {_WHOSE[id]} or its licence file is not installed")


def body(id: str) -> str:
    """The text from its first words that are the same everywhere."""
    whole = text(id)
    return whole[whole.index({"MIT": "Permission is"}.get(id, "Redistribution and use")) :]
