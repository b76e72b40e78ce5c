"""Compare one score with a limit: models score, this decides."""

from __future__ import annotations

import math
from dataclasses import dataclass

from curation.document import NUMERIC_FIELDS, Document, Drop
from curation.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Keep documents whose `field` lies in [min, max].

    A document that the model did not score (a language without a model, say) is not judged: it is kept, unless
    `unscored = "drop"`.
    """

    field: str
    min: float = -math.inf
    max: float = math.inf
    unscored: str = "keep"

    def __post_init__(self) -> None:
        if self.field not in NUMERIC_FIELDS:
            raise RecipeError(
                f"threshold: no numeric score is called {self.field!r}; there are {', '.join(NUMERIC_FIELDS)}"
            )
        if self.unscored not in ("keep", "drop"):
            raise RecipeError(f'threshold: unscored must be "keep" or "drop", not {self.unscored!r}')
        if not self.min <= self.max or (math.isinf(self.min) and math.isinf(self.max)):
            raise RecipeError("threshold: give min, max or both, with min <= max")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.field,)

    def __call__(self, document: Document) -> Document | Drop:
        value: float | None = getattr(document, self.field)
        if value is None:
            return Drop(f"{self.field}_missing", "none", "a score") if self.unscored == "drop" else document
        if value < self.min:
            return Drop(f"{self.field}_low", value, self.min)
        if value > self.max:
            return Drop(f"{self.field}_high", value, self.max)
        return document
