"""Who trainer.bench times: our step, and others' on the same model with the same weights, precision and optimiser."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer import hf
from trainer.config import Config
from trainer.device import autocast
from trainer.model import build
from trainer.optim import adamw
from trainer.parallel import World
from trainer.step import learner


@dataclass
class Runner:
    """One who trains: `step` makes an update on rows [B, T + 1] and returns its mean loss, or a tensor of it."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    step: Callable[[np.ndarray], Any]
    microbatch: int = 0
    times: list[list[float]] = field(default_factory=list)  # seconds of each step, by turn
    losses: list[Any] = field(default_factory=list)
    memory: int | None = None

    def move(self, device: torch.device) -> None:
        """Weights, buffers and moments."""
        self.model.to(device)
        for state in self.optimiser.state.values():
            state.update({key: value.to(device) for key, value in state.items()})

    @property
    def rate(self) -> list[float]:
        """Steps per second and sequence of a microbatch, by turn: what two runners are compared by."""
        return [self.microbatch / statistics.median(turn) for turn in self.times]


def ours(config: Config, device: torch.device, compiled: bool) -> Runner:
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, compile=compiled))
    own = learner(config, World(device))
    fill(own.model)

    def step(rows: np.ndarray) -> float:
        return own.learn(1, rows, np.zeros_like(rows), ["random"], -1).loss

    return Runner(own.model, own.optimiser, step)


def plain(config: Config, device: torch.device, compiled: bool) -> Runner:
    """Our model in the step of a small trainer, as nanoGPT or torchtitan's first tutorial has it."""
    model = build(config.model, device)
    fill(model)
    model.set_recompute(config.run.recompute)
    optimiser = adamw(model, config.optimiser)
    if compiled:
        model.compile(dynamic=False)

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(model(rows[:, :-1]).float().flatten(0, 1), rows[:, 1:].flatten())

    return Runner(model, optimiser, usual(model, optimiser, loss, config, device))


def transformers(config: Config, device: torch.device, compiled: bool) -> Runner:
    """LlamaForCausalLM with SDPA attention; compiled whole, where it is, as its Trainer does.

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
    optimiser = adamw(peer, config.optimiser)
    if config.run.recompute == "full":
        peer.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if compiled:
        peer.compile(dynamic=False)

    def loss(rows: Tensor) -> Tensor:
        inputs, targets = rows[:, :-1], rows[:, 1:].contiguous()
        out: Tensor = peer(input_ids=inputs, labels=inputs, shift_labels=targets).loss
        return out

    return Runner(peer, optimiser, usual(peer, optimiser, loss, config, device))


MAKERS = {"ours": ours, "plain": plain, "transformers": transformers, "transformers-compiled": transformers}


def usual(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Callable[[Tensor], Tensor],
    config: Config,
    device: torch.device,
) -> Callable[[np.ndarray], Tensor]:
    """The step that most trainers have. It waits for nothing: nobody looks at its loss before the end."""

    def step(rows: np.ndarray) -> Tensor:
        parts = torch.from_numpy(rows).to(device).split(config.run.microbatch)
        total = torch.zeros((), device=device)
        for part in parts:
            with autocast(device):
                mean = loss(part) / len(parts)
            mean.backward()
            total += mean.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip)
        optimiser.step()
        optimiser.zero_grad()
        return total

    return step


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Random weights, made on the device, since `initialise` makes them on the CPU, a minute's work for 7B."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            parameter.normal_(0.0, 0.02, generator=generator)
