"""What a run tells of a step, on its line and in its log."""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer import flops
from trainer.config import Config
from trainer.data import Coverage
from trainer.log import Log
from trainer.mixture import Blend
from trainer.parallel import World

SPIKE = 6.0  # deviations: a step that lies so far above the last ones is pointed out


@dataclass(frozen=True, slots=True)
class Update:
    """What a step came to: mean loss in nats per token, norm of the gradient before clipping, learning rate.

    `sources` has the mean loss of each source that the step had tokens of. `skipped` says why the update was left out.
    """

    loss: float
    norm: float
    rate: float
    sources: dict[str, float]
    skipped: str = ""


def note(log: Log, update: Update, step: int, g: int, skipped: int, seconds: float, trace: str) -> tuple[str, str]:
    """Append the step to the log. Returns what the step line has of it, and what is unusual about it, or "".

    `skipped` counts all steps that were. Of an unusual step the log has `trace` too, the command that shows its pages.
    """
    z_loss, z_norm = log.z_score("loss", update.loss), log.z_score("grad_norm", update.norm)
    finite = math.isfinite(update.loss) and math.isfinite(update.norm)
    measured = {"loss": update.loss if finite else None, "grad_norm": update.norm if finite else None}
    record: dict[str, Any] = {"step": step, **measured, "lr": update.rate, "g": g}
    if finite:
        record["sources"] = update.sources
    if update.skipped:
        record["skipped"] = f"{update.skipped}: loss {update.loss}, gradient {update.norm}"
    unusual = f"is skipped, {update.skipped}" if update.skipped else ""
    if not unusual and log.settled and max(z_loss, z_norm) > SPIKE:
        unusual = "spikes"
    if unusual:
        record["trace"] = trace
    log.append({**record, "seconds": round(seconds, 4)})
    parts = [
        f"loss {update.loss:.4f} ({z_loss:+.1f}z)",
        f"gradient {update.norm:.3f} ({z_norm:+.1f}z)",
        f"lr {update.rate:.2e}",
        " ".join(f"{name} {loss:.3f}" for name, loss in update.sources.items()),
    ]
    if skipped:
        parts.append(f"{skipped} skipped")
    return " | ".join(parts), unusual


def coverage(loader: Blend, sequences: int) -> str:
    """What a run of so many sequences will read of each dataset, exactly, and of its sources, in proportion: a table.

    `epochs` of a dataset are passes over its shards, those of a source are passes over its distinct text, as far as its
    manifest tells.
    """
    rows: list[tuple[str, ...]] = [("data", "share", "tokens", "scheduled", "epochs", "repeated", "never seen")]

    def add(name: str, seen: Coverage, epochs: float) -> None:
        share = seen.scheduled / max(1, sequences * loader.length)
        counts = (f"{count:,}" for count in (seen.repeated, seen.unseen))
        rows.append((name, f"{share:.2%}", f"{seen.available:,}", f"{seen.scheduled:,}", f"{epochs:.2f}", *counts))

    mixture, each = loader.mixture, zip(loader.loaders, loader.counts(sequences), strict=True)
    for label, first, (own, count) in zip(mixture.labels, mixture.first_source, each, strict=True):
        seen = own.coverage(count)
        add(label, seen, seen.scheduled / max(1, seen.available - 1))
        for number, source in enumerate(own.dataset.manifest["sources"], first):
            if mixed := source.get("mixed_tokens"):
                part = [round(value * mixed / seen.available) for value in dataclasses.astuple(seen)]
                add(f"  {mixture.sources[number]}", Coverage(*part), part[1] / source["tokens"])
        gone = [entry["taken_down"]["tokens"] for entry in own.dataset.manifest["shards"] if "taken_down" in entry]
        if gone:
            rows.append(("  taken down", "", f"{sum(gone):,}", "", "", "", ""))
    held = {str(dataset.manifest.get("heldout_fraction")) for dataset in mixture.datasets}
    warning = "\nthe datasets hold out different fractions: one may train on what another holds out"
    return aligned(rows) + (warning if len(held) > 1 else "")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table as text, its first column to the left and the others to the right."""
    first, *rest = (max(len(row[i]) for row in rows) for i in range(len(rows[0])))
    return "\n".join(
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True))])
        for row in rows
    )


def speed(config: Config, world: World, rate: float, peak: float) -> str:
    """Tokens per second, their share of what the hardware can do, and memory. docs/trainer.md has the conventions."""
    cost = flops.training(config.model)
    parts = [f"{rate:,.0f} tokens/s", f"{flops.mfu(rate, cost.causal, peak * world.size):.1%} of peak"]
    cuda = world.device.type == "cuda"
    if cuda and (gpu := flops.gpu_called(torch.cuda.get_device_name(world.device))):
        causal, palm = (flops.mfu(rate, each, gpu.flops * world.size) for each in (cost.causal, cost.palm))
        parts.append(f"mfu {causal:.1%} causal {palm:.1%} palm")
    if cuda:
        memory = torch.cuda.max_memory_allocated(world.device)
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return " | ".join([*parts, f"{memory / 1e9:.1f} GB"])
