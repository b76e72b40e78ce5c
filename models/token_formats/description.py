"""What a tokenizer file says, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Encode = Callable[[str], npt.NDArray[np.int32]]  # text to ids, int32 [tokens]

T = TypeVar("T", str, bytes)
SPACE_MARK = "\u2581"  # stands for a space inside pieces


class UnfitFileError(Exception):
    """The file is of this format, but not a tokenizer that we can use: why, and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Description:
    """A tokenizer file, read. `encode` knows nothing of prefixes, control ids or real space marks: `Tokenizer` does."""

    format: str
    pieces: tuple[bytes, ...]  # what each id says; b"" for control ids and for ids that stand for nothing
    bos: int
    eos: int
    controls: Mapping[str, int]  # how a control id is written; text that spells it must not yield it
    encoder: str  # the library behind `encode`, with its version
    encode: Encode
    converted: Callable[[], dict[str, Any] | None]  # the same as the table of a tokenizer.json, for a faster encoder
    prefix: bool = False  # a space goes before each text, and comes off again
    marks: tuple[int, ...] = ()  # ids of the bytes of a real U+2581, where pieces hold U+2581 for a space
    cut: Callable[[str], Sequence[str]] | None = None  # stretches of a text that are encoded on their own


def package(name: str) -> str:
    """Such as "sentencepiece 0.2.3"."""
    return f"{name} {version(name)}"


def array(ids: Sequence[int]) -> npt.NDArray[np.int32]:
    return np.array(ids, dtype=np.int32)


def json_table(model: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """The table of a tokenizer.json with this BPE model and no added tokens; `parts` are normalizer and so on."""
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    defaults = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    return {"version": "1.0", "added_tokens": [], **empty, **parts, "model": {**defaults, **model}}


def ways_to_halve(piece: T, vocabulary: Mapping[T, int]) -> list[int]:
    """Where a piece can be cut into two pieces, in the order of their ids: the order of merges in a tokenizer.json."""
    found = []
    for at in range(1, len(piece)):
        first, second = vocabulary.get(piece[:at]), vocabulary.get(piece[at:])
        if first is not None and second is not None:
            found.append((first, second, at))
    return [at for _, _, at in sorted(found)]
