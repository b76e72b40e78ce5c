"""How fast a training step is, beside others' on the same model, in the same run.

    python -m trainer.bench 125m 350m 1.1b --peer all --json bench.json
    python -m trainer.bench 7b --layers 4 --peer all

What is timed is `trainer.step.Learner.learn`, the very step that trainer.pretrain repeats, on one batch of random
tokens; of a run it leaves out reading the data and writing the log. Peers: "plain", our model in the step that small
trainers have, all logits at once, torch's choice of attention, compiled whole; "transformers", LlamaForCausalLM with
its own loss, and the same compiled. All have the same weights, tokens, precision and fused AdamW, and take turns: some
steps each, while what the others hold waits on the host.

A row each: median step time with its tenth and ninetieth percentile, tokens/s, MFU in both conventions, the share of a
matrix product's speed measured just before, the share of the roofline's ceiling (the goal is 93 %, the first milestone
80 %), memory, and how many times ours is as fast, with the least and the most of the turns. The loss of the last step
must lie below the first's. `--json` is what `trainer.plan --bench` reads.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.util
import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from trainer import config as configuration
from trainer.bench_peers import MAKERS, Runner
from trainer.config import Config
from trainer.device import DEVICES, capacity, pick, synchronize
from trainer.flops import (
    GOAL,
    MILESTONE,
    VOCABULARY,
    ceiling,
    gpu_called,
    measured_peak,
    mfu,
    training,
    with_vocabulary,
)
from trainer.memory import state
from trainer.model import parameters

_RATE = ["optimiser.lr=1e-4", "schedule.warmup=0", "schedule.final=1.0"]  # small and constant
Show = Callable[[str], None]


def batch(config: Config, accumulate: int) -> np.ndarray:
    """The same random rows for each microbatch of a step, so that their number changes no loss: [B, T + 1]."""
    shape = config.run.microbatch, config.model.context + 1
    rows = np.random.default_rng(0).integers(config.model.vocabulary or VOCABULARY, size=shape)
    return np.tile(rows, (accumulate, 1))


def timed(runner: Runner, rows: np.ndarray, steps: int, device: torch.device) -> None:
    """A turn of so many steps, after one that is not timed. On CUDA the times lie between events on the stream."""
    runner.losses.append(runner.step(rows))
    synchronize(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    marks = [_mark(device)]
    for _ in range(steps):
        runner.losses.append(runner.step(rows))
        marks.append(_mark(device))
    synchronize(device)
    pairs = list(itertools.pairwise(marks))
    if device.type == "cuda":
        runner.memory = max(runner.memory or 0, torch.cuda.max_memory_allocated(device))
        runner.times.append([a.elapsed_time(b) / 1e3 for a, b in pairs])
    else:
        runner.times.append([b - a for a, b in pairs])


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        synchronize(device)
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def halving(start: Callable[[int], Runner], microbatch: int, show: Show) -> Runner:
    """`start(microbatch)`, with half of it again and again while the device's memory is too small."""
    while True:
        try:
            runner = start(microbatch)
            runner.microbatch = microbatch
            return runner
        except torch.OutOfMemoryError:
            if microbatch == 1:
                raise UserError("not even one sequence fits the memory: --recompute full, or --context N") from None
        _empty()
        show(f"out of memory with microbatches of {microbatch}: trying {microbatch // 2}")
        microbatch //= 2


def _empty() -> None:
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def measure(
    preset: str, config: Config, names: Sequence[str], device: torch.device, args: argparse.Namespace
) -> dict[str, Runner]:
    """Runners by name, after their turns on one preset."""
    runners: dict[str, Runner] = {}
    rest = torch.device("cpu") if len(names) > 1 else device  # where they wait

    def show(line: str) -> None:
        print(f"{preset}, {line}", flush=True)

    def at(microbatch: int) -> Config:
        return dataclasses.replace(config, run=dataclasses.replace(config.run, microbatch=microbatch))

    def start(microbatch: int) -> Runner:
        runner = MAKERS[name](at(microbatch), device, compiled(name, device, args))
        for _ in range(args.warmup + 1):  # the first of them makes the moments
            runner.losses.append(runner.step(batch(at(microbatch), args.accumulate)))
        synchronize(device)
        return runner

    for name in names:
        show(f"{name}: warming up")
        runners[name] = halving(start, config.run.microbatch, show)
        runners[name].move(rest)
        _empty()
    turns = min(args.turns, args.steps)
    for turn in range(turns):
        for name, runner in runners.items():
            show(f"{name}: turn {turn + 1} of {turns}")
            runner.move(device)
            timed(runner, batch(at(runner.microbatch), args.accumulate), args.steps // turns, device)
            runner.move(rest)
            _empty()
    return runners


def compiled(name: str, device: torch.device, args: argparse.Namespace) -> bool:
    if name.startswith("transformers"):
        return name.endswith("compiled")
    return device.type == "cuda" if args.compile is None else bool(args.compile)


def row(preset: str, name: str, runner: Runner, config: Config, peak: float, facts: dict[str, Any]) -> dict[str, Any]:
    """One measurement. Times in milliseconds, memory in bytes, MFU of the data sheet's peak where the GPU is known."""
    times, model = [seconds for turn in runner.times for seconds in turn], config.model
    rate = runner.microbatch * facts["accumulate"] * model.context / statistics.median(times)
    cost, gpu = training(model), gpu_called(facts["gpu"]) if facts["gpu"] else None
    cuts = statistics.quantiles(times, n=10, method="inclusive") if len(times) > 1 else times * 9
    return {
        "preset": preset,
        "who": name,
        "model": dataclasses.asdict(model),
        "parameters": parameters(model),
        "microbatch": runner.microbatch,
        "accumulate": facts["accumulate"],
        "compile": facts["compile"],
        "recompute": config.run.recompute,
        "median_ms": statistics.median(times) * 1e3,
        "p10_ms": cuts[0] * 1e3,
        "p90_ms": cuts[-1] * 1e3,
        "tokens_per_second": rate,
        "mfu_causal": mfu(rate, cost.causal, gpu.flops) if gpu else None,
        "mfu_palm": mfu(rate, cost.palm, gpu.flops) if gpu else None,
        "of_measured_peak": mfu(rate, cost.causal, peak),
        "of_ceiling": rate / ceiling(model, gpu, config.run.recompute, peak=peak) if gpu else None,
        "peak_memory": runner.memory,
        "first_loss": float(runner.losses[0]),
        "last_loss": float(runner.losses[-1]),
    }


def environment(device: torch.device, peak: float) -> dict[str, Any]:
    """What a figure depends on besides the code: machine, versions, clocks and power limit where they can be asked."""
    known: dict[str, Any] = {
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "measured_peak_tflops": float(f"{peak / 1e12:.4g}"),
    }
    if device.type != "cuda":
        return {**known, "machine": platform.machine(), "threads": torch.get_num_threads()}
    known |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    fields = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
        known |= dict(zip(fields, said[device.index or 0].split(", "), strict=True))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        pass  # a container without it: the figures stand without their clocks
    return known


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For reading, a line per row. MFU is of the data sheet's peak, `peak` of the measured one, causal both."""
    lines = [["preset", "who", "B x T", "recompute", "compile", "step ms (p10-p90)", "tokens/s", "MFU causal/palm"]]
    lines[0] += ["peak", "ceiling", "memory", "loss", "ours is faster"]
    for row in rows:
        share, times = row["of_ceiling"], row["ours_is_faster"]
        reached = "" if share is None or share < MILESTONE else ", goal" if share >= GOAL else ", milestone"
        size = f"{row['microbatch']} x {row['model']['context']}"
        lines.append(
            [
                row["preset"],
                row["who"],
                size + (f" x {row['accumulate']}" if row["accumulate"] > 1 else ""),
                row["recompute"],
                "yes" if row["compile"] else "no",
                f"{row['median_ms']:.1f} ({row['p10_ms']:.1f}-{row['p90_ms']:.1f})",
                f"{row['tokens_per_second']:,.0f}",
                "-" if row["mfu_causal"] is None else f"{row['mfu_causal']:.1%} / {row['mfu_palm']:.1%}",
                f"{row['of_measured_peak']:.1%}",
                "-" if share is None else f"{share:.0%}{reached}",
                "-" if row["peak_memory"] is None else f"{row['peak_memory'] / 1e9:.1f} GB",
                f"{row['first_loss']:.3f} to {row['last_loss']:.3f}",
                "" if times is None else f"{times[1]:.2f} x ({times[0]:.2f}-{times[2]:.2f})",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in cells)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.bench", description="How fast a training step is.")
    parser.add_argument("presets", nargs="+", metavar="PRESET", help="one or more: 125m, 1.1b, 7b, a .toml file")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--steps", type=int, default=20, help="timed")
    parser.add_argument("--turns", type=int, default=4, help="in how many turns")
    parser.add_argument("--warmup", type=int, default=5, help="steps before that, compilation among them")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches to a step")
    parser.add_argument("--microbatch", type=int, help="sequences; halved while they do not fit")
    parser.add_argument("--context", type=int, help="tokens of a sequence")
    parser.add_argument("--layers", type=int, help="so many of the model's: 7b's width on one GPU")
    parser.add_argument("--recompute", choices=configuration.RECOMPUTE)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: on CUDA only")
    peers = [name for name in MAKERS if name != "ours"]
    parser.add_argument("--peer", action="append", choices=[*peers, "all"], default=[], help="time this too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write environment and rows here")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override the presets")
    args = parser.parse_args(argv)
    for flag, least in (("steps", 1), ("turns", 1), ("accumulate", 1), ("warmup", 0)):
        if getattr(args, flag) < least:
            raise UserError(f"--{flag} {getattr(args, flag)}: it must be {least} or more")
    short = {"run.microbatch": args.microbatch, "model.context": args.context, "model.layers": args.layers}
    short["run.recompute"] = args.recompute
    override = [*_RATE, *args.set, *(f"{key}={value}" for key, value in short.items() if value is not None)]
    named = {preset: configuration.load(configuration.named(preset)[0], override) for preset in args.presets}
    configs = {preset: with_vocabulary(config) for preset, config in named.items()}
    names = ["ours", *(peers if "all" in args.peer else args.peer)]
    # what would fail after minutes of measuring fails now
    if any(config.run.document_mask for config in configs.values()):
        raise UserError("run.document_mask: random tokens have no documents, so it is not measured: leave it out")
    if any(name.startswith("transformers") for name in names):
        if importlib.util.find_spec("transformers") is None:
            raise UserError("--peer transformers: it is not installed; pip install transformers")
        if any(config.run.recompute == "selective" for config in configs.values()):
            raise UserError("--peer transformers has no selective recomputation: take --recompute none or full")
    if args.json and (args.json.is_dir() or not args.json.parent.is_dir()):
        raise InputError(f"--json {args.json}: it is a directory, or is to lie in one that is not there")
    device = pick(args.device)
    for preset, config in configs.items():
        # on a CPU those who wait do so in the same memory; activations come on top
        needs = state(config.model).total * (len(names) if device.type == "cpu" else 1)
        if needs > (room := capacity(device)):
            raise UserError(
                f"{preset} takes {needs / 1e9:.1f} GB for weights, gradients and moments alone, and {device} has"
                f" {room / 1e9:.1f}: --layers N, fewer peers, or a smaller preset"
            )
    peak = measured_peak(device)
    known = environment(device, peak)
    print(", ".join(f"{key} {value}" for key, value in known.items() if value is not None), flush=True)
    rows: list[dict[str, Any]] = []
    for preset, config in configs.items():
        runners = measure(preset, config, names, device, args)
        for name, runner in runners.items():
            facts = {"gpu": known["gpu"], "accumulate": args.accumulate, "compile": compiled(name, device, args)}
            ratios = sorted(a / b for a, b in zip(runners["ours"].rate, runner.rate, strict=True))
            faster = None if name == "ours" else [ratios[0], statistics.median(ratios), ratios[-1]]
            rows.append(row(preset, name, runner, config, peak, facts) | {"ours_is_faster": faster})
        if args.json:
            try:
                args.json.write_text(json.dumps({"environment": known, "rows": rows}, indent=2) + "\n")
            except OSError as error:
                raise InputError(f"--json {args.json}: {error.strerror}") from None
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
