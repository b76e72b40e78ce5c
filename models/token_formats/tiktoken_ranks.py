"""Llama 3's tokenizer.model: a line per piece, its bytes in base64 and its rank, as tiktoken reads it.

The file holds neither the pattern that cuts text into words nor the special tokens. Both are Llama 3's as published
(Grattafiori et al. 2024, and Meta's reference code): 256 special tokens follow the pieces, BOS and EOS first.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from models.token_formats.byte_characters import written
from models.token_formats.description import Description, UnfitFileError, array, json_table, package, ways_to_halve

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = 256
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
# Files of the same format that go with another pattern, by their number of pieces.
OTHERS = {50256: "GPT-2's", 50280: "p50k's", 100256: "cl100k's", 199998: "o200k's", 200000: "Llama 4's"}

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) (\d+)")
# Meta's code encodes at most so many characters at a time, and so many in a row of white space or of anything else.
_LONGEST, _LONGEST_RUN = 400_000, 25_000
_RUN = re.compile(r"\s+|\S+")
_SPACE = re.compile(r"\s")


def read(content: bytes) -> Description | None:
    """None if these are no tiktoken ranks."""
    lines = [line for line in content.splitlines() if line]
    if not lines or not _LINE.fullmatch(lines[0]):
        return None
    ranks = _ranks(lines)
    if len(ranks) in OTHERS:
        raise UnfitFileError(
            f"holds {len(ranks)} pieces, so it is {OTHERS[len(ranks)]}; of tiktoken files only Llama 3's"
        )
    try:
        import tiktoken
    except ModuleNotFoundError:
        raise UnfitFileError("needs the package tiktoken: pip install tiktoken") from None
    encoding = tiktoken.Encoding("llama3", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})
    names = [BOS, EOS, *(f"<|special_{number}|>" for number in range(2, SPECIAL))]
    by_id = {rank: piece for piece, rank in ranks.items()}
    return Description(
        format="tiktoken ranks",
        pieces=tuple(by_id.get(id, b"") for id in range(len(ranks) + SPECIAL)),
        bos=len(ranks),
        eos=len(ranks) + 1,
        controls={name: len(ranks) + number for number, name in enumerate(names)},
        encoder=package("tiktoken"),
        encode=lambda text: array(encoding.encode_ordinary(text)),
        converted=lambda: _converted(ranks),
        cut=stretches,
    )


def _ranks(lines: list[bytes]) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines):
        match = _LINE.fullmatch(line)
        try:
            piece = base64.b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            piece = b""
        if not match or not piece or piece in ranks or int(match[2]) != number:
            raise UnfitFileError(f"is damaged: line {number + 1} is not the piece of rank {number}")
        ranks[piece] = number
    if not all(bytes([byte]) in ranks for byte in range(256)):
        raise UnfitFileError("lacks some of the 256 bytes, so text would be lost")
    return ranks


def stretches(text: str) -> list[str]:
    """The text, cut where Meta's code cuts it before it encodes each stretch: at 400,000 characters, and within runs of
    more than 25,000 characters that are all white space, or all not."""
    cuts = set(range(0, len(text), _LONGEST))
    half = max(1, _LONGEST_RUN // 2)  # whoever is longer than _LONGEST_RUN covers one of these blocks
    blocks = (text[at : at + half] for at in range(0, len(text), half) if len(text) > _LONGEST_RUN)
    if any(block.isspace() or not _SPACE.search(block) for block in blocks):
        for start in list(cuts):
            for run in _RUN.finditer(text, start, start + _LONGEST):
                cuts.update(range(run.start() + _LONGEST_RUN, run.end(), _LONGEST_RUN))
    return [text[start:end] for start, end in pairwise([*sorted(cuts), len(text)])]


def _converted(ranks: Mapping[bytes, int]) -> dict[str, Any]:
    """tiktoken joins the neighbours whose joint piece has the lowest rank: all ways to halve it, in the order of ranks.

    A word that is a piece is that piece, whether or not joining leads to it: `ignore_merges`.
    """
    merges = [[written(p[:at]), written(p[at:])] for p in ranks for at in ways_to_halve(p, ranks)]
    split = {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": False}
    as_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return json_table(
        {"ignore_merges": True, "vocab": {written(piece): rank for piece, rank in ranks.items()}, "merges": merges},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, as_bytes]},
    )
