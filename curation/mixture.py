"""The mixture: how often each document is seen, and where it stands in the one global order (docs/recipe.md).

Nothing here depends on parts, workers or arrival: a document's place is a hash of its key, the seed and the pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.errors import RecipeError
from curation.hashing import splitmix64

WARN_EPOCHS = 4.0  # repetition beyond this is worth little (Muennighoff et al. 2023)
TOLERANCE = 0.001  # of the mixture, that a source's share may be off by; or one document, if that is more


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Weights with a token budget, or epochs; never both. With neither, every source is seen once."""

    weights: Mapping[str, float] | None = None
    tokens: int = 0
    epochs: Mapping[str, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.weights is not None and self.epochs is not None:
            raise RecipeError("mixture: give weights with tokens, or epochs, not both")
        if (self.weights is None) != (self.tokens == 0):
            raise RecipeError("mixture: weights and tokens go together")
        if self.tokens < 0 or not 0 <= self.seed < 1 << 64:
            raise RecipeError("mixture: tokens are not negative, and seed lies in [0, 2^64)")
        for name, values in (("weights", self.weights), ("epochs", self.epochs)):
            if values is not None and not (all(0 <= v < math.inf for v in values.values()) and any(values.values())):
                raise RecipeError(f"mixture: {name} are finite, not negative, and not all zero")

    def check_sources(self, sources: Collection[str]) -> None:
        """Raise RecipeError if a source that has a weight is not among these."""
        for source, weight in (self.weights or {}).items():
            if weight and source not in sources:
                raise RecipeError(f"mixture: {source!r} has a weight, but the run has no input of it")

    def passes(self, available: Mapping[str, int]) -> dict[str, float]:
        """Epochs of each source, given its training tokens.

        Epochs of a source that the run does not have mean nothing. A weight of one cannot be met: RecipeError.
        """
        if self.epochs is not None:
            return {source: float(self.epochs.get(source, 0.0)) for source in available}
        if self.weights is None:
            return dict.fromkeys(available, 1.0)
        for source, share in self.weights.items():
            if share > 0 and not available.get(source):
                raise RecipeError(f"mixture: source {source!r} has a weight, but the run has no training tokens of it")
        whole = sum(self.weights.values())
        return {
            source: self.tokens * self.weights.get(source, 0.0) / whole / count if count else 0.0
            for source, count in available.items()
        }


def one_more(short: Mapping[str, tuple[int, int]]) -> set[str]:
    """Sources whose fractional pass gets one document more than fits.

    `short` has, by source, how many tokens its longest fitting prefix falls short of its budget, and how many the next
    document has (0: there is none). If every source stopped where it fits, the largest would gain what all the others
    lack. So the tokens that are missing in all are given out again, to the source that lacks most of a document first,
    as seats are by largest remainders, as long as that brings the whole nearer to its budget.
    """
    missing = sum(lacks for lacks, _ in short.values())
    chosen = set()
    for source, (_, size) in sorted(
        ((source, pair) for source, pair in short.items() if pair[1]),
        key=lambda item: (-item[1][0] / item[1][1], item[0]),
    ):
        if abs(missing - size) < abs(missing):
            chosen.add(source)
            missing -= size
    return chosen


def warnings(sources: Sequence[Mapping[str, Any]], absent: Mapping[str, float]) -> list[str]:
    """What the user should know of a mixture, a line each.

    `sources` are those of a dataset's manifest; `absent` has the epochs asked of sources that the run has no input of.
    """
    lines = [
        f"{source} has no input in this run, so the {epochs:g} epochs asked of it are not in the shards"
        for source, epochs in sorted(absent.items())
        if epochs
    ]
    total = sum(source["mixed_tokens"] for source in sources)
    for source in sources:
        name, asked, mixed = source["name"], source["tokens_asked"], source["mixed_tokens"]
        if not source["tokens"]:
            lines.append(f"{name} has no training tokens, so nothing of it is in the shards")
        elif not source["epochs_asked"]:
            lines.append(f"the mixture asks for nothing of {name}, so none of it is in the shards")
        elif not mixed:
            lines.append(
                f"nothing of {name} is in the shards: {asked:,} tokens were asked, and its documents are larger"
            )
        elif abs(source["share"] - source["share_asked"]) > max(
            TOLERANCE, source["tokens"] / source["documents"] / total
        ):
            lines.append(
                f"{name} is {source['share']:.2%} of the mixture where {source['share_asked']:.2%} was asked: "
                f"documents of it or of another source are too large for so few tokens, or were taken down"
            )
        if source["epochs"] > WARN_EPOCHS:
            lines.append(f"{name} is repeated {source['epochs']:.1f} times; beyond {WARN_EPOCHS:.0f} little is gained")
    return lines


def keys64(document_keys: np.ndarray) -> np.ndarray:
    """First 8 of the 16 bytes of each document key: uint8 [documents, 16] to uint64 [documents]."""
    return np.ascontiguousarray(document_keys[:, :8]).view("<u8").reshape(-1)


def prefix_order(keys: np.ndarray, seed: int) -> np.ndarray:
    """A source's keyed order, whose prefix is a fractional pass: uint64 [documents]."""
    return splitmix64(keys ^ splitmix64(np.array([seed, 0x70726566], dtype=np.uint64)).sum(dtype=np.uint64))


def mix_order(keys: np.ndarray, seed: int, turn: int) -> np.ndarray:
    """Where the copy of each document in pass `turn` stands in the global order: uint64 [documents]."""
    return splitmix64(keys ^ splitmix64(np.array([seed, 0x6D6978, turn + 1], dtype=np.uint64)).sum(dtype=np.uint64))


def shard_of(order: np.ndarray, shards: int) -> np.ndarray:
    """Shard number of each place in the global order: equal slices of the 64-bit line, int64 [documents].

    It is `order * shards >> 64`, for shards <= 2^32: the product's halves are summed before they could overflow.
    """
    high, low = order >> np.uint64(32), order & np.uint64(0xFFFFFFFF)
    carried = high * np.uint64(shards) + (low * np.uint64(shards) >> np.uint64(32))
    return (carried >> np.uint64(32)).astype(np.int64)
