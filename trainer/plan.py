"""What a training run takes: operations, memory, layout, days.

    python -m trainer.plan --preset 7b --gpus 64 --tokens 1.4e12

Every line says how far it can be trusted: exact (arithmetic on shapes), counted (model.py run on tensors without data,
trainer/memory.py), estimated (a rule of thumb, given in docs/trainer.md), assumed (a speed nobody measured on your
machines: --mfu states it, --bench takes what trainer.bench measured). Nothing is computed on a GPU.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from trainer import config as configuration
from trainer.config import Config, ModelConfig
from trainer.flops import (
    GOAL,
    GPU,
    GPUS,
    block_matrices,
    ceiling,
    gpu_called,
    hardware,
    head_matrix,
    mfu,
    training,
    with_vocabulary,
)
from trainer.loss import CHUNK
from trainer.memory import deep_step, state
from trainer.model import parameters
from trainer.parallel import World, check

# What runs on more than one node of eight publish, by palm: Llama 3 405B 43 %, Megatron 41 to 47, LLaMA 65B 49.5.
_NODE, _MANY_NODES = 8, 0.45
_RESERVE, _RESERVE_CPU = 2e9, 0.5e9  # CUDA, NCCL and libraries; Python and torch
_SLACK = 0.05  # what an allocator loses between its blocks
_GROUP = 64  # the most GPUs to shard over before replicating (HSDP), if smaller groups will do
_FULL_BATCH = 65_536  # tokens in a microbatch beyond which a GPU gains nothing


@dataclass(frozen=True, slots=True)
class Layout:
    """`shards` GPUs share one copy of the weights (FSDP), `replicas` such groups, each made of `tensor`-wide slices."""

    shards: int
    replicas: int
    tensor: int
    microbatch: int
    recompute: str

    def settings(self, compiled: bool) -> str:
        """What tells trainer.pretrain to use it."""
        values: dict[str, object] = {"run.microbatch": self.microbatch, "run.recompute": self.recompute}
        values |= {"run.compile": str(compiled).lower()}
        if self.shards * self.replicas * self.tensor > 1:
            values |= {"parallel.replicate": self.replicas, "parallel.shard": self.shards}
            values |= {"parallel.tensor": self.tensor}
        return " ".join(f"--set {key}={value}" for key, value in values.items())

    def __str__(self) -> str:
        kind = f"FSDP over {self.shards}" if self.replicas == 1 else f"HSDP: {self.replicas} replicas of {self.shards}"
        kind = "one copy" if self.shards == 1 else kind
        tensor = f", tensor and sequence parallel over {self.tensor}" if self.tensor > 1 else ""
        again = "no recomputation" if self.recompute == "none" else f"{self.recompute} recomputation"
        return f"{kind}{tensor}, microbatches of {self.microbatch}, {again}"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on the fullest GPU. The first three are exact, `activations` is counted, the other two are estimated."""

    weights: int
    gradients: int
    moments: int
    activations: int
    communication: int
    reserve: int

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


def memory(config: ModelConfig, layout: Layout, gpu_bytes: float, compiled: bool = True, fp32: bool = False) -> Memory:
    """What a layout needs. With `tensor` above 1, activations are estimated too: a slice, but for gathered inputs.

    `fp32`: as off CUDA, where nothing is bf16 and the libraries take less.
    """
    sharded = layout.shards > 1 or layout.tensor > 1
    held = state(config, layout.shards, layout.tensor)
    activations = deep_step(config, layout.microbatch, layout.recompute, sharded, compiled, fp32).peak
    if layout.tensor > 1:
        # gathered whole are the inputs of attention and feed-forward, kept but where all is computed again, and the
        # output layer, whose gradient in fp32 is whole too
        layers = 1 if layout.recompute == "full" else config.layers
        whole = 2 * 2 * config.dim * layers * layout.microbatch * config.context + 4 * head_matrix(config)
        whole = min(activations, whole)
        activations = whole + (activations - whole) // layout.tensor
    communication = 0
    if sharded:
        # two blocks gathered in bf16, one's gradients in bf16 and fp32, and embedding and output layer gathered in bf16
        outer = head_matrix(config) * (1 if config.tied else 2)
        communication = ((2 * 2 + 2 + 4) * block_matrices(config) + 2 * outer) // layout.tensor
        communication += 2 * head_matrix(config) if layout.tensor > 1 else 0
    reserve = int((_RESERVE_CPU if fp32 else _RESERVE) + _SLACK * gpu_bytes)
    return Memory(held.weights, held.gradients, held.moments, activations, communication * (1 + fp32), reserve)


def _candidates(config: Config, gpus: int) -> Iterator[Layout]:
    """Layouts with one sequence a microbatch, the preferred first: no recomputation and no tensor parallelism until
    nothing else fits; recomputation before tensor parallelism; groups of 64 before larger ones, and those before
    smaller ones, which remain for models whose widths 64 does not divide."""
    order = [(recompute, 1) for recompute in configuration.RECOMPUTE]
    order += [(recompute, tensor) for tensor in (2, 4, 8) for recompute in ("selective", "full")]
    for recompute, tensor in order:
        data = gpus // tensor
        if data * tensor != gpus or config.run.sequences % data:
            continue  # trainer.pretrain would not take it, and of millions of GPUs the divisors are not sought
        sizes = [size for size in range(1, data + 1) if data % size == 0]
        group = min(data, _GROUP)
        for shards in sorted(sizes, key=lambda size: (size < group, size if size >= group else -size)):
            layout = Layout(shards, data // shards, tensor, 1, recompute)
            if _divides(config, layout):
                yield layout


def _divides(config: Config, layout: Layout) -> bool:
    """Whether trainer.pretrain would take the layout."""
    try:
        check(config, World(torch.device("cpu"), shape=(layout.replicas, layout.shards, layout.tensor)))
    except UserError:
        return False
    return True


def choose(config: Config, gpus: int, gpu_bytes: float, compiled: bool = True, fp32: bool = False) -> Layout:
    """The layout to use: the first candidate that fits, with the largest microbatch that fits it.

    Raises UserError, with a number of GPUs that would do where there is one, if none fits.
    """
    layout = _first(config, gpus, gpu_bytes, compiled, fp32)
    if layout is None:
        if not any(_candidates(config, gpus)):
            raise UserError(
                f"run.sequences = {config.run.sequences}, or the model's heads and widths, cannot be divided among"
                f" {gpus} GPUs: choose --gpus that divides it, or --set run.sequences=N"
            )
        more = next((n for k in range(1, 13) if _first(config, n := gpus * 2**k, gpu_bytes, compiled, fp32)), None)
        advice = f"{more} would do" if more else "no number of them will do"
        raise UserError(f"no layout fits {gpus} x {gpu_bytes / 1e9:.0f} GB; {advice}")
    own = config.run.sequences // (layout.shards * layout.replicas)
    larger = layout
    while own % (2 * larger.microbatch) == 0 and 2 * larger.microbatch * config.model.context <= _FULL_BATCH:
        larger = dataclasses.replace(larger, microbatch=2 * larger.microbatch)
        if memory(config.model, larger, gpu_bytes, compiled, fp32).total > gpu_bytes:
            break
        layout = larger
    return layout


def _first(config: Config, gpus: int, gpu_bytes: float, compiled: bool, fp32: bool) -> Layout | None:
    for layout in _candidates(config, gpus):
        held = state(config.model, layout.shards, layout.tensor).total
        if held < gpu_bytes and memory(config.model, layout, gpu_bytes, compiled, fp32).total <= gpu_bytes:
            return layout
    return None


def refuse(config: Config, world: World, room: float) -> None:
    """Raise UserError, with what would fit, if a process with `room` bytes cannot hold its share of the training."""
    check(config, world)
    model, run, fp32 = config.model, config.run, world.device.type != "cuda"
    replicas, shards, tensor = world.shape
    microbatch = min(run.microbatch, run.sequences // world.readers)
    held = state(model, shards, tensor).total
    # far more than any block keeps of its tokens, and than the loss makes: who fits twice over need not be counted
    crude = 8 * microbatch * model.context * model.layers * (8 * model.dim + 4 * model.ffn) + 24 * head_matrix(model)
    if held + crude + 16 * CHUNK * (model.vocabulary or 0) < room / 2 - _RESERVE:
        return
    who = f"{parameters(model):,} parameters"
    if held > room:
        more = next((2**k for k in range(1, 13) if state(model, shards * 2**k, tensor).total < room), None)
        advice = f"{more * world.size} processes could hold them" if more else "no number of processes could hold them"
        raise UserError(
            f"{who} take {held / 1e9:.1f} GB for weights, gradients and moments alone on each of {world}, which has"
            f" {room / 1e9:.1f}: {advice}; choose a smaller preset, or --ignore-memory"
        )
    needs = memory(model, Layout(shards, replicas, tensor, microbatch, run.recompute), room, run.compile, fp32)
    if needs.total <= room:
        return
    try:
        other = choose(config, world.size, room, run.compile, fp32)
        use = memory(model, other, room, run.compile, fp32).total / 1e9
        advice = f"{other.settings(run.compile)} would fit, with {use:.1f}"
    except UserError as error:
        advice = str(error)
    raise UserError(
        f"{who} and microbatches of {microbatch} x {model.context} tokens need"
        f" {needs.total / 1e9:.1f} GB on each of {world}, which has {room / 1e9:.1f} ({held / 1e9:.1f} for weights,"
        f" gradients and moments, {needs.activations / 1e9:.1f} for activations): {advice}; or --ignore-memory"
    )


def assumed_mfu(
    config: ModelConfig, gpu: GPU, gpus: int, recompute: str, bench: dict[str, Any] | None = None
) -> tuple[float, str]:
    """MFU by palm, and where it is from.

    What `bench` found of this very model; or, of the ceiling, what it found of the nearest width, without it 93 %. For
    several nodes no more than 45 %.
    """
    share, peak, source = GOAL, None, "assumed: 93% of the roofline's ceiling, which rests on estimates; see --bench"
    if bench:
        peak = bench["environment"]["measured_peak_tflops"] * 1e12
        near = min(bench["rows"], key=lambda row: abs(math.log(row["model"]["dim"] / config.dim)))
        share, source = (
            near["of_ceiling"],
            f"calibrated: {near['preset']} reached {near['of_ceiling']:.0%} of its ceiling",
        )
        for row in bench["rows"]:
            if (row["model"], row["recompute"]) == (dataclasses.asdict(config), recompute):
                share, source = row["of_ceiling"], "measured: on this very model"
    found = share * mfu(ceiling(config, gpu, recompute, peak=peak), training(config).palm, gpu.flops)
    if gpus > _NODE and found > _MANY_NODES:
        return _MANY_NODES, f"assumed: what several nodes publish; of one GPU {found:.1%}, {source}"
    return found, f"{source}; of one GPU, communication not counted"


def measured(path: Path, gpu: GPU) -> dict[str, Any]:
    """What trainer.bench wrote, with the rows of our own step alone. Raises InputError if it is of another GPU."""
    try:
        found = json.loads(path.read_text())
        rows = [row for row in found["rows"] if row["who"] == "ours" and row["of_ceiling"]]
        name, _ = found["environment"]["gpu"], found["environment"]["measured_peak_tflops"]
        for row in rows:
            _ = row["preset"], row["recompute"], row["model"]["dim"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--bench {path} is not what trainer.bench --json writes: {error!r}") from None
    if not rows or gpu_called(name) is not gpu:
        raise InputError(f"--bench {path} was measured on {name or 'a CPU'}, which is not {gpu.name}")
    return {**found, "rows": rows}


def plan(
    config: Config,
    gpus: int,
    gpu: GPU,
    tokens: int,
    gpu_bytes: float,
    share: float | None,
    compiled: bool = True,
    bench: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole plan, as --json prints it. Bytes, seconds and operations; `share` is an MFU by palm, or None."""
    model, run = config.model, config.run
    layout = choose(config, gpus, gpu_bytes, compiled)
    needs = memory(model, layout, gpu_bytes, compiled)
    cost, count = training(model), parameters(model)
    share, source = (share, "stated: --mfu") if share else assumed_mfu(model, gpu, gpus, layout.recompute, bench)
    rate = share * gpu.flops / cost.palm
    seconds = tokens / (rate * gpus)
    batch = run.sequences * model.context
    outer = head_matrix(model) * (1 if model.tied else 2)
    return {
        "parameters": count,
        "parameters_without_embeddings": count - outer,
        "flops_per_token": {"matmuls": cost.matmuls, "causal": cost.causal, "palm": cost.palm},
        "hardware_flops_per_token": hardware(model, layout.recompute),
        "flops": cost.causal * tokens,
        "flops_palm": cost.palm * tokens,
        "tokens": tokens,
        "tokens_per_parameter": tokens / count,
        "batch_tokens": batch,
        "steps": -(-tokens // batch),
        "preset_steps": run.steps,
        "gpus": gpus,
        "gpu": gpu.name,
        "layout": dataclasses.asdict(layout),
        "accumulation": run.sequences // (layout.shards * layout.replicas * layout.microbatch),
        "memory": {**dataclasses.asdict(needs), "total": needs.total, "available": int(gpu_bytes)},
        "mfu_palm": share,
        "mfu_causal": share * cost.causal / cost.palm,
        "mfu_from": source,
        "tokens_per_second_per_gpu": rate,
        "tokens_per_second": rate * gpus,
        "days": seconds / 86400,
        "gpu_hours": seconds * gpus / 3600,
        "layout_in_words": str(layout),
        "settings": layout.settings(compiled),
        "compiled": compiled,
    }


def describe(found: dict[str, Any]) -> str:
    """The plan for reading, a fact per line with how it is known."""
    gb = {name: f"{value / 1e9:7.2f} GB" for name, value in found["memory"].items()}
    cost, tensor = found["flops_per_token"], found["layout"]["tensor"] > 1
    kind, _, source = found["mfu_from"].partition(": ")
    rows = [
        (f"{found['parameters']:,} parameters, {found['parameters_without_embeddings']:,} in the blocks", "exact"),
        (f"{cost['causal'] / 1e9:.2f} G operations per token (palm: {cost['palm'] / 1e9:.2f} G)", "exact"),
        (f"{found['flops']:.3g} operations in all (palm: {found['flops_palm']:.3g})", "exact"),
        (f"{found['tokens_per_parameter']:.1f} tokens per parameter; 20 is about Chinchilla's", "exact"),
        (f"{found['steps']:,} steps of {found['batch_tokens']:,} tokens{_schedule(found)}", "exact"),
        (found["layout_in_words"] + f", {found['accumulation']} to a step", "chosen"),
        (f"  {found['settings']}", ""),
        (f"{gb['weights']} weights, fp32", "exact"),
        (f"{gb['gradients']} gradients, fp32", "exact"),
        (f"{gb['moments']} AdamW's moments, fp32", "exact"),
        (f"{gb['activations']} activations and the loss at the worst moment", _activations(found, tensor)),
        (f"{gb['communication']} gathered weights and gradients on their way", "estimated"),
        (f"{gb['reserve']} CUDA, libraries, fragmentation", "estimated"),
        (f"{gb['total']} of {found['memory']['available'] / 1e9:.0f} GB on each GPU", ""),
        (f"MFU {found['mfu_causal']:.1%} causal, {found['mfu_palm']:.1%} palm: {source}", kind),
        (f"{found['tokens_per_second_per_gpu']:,.0f} tokens/s per GPU, {found['tokens_per_second']:,.0f} in all", kind),
        (f"{found['days']:.1f} days, {found['gpu_hours']:,.0f} GPU hours", kind),
    ]
    return "\n".join(f"{kind:10}  {text}" for text, kind in rows)


def _activations(found: dict[str, Any], tensor: bool) -> str:
    compiled = found["compiled"] and found["layout"]["recompute"] == "none"
    return "estimated" if tensor or compiled else "counted"


def _schedule(found: dict[str, Any]) -> str:
    if found["steps"] == found["preset_steps"]:
        return ", as in the preset"
    return f"; the preset has {found['preset_steps']:,}, so --set run.steps={found['steps']}"


def amount(text: str) -> int:
    """1.4e12, 1400000000000 or 1.4T, as an integer. Raises UserError for anything else, and for nothing."""
    units = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    try:
        number = float(text[:-1]) * units[text[-1].upper()] if text[-1:].upper() in units else float(text)
        if not 1 <= number < 1e18:
            raise ValueError
        return round(number)
    except ValueError:
        raise UserError(f"--tokens {text}: write a number above 0, as in 1.4e12 or 1.4T") from None


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.plan", description="What a training run takes.")
    parser.add_argument("--preset", required=True, help="a preset, or the end of its name: 7b is llama1-7b")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--tokens", help="1.4e12 or 1.4T; left out, what the preset's schedule has")
    parser.add_argument("--gpu", choices=sorted(GPUS), default="h100", help="default h100 (SXM)")
    parser.add_argument("--memory", type=float, metavar="GB", help="of one GPU, 10^9 bytes; default: the data sheet's")
    parser.add_argument("--mfu", type=float, metavar="SHARE", help="by palm, as most papers state it: 0.45")
    parser.add_argument("--bench", type=Path, metavar="FILE", help="what trainer.bench --json wrote on such a GPU")
    parser.add_argument("--eager", action="store_true", help="blocks are not compiled, and save more")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override the preset")
    args = parser.parse_args(argv)
    preset, others = configuration.named(args.preset)
    config = with_vocabulary(configuration.load(preset, args.set))
    for flag, value, good in (
        ("--gpus", args.gpus, args.gpus >= 1),
        ("--memory", args.memory, args.memory is None or 0 < args.memory < math.inf),
        ("--mfu", args.mfu, args.mfu is None or 0 < args.mfu <= 1),
    ):
        if not good:
            raise UserError(f"{flag} {value}: it must be above 0{' and at most 1' if flag == '--mfu' else ''}")
    gpu = GPUS[args.gpu]
    scheduled = config.run.steps * config.run.sequences * config.model.context
    tokens = scheduled if args.tokens is None else amount(args.tokens)
    gpu_bytes = gpu.memory if args.memory is None else args.memory * 1e9
    if not args.json:
        also = f" (the name also fits {', '.join(others)})" if others else ""
        where = f"{args.gpus} x {gpu.name}, {gpu_bytes / 1e9:.0f} GB"
        print(f"{preset}{also}, {tokens:,} tokens on {where}", flush=True)
    bench = measured(args.bench, gpu) if args.bench else None
    found = plan(config, args.gpus, gpu, tokens, gpu_bytes, args.mfu, not args.eager, bench)
    print(json.dumps({"preset": preset, **found}, indent=2) if args.json else describe(found))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
