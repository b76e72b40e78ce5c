"""LLaMA: pre-norm RMSNorm, SwiGLU, rotary positions, grouped-query causal attention, no biases (LLaMA section 2.2).

Rotary positions use the half-split layout of Hugging Face, so export is a renaming (trainer/hf.py) and the fp32 logits
are those of `LlamaForCausalLM` to the bit. Nothing here knows of devices, of precision or of parallelism: those are
applied from outside, block by block. Shapes: B sequences, T tokens, D features, H heads, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from trainer.attention import Mask, attend, document_mask, positions
from trainer.config import ModelConfig
from trainer.loss import cross_entropy

Past = list[list[Tensor]]  # per block, nothing yet or key and value: [B, key heads, tokens read, head size]


class Linear(nn.Linear):
    """Without a bias. Its weight is not drawn when it is made, but by `Llama.initialise`, or read."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__(features, out, bias=False)

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        pass


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis. The division is in fp32, whatever the type of x."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rotations(config: ModelConfig, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each [T, head size] in fp32, of position times frequency; the two halves are equal.

    With rope_factor above 1, frequencies whose wavelength exceeds rope_original / rope_low are divided by it, those
    below rope_original / rope_high stay, and those between are interpolated (Llama 3.1).
    """
    exponents = torch.arange(0, config.head_dim, 2, device=device).float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    if config.rope_factor != 1.0:
        wavelengths = 2 * math.pi / frequencies
        share = (config.rope_original / wavelengths - config.rope_low) / (config.rope_high - config.rope_low)
        between = (1 - share) * frequencies / config.rope_factor + share * frequencies
        slow = torch.where(share < 0, frequencies / config.rope_factor, between)
        frequencies = torch.where(share > 1, frequencies, slow)
    angles = torch.outer(torch.arange(length, device=device).float(), frequencies)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pair (x[i], x[i + half]) of each head by its position's angle: x is [B, H, T, head size]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-second, first], dim=-1) * sin.to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention in which `heads / kv_heads` query heads share one key and value head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.query = Linear(config.dim, config.heads * config.head_dim)
        self.key = Linear(config.dim, config.kv_heads * config.head_dim)
        self.value = Linear(config.dim, config.kv_heads * config.head_dim)
        self.output = Linear(config.heads * config.head_dim, config.dim)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask = None, past: list[Tensor] | None = None
    ) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if past is not None:
            if past:
                key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
            past[:] = key, value
        out: Tensor = self.output(attend(query, key, value, mask).transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.dim, config.ffn)
        self.up = Linear(config.dim, config.ffn)
        self.down = Linear(config.ffn, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """One layer. `recompute` says what of it the backward pass computes again instead of finding it saved:

    "none", nothing; "selective", all but matrix products and attention, the expensive part (LLaMA section 2.4 saves the
    outputs of linear layers); "full", all but the input. Gradients are the same.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.recompute = "none"
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask = None, past: list[Tensor] | None = None
    ) -> Tensor:
        return (self._learn if torch.is_grad_enabled() else self._run)(x, cos, sin, mask, past)

    def _learn(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask, past: list[Tensor] | None) -> Tensor:
        """`_run`, saving for the backward pass what `recompute` says. This is what `compile_blocks` compiles."""
        if self.recompute == "none":
            return self._run(x, cos, sin, mask, past)
        how: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # nothing here is drawn by chance
        if self.recompute == "selective":
            how["context_fn"] = partial(create_selective_checkpoint_contexts, _expensive_is_saved)
        out: Tensor = checkpoint(self._run, x, cos, sin, mask, past, **how)
        return out

    def _run(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask, past: list[Tensor] | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, past)
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out


# By name: which of these operators exist depends on the version of torch.
_EXPENSIVE = {
    "aten.mm.default",
    "aten.addmm.default",
    "aten._scaled_mm.default",
    "aten._scaled_dot_product_flash_attention.default",
    "aten._scaled_dot_product_flash_attention_for_cpu.default",
    "aten._scaled_dot_product_efficient_attention.default",
    "aten._scaled_dot_product_cudnn_attention.default",
    "flex_attention",
}


def _expensive_is_saved(context: object, operator: object, *args: object, **kwargs: object) -> CheckpointPolicy:
    name = str(operator)
    # What tensor parallelism sends is saved too: to send it again costs more than to keep it.
    save = name in _EXPENSIVE or name.startswith("_c10d_functional.")
    return CheckpointPolicy.MUST_SAVE if save else CheckpointPolicy.PREFER_RECOMPUTE


class Llama(nn.Module):
    """The whole model. Build it on the meta device, `to_empty`, then `initialise` or load."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vocabulary is None:
            raise ValueError("the vocabulary is not known yet")
        self.config = config
        self.embed = Embedding(config.vocabulary, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.head = None if config.tied else Linear(config.dim, config.vocabulary)
        # parallel.py puts in its place one that knows of processes
        self.cross_entropy: Callable[..., tuple[Tensor, Tensor]] = cross_entropy

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        documents: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens int64 [B, T] in, logits [B, T, V] out; with targets [B, T], the loss instead.

        The loss is the sum over targets of -ln p and, without a gradient, that of each target [B, T]: trainer/loss.py.
        `documents` [B, T] numbers the documents in a row: each is read as if it stood alone, seeing itself only and
        with positions from 0. `past` (`nothing_read` to begin with) holds keys and values of tokens read before, and
        takes in these: one token at a time after the first call. Logits are then of the last token only, [B, 1, V].
        """
        length, start = tokens.shape[1], past[0][0].shape[2] if past and past[0] else 0
        cos, sin = (table[start:] for table in rotations(self.config, start + length, tokens.device))
        mask = None
        if documents is not None:
            places, mask = positions(documents), document_mask(documents)
            cos, sin = cos[places].unsqueeze(1), sin[places].unsqueeze(1)  # [B, 1, T, head size]
        x = self.embed(tokens)
        for number, block in enumerate(self.blocks):
            x = block(x, cos, sin, mask, past[number] if past is not None else None)
        x = self.norm(x if past is None else x[:, -1:])
        weight = self.embed.weight if self.head is None else self.head.weight
        if targets is None:
            return F.linear(x, weight)
        total, losses = self.cross_entropy(x.flatten(0, 1), weight, targets.flatten())
        return total, losses.view(targets.shape)

    def nothing_read(self) -> Past:
        return [[] for _ in self.blocks]

    def set_recompute(self, what: str) -> None:
        """What every block computes again in the backward pass: "none", "selective" or "full"."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.recompute = what

    @torch.no_grad()
    def initialise(self, seed: int, put: Callable[[Tensor, Tensor], object] = Tensor.copy_) -> None:
        """Normal weights of deviation 0.02; the two projections that write to the residual get 0.02 / sqrt(2 layers).

        No LLaMA paper states its initialisation; this is GPT-2's. Drawn on the CPU: the same on every device. `put`
        takes a parameter and its value, and sets it.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                put(parameter, torch.ones(parameter.shape))
                continue
            residual = name.endswith(("attention.output.weight", "ffn.down.weight"))
            deviation = 0.02 / math.sqrt(2 * self.config.layers) if residual else 0.02
            put(parameter, torch.empty(parameter.shape).normal_(0.0, deviation, generator=generator))


def build(config: ModelConfig, device: torch.device) -> Llama:
    """A model on a device whose weights are not yet set: no memory is touched twice."""
    with torch.device("meta"):
        model = Llama(config)
    return model.to_empty(device=device)


def compile_blocks(model: Llama, backend: str | Callable[..., Any] = "inductor") -> None:
    """torch.compile each block as it is trained, in place: parameters keep their names, one block's code serves all.

    Without gradients blocks run as they are: held-out documents and generation come in many lengths, and each would be
    compiled anew.
    """
    for block in model.blocks:
        assert isinstance(block, Block)
        learn = torch.compile(block._learn, fullgraph=True, dynamic=False, backend=backend)
        block._learn = learn  # type: ignore[method-assign]


def parameters(config: ModelConfig) -> int:
    """How many numbers the model learns."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Llama(config).parameters())
