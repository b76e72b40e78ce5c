"""The mixture: how often each document is seen, and where it stands in the one global order (docs/recipe.md).

Nothing here depends on parts, workers or arrival: a document's place is a hash of its key, the seed and the pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curation.errors import RecipeError
from curation.hashing import splitmix64

WARN_EPOCHS = 4.0  # repetition beyond this is worth little (Muennighoff et al. 2023)


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
        for name, values in (("weights", self.weights), ("epochs", self.epochs)):
            if values is not None and (not values or any(v < 0 for v in values.values()) or not any(values.values())):
                raise RecipeError(f"mixture: {name} must not be negative, nor all zero")

    def passes(self, available: Mapping[str, int]) -> dict[str, float]:
        """Epochs of each source, given its training tokens. Raises RecipeError for a source that is not there."""
        asked = self.weights if self.weights is not None else self.epochs
        if asked is None:
            return dict.fromkeys(available, 1.0)
        for source, share in asked.items():
            if share > 0 and not available.get(source):
                raise RecipeError(f"mixture: source {source!r} is asked for, but the run has no training tokens of it")
        if self.weights is None:
            return {source: float(asked.get(source, 0.0)) for source in available}
        whole = sum(self.weights.values())
        return {
            source: self.tokens * self.weights.get(source, 0.0) / whole / count if count else 0.0
            for source, count in available.items()
        }


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
    """Shard number of each place in the global order: equal slices of the 64-bit line, int64 [documents]."""
    high = (order >> np.uint64(32)) * np.uint64(shards)
    return (high >> np.uint64(32)).astype(np.int64)
