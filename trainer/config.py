"""What a run is: five frozen dataclasses, read from a preset (TOML) and `--set section.key=value`, strictly.

Precedence: defaults here < preset file < command line. The resolved configuration is stored in every checkpoint.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from curation.errors import UserError

RECOMPUTE = ("none", "selective", "full")
PRESETS = Path(__file__).parent / "presets"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of a LLaMA. Sizes are counts of features, heads, layers and tokens."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    context: int  # tokens a training sequence feeds to the model: the T of the loader's windows of T + 1
    vocabulary: int | None = None  # None: that of the dataset's tokenizer
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_factor: float = 1.0  # Llama 3.1 stretches slow rotations by this; 1 leaves them alone
    rope_low: float = 1.0
    rope_high: float = 4.0
    rope_original: int = 8192
    tied: bool = False  # the output layer is the embedding matrix

    def __post_init__(self) -> None:
        _positive(self, "model")
        if self.dim % self.heads or self.heads % self.kv_heads or (self.dim // self.heads) % 2:
            raise UserError(
                f"model.dim = {self.dim}, heads = {self.heads}, kv_heads = {self.kv_heads}: heads must divide dim"
                " into an even head size, and kv_heads must divide heads"
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """AdamW as in LLaMA section 2.3; the paper does not state eps."""

    lr: float = 3e-4  # the peak
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # on matrices only
    clip: float = 1.0  # the largest norm of the gradient of all parameters together

    def __post_init__(self) -> None:
        _positive(self, "optimiser", or_zero=("weight_decay",))
        if not (self.beta1 < 1 and self.beta2 < 1):
            raise UserError(f"optimiser.beta1 = {self.beta1} and beta2 = {self.beta2} must both lie below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """Linear warm-up to the peak, then a cosine down to a fraction of it at the last step (LLaMA section 2.3)."""

    warmup: int = 2000  # steps
    final: float = 0.1  # fraction of the peak

    def __post_init__(self) -> None:
        _positive(self, "schedule", or_zero=("warmup", "final"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How long, in what batches, and how often to look and to save."""

    steps: int
    sequences: int  # per step, each of model.context tokens
    microbatch: int = 8  # sequences that go through the model at once; gradients add up to the same step
    seed: int = 0  # of the initial weights and of the order of the data
    print_every: int = 10  # steps
    evaluate_every: int = 1000
    evaluate_tokens: int = 1_000_000  # at most, per source, while training
    checkpoint_every: int = 1000
    checkpoint_async: bool = False  # training goes on while one is written; needs 12 bytes a parameter of host memory
    compile: bool = False  # torch.compile: faster on a GPU, minutes of waiting on a CPU
    recompute: str = "none"  # what the backward pass computes again to save memory: "none", "selective" or "full"
    document_mask: bool = False  # attention stays within a document and its positions begin anew (Llama 3, section 3.2)
    skip_z: float = (
        0.0  # an update whose loss or gradient lies so many deviations above the last 128 is left out; 0: none
    )

    def __post_init__(self) -> None:
        _positive(self, "run", or_zero=("seed", "skip_z"))
        if self.recompute not in RECOMPUTE:
            raise UserError(f"run.recompute = {self.recompute!r}: it is one of {', '.join(RECOMPUTE)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """How torchrun's processes divide the work: `replicate` x `shard` x `tensor` of them, and one without torchrun.

    The rows of a step are divided over replicate x shard: trainer/parallel.py.
    """

    replicate: int = 1  # copies of the model, each cut over the others: with shard, HSDP
    shard: int = -1  # pieces that weights, gradients and moments are cut into, FSDP; -1: as many as processes are left
    tensor: int = 1  # processes that share each matrix product and each row of tokens; within one machine

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value < 1 and not (item.name == "shard" and value == -1):
                raise UserError(f"parallel.{item.name} = {value}: it must be above 0")


# What may change when a run is continued: none of these alters which function is learned from which data.
FREE = (
    "run.microbatch",
    "run.print_every",
    "run.evaluate_every",
    "run.evaluate_tokens",
    "run.checkpoint_every",
    "run.checkpoint_async",
    "run.compile",
    "run.recompute",
    "parallel.replicate",
    "parallel.shard",
    "parallel.tensor",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    model: ModelConfig
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def presets() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def named(preset: str) -> tuple[str, list[str]]:
    """The preset that a name means, and what else it might have meant: "7b" is llama1-7b, and perhaps llama2-7b."""
    known = presets()
    if preset in known or preset.endswith(".toml"):
        return preset, []
    ends = [name for name in known if name.endswith(f"-{preset}")]
    return (ends[0], ends[1:]) if ends else (preset, [])


def load(preset: str, overrides: typing.Sequence[str] = ()) -> Config:
    """The configuration of a preset (a name, or the path of a .toml file) with `section.key=value` overrides.

    Raises UserError, with the nearest name that would have worked, for anything that is not understood.
    """
    path = Path(preset) if preset.endswith(".toml") else PRESETS / f"{preset}.toml"
    if not path.is_file():
        raise UserError(f"there is no preset {preset!r}{_near(preset, presets())}")
    try:
        table = tomllib.loads(path.read_text())
    except ValueError as error:  # TOML's, or UTF-8's
        raise UserError(f"{path} is not TOML: {error}") from None
    longest = table["model"].get("context") if isinstance(table.get("model"), dict) else None
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key) or not isinstance(table.setdefault(section, {}), dict):
            raise UserError(f"--set {override}: write section.key=value, as in --set run.steps=500")
        try:
            table[section][key] = tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            table[section][key] = text.strip()
    config = from_dict(table)
    if isinstance(longest, int) and longest < config.model.context:
        raise UserError(
            f"model.context = {config.model.context}: {preset} is made for sequences of at most {longest} tokens; for"
            " longer ones write a preset of your own, a .toml file, with a model.rope_theta to match"
        )
    return config


def from_dict(table: dict[str, Any]) -> Config:
    """The configuration in a table of tables. Raises UserError for a key unknown, missing or of the wrong type."""
    return _build(Config, table, "")


def changes(old: Config, new: Config, allowed: typing.Sequence[str] = ()) -> list[str]:
    """What differs between two configurations, apart from FREE and `allowed`, as lines to show.

    Raises UserError where `allowed` names what makes another model or another order of the data.
    """
    a, b = _flat(old), _flat(new)
    for key in allowed:
        if key not in a or key.startswith("model.") or key == "run.seed":
            raise UserError(f"--change {key}: it names a setting of [run], [optimiser] or [schedule], but not run.seed")
    return [f"{key} was {a[key]}, now {b[key]}" for key in a if a[key] != b[key] and key not in (*FREE, *allowed)]


def _flat(config: Config) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, table in config.to_dict().items() for key, value in table.items()}


def _build(cls: type[T], table: dict[str, Any], prefix: str) -> T:
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in hints:
            raise UserError(f"there is no setting {prefix}{key}{_near(key, list(hints), prefix)}")
    values = {}
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        name, kind = prefix + item.name, hints[item.name]
        if item.name in table:
            values[item.name] = _value(table[item.name], kind, name)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise UserError(f"{name} is not set")
    return cls(**values)


def _value(value: Any, kind: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UserError(f"{name} is a section of settings, not {value!r}")
        return _build(kind, value, f"{name}.")  # type: ignore[arg-type]
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(value) is int and float in allowed:
        return float(value)
    if type(value) not in allowed:
        raise UserError(f"{name} = {value!r}: it takes a value of type {allowed[0].__name__}")
    return value


def _near(name: str, known: list[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {prefix}{match[0]}?" if match else f"; there are {', '.join(known)}"


def _positive(section: Any, name: str, or_zero: tuple[str, ...] = ()) -> None:
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        limit = "0 or more" if item.name in or_zero else "above 0"
        if type(value) in (int, float) and not (0 < value < 2**63 or (value == 0 and item.name in or_zero)):
            raise UserError(f"{name}.{item.name} = {value}: it must be {limit}{', and below 2^63' * (value > 0)}")
