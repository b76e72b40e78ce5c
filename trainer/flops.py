"""Floating point operations of a training step, in both conventions, and the rates to hold them against.

A figure of MFU means nothing without its convention. Counted here is what the mathematics asks for: two operations per
multiply-add, matrices that tokens are multiplied by (so the output layer, but not the embedding's look-up), three times
the forward pass for forward and backward. Attention is counted as

- causal: only the scores that a causal model needs, half of all: 6 layers width T operations a token;
- palm: all T x T of them, as PaLM (Chowdhery et al. 2022, appendix B), nanoGPT, torchtitan and others count: 12.

Hardware operations are those a kernel really performs, with what it computes again. T is tokens in a sequence.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass

import torch

from trainer.config import Config, ModelConfig
from trainer.device import synchronize

VOCABULARY = 32_000  # where figures are wanted of a preset that leaves it to the tokenizer


def with_vocabulary(config: Config) -> Config:
    vocabulary = config.model.vocabulary or VOCABULARY
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocabulary=vocabulary))


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of training on one token, forward and backward: in matrix products, and in attention by palm."""

    matmuls: int
    attention: int

    @property
    def causal(self) -> int:
        return self.matmuls + self.attention // 2

    @property
    def palm(self) -> int:
        return self.matmuls + self.attention


def block_matrices(config: ModelConfig) -> int:
    """Entries of the seven matrices of one block."""
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return 2 * config.dim * queries + 2 * config.dim * keys + 3 * config.dim * config.ffn


def head_matrix(config: ModelConfig) -> int:
    """Entries of the output layer, which a tied model has too: it is the embedding, used once more."""
    if config.vocabulary is None:
        raise ValueError("the vocabulary is not known yet")
    return config.dim * config.vocabulary


def training(config: ModelConfig) -> Flops:
    """What a token costs in training, in sequences of `config.context` tokens."""
    width, length = config.heads * config.head_dim, config.context
    matrices = config.layers * block_matrices(config) + head_matrix(config)
    return Flops(6 * matrices, 12 * config.layers * width * length)


def hardware(config: ModelConfig, recompute: str) -> int:
    """Operations performed per token: causal, with the scores that a fused attention computes again to go backward.

    Forward is two products of attention and backward five. `recompute` "selective" keeps the results of all products;
    "full" runs each block forward twice, but for its last product, whose result the backward pass has no use for.
    """
    product = config.layers * config.heads * config.head_dim * config.context  # one causal product of attention
    again = 0
    if recompute == "full":
        again = 2 * config.layers * (block_matrices(config) - config.dim * config.ffn) + 2 * product
    return training(config).matmuls + 7 * product + again


@dataclass(frozen=True, slots=True)
class GPU:
    """Peak dense bf16 operations per second, bytes per second and bytes of memory, as the vendor's data sheet has them.

    Sheets print tensor rates with sparsity, twice the dense ones, unless they say otherwise.
    """

    name: str  # part of what torch.cuda.get_device_name says
    flops: float
    bandwidth: float
    memory: float


# In the order of matching: a special name before the general one.
GPUS = {
    "h100-pcie": GPU("H100 PCIe", 756e12, 2.0e12, 80e9),  # NVIDIA H100 Tensor Core GPU data sheet
    "h100-nvl": GPU("H100 NVL", 835e12, 3.9e12, 94e9),  # the same
    "h100": GPU("H100", 989e12, 3.35e12, 80e9),  # the same, SXM
    "h200-nvl": GPU("H200 NVL", 835e12, 4.8e12, 141e9),  # NVIDIA H200 Tensor Core GPU data sheet
    "h200": GPU("H200", 989e12, 4.8e12, 141e9),  # the same, SXM
    "gh200": GPU("GH200", 990e12, 4.0e12, 96e9),  # NVIDIA GH200 Grace Hopper data sheet, HBM3
    "b200": GPU("B200", 2250e12, 8.0e12, 180e9),  # NVIDIA DGX B200 data sheet: an eighth of the system's
    "a100-40": GPU("A100-SXM4-40GB", 312e12, 1.555e12, 40e9),  # NVIDIA A100 data sheet
    "a100": GPU("A100", 312e12, 2.039e12, 80e9),  # the same, SXM 80 GB
    "l40s": GPU("L40S", 362e12, 0.864e12, 48e9),  # NVIDIA L40S data sheet
    "l4": GPU("L4", 121e12, 0.3e12, 24e9),  # NVIDIA L4 data sheet
    "mi300x": GPU("MI300X", 1307e12, 5.3e12, 192e9),  # AMD Instinct MI300X data sheet
}


def gpu_called(name: str) -> GPU | None:
    """The GPU that torch.cuda.get_device_name calls by this name; None if it is not in the table. A B200 is not a
    GB200: where the name goes on before or behind what the table has, it is another GPU."""
    words = name.replace("-", " ").upper().split()
    for gpu in GPUS.values():
        wanted = gpu.name.replace("-", " ").upper().split()
        if any(words[i : i + len(wanted)] == wanted for i in range(len(words))):
            return gpu
    return None


def mfu(tokens_per_second: float, flops_per_token: float, peak: float) -> float:
    """The share of `peak` operations per second that go into the model; of one GPU if the rate is of one GPU."""
    return tokens_per_second * flops_per_token / peak


def measured_peak(device: torch.device) -> float:
    """Operations per second of a square matrix product: the median of some timings. bf16 on CUDA, else fp32.

    On random numbers: zeros cost less power, and a card that is limited by power then runs faster than it ever will.
    On CUDA they keep an H100 busy for a second and a half, so that its clock has settled.
    """
    cuda = device.type == "cuda"
    size, repeats, inner = (8192, 50, 20) if cuda else (512, 7, 1)
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if cuda else torch.float32) for _ in range(2))
    out = a @ b
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(inner):
            torch.mm(a, b, out=out)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 * inner / statistics.median(times)


# What the roofline below rests on. Measured, by others: a matrix product on an H100, 798 of the data sheet's 989
# Tflop/s, limited by power (780 in gist.github.com/Chillee/2ec89696db8b7ed1c24461159e325405); its copies, 2.9 of 3.35
# TB/s; cuDNN's causal attention, read off charts (FlashAttention-3, Shah et al. 2024, section 4). Estimated, by us: the
# share of that product's speed that narrower ones reach, and the bytes that fused kernels move. Assumed: that other
# GPUs have the same shares. Its one check: of Llama 3 8B, T = 4096, all recomputed, on an H200 it says 11,100 tokens/s,
# and KempnerForge publishes 10,471, which is 94 %. What `trainer.bench --json` measures replaces all of it.
_PEAK_SHARE, _BANDWIDTH_SHARE = 798 / 989, 2.9 / 3.35
_WIDTHS = ((768, 0.78), (1024, 0.86), (2048, 0.94), (4096, 0.97))  # share of the product's speed by width: estimates
_ATTENTION = {  # Tflop/s forward and backward on an H100, by head size and T
    64: ((2048, 420, 330), (4096, 450, 350)),
    128: ((2048, 560, 470), (4096, 600, 500), (8192, 620, 520)),
}
_ADAM_BYTES, _ADAM_TOKENS = 34, 524_288  # bytes per parameter of an update, and tokens between updates
MILESTONE, GOAL = 0.80, 0.93  # of the ceiling: what to reach first, and what that published run shows can be reached


def ceiling(config: ModelConfig, gpu: GPU, recompute: str = "none", peak: float | None = None) -> float:
    """Tokens per second of one GPU if nothing waits: time of products + attention + fused elementwise + AdamW.

    A model of what compiled bf16 training could reach, not a measurement. Communication is not in it. `peak` is what
    `measured_peak` found on this very GPU, where it was asked.
    """
    length = config.context
    forwards = 2 if recompute == "full" else 1
    share = max((value for width, value in _WIDTHS if width <= config.dim), default=_WIDTHS[0][1] * config.dim / 768)
    products = 2 * (2 + forwards) * config.layers * block_matrices(config) + 6 * head_matrix(config)
    seconds = products / ((peak or gpu.flops * _PEAK_SHARE) * share)
    rates = _ATTENTION[128 if config.head_dim >= 128 else 64]
    forward, backward = next(((f, b) for limit, f, b in rates if length <= limit), rates[-1][1:])
    scale = gpu.flops / GPUS["h100"].flops * 1e12
    product = config.layers * config.heads * config.head_dim * length
    seconds += (2 * forwards * product / forward + 5 * product / backward) / scale
    heads = (config.heads + config.kv_heads) * config.head_dim
    moved = config.layers * 2 * (16 * config.dim + 4 * heads + 8 * config.ffn) * (1.43 if forwards == 2 else 1.0)
    moved += 12 * (config.vocabulary or 0)
    parameters = config.layers * block_matrices(config) + head_matrix(config) * (1 if config.tied else 2)
    moved += _ADAM_BYTES * parameters / _ADAM_TOKENS
    return 1 / (seconds + moved / (gpu.bandwidth * _BANDWIDTH_SHARE))
