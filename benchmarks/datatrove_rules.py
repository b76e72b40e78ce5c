"""Which rule of ours answers which of datatrove 0.10: the same limits, on both sides, or one rule alone.

Imported where datatrove is installed, which is never where Winnow is (benchmarks/compare_datatrove.py).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from curation import words as splitting
from curation.document import Document, Drop

Limits = Mapping[str, float]  # by the name of our rule; a rule without a limit is off
Verdict = Drop | str | None  # ours, theirs (the reason), or kept
Run = Callable[[str], tuple[Verdict, str]]  # the verdict, and the text as the filter leaves it

INFINITY = float("inf")
PEERS = "datatrove.pipeline.filters."

# White space parts our words; what datatrove's splitters give has marks as words of their own.
_PIECE = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A filter of ours and one of theirs, both made from the same limits."""

    ours: Callable[[Limits], Run]
    theirs: Callable[[Limits], Run]
    limits: Limits  # the paper's, or where sources differ those of datatrove
    least: frozenset[str] = frozenset()  # rules that drop what is below their limit; the others what is above
    edits: bool = False  # the text that is left is compared too
    kinds: tuple[str, ...] = ("main text",)  # and "all text", for rules that main text seldom breaks


def _words(text: str) -> tuple[str, ...]:
    return tuple(splitting.split_words(text))


def _marks(text: str) -> tuple[str, ...]:
    return tuple(piece for word in splitting.split_words(text) for piece in _PIECE.findall(word))


def _folded(text: str) -> tuple[str, ...]:
    return _marks(text.lower())


SPLITTERS = {"folded": _folded, "marks": _marks, "words": _words}


def share_splitter(name: str, remembered: int | None = 8) -> None:
    """Let both sides cut words alike, by one of SPLITTERS, and sentences as `curation.words` does.

    datatrove's own splitters need spaCy, or a download. The words of `remembered` texts are kept: 8 as in
    `curation.words`, None for all.
    """
    split = lru_cache(remembered)(SPLITTERS[name])
    for module in ("gopher_quality", "gopher_repetition", "fineweb_quality"):
        mine: Any = importlib.import_module(f"curation.filters.{module}")
        mine.words = split
        peer: Any = importlib.import_module(f"{PEERS}{module}_filter")
        peer.split_into_words = lambda text, language: list(split(text))
    c4_lines: Any = importlib.import_module("curation.edits.c4_lines")
    c4_lines.split_words = str.split  # as C4's code, and so datatrove's, does by itself
    c4: Any = importlib.import_module(f"{PEERS}c4_filters")
    c4.split_into_sentences = lambda text, language: list(splitting.sentences(text))


def our_run(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> Run:
    """The steps (module:Class and options) one after the other."""
    made = [_named(f"curation.{path}")(**options) for path, options in steps]

    def run(text: str) -> tuple[Verdict, str]:
        page = Document(id="web:f#0", url="", date="", digest="", text=text, language="en")
        for step in made:
            verdict = step(page)
            if isinstance(verdict, Drop):
                return verdict, ""
            page = verdict
        return None, page.text

    return run


def their_run(path: str, options: Mapping[str, Any]) -> Run:
    document = _named("datatrove.data:Document")
    judge = _named(PEERS + path)(**options).filter

    def run(text: str) -> tuple[Verdict, str]:
        page = document(text=text, id="0")
        verdict = judge(page)
        kept, reason = verdict if isinstance(verdict, tuple) else (verdict, "")
        return (None, page.text) if kept else (reason, "")

    return run


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


_QUALITY = {
    "min_words": "min_doc_words",
    "max_words": "max_doc_words",
    "min_mean_word_length": "min_avg_word_length",
    "max_mean_word_length": "max_avg_word_length",
    "max_symbol_ratio": "max_symbol_word_ratio",
    "max_bullet_lines": "max_bullet_lines_ratio",
    "max_ellipsis_lines": "max_ellipsis_lines_ratio",
    "min_alphabetic_words": "max_non_alpha_words_ratio",  # named for the opposite of what it is
    "min_stop_words": "min_stop_words",
}


def _our_quality(limits: Limits) -> Run:
    off = {name: -1 if name.startswith("min_") else INFINITY for name in _QUALITY}
    return our_run([("filters.gopher_quality:GopherQuality", {**off, **limits, "bullets": ("•", "-")})])


def _their_quality(limits: Limits) -> Run:
    return their_run(
        "gopher_quality_filter:GopherQualityFilter", {other: limits.get(name) for name, other in _QUALITY.items()}
    )


_REPETITION = {
    "max_duplicate_lines": "dup_line_frac",
    "max_duplicate_paragraphs": "dup_para_frac",
    "max_duplicate_line_characters": "dup_line_char_frac",
    "max_duplicate_paragraph_characters": "dup_para_char_frac",
}
_TOP, _DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)


def _our_repetition(limits: Limits) -> Run:
    options: dict[str, Any] = {name: limits.get(name, INFINITY) for name in _REPETITION}
    options["max_top_ngrams"] = tuple(limits.get(f"top_{n}", INFINITY) for n in _TOP)
    options["max_duplicate_ngrams"] = tuple(limits.get(f"duplicate_{n}", INFINITY) for n in _DUPLICATE)
    return our_run([("filters.gopher_repetition:GopherRepetition", options)])


def _their_repetition(limits: Limits) -> Run:
    options: dict[str, Any] = {other: limits.get(name) for name, other in _REPETITION.items()}
    options["top_n_grams"] = tuple((n, limits[f"top_{n}"]) for n in _TOP if f"top_{n}" in limits)
    options["dup_n_grams"] = tuple((n, limits[f"duplicate_{n}"]) for n in _DUPLICATE if f"duplicate_{n}" in limits)
    return their_run("gopher_repetition_filter:GopherRepetitionFilter", options)


def _our_c4(limits: Limits) -> Run:
    rules = {"min_words": int(limits.get("min_words_a_line", -1)), "end_marks": (".", "?", "!", '"', "'")}
    flags = {name: name in limits for name in ("curly_bracket", "terminal_punctuation", "javascript", "lorem_ipsum")}
    return our_run(
        [
            ("edits.c4_lines:C4Lines", {**rules, **flags}),
            ("filters.c4_page:C4Page", {"min_sentences": limits.get("min_sentences", 1)}),
        ]
    )


def _their_c4(limits: Limits) -> Run:
    return their_run(
        "c4_filters:C4QualityFilter",
        {
            "min_words_per_line": int(limits.get("min_words_a_line", -1)),
            "min_num_sentences": limits.get("min_sentences", 1),  # not off: ours drops what has no line left
            "filter_curly_bracket": "curly_bracket" in limits,
            "filter_no_terminal_punct": "terminal_punctuation" in limits,
            "filter_javascript": "javascript" in limits,
            "filter_lorem_ipsum": "lorem_ipsum" in limits,
        },
    )


_FINEWEB = {
    "min_ended_lines": ("line_punct_thr", -1),
    "max_short_lines": ("short_line_thr", INFINITY),
    "max_duplicate_line_characters": ("char_duplicates_ratio", INFINITY),
    "max_newlines_per_word": ("new_line_ratio", INFINITY),
}


def _our_fineweb(limits: Limits) -> Run:
    return our_run(
        [
            (
                "filters.fineweb_quality:FinewebQuality",
                {name: limits.get(name, off) for name, (_, off) in _FINEWEB.items()},
            )
        ]
    )


def _their_fineweb(limits: Limits) -> Run:
    return their_run(
        "fineweb_quality_filter:FineWebQualityFilter",
        {other: limits.get(name, off) for name, (other, off) in _FINEWEB.items()},
    )


PAIRS = {
    "gopher_quality": Pair(
        ours=_our_quality,
        theirs=_their_quality,
        limits={
            "min_words": 50,
            "max_words": 100_000,
            "min_mean_word_length": 3,
            "max_mean_word_length": 10,
            "max_symbol_ratio": 0.1,
            "max_bullet_lines": 0.9,
            "max_ellipsis_lines": 0.3,
            "min_alphabetic_words": 0.8,
            "min_stop_words": 2,
        },
        least=frozenset(name for name in _QUALITY if name.startswith("min_")),
    ),
    "gopher_repetition": Pair(
        ours=_our_repetition,
        theirs=_their_repetition,
        limits={
            "max_duplicate_lines": 0.3,
            "max_duplicate_paragraphs": 0.3,
            "max_duplicate_line_characters": 0.2,
            "max_duplicate_paragraph_characters": 0.2,
            **{f"top_{n}": limit for n, limit in zip(_TOP, (0.20, 0.18, 0.16), strict=True)},
            **{f"duplicate_{n}": (20 - n) / 100 for n in _DUPLICATE},
        },
        kinds=("main text", "all text"),
    ),
    "c4": Pair(
        ours=_our_c4,
        theirs=_their_c4,
        limits={
            "min_sentences": 5,
            "min_words_a_line": 3,
            "curly_bracket": 0,
            "terminal_punctuation": 0,
            "javascript": 0,
            "lorem_ipsum": 0,
        },
        least=frozenset({"min_sentences", "min_words_a_line"}),
        edits=True,
    ),
    "fineweb_quality": Pair(
        ours=_our_fineweb,
        theirs=_their_fineweb,
        limits={
            "min_ended_lines": 0.12,
            "max_short_lines": 0.67,
            "max_duplicate_line_characters": 0.01,
            "max_newlines_per_word": 0.3,
        },
        least=frozenset({"min_ended_lines"}),
    ),
}
