"""How fast a training step is: forward, loss, backward, clipping and fused AdamW, on random tokens.

    python -m trainer.bench 125m 350m tinyllama-1.1b --peer transformers --json bench.json

A row per preset: median step time with its tenth and ninetieth percentile, tokens/s, MFU in both conventions, the share
of a matrix product's speed measured just before, memory, and the loss of the first and last step, which must fall: the
same batch is learned again and again. `--peer transformers` times LlamaForCausalLM with its own loss on the same
weights, tokens, precision and optimiser, in the same process.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from trainer import config as configuration
from trainer import hf
from trainer.attention import preferred_kernels
from trainer.config import Config
from trainer.device import DEVICES, autocast, pick
from trainer.flops import VOCABULARY, gpu_called, measured_peak, mfu, synchronize, training
from trainer.model import Llama, build, compile_blocks, parameters
from trainer.optim import adamw

_RATE = 1e-4  # small and constant: there is no warm-up here
Loss = Callable[[Tensor], Tensor]  # windows [B, T + 1] in, mean loss out
Show = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement. Times in milliseconds, memory in bytes, MFU of the data sheet's peak where the GPU is known."""

    preset: str
    who: str
    parameters: int
    microbatch: int
    context: int
    accumulate: int
    compile: bool
    recompute: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    tokens_per_second: float
    mfu_causal: float | None
    mfu_palm: float | None
    of_measured_peak: float
    peak_memory: int | None
    first_loss: float
    last_loss: float


def our_loss(model: Llama) -> Loss:
    """The step's forward half: all that has to change here when the model's does."""

    def loss(windows: Tensor) -> Tensor:
        total: Tensor = model(windows[:, :-1], windows[:, 1:])[0]
        return total / (windows.shape[0] * (windows.shape[1] - 1))

    return loss


def ours(config: Config, device: torch.device, compiled: bool) -> tuple[nn.Module, Loss]:
    model = build(config.model, device)
    fill(model)
    model.set_recompute(config.run.recompute)
    if compiled:
        compile_blocks(model)
    return model, our_loss(model)


def transformers_peer(config: Config, device: torch.device, compiled: bool) -> tuple[nn.Module, Loss]:
    """LlamaForCausalLM with our weights, SDPA attention and its own loss, compiled whole, as its Trainer does.

    Its recomputation, where asked for, is its own too: of whole layers. It has no "selective".
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    described = hf.config_json(config.model, 1, 2)
    with torch.device(device):
        peer = LlamaForCausalLM(LlamaConfig(**described, attn_implementation="sdpa", use_cache=False)).float()
    model = build(config.model, device)
    fill(model)
    peer.load_state_dict(hf.state_dict(model.state_dict()), strict=not config.model.tied)
    del model
    peer.train()
    if config.run.recompute == "full":
        peer.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if compiled:
        peer.compile(dynamic=False)

    def loss(windows: Tensor) -> Tensor:
        out: Tensor = peer(
            input_ids=windows[:, :-1], labels=windows[:, :-1], shift_labels=windows[:, 1:].contiguous()
        ).loss
        return out

    return peer, loss


PEERS = {"transformers": transformers_peer}


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Random weights, made on the device, since `initialise` makes them on the CPU, a minute's work for 7B."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            parameter.normal_(0.0, 0.02, generator=generator)


def timed_steps(
    model: nn.Module, loss: Loss, config: Config, device: torch.device, steps: int, warmup: int, accumulate: int
) -> tuple[list[float], float, float]:
    """Whole training steps: their times in seconds after the warm-up, and the losses of the first and the last of all.

    On CUDA the times lie between events on the stream; the host waits for none of them.
    """
    shape, vocabulary = config.model, config.model.vocabulary or VOCABULARY
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(vocabulary, (config.run.microbatch, shape.context + 1), generator=generator).to(device)
    optimiser = adamw(model, dataclasses.replace(config.optimiser, lr=_RATE))
    losses, marks, cuda = [], [], device.type == "cuda"
    for step in range(warmup + steps):
        if step == warmup:
            synchronize(device)
            if cuda:
                torch.cuda.reset_peak_memory_stats(device)
            marks.append(_mark(device))
        for _ in range(accumulate):
            with autocast(device):
                mean = loss(rows) / accumulate
            mean.backward()
        losses.append(mean.detach() * accumulate)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip)
        optimiser.step()
        optimiser.zero_grad()
        if step >= warmup:
            marks.append(_mark(device))
    synchronize(device)
    between = list(itertools.pairwise(marks))
    times = [a.elapsed_time(b) / 1e3 for a, b in between] if cuda else [b - a for a, b in between]
    return times, losses[0].item(), losses[-1].item()


def _mark(device: torch.device) -> Any:
    if device.type == "cuda":
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
    synchronize(device)
    return time.perf_counter()


def halving(run: Callable[[int], Row], microbatch: int, show: Show) -> Row:
    """`run(microbatch)`, with half of it again and again while the device's memory is too small."""
    while True:
        try:
            return run(microbatch)
        except torch.OutOfMemoryError:
            if microbatch == 1:
                raise UserError("not even one sequence fits the memory: --recompute full, or --context N") from None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        show(f"out of memory with microbatches of {microbatch}: trying {microbatch // 2}")
        microbatch //= 2


def measure(
    preset: str, who: str, config: Config, device: torch.device, peak: float, args: argparse.Namespace, show: Show
) -> Row:
    """Time one model; `who` is "ours" or a key of PEERS, `peak` what `measured_peak` found."""
    compiled = device.type == "cuda" if args.compile is None else args.compile
    make = ours if who == "ours" else PEERS[who]

    def run(microbatch: int) -> Row:
        own = dataclasses.replace(config, run=dataclasses.replace(config.run, microbatch=microbatch))
        with preferred_kernels(device):
            model, loss = make(own, device, compiled)
            times, first, last = timed_steps(model, loss, own, device, args.steps, args.warmup, args.accumulate)
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        tokens = microbatch * own.model.context * args.accumulate
        rate, cost = tokens / statistics.median(times), training(own.model)
        gpu = gpu_called(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        cuts = statistics.quantiles(times, n=10, method="inclusive") if len(times) > 1 else times * 9
        return Row(
            preset=preset,
            who=who,
            parameters=parameters(own.model),
            microbatch=microbatch,
            context=own.model.context,
            accumulate=args.accumulate,
            compile=compiled,
            recompute=own.run.recompute,
            median_ms=statistics.median(times) * 1e3,
            p10_ms=cuts[0] * 1e3,
            p90_ms=cuts[-1] * 1e3,
            tokens_per_second=rate,
            mfu_causal=mfu(rate, cost.causal, gpu.flops) if gpu else None,
            mfu_palm=mfu(rate, cost.palm, gpu.flops) if gpu else None,
            of_measured_peak=mfu(rate, cost.causal, peak),
            peak_memory=memory,
            first_loss=first,
            last_loss=last,
        )

    row = halving(run, config.run.microbatch, show)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return row


def environment(device: torch.device, peak: float) -> dict[str, Any]:
    """What a figure depends on besides the code: machine, versions, clocks and power limit where they can be asked."""
    known: dict[str, Any] = {
        "device": str(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "measured_peak_tflops": float(f"{peak / 1e12:.4g}"),
    }
    if device.type != "cuda":
        return {**known, "machine": platform.machine(), "threads": torch.get_num_threads()}
    known |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    known["cudnn"] = torch.backends.cudnn.version()
    fields = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
        known |= dict(zip(fields, said[device.index or 0].split(", "), strict=True))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        pass  # a container without it: the figures stand without their clocks
    return known


def table(rows: Sequence[Row]) -> str:
    """For reading, a line per row. MFU is of the data sheet's peak, `peak` of the measured one, causal both."""
    head = ["preset", "who", "B x T", "recompute", "compile", "step ms (p10-p90)", "tokens/s"]
    head += ["MFU causal/palm", "peak", "memory", "loss"]
    lines = [head]
    for row in rows:
        both = "-" if row.mfu_causal is None else f"{row.mfu_causal:.1%} / {row.mfu_palm:.1%}"
        lines.append(
            [
                row.preset,
                row.who,
                f"{row.microbatch} x {row.context}" + (f" x {row.accumulate}" if row.accumulate > 1 else ""),
                row.recompute,
                "yes" if row.compile else "no",
                f"{row.median_ms:.1f} ({row.p10_ms:.1f}-{row.p90_ms:.1f})",
                f"{row.tokens_per_second:,.0f}",
                both,
                f"{row.of_measured_peak:.1%}",
                "-" if row.peak_memory is None else f"{row.peak_memory / 1e9:.1f} GB",
                f"{row.first_loss:.3f} to {row.last_loss:.3f}",
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.bench", description="How fast a training step is.")
    parser.add_argument("presets", nargs="+", metavar="PRESET", help="one or more, or paths of .toml files")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--steps", type=int, default=20, help="timed")
    parser.add_argument("--warmup", type=int, default=5, help="steps before that, compilation among them")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches to a step")
    parser.add_argument("--microbatch", type=int, help="sequences; halved while they do not fit")
    parser.add_argument("--context", type=int, help="tokens of a sequence")
    parser.add_argument("--recompute", choices=configuration.RECOMPUTE)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: on CUDA only")
    parser.add_argument("--peer", choices=sorted(PEERS), help="time this too, under the same conditions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write environment and rows here")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override the presets")
    args = parser.parse_args(argv)
    for flag in ("steps", "accumulate"):
        if getattr(args, flag) < 1:
            raise UserError(f"--{flag} {getattr(args, flag)}: it must be above 0")
    if args.warmup < 0:
        raise UserError(f"--warmup {args.warmup}: it must be 0 or more")
    short = {
        "run.microbatch": args.microbatch,
        "model.context": args.context,
        "run.recompute": args.recompute,
    }
    override = args.set + [f"{key}={value}" for key, value in short.items() if value is not None]
    configs = {preset: configuration.load(preset, override) for preset in args.presets}
    if any(config.run.document_mask for config in configs.values()):
        raise UserError("run.document_mask: random tokens have no documents, so it is not measured: leave it out")
    # what would fail after minutes of measuring fails now
    if args.peer and importlib.util.find_spec(args.peer) is None:
        raise UserError(f"--peer {args.peer}: it is not installed; pip install {args.peer}")
    if args.peer and any(config.run.recompute == "selective" for config in configs.values()):
        raise UserError(f"--peer {args.peer} has no selective recomputation: take --recompute none or full")
    if args.json and not args.json.parent.is_dir():
        raise InputError(f"--json {args.json}: there is no directory {args.json.parent}")
    device = pick(args.device)
    peak = measured_peak(device)
    known = environment(device, peak)
    print(", ".join(f"{key} {value}" for key, value in known.items()), flush=True)
    rows = []
    for preset, config in configs.items():
        if config.model.vocabulary is None:
            config = dataclasses.replace(config, model=dataclasses.replace(config.model, vocabulary=VOCABULARY))
        for who in ("ours", *([args.peer] if args.peer else [])):
            print(f"{preset}, {who}: {args.warmup} steps to warm up, {args.steps} timed", flush=True)
            rows.append(measure(preset, who, config, device, peak, args, lambda line: print(line, flush=True)))
            if args.json:
                found = {"environment": known, "rows": [dataclasses.asdict(row) for row in rows]}
                try:
                    args.json.write_text(json.dumps(found, indent=2) + "\n")
                except OSError as error:
                    raise InputError(f"--json {args.json}: {error.strerror}") from None
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
