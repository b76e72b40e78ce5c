from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.dedup.lines import Lines
from curation.errors import ModelError, RecipeError
from curation.filters.gopher_quality import GopherQuality
from curation.filters.length import Length
from curation.recipe import Recipe, StepSpec, bundled, load, parse
from models.artifact import write_artifact
from pipelines import code_identity
from pipelines.plan import PACKAGES, Stage, available, canonical, compile_source, recipe_hash, resolve, verified

EXTRACT = {"extract": "wikitext"}
LENGTH = {"filter": "length"}
LINES = {"dedup": "lines"}
NEAR = {"dedup": "near"}
LANGUAGE = {"score": "language_id"}
CLEAR = {"filter": "threshold", "field": "language_score", "min": 0.5}


def recipe(*steps: dict[str, Any], **changes: Any) -> Recipe:
    return parse({"format": 1, "name": "mine", "sources": {"web": {"steps": list(steps)}}, **changes})


def stages(*steps: dict[str, Any], inputs: str = "files", models: Path = Path("nowhere")) -> list[Stage]:
    return compile_source(recipe(*steps), "web", inputs, models)


def fails(call: Callable[[], object], *parts: str) -> None:
    with pytest.raises(RecipeError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "language_id", {"m": b"1"}, kind="language_id", format="x", licence="x", origin="x")
    return tmp_path


@pytest.fixture
def own_module(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Writes a module `own_steps` that recipes can name, anew each time."""
    sys.path.insert(0, str(tmp_path))

    def write(source: str) -> None:
        name = tmp_path / "own_steps.py"
        name.write_text(source)
        sys.modules.pop("own_steps", None)
        for cached in tmp_path.glob("__pycache__/own_steps*"):
            cached.unlink()

    yield write
    sys.path.remove(str(tmp_path))
    sys.modules.pop("own_steps", None)


OWN = """
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Short:
    most: int = 5

    def __call__(self, document):
        return document

@dataclass(frozen=True)
class NoStep:
    most: int = 5

class NoDataclass:
    def __call__(self, document):
        return document

number = 3
"""


def test_a_recipe_line_becomes_its_object() -> None:
    bound = resolve(StepSpec("filter", "gopher_quality", {"min_words": 7}), "here")
    assert (bound.kind, bound.label, bound.step) == ("filter", "gopher_quality", GopherQuality(min_words=7))
    assert resolve(StepSpec("dedup", "lines", {"semantics": "ccnet"}), "here").step == Lines(semantics="ccnet")


@pytest.mark.parametrize("name", bundled())
def test_every_step_of_every_bundled_recipe_resolves(name: str) -> None:
    for source, specs in load(name).sources.items():
        for spec in specs:
            bound = resolve(spec, source)
            assert pickle.loads(pickle.dumps(bound)) == bound


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_recipe_has_a_hash(name: str) -> None:
    assert recipe_hash(load(name)) == recipe_hash(load(name))
    json.dumps(canonical(load(name)))


@pytest.mark.parametrize(
    ("kind", "name", "parts"),
    [
        ("filter", "lenght", ["here: there is no filter 'lenght'", "did you mean 'length'?"]),
        ("filter", "goffer_quality", ["did you mean 'gopher_quality'?"]),
        ("filter", "zzz", ["there is no filter 'zzz'"]),
        ("extract", "wikitxt", ["there is no extract", "did you mean 'wikitext'?"]),
        ("score", "language", ["there is no score", "did you mean 'language_id'?"]),
        ("dedup", "line", ["there is no dedup", "did you mean 'lines'?"]),
        ("edit", "length", ["there is no edit 'length'"]),
        ("filter", "lines", ["there is no filter 'lines'"]),
        ("dedup", "verdict", ["is not a dedup"]),  # a module beside the steps, but no step
        ("score", "artifact", ["is not a score"]),
        ("score", "tokenizer", ["is not a score"]),
        ("filter", "Length", ["'Length' is not the name of a step"]),
        ("filter", "../length", ["is not the name of a step"]),
        ("filter", "", ["is not the name of a step"]),
        ("filter", "no_such_module:Class", ["needs the module no_such_module"]),
        ("filter", "no_such_package.module:Class", ["needs the module no_such_package"]),
        ("filter", ":Class", ['"package.module:Class"']),
        ("filter", "module:", ['"package.module:Class"']),
        ("filter", ".filters.length:Length", ['"package.module:Class"']),
        ("filter", "curation.filters.length:Length:more", ['"package.module:Class"']),
    ],
)
def test_a_step_that_is_not_there(kind: str, name: str, parts: list[str]) -> None:
    fails(lambda: resolve(StepSpec(kind, name, {}), "here"), "here", *parts)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        (StepSpec("filter", "length", {"min_charcters": 3}), ["did you mean 'min_characters'?", "(filter length)"]),
        (StepSpec("filter", "length", {"min_characters": "3"}), ["min_characters is a whole number, not '3'"]),
        (StepSpec("filter", "length", {"min_characters": 3.0}), ["min_characters is a whole number, not 3.0"]),
        (StepSpec("filter", "threshold", {"min": 0.5}), ["field is missing"]),
        (StepSpec("filter", "threshold", {"field": "perplexitie", "min": 0.5}), ["'perplexitie'"]),
        (StepSpec("filter", "one_of", {"values": "en"}), ["values is a list of strings, not 'en'"]),
        (StepSpec("filter", "one_of", {"values": ("en", 3)}), ["values is a list of strings"]),
        (StepSpec("dedup", "lines", {"semantics": "ccnett"}), ["semantics must be"]),
        (StepSpec("dedup", "near", {"bands": 0}), ["at least 1"]),
        (StepSpec("score", "language_id", {"characters": "all"}), ["characters is a whole number"]),
        (StepSpec("score", "perplexity", {"languages": "en"}), ["languages is a list of strings"]),
    ],
)
def test_an_option_that_is_not_there(spec: StepSpec, parts: list[str]) -> None:
    fails(lambda: resolve(spec, "here"), *parts)


def test_every_step_of_ours_is_found_by_its_file() -> None:
    assert {"gopher_quality", "length", "one_of", "threshold"} <= set(available("filter"))
    assert {kind for kind in PACKAGES if "near" in available(kind)} == {"dedup"}


def test_a_step_of_the_users_own(own_module: Callable[[str], None]) -> None:
    own_module(OWN)
    spec = StepSpec("filter", "own_steps:Short", {"most": 3})
    bound = resolve(spec, "here")
    assert bound.step.most == 3
    assert bound.label == "own_steps:Short"
    for name in ("Shorter", "NoStep", "NoDataclass", "number"):
        fails(lambda name=name: resolve(StepSpec("filter", f"own_steps:{name}", {}), "here"), name, "is not a filter")
    fails(lambda: resolve(StepSpec("filter", "own_steps:Short", {"mots": 3}), "here"), "did you mean 'most'?")
    fails(lambda: resolve(StepSpec("dedup", "own_steps:Short", {}), "here"), "is not a dedup")
    fails(lambda: resolve(StepSpec("score", "own_steps:Short", {}), "here"), "is not a score")


def test_the_source_of_a_users_step_is_part_of_the_key(own_module: Callable[[str], None]) -> None:
    def key() -> str:
        code_identity.code_identity.cache_clear()
        code_identity._source.cache_clear()
        return stages(EXTRACT, {"filter": "own_steps:Short"})[0].key

    own_module(OWN)
    first = key()
    own_module(OWN)
    assert key() == first
    own_module(OWN.replace("return document", "return  document"))
    assert key() != first


def test_stages_are_the_stretches_between_deduplications() -> None:
    compiled = stages(EXTRACT, LENGTH, LINES, LENGTH, NEAR, LINES, LENGTH)
    assert [(s.name, s.kind, s.upstream, s.verdicts) for s in compiled] == [
        ("documents", "documents", "", ""),
        ("lines", "claims", "documents", ""),
        ("after-lines", "survivors", "documents", "lines"),
        ("near", "claims", "after-lines", ""),
        ("after-near", "survivors", "after-lines", "near"),
        ("lines-3", "claims", "after-near", ""),
        ("after-lines-3", "survivors", "after-near", "lines-3"),
    ]
    assert [[step.label for step in stage.steps] for stage in compiled] == [
        ["wikitext", "length"], [], ["length"], [], [], [], ["length"],
    ]  # fmt: skip
    assert [s.applies.label if s.applies else "" for s in compiled] == [
        "",
        "lines",
        "lines",
        "near",
        "near",
        "lines",
        "lines",
    ]
    assert [s.claims.label if s.claims else "" for s in compiled] == ["lines", "", "near", "", "lines", "", ""]
    assert {s.source for s in compiled} == {"web"}
    assert len({s.key for s in compiled}) == len(compiled)
    assert pickle.loads(pickle.dumps(compiled)) == compiled


def test_without_a_deduplication_there_is_one_stage() -> None:
    (only,) = stages(EXTRACT)
    assert (only.name, only.claims, only.applies) == ("documents", None, None)


def keys(*steps: dict[str, Any], **given: Any) -> list[str]:
    return [stage.key for stage in stages(*steps, **given)]


def test_a_key_depends_on_what_comes_before_and_on_nothing_after() -> None:
    base = keys(EXTRACT, LENGTH, LINES, LENGTH, NEAR)
    assert keys(EXTRACT, LENGTH, LINES, LENGTH, NEAR) == base
    last = keys(EXTRACT, LENGTH, LINES, LENGTH, {**NEAR, "ngram": 4})
    assert [a == b for a, b in zip(base, last, strict=True)] == [True, True, True, False, False]
    middle = keys(EXTRACT, LENGTH, LINES, {**LENGTH, "min_characters": 301}, NEAR)
    assert [a == b for a, b in zip(base, middle, strict=True)] == [True, True, False, False, False]
    dedup = keys(EXTRACT, LENGTH, {**LINES, "group_files": 1}, LENGTH, NEAR)
    assert [a == b for a, b in zip(base, dedup, strict=True)] == [True, False, False, False, False]
    first = keys(EXTRACT, {**LENGTH, "min_characters": 301}, LINES, LENGTH, NEAR)
    assert not set(base) & set(first)
    assert not set(base) & set(keys(EXTRACT, LENGTH, LINES, LENGTH, NEAR, inputs="other files"))


def test_a_default_that_is_spelled_out_changes_nothing() -> None:
    assert keys(EXTRACT, LENGTH) == keys(EXTRACT, {**LENGTH, "min_characters": Length().min_characters})
    one, other = (recipe_hash(recipe(EXTRACT, {**CLEAR, "min": value})) for value in (1, 1.0))
    assert one == other


def test_the_order_of_steps_is_part_of_the_key() -> None:
    longer = {**LENGTH, "min_characters": 301}
    assert keys(EXTRACT, LENGTH, longer) != keys(EXTRACT, longer, LENGTH)
    # The same steps cut elsewhere are other stages.
    assert not set(keys(EXTRACT, LINES, LENGTH)[1:]) & set(keys(EXTRACT, LENGTH, LINES))


def test_the_models_files_are_part_of_the_key(models: Path) -> None:
    before = keys(EXTRACT, LANGUAGE, models=models)
    assert keys(EXTRACT, LANGUAGE, models=models) == before
    write_artifact(models / "language_id", {"m": b"2"}, kind="language_id", format="x", licence="x", origin="x")
    assert keys(EXTRACT, LANGUAGE, models=models) != before


def test_a_missing_model_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="language_id"):
        stages(EXTRACT, LANGUAGE, models=tmp_path)


def test_stages_up_to_one_need_the_models_of_no_later_one(tmp_path: Path) -> None:
    written = recipe(EXTRACT, LINES, LANGUAGE, LINES)
    whole = compile_source(recipe(EXTRACT, LINES, LENGTH, LINES), "web", "files", tmp_path)
    assert compile_source(written, "web", "files", tmp_path, until="lines") == whole[:2]
    assert compile_source(written, "web", "files", tmp_path, until="documents") == whole[:1]
    with pytest.raises(ModelError, match="language_id"):
        compile_source(written, "web", "files", tmp_path, until="after-lines")
    assert compile_source(written, "web", "files", tmp_path, until="near") == []


def test_a_stage_knows_its_models_and_refuses_others(models: Path) -> None:
    (stage,) = stages(EXTRACT, LENGTH, LANGUAGE, models=models)
    assert [name for name, _ in stage.models] == ["language_id"]
    assert verified(stage.models, models) == {"language_id": models / "language_id"}
    assert verified(stages(EXTRACT, LENGTH)[0].models, models) == {}
    write_artifact(models / "language_id", {"m": b"2"}, kind="language_id", format="x", licence="x", origin="x")
    with pytest.raises(ModelError, match="not the model that this run was planned with"):
        verified(stage.models, models)


def test_a_score_is_written_before_it_is_read(models: Path) -> None:
    assert stages(EXTRACT, LANGUAGE, CLEAR, models=models)
    assert stages(EXTRACT, LANGUAGE, LINES, CLEAR, models=models)  # scores outlive a deduplication
    with pytest.raises(RecipeError, match=r"step 2 \(perplexity\): reads language, which no step before it scores"):
        stages(EXTRACT, {"score": "perplexity"}, models=models)
    where = "recipe mine, [sources.web] step 2 (threshold): reads language_score, which no step before it scores"
    fails(lambda: stages(EXTRACT, CLEAR, LANGUAGE, models=models), where)
    fails(lambda: stages(EXTRACT, {"filter": "gopher_quality"}), "step 2 (gopher_quality): reads language")
    fails(lambda: stages(EXTRACT, {"filter": "one_of", "values": ["en"]}), "step 2 (one_of): reads language")


def test_errors_name_the_recipe_the_source_and_the_step() -> None:
    fails(
        lambda: stages(EXTRACT, {"filter": "lenght"}), "recipe mine, [sources.web] step 2: there is no filter 'lenght'"
    )
    fails(lambda: compile_source(recipe(EXTRACT), "wbe", "", Path()), "recipe mine has no [sources.wbe]; it has web")


def test_the_recipes_hash_covers_all_that_changes_bytes() -> None:
    base = recipe(EXTRACT, LENGTH)
    others = [
        recipe(EXTRACT, {**LENGTH, "min_characters": 301}),
        recipe(EXTRACT),
        recipe(EXTRACT, LENGTH, tokenizer={"vocabulary": 31_999}),
        recipe(EXTRACT, LENGTH, heldout={"fraction": 0.002}),
        recipe(EXTRACT, LENGTH, mixture={"epochs": {"web": 2.0}}),
        recipe(EXTRACT, LENGTH, shards={"tokens": 5}),
    ]
    assert len({recipe_hash(r) for r in [base, *others]}) == 1 + len(others)
    assert recipe_hash(recipe(EXTRACT, {**LENGTH, "min_characters": 300})) == recipe_hash(base)


def test_a_bundled_recipe_without_models_compiles(tmp_path):
    recipe = load("seven")
    for source in recipe.sources:
        assert compile_source(recipe, source, "files", tmp_path)
