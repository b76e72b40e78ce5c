"""The n-grams of evaluation sets, as a document is compared with them (docs/decontamination.md).

An artifact of four files: the distinct hashes, sorted; which examples hold each; how many each example has; the sets.
The first three are mapped into memory: 20 bytes an n-gram and more, shared by the processes of a machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import ModelError
from curation.word_hashes import Hashes, ngram_hashes, word_hashes

HASHES, STARTS, EXAMPLES, TOTALS, SETS = "hashes.npy", "starts.npy", "examples.npy", "totals.npy", "sets.json"
# GPT-3 (Brown et al. 2020, appendix C): 13 words; where an example is shorter, all of it, if it has 8.
NGRAM, SHORTEST = 13, 8

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EvalSet:
    """One set: where its examples begin in the numbering of all, and what became of them."""

    name: str
    first: int
    examples: int
    compared: int  # that have an n-gram left; of the others no trace can be found
    too_short: int  # no field has enough words
    too_common: int  # all their n-grams are left out, since they occur elsewhere too often
    ngrams: int  # distinct
    left_out: int  # distinct n-grams that are left out


@dataclass(frozen=True, slots=True)
class Hits:
    """Examples of which a text holds n-grams. `examples` int64, ascending; `matched` and `total` int64, parallel."""

    examples: Numbers
    matched: Numbers
    total: Numbers

    def __len__(self) -> int:
        return len(self.examples)

    def where(self, keep: npt.NDArray[np.bool_]) -> Hits:
        return Hits(self.examples[keep], self.matched[keep], self.total[keep])


@dataclass(frozen=True, slots=True)
class Evals:
    """Evaluation sets, ready to be compared with.

    `hashes` uint64 [n-grams], ascending and distinct. The examples that hold n-gram i are
    `examples[starts[i] : starts[i + 1]]`: int64 [n-grams + 1] and uint32. `totals` uint32 [examples of all sets].
    """

    ngram: int
    lengths: tuple[int, ...]  # of the n-grams that occur: `ngram`, and those of short examples
    sets: tuple[EvalSet, ...]
    hashes: Hashes
    starts: Numbers
    examples: npt.NDArray[np.uint32]
    totals: npt.NDArray[np.uint32]
    # Which beginnings of hashes occur, as bits: 15 of 16 n-grams of other texts need no search. 2 to 4 bytes an n-gram.
    prefix_bits: int = field(init=False)
    prefixes: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        bits = max(10, len(self.hashes).bit_length() + 4)
        there = np.zeros(1 << bits - 3, dtype=np.uint8)
        places = self.hashes >> np.uint64(64 - bits)
        np.bitwise_or.at(there, places >> np.uint64(3), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8))
        object.__setattr__(self, "prefix_bits", bits)
        object.__setattr__(self, "prefixes", there)

    def found(self, text: str) -> Numbers:
        """Which n-grams a text holds: their numbers, ascending and distinct."""
        if not len(self.hashes):
            return np.empty(0, dtype=np.int64)
        hashes = ngram_hashes(word_hashes(text), *self.lengths)
        places = hashes >> np.uint64(64 - self.prefix_bits)
        hashes = hashes[self.prefixes[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8) & 1 == 1]
        at = np.searchsorted(self.hashes, hashes)
        at[at == len(self.hashes)] = 0
        return np.unique(at[self.hashes[at] == hashes])

    def hits(self, ngrams: Numbers) -> Hits:
        """The examples that hold these n-grams, and how many of theirs they are."""
        holders = [self.examples[self.starts[i] : self.starts[i + 1]] for i in ngrams.tolist()]
        if not holders:
            none = np.empty(0, dtype=np.int64)
            return Hits(none, none, none)
        examples, matched = np.unique(np.concatenate(holders).astype(np.int64), return_counts=True)
        return Hits(examples, matched, self.totals[examples].astype(np.int64))

    def set_of(self, example: int) -> EvalSet:
        """The set that an example belongs to; its number there is `example - set.first`."""
        return next(one for one in reversed(self.sets) if one.first <= example)


def example_ngrams(fields: Iterable[str], ngram: int, shortest: int) -> dict[int, Hashes]:
    """Hashes of one example's distinct n-grams, by their length.

    Fields are compared each on its own. One of fewer than `ngram` words is one n-gram, if it has `shortest`.
    """
    found: dict[int, list[Hashes]] = {}
    for text in fields:
        words = word_hashes(text)
        length = min(ngram, len(words))
        if length >= min(shortest, ngram):
            found.setdefault(length, []).append(ngram_hashes(words, length))
    return {length: np.unique(np.concatenate(found[length])) for length in sorted(found)}


def collect(
    sets: Mapping[str, Iterable[Sequence[str]]],
    *,
    ngram: int = NGRAM,
    shortest: int = SHORTEST,
    max_examples: int = 0,
    common: Hashes | None = None,
) -> Evals:
    """Evals of sets by name; an example is its fields' texts.

    N-grams that more than `max_examples` examples of a set hold (0: no such limit), and those of `common` (sorted),
    are left out.
    """
    ours: list[tuple[str, list[dict[int, Hashes]], Hashes]] = []
    for name, examples in sets.items():
        grams = [example_ngrams(fields, ngram, shortest) for fields in examples]
        hashes, counts = np.unique(_joined(_joined(each.values()) for each in grams), return_counts=True)
        many = counts > max_examples if max_examples else np.zeros(len(hashes), dtype=bool)
        if common is not None:
            many |= np.isin(hashes, common)
        ours.append((name, grams, hashes[many]))
    found: list[EvalSet] = []
    pieces: list[Hashes] = []  # one an example, as totals
    owners: list[npt.NDArray[np.uint32]] = []
    totals: list[int] = []
    lengths: set[int] = set()
    for name, grams, out in ours:
        first = len(totals)
        for each in grams:
            left = {length: hashes[~np.isin(hashes, out)] for length, hashes in each.items()}
            lengths |= {length for length, hashes in left.items() if len(hashes)}
            mine = _joined(left.values())
            pieces.append(mine)
            owners.append(np.full(len(mine), len(totals), dtype=np.uint32))
            totals.append(len(mine))
        compared = sum(total > 0 for total in totals[first:])
        short = sum(not each for each in grams)
        distinct = len(np.unique(_joined(pieces[first:])))
        found.append(
            EvalSet(name, first, len(grams), compared, short, len(grams) - compared - short, distinct, len(out))
        )
    hashes = _joined(pieces)
    examples = np.concatenate([np.empty(0, dtype=np.uint32), *owners])
    order = np.lexsort((examples, hashes))
    distinct_hashes, starts = np.unique(hashes[order], return_index=True)
    return Evals(
        ngram,
        tuple(sorted(lengths)),
        tuple(found),
        distinct_hashes,
        np.append(starts, len(hashes)).astype(np.int64),
        examples[order],
        np.array(totals, dtype=np.uint32),
    )


def _joined(pieces: Iterable[Hashes]) -> Hashes:
    return np.concatenate([np.empty(0, dtype=np.uint64), *pieces])


def to_json(evals: Evals) -> dict[str, Any]:
    """What of it is not an array."""
    sets = [{name: getattr(one, name) for name in EvalSet.__dataclass_fields__} for one in evals.sets]
    return {"ngram": evals.ngram, "lengths": list(evals.lengths), "sets": sets}


def read(directory: Path) -> Evals:
    """The evaluation sets of an artifact. Raises ModelError when it holds none."""
    try:
        arrays = [
            np.asarray(np.load(directory / file, mmap_mode="r", allow_pickle=False))
            for file in (HASHES, STARTS, EXAMPLES, TOTALS)
        ]
        stored = json.loads((directory / SETS).read_text(encoding="utf-8"))
        sets = tuple(EvalSet(**row) for row in stored["sets"])
        evals = Evals(int(stored["ngram"]), tuple(map(int, stored["lengths"])), sets, *arrays)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{directory} does not hold evaluation sets ({error}): use python -m models.make_evals"
        ) from None
    kinds = [(array.dtype.name, array.ndim) for array in arrays]
    if kinds != [("uint64", 1), ("int64", 1), ("uint32", 1), ("uint32", 1)] or len(arrays[1]) != len(arrays[0]) + 1:
        raise ModelError(f"{directory} does not hold evaluation sets: make them again with python -m models.make_evals")
    return evals
