"""Words and lines of a text, split once and remembered: several rules ask for the same ones."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=8)
def words(text: str) -> tuple[str, ...]:
    """Words as white space separates them. Languages that write without spaces need rules of their own."""
    return tuple(text.split())


@lru_cache(maxsize=8)
def lines(text: str) -> tuple[str, ...]:
    """Lines that hold something, stripped."""
    return tuple(stripped for line in text.split("\n") if (stripped := line.strip()))
