"""A run in a second or two: two sources, one of them seen two and a half times, lines deduplicated, some held out."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

RECIPE = """
format = 1
name = "small"
[sources.crawl]
steps = [
  { extract = "plain" },
  { filter = "length", min_characters = 20 },
  { dedup = "lines" },
  { filter = "length", min_characters = 30 },
]
[sources.other]
steps = [{ extract = "plain" }]
[tokenizer]
vocabulary = 400
sample_bytes = 100_000
[heldout]
fraction = 0.2
[mixture]
epochs = { crawl = 2.5, other = 1.0 }
[shards]
tokens = 3000
"""
PAGES = 45  # of each source, in three files


def spelled(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))


def url(number: int) -> str:
    return f"https://www.{'even' if number % 2 == 0 else 'odd'}.example.org/{number}?utm_source=x"


def secret(number: int) -> str:
    """A word that this page alone has."""
    return f"secret{spelled(number)}terces"


def text(number: int) -> str:
    """Every page has one of two menus. Page 1 also has, as its last line, one of page 0."""
    words = random.Random(number)
    lines = [
        f"Menu shared by many {'ab'[number % 2]}",
        f"{secret(number)} {' '.join(f'w{spelled(words.randrange(200))}' for _ in range(40))}",
    ]
    return "\n".join(lines + ["A line of pages nought and one, as each of them has it"] * (number in (0, 1)))


def record(number: int) -> bytes:
    body = text(number).encode()
    head = (
        f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: {url(number)}\r\n"
        f"WARC-Date: 2024-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0)


def write_inputs(folder: Path) -> None:
    """Pages 0 … 44 of `crawl`, 100 … 144 of `other`; and the recipe."""
    (folder / "small.toml").write_text(RECIPE)
    for source, first in (("crawl", 0), ("other", 100)):
        (folder / source).mkdir()
        for file in range(3):
            numbers = range(first + 15 * file, first + 15 * file + 15)
            (folder / source / f"{file}.warc.wet.gz").write_bytes(b"".join(map(record, numbers)))


def arguments(folder: Path, output: Path, recipe: Path | None = None) -> list[str]:
    inputs = [word for source in ("crawl", "other") for word in ("--input", f"{source}={folder / source}")]
    recipe = recipe or folder / "small.toml"
    return ["--recipe", str(recipe), *inputs, "--output", str(output), "--quiet", "--workers", "1"]
