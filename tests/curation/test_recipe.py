from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from curation.errors import RecipeError
from curation.mixture import Mixture
from curation.recipe import HeldoutSpec, ShardSpec, StepSpec, TokenizerSpec, bundled, load, parse, section, suggest

MINIMAL: dict[str, Any] = {
    "format": 1,
    "name": "mine",
    "sources": {"web": {"steps": [{"extract": "wikitext"}, {"filter": "length", "min_characters": 200}]}},
}
SECTIONS = {"tokenizer": TokenizerSpec, "heldout": HeldoutSpec, "mixture": Mixture, "shards": ShardSpec}


def recipe(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(MINIMAL), **changes}


def with_steps(*steps: Any) -> dict[str, Any]:
    return recipe(sources={"web": {"steps": list(steps)}})


def fails(call: Callable[[], object], *parts: str) -> None:
    """A RecipeError in one line that holds each of the parts."""
    with pytest.raises(RecipeError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_minimal_recipe_has_the_defaults() -> None:
    read = parse(MINIMAL)
    assert read.name == "mine"
    assert read.sources == {
        "web": (StepSpec("extract", "wikitext", {}), StepSpec("filter", "length", {"min_characters": 200}))
    }
    assert (read.tokenizer, read.heldout, read.shards) == (TokenizerSpec(), HeldoutSpec(), ShardSpec())
    assert read.mixture == Mixture()


def test_every_option_is_read() -> None:
    read = parse(
        recipe(
            tokenizer={"vocabulary": 4096, "sample_bytes": 1},
            heldout={"fraction": 0.25},
            mixture={"weights": {"web": 3}, "tokens": 7, "seed": 5},
            shards={"tokens": 9},
        )
    )
    assert read.tokenizer == TokenizerSpec(vocabulary=4096, sample_bytes=1)
    assert read.heldout == HeldoutSpec(fraction=0.25)
    assert read.mixture == Mixture(weights={"web": 3.0}, tokens=7, seed=5)
    assert read.shards == ShardSpec(tokens=9)
    assert parse(recipe(mixture={"epochs": {"web": 1.5}})).mixture == Mixture(epochs={"web": 1.5})


def test_the_order_of_steps_is_kept_and_sources_are_sorted() -> None:
    extract, short, long = {"extract": "wikitext"}, {"filter": "length"}, {"filter": "length", "min_characters": 9}
    read = parse(recipe(sources={"b": {"steps": [extract, long, short]}, "a": {"steps": [extract]}}))
    assert list(read.sources) == ["a", "b"]
    assert [dict(step.options) for step in read.sources["b"]] == [{}, {"min_characters": 9}, {}]


def test_a_whole_number_is_a_number() -> None:
    """1 and 1.0 say the same, so they give the same recipe, to the byte of its hash."""
    one, other = (parse(recipe(mixture={"epochs": {"web": value}})).mixture for value in (1, 1.0))
    assert repr(one) == repr(other)


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        (recipe(sorces={}), ["'sorces'", "did you mean 'sources'?"]),
        (recipe(mixtrue={}), ["'mixtrue'", "did you mean 'mixture'?"]),
        (recipe(format=2), ["format must be 1, not 2"]),
        ({key: value for key, value in MINIMAL.items() if key != "format"}, ["format must be 1, not None"]),
        ({key: value for key, value in MINIMAL.items() if key != "name"}, ["name is missing"]),
        (recipe(name=3), ["name is missing"]),
        (recipe(sources={}), ["[sources.NAME]"]),
        (recipe(sources=["web"]), ["[sources.NAME]"]),
        (recipe(sources={"web": 3}), ["[sources.web] is not a table"]),
        (recipe(sources={"web": {"step": []}}), ["[sources.web]", "did you mean 'steps'?"]),
        (recipe(sources={"web": {}}), ["[sources.web]", "begin with one extract"]),
        (recipe(sources={"web": {"steps": 3}}), ["[sources.web]: steps is a list"]),
        (recipe(sources={"web": {"steps": "extract"}}), ["[sources.web]: steps is a list"]),
        (recipe(sources={"a:b": MINIMAL["sources"]["web"]}), ["[sources.a:b]", "name"]),
        (recipe(sources={"../up": MINIMAL["sources"]["web"]}), ["[sources.../up]", "name"]),
        (recipe(sources={"shards": MINIMAL["sources"]["web"]}), ["[sources.shards]", "is not shards"]),
        (with_steps("wikitext"), ["[sources.web] step 1", "{ filter = "]),
        (with_steps({"extract": "wikitext"}, {"filtre": "length"}), ["[sources.web] step 2", "filter"]),
        (with_steps({"extract": "wikitext"}, {"filter": "length", "edit": "x"}), ["step 2"]),
        (with_steps({"extract": 3}), ["step 1"]),
        (with_steps({"filter": "length"}), ["begin with one extract"]),
        (with_steps({"extract": "wikitext"}, {"extract": "wikitext"}), ["have no other"]),
        (recipe(mixture={"epochs": {"wbe": 1.0}}), ["[mixture]", "'wbe'", "did you mean 'web'?"]),
        (recipe(mixture={"weights": {"wiki": 1.0}, "tokens": 5}), ["[mixture]", "'wiki'"]),
        (recipe(mixture={"weights": {"web": 1.0}, "tokens": 5, "epochs": {"web": 1.0}}), ["not both"]),
        (recipe(mixture={"weights": {"web": 1.0}}), ["weights and tokens go together"]),
        (recipe(mixture={"tokens": 5}), ["weights and tokens go together"]),
        (recipe(mixture={"weights": 3, "tokens": 5}), ["[mixture]: weights is a table of numbers, not 3"]),
        (recipe(mixture={"epochs": {"web": "2"}}), ["[mixture]: epochs is a table of numbers"]),
        (recipe(mixture={"epochs": {"web": True}}), ["[mixture]: epochs is a table of numbers"]),
        (recipe(mixture={"epochs": {"web": float("nan")}}), ["[mixture]: epochs is a table of numbers"]),
        (recipe(mixture={"epochs": {"web": 10**400}}), ["[mixture]: epochs is a table of numbers"]),
        (recipe(heldout={"fraction": 1.0}), ["[heldout]", "[0, 1)"]),
        (recipe(heldout={"fraction": -0.1}), ["[heldout]", "[0, 1)"]),
        (recipe(heldout={"fraction": float("nan")}), ["[heldout]: fraction is a number"]),
        (recipe(tokenizer={"vocabulary": 0}), ["at least 1"]),
        (recipe(tokenizer={"sample_bytes": 0}), ["at least 1"]),
        (recipe(shards={"tokens": 0}), ["at least 1"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(table: Mapping[str, Any], parts: list[str]) -> None:
    fails(lambda: parse(table), *parts)


def test_the_smallest_sizes_pass() -> None:
    table = recipe(tokenizer={"vocabulary": 1, "sample_bytes": 1}, shards={"tokens": 1}, heldout={"fraction": 0})
    assert parse(table).heldout.fraction == 0.0


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("value", [3, "x", [], True])
def test_a_section_is_a_table(name: str, value: Any) -> None:
    fails(lambda: parse(recipe(**{name: value})), f"[{name}] is not a table")


@pytest.mark.parametrize(("name", "option"), [(name, f.name) for name, cls in SECTIONS.items() for f in fields(cls)])
def test_every_section_is_strict(name: str, option: str) -> None:
    fails(lambda: parse(recipe(**{name: {option + "s_": 1}})), f"[{name}]", f"did you mean '{option}'?")
    for value in ("x", 2 if option == "near" else True, [], [1.0], float("nan"), {"web": "x"}):
        fails(lambda value=value: parse(recipe(**{name: {option: value}})), f"[{name}]: {option} is a ")


@dataclass(frozen=True, kw_only=True)
class Options:
    must: str
    flag: bool = False
    share: float = 0.5
    count: int = 1
    names: tuple[str, ...] = ("en",)
    cut: int | None = None
    table: Mapping[str, float] | None = None


def test_options_of_each_type() -> None:
    given = {"must": "a", "flag": True, "share": 1, "count": 2, "names": ["de", "fr"], "cut": 3, "table": {"x": 1}}
    built = section(Options, given, "here")
    assert built == Options(must="a", flag=True, share=1.0, count=2, names=("de", "fr"), cut=3, table={"x": 1.0})
    assert type(built.share) is float
    with pytest.raises(FrozenInstanceError):
        built.count = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "here: must is missing"),
        ({"must": 3}, "here: must is a string, not 3"),
        ({"must": "a", "flag": 1}, "here: flag is a boolean, not 1"),
        ({"must": "a", "share": "1"}, "here: share is a number, not '1'"),
        ({"must": "a", "share": True}, "here: share is a number, not True"),
        ({"must": "a", "count": 1.0}, "here: count is a whole number, not 1.0"),
        ({"must": "a", "count": True}, "here: count is a whole number, not True"),
        ({"must": "a", "names": "en"}, "here: names is a list of strings, not 'en'"),
        ({"must": "a", "names": ["en", 3]}, "here: names is a list of strings, not ['en', 3]"),
        ({"must": "a", "cut": "x"}, "here: cut is a whole number, not 'x'"),
        ({"must": "a", "table": {"x": "y"}}, "here: table is a table of numbers, not {'x': 'y'}"),
    ],
)
def test_options_are_typed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        section(Options, options, "here")


def test_an_unknown_option_is_named_with_what_there_is() -> None:
    fails(
        lambda: section(Options, {"must": "a", "shar": 1}, "here"), "'shar' (did you mean 'share'?); it has must, flag"
    )


def test_suggest_is_silent_when_nothing_is_near() -> None:
    assert suggest("lenght", ["length", "threshold"]) == " (did you mean 'length'?)"
    assert suggest("zzz", ["length"]) == ""


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_recipe_loads(name: str) -> None:
    assert load(name).name == name


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('format = 1\nname = "é"\n[sources.web]\nsteps = [{ extract = "wikitext" }]\n', encoding="utf-8")
    assert load(str(path)).name == "é"


def test_a_missing_recipe_is_answered_with_those_there_are() -> None:
    fails(lambda: load("tinny"), "tinny", "did you mean 'tiny'?", ", ".join(bundled()))
    fails(lambda: load("."), "no recipe file")


@pytest.mark.parametrize("content", [b"format = ", b"\xff\xfe", b"\0", b"format = 1\nformat = 1\n", b"format = 1"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    fails(lambda: load(str(path)), str(path))


def test_every_option_of_every_section_has_a_default() -> None:
    assert all(f.default is not MISSING for cls in SECTIONS.values() for f in fields(cls))
