"""Recipes: what to keep, in the order of the data (docs/recipe.md). TOML, read strictly: an unknown key is an error.

A recipe holds everything that changes the output bytes, and no path and no machine.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from curation.errors import RecipeError
from curation.mixture import Mixture

T = TypeVar("T")

FORMAT = 1
SOURCE_NAME = "[a-z][a-z0-9_-]*"
KINDS = ("extract", "filter", "edit", "score", "dedup")
RESERVED = ("shards", "tokenizer", "heldout", "reports")  # folders of a run that are not a source's


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One line of a recipe: its kind, its name, its options as written."""

    kind: str
    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSpec:
    """Vocabulary of the tokenizer that is trained on the kept text when none is given, and how much of it to read."""

    vocabulary: int = 32_000
    sample_bytes: int = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldoutSpec:
    """Share of documents, by hash of their normalised content, that is kept out of training.

    With `near`, documents for training that nearly duplicate a held-out one, of any source, are dropped.
    """

    fraction: float = 0.001
    near: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """Target size of a shard in tokens. Changes where shards are cut, so it belongs to the recipe."""

    tokens: int = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    name: str
    sources: Mapping[str, tuple[StepSpec, ...]]
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)
    heldout: HeldoutSpec = field(default_factory=HeldoutSpec)
    mixture: Mixture = field(default_factory=Mixture)
    shards: ShardSpec = field(default_factory=ShardSpec)


def bundled() -> list[str]:
    """Names of the recipes that come with Winnow."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def _folder() -> Any:
    return resources.files("curation") / "recipes"


def load(name_or_path: str) -> Recipe:
    """Read a recipe by its bundled name or from a file. Raises RecipeError: where it errs and how to mend it."""
    path = Path(name_or_path)
    if name_or_path in bundled():
        data = (_folder() / f"{name_or_path}.toml").read_bytes()
    elif path.is_file():
        data = path.read_bytes()
    else:
        raise RecipeError(
            f"no recipe file {name_or_path}; bundled recipes: {', '.join(bundled())}{suggest(name_or_path, bundled())}"
        )
    try:
        return parse(tomllib.loads(data.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name_or_path} is not valid TOML: {error}") from None
    except RecipeError as error:
        raise RecipeError(f"recipe {name_or_path}: {error}") from None


def parse(table: Mapping[str, Any]) -> Recipe:
    """Check a recipe table's shape. Whether its steps exist is checked where they are resolved."""
    _known(table, ("format", "name", "sources", "tokenizer", "heldout", "mixture", "shards"), "the recipe")
    if table.get("format") != FORMAT:
        raise RecipeError(f"format must be {FORMAT}, not {table.get('format')!r}")
    if not isinstance(table.get("name"), str):
        raise RecipeError("name is missing")
    sources = table.get("sources")
    if not isinstance(sources, dict) or not sources:
        raise RecipeError("there is no [sources.NAME] with steps")
    for name in sources:
        # It names a folder of the run, and stands before the ":" of a document's id.
        if not re.fullmatch(SOURCE_NAME, name) or name in RESERVED:
            raise RecipeError(
                f"[sources.{name}]: a source's name is of a-z, 0-9, _ and -, begins with a letter "
                f"and is not {' or '.join(RESERVED)}"
            )
    heldout = section(HeldoutSpec, table.get("heldout", {}), "[heldout]")
    if not 0 <= heldout.fraction < 1:
        raise RecipeError("[heldout]: fraction lies in [0, 1)")
    tokenizer = section(TokenizerSpec, table.get("tokenizer", {}), "[tokenizer]")
    shards = section(ShardSpec, table.get("shards", {}), "[shards]")
    if min(tokenizer.vocabulary, tokenizer.sample_bytes, shards.tokens) < 1:
        raise RecipeError("[tokenizer] and [shards]: sizes are at least 1")
    mixture = section(Mixture, table.get("mixture", {}), "[mixture]")
    for name in {**(mixture.weights or {}), **(mixture.epochs or {})}:
        if name not in sources:
            raise RecipeError(
                f"[mixture]: there is no source {name!r}{suggest(name, sources)}; there are {', '.join(sources)}"
            )
    return Recipe(
        name=table["name"],
        sources={name: _steps(name, source) for name, source in sorted(sources.items())},
        tokenizer=tokenizer,
        heldout=heldout,
        mixture=mixture,
        shards=shards,
    )


def _steps(source: str, table: Any) -> tuple[StepSpec, ...]:
    where = f"[sources.{source}]"
    if not isinstance(table, dict):
        raise RecipeError(f"{where} is not a table")
    _known(table, ("steps",), where)
    rows = table.get("steps", [])
    if not isinstance(rows, list):
        raise RecipeError(f"{where}: steps is a list, not {rows!r}")
    specs = []
    for number, row in enumerate(rows, 1):
        kinds = [key for key in row if key in KINDS] if isinstance(row, dict) else []
        if len(kinds) != 1 or not isinstance(row[kinds[0]], str):
            raise RecipeError(
                f'{where} step {number}: a step names one of {", ".join(KINDS)}, as in {{ filter = "length" }}'
            )
        specs.append(StepSpec(kinds[0], row[kinds[0]], {k: _plain(v) for k, v in row.items() if k != kinds[0]}))
    if not specs or specs[0].kind != "extract" or any(spec.kind == "extract" for spec in specs[1:]):
        raise RecipeError(f"{where}: steps begin with one extract, and have no other")
    return tuple(specs)


def _plain(value: Any) -> Any:
    return tuple(_plain(v) for v in value) if isinstance(value, list) else value


def section(cls: type[T], options: Any, where: str) -> T:
    """Build a dataclass from a table, strictly: unknown and missing options and wrong types are RecipeErrors."""
    if not isinstance(options, Mapping):
        raise RecipeError(f"{where} is not a table")
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    _known(options, known, where)
    hints = get_type_hints(cls)
    typed = {}
    for name, value in options.items():
        try:
            typed[name] = _typed(_plain(value), hints[name])
        except (TypeError, OverflowError):
            raise RecipeError(f"{where}: {name} is {_wording(hints[name])}, not {value!r}") from None
    missing = [
        n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING and n not in options
    ]
    if missing:
        raise RecipeError(f"{where}: {', '.join(missing)} is missing")
    try:
        return cls(**typed)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from None


def _typed(value: Any, hint: Any) -> Any:
    """The value as the annotation has it (a whole number is a number too). Raises TypeError if it is not of it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _typed(value, inner[0])  # `X | None`: TOML has no null
    if origin is tuple and isinstance(value, tuple):
        return tuple(_typed(item, inner[0]) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _typed(item, inner[1]) for key, item in value.items()}
    if hint is float and type(value) in (int, float) and not math.isnan(value):
        return float(value)
    if origin in (tuple, Mapping) or (hint in _WORDS and type(value) is not hint) or hint is float:
        raise TypeError
    return value


_WORDS = {int: "whole number", float: "number", str: "string", bool: "boolean"}


def _wording(hint: Any) -> str:
    """What belongs where `_typed` raised."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _wording(inner[0])
    if origin in (tuple, Mapping):
        return f"a {'list' if origin is tuple else 'table'} of {_WORDS.get(inner[origin is Mapping], 'value')}s"
    return f"a {_WORDS.get(hint, 'value')}"


def _known(table: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    names = list(names)
    for key in table:
        if key not in names:
            raise RecipeError(
                f"{where} has no option {key!r}{suggest(key, names)}; it has {', '.join(names) or 'none'}"
            )


def suggest(word: str, names: Iterable[str]) -> str:
    """A did-you-mean for the end of a sentence, or nothing."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
