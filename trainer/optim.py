"""AdamW, and a learning rate that is a function of the step alone: no scheduler object, nothing to restore."""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.config import Config, OptimiserConfig


def learning_rate(step: int, config: Config) -> float:
    """The rate of update `step` (the first is 1): linear to the peak at `warmup`, then a cosine to `final` of it."""
    peak, warmup, final = config.optimiser.lr, config.schedule.warmup, config.schedule.final
    if step <= warmup:
        return peak * step / warmup
    progress = (step - warmup) / (config.run.steps - warmup)
    return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


def groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the parameters that decay (matrices, embeddings among them) and of those that do not (norm weights)."""
    named = list(model.named_parameters())
    return [name for name, p in named if p.ndim >= 2], [name for name, p in named if p.ndim < 2]


def adamw(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """The optimiser over `groups(model)`, in that order. The rate is set before each step by whoever steps."""
    parameters = dict(model.named_parameters())
    decayed, plain = groups(model)
    return torch.optim.AdamW(
        [
            {"params": [parameters[name] for name in decayed], "weight_decay": config.weight_decay},
            {"params": [parameters[name] for name in plain], "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=next(iter(parameters.values())).device.type in ("cpu", "cuda"),
    )
