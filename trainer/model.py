"""LLaMA: pre-norm RMSNorm, SwiGLU, rotary positions, grouped-query causal attention, no biases (LLaMA section 2.2).

Rotary positions use the half-split layout of Hugging Face, so export is a renaming (trainer/hf.py) and the fp32 logits
are those of `LlamaForCausalLM` to the bit. Nothing here knows of devices, of precision or of parallelism: wrappers are
applied from outside, block by block. Shapes: B sequences, T tokens, D features, H heads, V tokens in the vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.config import ModelConfig


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
        self.shared = config.kv_heads < config.heads
        self.query = nn.Linear(config.dim, config.heads * config.head_dim, bias=False)
        self.key = nn.Linear(config.dim, config.kv_heads * config.head_dim, bias=False)
        self.value = nn.Linear(config.dim, config.kv_heads * config.head_dim, bias=False)
        self.output = nn.Linear(config.heads * config.head_dim, config.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(
            rotate(query, cos, sin), rotate(key, cos, sin), value, is_causal=True, enable_gqa=self.shared
        )
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.dim, config.ffn, bias=False)
        self.up = nn.Linear(config.dim, config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out


class Llama(nn.Module):
    """Tokens [B, T] in, logits [B, T, V] out. Build it on the meta device, `to_empty`, then `initialise` or load."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vocabulary is None:
            raise ValueError("the vocabulary is not known yet")
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.head = None if config.tied else nn.Linear(config.dim, config.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        cos, sin = rotations(self.config, tokens.shape[1], tokens.device)
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.linear(self.norm(x), self.embed.weight if self.head is None else self.head.weight)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Normal weights of deviation 0.02; the two projections that write to the residual get 0.02 / sqrt(2 layers).

        No LLaMA paper states its initialisation; this is GPT-2's. Drawn on the CPU: the same on every device.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
                continue
            residual = name.endswith(("attention.output.weight", "ffn.down.weight"))
            deviation = 0.02 / math.sqrt(2 * self.config.layers) if residual else 0.02
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, deviation, generator=generator))


def build(config: ModelConfig, device: torch.device) -> Llama:
    """A model on a device whose weights are not yet set: no memory is touched twice."""
    with torch.device("meta"):
        model = Llama(config)
    return model.to_empty(device=device)


def token_losses(model: nn.Module, windows: Tensor) -> Tensor:
    """-ln p of each next token: windows int64 [B, T + 1] in, fp32 [B, T] out. A target of -100 costs nothing."""
    inputs, targets = windows[:, :-1].clamp(min=0), windows[:, 1:]
    logits = model(inputs).float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def parameters(config: ModelConfig) -> int:
    """How many numbers the model learns."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Llama(config).parameters())
