"""JSON Lines that a user brings: an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import InputError


def rows(path: Path, *required: str) -> Iterator[dict[str, Any]]:
    """The objects of a file, one at a time; blank lines are skipped.

    Raises InputError for a file that cannot be read, and for a line that is not UTF-8, or not an object in which every
    field of `required` is a string.
    """
    fields = " and ".join(f'"{name}"' for name in required)
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _row(line, required, f"{path}: line {number} is not", fields)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _row(line: bytes, required: tuple[str, ...], where: str, fields: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        raise InputError(f"{where} UTF-8") from None
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in required):
        raise InputError(f"{where} a JSON object with {fields}")
    return row
