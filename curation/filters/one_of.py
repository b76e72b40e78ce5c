"""Keep documents whose label is on a list."""

from __future__ import annotations

from dataclasses import dataclass

from curation.document import SCORE_FIELDS, Document, Drop
from curation.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """Keep documents whose `field` (the language, for one) is among `values`. A missing label is on no list."""

    field: str = "language"
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.field not in SCORE_FIELDS:
            raise RecipeError(f"one_of: no score is called {self.field!r}; there are {', '.join(SCORE_FIELDS)}")
        if not self.values:
            raise RecipeError("one_of: values is empty, so every document would be dropped")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.field,)

    def __call__(self, document: Document) -> Document | Drop:
        value = getattr(document, self.field)
        if value in self.values:
            return document
        return Drop(f"{self.field}_other", "none" if value is None else str(value), ",".join(self.values))
