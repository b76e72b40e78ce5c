"""Bytes that a training step holds on one GPU: counted where they can be counted, estimated where not.

What a model saves for its backward pass is not a formula here, which would go stale: the step of model.py is run on
tensors that have a shape and no data, at full width, and every allocation is counted. That is exact for eager
execution; a test compares it with real tensors. Compiled blocks save less, by a formula that a test compares with what
torch.compile's partitioner decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.config import ModelConfig
from trainer.flops import block_matrices
from trainer.model import Llama

_TRACED_LAYERS = 2  # deeper models are this many layers and a multiple of what one more adds


class Live(TorchDispatchMode):
    """Inside `with`, counts the bytes of the tensors that operators make, and the most that lived at one time."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        """Of `known` tensors, which are there already, nothing is counted, nor of what operators return of them."""
        super().__init__()
        self.bytes = self.peak = 0
        self._known = [tensor.untyped_storage() for tensor in known]
        self._seen: dict[int, weakref.ref | None] = {id(storage): None for storage in self._known}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return

        def gone(_: object) -> None:
            self.bytes -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes beyond weights, gradients and moments: `saved` between the two passes, and the most during each."""

    saved: int
    forward: int
    backward: int

    @property
    def peak(self) -> int:
        return max(self.forward, self.backward)


def step(
    config: ModelConfig,
    sequences: int,
    recompute: str = "none",
    sharded: bool = False,
    *,
    fp32: bool = False,
    fake: bool = True,
) -> Step:
    """Run one microbatch forward and backward, layer by layer and with the chunked loss, and count.

    Gradients exist before it, as they do from a step's second microbatch on. One GPU holds fp32 weights and computes in
    bf16 by autocast, whose bf16 copies of the weights are counted; `sharded` weights (FSDP) are bf16 when gathered.
    Off CUDA all is `fp32`. With `fake` False the tensors are real: for a test, on a small model.
    """
    with FakeTensorMode() if fake else contextlib.nullcontext():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16 if sharded and not fp32 else torch.float32)
        try:
            model = Llama(config)
        finally:
            torch.set_default_dtype(before)
        model.set_recompute(recompute)
        known: list[torch.Tensor] = list(model.parameters())
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
            known.append(parameter.grad)
        tokens = torch.zeros(sequences, config.context, dtype=torch.long)
        with Live(known) as live:
            with torch.autocast("cpu", torch.bfloat16, enabled=not (sharded or fp32)):
                loss, _ = model(tokens, tokens)
            saved, forward = live.bytes, live.peak
            live.peak = saved
            loss.backward()
    return Step(saved, forward, live.peak)


@functools.lru_cache(maxsize=64)
def deep_step(
    config: ModelConfig, sequences: int, recompute: str, sharded: bool, compiled: bool, fp32: bool = False
) -> Step:
    """`step` for a model of any depth and, at will, one whose blocks are compiled.

    Each layer beyond the second adds what the second added, to the backward pass no less than what it saves. A compiled
    block is the eager one with other savings: what it needs besides is not more than what the eager one needs.
    """
    few, less = (
        step(dataclasses.replace(config, layers=layers), sequences, recompute, sharded, fp32=fp32)
        for layers in (_TRACED_LAYERS, _TRACED_LAYERS - 1)
    )
    more, each = config.layers - _TRACED_LAYERS, few.saved - less.saved
    saved = few.saved + more * each
    forward = few.forward + more * (few.forward - less.forward)
    backward = few.backward + more * (max(few.backward - less.backward, each) if more > 0 else each)
    if not compiled or recompute != "none" or fp32:
        return Step(saved, forward, backward)
    copies = 0 if sharded else 2 * block_matrices(config)
    gain = each - copies - saved_by_compiled_block(config, sequences * config.context, sharded)
    return Step(*(value - config.layers * gain for value in (saved, forward, backward)))


def saved_by_compiled_block(config: ModelConfig, tokens: int, sharded: bool) -> int:
    """Bytes that a block under torch.compile, without recomputation, saves of so many tokens, by today's partitioner.

    In bf16: input, attention's and its output layer's results, the query before and after rotation, one more of the
    width; key and value; gate, up and their product; cosines and sines. In fp32: one number a norm, one a head. Without
    sharding the input is fp32; its bf16 copies of the weights are not counted here.
    """
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    per_token = 2 * (4 * config.dim + 2 * queries + 2 * keys + 3 * config.ffn + 2 * config.head_dim)
    per_token += 4 * (2 + config.heads) + (0 if sharded else 2 * config.dim)
    return tokens * per_token


@dataclass(frozen=True, slots=True)
class State:
    """Bytes that stay on the fullest GPU from step to step: fp32 weights, gradients, and AdamW's two moments."""

    weights: int
    gradients: int
    moments: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments


def state(config: ModelConfig, shards: int = 1, tensor: int = 1) -> State:
    """Exact for its layout: matrices cut `tensor` ways (norm weights are not), then rows over `shards` GPUs, upwards.

    AdamW's two moments are as large as the weights; its counters of steps, 4 bytes a parameter tensor, are counted too.
    """
    shapes, own = _shapes(config), 0
    for shape in shapes:
        numbers = -(-shape.numel() // tensor) if len(shape) == 2 else shape.numel()
        rows = -(-shape[0] // tensor) if len(shape) == 2 else shape[0]
        own += -(-rows // shards) * (numbers // rows)
    return State(4 * own, 4 * own, 8 * own + 4 * len(shapes))


@functools.lru_cache(maxsize=4)
def _shapes(config: ModelConfig) -> list[torch.Size]:
    with torch.device("meta"):
        return [parameter.shape for parameter in Llama(config).parameters()]
