"""What a run tells of a step, on its line and in its log."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from typing import Any

import torch

from trainer import flops
from trainer.config import Config
from trainer.log import Log
from trainer.parallel import World


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


def note(log: Log, update: Update, step: int, g: int, skipped: int, seconds: float) -> str:
    """Append the step to the log. Returns what the step line has of it. `skipped` counts all steps that were."""
    z_loss, z_norm = log.z_score("loss", update.loss), log.z_score("grad_norm", update.norm)
    finite = math.isfinite(update.loss) and math.isfinite(update.norm)
    measured = {"loss": update.loss if finite else None, "grad_norm": update.norm if finite else None}
    record: dict[str, Any] = {"step": step, **measured, "lr": update.rate, "g": g}
    if finite:
        record["sources"] = update.sources
    if update.skipped:
        record["skipped"] = f"{update.skipped}: loss {update.loss}, gradient {update.norm}"
    log.append({**record, "seconds": round(seconds, 4)})
    parts = [
        f"loss {update.loss:.4f} ({z_loss:+.1f}z)",
        f"gradient {update.norm:.3f} ({z_norm:+.1f}z)",
        f"lr {update.rate:.2e}",
        " ".join(f"{name} {loss:.3f}" for name, loss in update.sources.items()),
    ]
    if skipped:
        parts.append(f"{skipped} skipped")
    return " | ".join(parts)


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
