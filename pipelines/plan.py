"""From a recipe to stages: the stretches of steps between deduplications. A key says when a stage can be reused."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError, RecipeError
from curation.recipe import Recipe, StepSpec, section, suggest
from models.artifact import artifact_identity, check_there, open_artifact
from pipelines import inputs
from pipelines.code_identity import code_identity

if TYPE_CHECKING:
    from pipelines.earlier import Earlier

    FindEarlier = Callable[["Stage", str], tuple[Earlier, ...]]

PACKAGES = {
    "extract": "curation.extractors",
    "filter": "curation.filters",
    "edit": "curation.edits",
    "score": "models",
    "dedup": "curation.dedup",
}
# What a step's class must have one set of; the others are called.
_LOADED = ("artifacts", "load")
_SHAPES = {
    "score": (*_LOADED, "writes"),
    "dedup": ("hashes", "units", "apply", "unit", "keep"),
}
# Version of what the stages do around the steps. Raise it when the same recipe would give other bytes.
RULES = 1
ARCHIVE_READER = "curation.records"


@dataclass(frozen=True, slots=True)
class BoundStep:
    """A recipe line with its object: a frozen dataclass that can be pickled and sent to a worker."""

    kind: str
    label: str
    step: Any

    @property
    def compares_texts(self) -> bool:
        """Whether a deduplication's hashes only name candidates, whose texts decide (pipelines/overlap_dedup.py)."""
        return bool(getattr(self.step, "compares_texts", False))


@dataclass(frozen=True, slots=True)
class Stage:
    """One Beam pipeline over the parts of one source.

    kind "documents" reads input parts and begins with the extractor; "claims" sends hashes around and writes which of
    them lost; "survivors" applies those verdicts and goes on with the next steps.
    """

    source: str
    name: str
    kind: str
    key: str = ""
    steps: tuple[BoundStep, ...] = ()
    upstream: str = ""  # name of the stage whose kept documents are read
    verdicts: str = ""  # name of the stage whose verdicts are applied
    applies: BoundStep | None = None  # the deduplication that is applied at the start
    claims: BoundStep | None = None  # the deduplication whose claims are written at the end
    claims_of: str = ""  # its identity, as JSON
    earlier: tuple[Earlier, ...] = ()  # claims of earlier runs that win over ours
    models: tuple[tuple[str, str], ...] = ()  # name and identity of every artifact: a worker must have the same


def resolve(spec: StepSpec, where: str) -> BoundStep:
    """The step object of a recipe line. Raises RecipeError for a name or an option that does not exist."""
    if ":" in spec.name:
        module_name, _, class_name = spec.name.partition(":")
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", spec.name):
            raise RecipeError(f'{where}: a step of your own is named "package.module:Class", not {spec.name!r}')
    else:
        if not re.fullmatch("[a-z][a-z0-9_]*", spec.name):
            raise RecipeError(f"{where}: {spec.name!r} is not the name of a step")
        module_name = f"{PACKAGES[spec.kind]}.{spec.name}"
        class_name = "".join(word.capitalize() for word in spec.name.split("_"))
        if find_spec(module_name) is None:
            raise RecipeError(
                f"{where}: there is no {spec.kind} {spec.name!r}{suggest(spec.name, available(spec.kind))}"
            )
    try:
        cls = getattr(importlib.import_module(module_name), class_name, None)
    except ModuleNotFoundError as error:
        raise RecipeError(f"{where}: {spec.name} needs the module {error.name}, which is not installed") from None
    if not (isinstance(cls, type) and is_dataclass(cls) and _has_shape(cls, spec.kind)):
        raise RecipeError(
            f"{where}: {module_name} has no dataclass {class_name} that is a step, so it is not a {spec.kind}"
        )
    return BoundStep(spec.kind, spec.name, section(cls, spec.options, f"{where} ({spec.kind} {spec.name})"))


def _has_shape(cls: type, kind: str) -> bool:
    shapes = (_SHAPES[kind],) if kind in _SHAPES else (("__call__",), _LOADED)
    return any(set(shape) <= set(dir(cls)) for shape in shapes)


def reader_of(extract: BoundStep) -> str:
    """The module that reads an extractor's inputs (curation/sources/given.py); "" for archives of the web."""
    return str(getattr(extract.step, "reader", ""))


def input_kinds(recipe: Recipe) -> inputs.Kinds:
    """How the inputs of each source are taken, as its extractor has it."""
    kinds = {}
    for source, specs in recipe.sources.items():
        if reader := reader_of(resolve(specs[0], f"recipe {recipe.name}, [sources.{source}] step 1")):
            folders = getattr(importlib.import_module(reader), "FOLDERS", False)
            kinds[source] = inputs.FOLDER if folders else inputs.WHOLE
    return kinds


def available(kind: str) -> list[str]:
    return [module.name for module in iter_modules(importlib.import_module(PACKAGES[kind]).__path__)]


def compile_source(
    recipe: Recipe,
    source: str,
    files: str,
    models: Path,
    until: str | None = None,
    earlier: FindEarlier = lambda stage, claims_of: (),
) -> list[Stage]:
    """The stages of one source, in order, the last one being `until`; none if it has no such stage.

    `files` is the identity of its input files; `models` holds the artifacts; `earlier` finds the claims of earlier
    runs for a deduplication, given its identity. Raises RecipeError, and ModelError for an artifact that one of these
    stages needs.
    """
    if source not in recipe.sources:
        raise RecipeError(f"recipe {recipe.name} has no [sources.{source}]; it has {', '.join(recipe.sources)}")
    bound = [
        resolve(spec, f"recipe {recipe.name}, [sources.{source}] step {number}")
        for number, spec in enumerate(recipe.sources[source], 1)
    ]
    _check_reads(recipe.name, source, bound)
    drafts = _drafts(source, *_segments(bound))
    names = [stage.name for stage in drafts]
    if until is not None and until not in names:
        return []
    last = names.index(until) + 1 if until else None
    check_there(models, (name for stage in drafts[:last] for name in _artifacts(stage)))
    history: list[Any] = [RULES, code_identity(reader_of(bound[0]) or ARCHIVE_READER), source, files]
    stages = []
    for stage in drafts[:last]:
        decides = [stage.applies] if stage.kind == "claims" and stage.applies else stage.steps
        history.append([stage.kind, *[_identity(step, models) for step in decides]])
        if stage.kind == "claims" and stage.applies:
            stage = replace(stage, earlier=earlier(stage, _as_json(_identity(stage.applies, models))))
            if stage.earlier:
                history.append(["against", *[other.key for other in stage.earlier]])
        if stage.claims:
            stage = replace(stage, claims_of=_as_json(_identity(stage.claims, models)))
        models_used = tuple((name, artifact_identity(models, name)) for name in _artifacts(stage))
        stages.append(replace(stage, models=models_used, key=hashlib.sha256(_as_json(history).encode()).hexdigest()))
    return stages


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _drafts(source: str, segments: Sequence[Sequence[BoundStep]], dedups: Sequence[BoundStep]) -> list[Stage]:
    """The stages without their keys."""
    following = [*dedups, None]
    stages = [Stage(source, "documents", "documents", steps=tuple(segments[0]), claims=following[0])]
    for number, (dedup, segment) in enumerate(zip(dedups, segments[1:], strict=True)):
        before = stages[-1].name
        taken = any(stage.name == dedup.label for stage in stages)
        verdicts = f"{dedup.label}-{number + 1}" if taken else dedup.label
        stages.append(Stage(source, verdicts, "claims", upstream=before, applies=dedup))
        stages.append(
            Stage(
                source,
                f"after-{verdicts}",
                "survivors",
                steps=tuple(segment),
                upstream=before,
                verdicts=verdicts,
                applies=dedup,
                claims=following[number + 1],
            )
        )
    return stages


def _segments(bound: Sequence[BoundStep]) -> tuple[list[list[BoundStep]], list[BoundStep]]:
    segments: list[list[BoundStep]] = [[]]
    dedups = []
    for step in bound:
        if step.kind == "dedup":
            dedups.append(step)
            segments.append([])
        else:
            segments[-1].append(step)
    return segments, dedups


def _check_reads(recipe: str, source: str, bound: Sequence[BoundStep]) -> None:
    scored: set[str] = set()
    for number, step in enumerate(bound, 1):
        for field in getattr(step.step, "reads", ()):
            if field not in scored:
                raise RecipeError(
                    f"recipe {recipe}, [sources.{source}] step {number} ({step.label}): "
                    f"reads {field}, which no step before it scores"
                )
        scored.update(getattr(step.step, "writes", ()))


def _artifacts(stage: Stage) -> list[str]:
    return [name for step in stage.steps for name in artifacts_of(step)]


def artifacts_of(step: BoundStep) -> tuple[str, ...]:
    """Names of the artifacts that a step needs."""
    return tuple(step.step.artifacts()) if hasattr(step.step, "artifacts") else ()


def verified(artifacts: Sequence[tuple[str, str]], models: Path) -> dict[str, Path]:
    """Directories of these artifacts (name, identity), their files verified to be those the stage key was made with."""
    paths = {name: open_artifact(models, name) for name, _ in artifacts}
    for name, identity in artifacts:
        if artifact_identity(models, name) != identity:
            raise ModelError(
                f"{paths[name]} is not the model that this run was planned with: give all machines the same files"
            )
    return paths


def check_models(stage: Stage, models: Path) -> None:
    """Verify a stage's artifacts, and let its steps say whether they go together. Raises ModelError."""
    paths = verified(stage.models, models)
    for step in stage.steps:
        if hasattr(step.step, "check"):
            step.step.check(paths)


def _identity(step: BoundStep, models: Path) -> dict[str, Any]:
    """What a step's output depends on: options with their defaults, code, libraries, model files."""
    cls = type(step.step)
    return {
        "step": f"{cls.__module__}:{cls.__qualname__}",
        "options": asdict(step.step),
        "code": code_identity(cls.__module__),
        "libraries": {name: importlib.metadata.version(name) for name in getattr(cls, "libraries", ())},
        "models": {name: artifact_identity(models, name) for name in artifacts_of(step)},
    }


def canonical(recipe: Recipe) -> Mapping[str, Any]:
    """The recipe as plain values, every default spelled out: what its hash covers."""
    table = asdict(recipe)
    table["sources"] = {
        source: [{spec.kind: spec.name, **asdict(resolve(spec, source).step)} for spec in specs]
        for source, specs in recipe.sources.items()
    }
    return table


def recipe_hash(recipe: Recipe) -> str:
    return hashlib.sha256(_as_json(canonical(recipe)).encode()).hexdigest()
