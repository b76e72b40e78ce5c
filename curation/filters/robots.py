"""Drop pages whose publisher asked robots not to use them: what `curation/rights.py` found decides here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.recipe import suggest
from curation.rights import DIRECTIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Robots:
    """Drop a page that holds one of these directives (`refused`), in its header or in a <meta>.

    `none` stands for noindex and nofollow. A page of which nothing is known (a WET conversion, a dump) is kept.
    """

    reads: ClassVar[tuple[str, ...]] = ("robots",)

    refuse: tuple[str, ...] = ("noai", "noimageai")

    def __post_init__(self) -> None:
        if not self.refuse:
            raise RecipeError("robots: refuse is empty, so no page would be dropped")
        for directive in self.refuse:
            if directive not in DIRECTIVES:
                raise RecipeError(
                    f"robots: there is no directive {directive!r}{suggest(directive, DIRECTIVES)}; "
                    f"there are {', '.join(sorted(DIRECTIVES))}"
                )

    def __call__(self, document: Document) -> Document | Drop:
        found = set((document.robots or "").split(", "))
        wanted = {part for directive in self.refuse for part in DIRECTIVES[directive]}
        if refused := sorted(found & wanted):
            return Drop("refused", refused[0], ", ".join(self.refuse))
        return document
