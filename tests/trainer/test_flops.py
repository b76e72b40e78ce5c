from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.config import ModelConfig, load, presets
from trainer.flops import GPUS, block_matrices, ceiling, gpu_called, hardware, head_matrix, measured_peak, mfu, training
from trainer.model import Llama

SMALL = ModelConfig(dim=64, layers=3, heads=4, kv_heads=2, ffn=160, context=24, vocabulary=300)


def shape(preset: str, **changes: int) -> ModelConfig:
    model = load(preset).model
    return dataclasses.replace(model, vocabulary=model.vocabulary or 32_000, **changes)


def counted(config: ModelConfig, recompute: str = "none") -> int:
    """What torch counts of a training step per token, with attention as plain products: all scores, so palm."""
    with torch.device("meta"):
        model = Llama(config)
        tokens = torch.zeros(2, config.context, dtype=torch.long)
    model.set_recompute(recompute)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(tokens).sum().backward()
    total, rest = divmod(counter.get_total_flops(), 2 * config.context)
    assert rest == 0
    return total


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 4}, {"tied": True}, {"context": 40}, {"heads": 2, "kv_heads": 1}])
def test_operations_are_what_torch_counts(changes: dict[str, int]) -> None:
    config = dataclasses.replace(SMALL, **changes)
    assert training(config).palm == counted(config)


@pytest.mark.parametrize("preset", ["llama1-7b", "llama3.2-1b", "llama2-70b"])
def test_operations_of_real_sizes_are_what_torch_counts(preset: str) -> None:
    config = shape(preset, layers=1, context=512)
    assert training(config).palm == counted(config)


def test_recomputation_in_full_runs_blocks_again_but_for_the_last_product_and_selective_none() -> None:
    again = counted(SMALL, "full") - counted(SMALL)
    product = SMALL.layers * SMALL.dim * SMALL.context  # of causal attention: half of what torch counts
    assert again == 2 * SMALL.layers * (block_matrices(SMALL) - SMALL.dim * SMALL.ffn) + 4 * product
    assert hardware(SMALL, "full") - hardware(SMALL, "none") == again - 2 * product
    # a fused backward pass computes the scores once more
    assert hardware(SMALL, "selective") == hardware(SMALL, "none") == training(SMALL).causal + product


@pytest.mark.parametrize("preset", presets())
def test_matrices_are_all_the_weights_that_are_not_norms_or_the_embedding(preset: str) -> None:
    config = shape(preset, layers=2)
    with torch.device("meta"):
        sizes = {name: p.numel() for name, p in Llama(config).named_parameters() if p.ndim == 2}
    embedding = 0 if config.tied else sizes["embed.weight"]
    assert config.layers * block_matrices(config) + head_matrix(config) == sum(sizes.values()) - embedding


@pytest.mark.parametrize(
    ("preset", "context", "causal", "palm"),
    [
        ("125m", 2048, 0.770, 0.884),
        ("350m", 2048, 2.35, 2.65),
        ("tinyllama-1.1b", 2048, 6.76, 7.31),
        ("llama3.2-1b", 4096, 8.22, 9.03),
        ("llama1-7b", 2048, 41.3, 42.9),
        ("llama3-8b", 4096, 48.2, 51.5),
        ("llama3-8b", 8192, 51.5, 57.9),
    ],
)
def test_giga_operations_per_token_in_both_conventions(preset: str, context: int, causal: float, palm: float) -> None:
    cost = training(shape(preset, context=context))
    assert cost.causal / 1e9 == pytest.approx(causal, rel=2e-3)
    assert cost.palm / 1e9 == pytest.approx(palm, rel=2e-3)
    assert cost.palm - cost.causal == 6 * shape(preset).layers * shape(preset).dim * context


def test_llama_65b_ran_at_half_of_its_gpus_peak() -> None:
    """380 tokens/s on an A100 (LLaMA section 2.4)."""
    assert mfu(380, training(shape("llama1-65b")).palm, GPUS["a100"].flops) == pytest.approx(0.495, abs=0.001)


@pytest.mark.parametrize(
    ("preset", "heads", "context", "recompute", "thousands"),
    [
        ("125m", 12, 2048, "none", 539),
        ("350m", 16, 2048, "none", 204),
        ("tinyllama-1.1b", 32, 2048, "none", 86.3),
        ("llama3.2-1b", 32, 4096, "none", 70.6),
        ("llama1-7b", 32, 2048, "none", 16.8),
        ("llama1-7b", 32, 2048, "full", 12.7),
        ("llama3-8b", 32, 4096, "none", 14.2),
        ("llama3-8b", 32, 8192, "none", 13.0),
    ],
)
def test_the_roofline_of_an_h100(preset: str, heads: int, context: int, recompute: str, thousands: float) -> None:
    """Figures worked out by hand from the same assumptions, in thousands of tokens per second."""
    config = shape(preset, heads=heads, context=context, **({"kv_heads": heads} if preset[0].isdigit() else {}))
    assert ceiling(config, GPUS["h100"], recompute) / 1e3 == pytest.approx(thousands, rel=4e-3)


def test_the_published_run_that_the_roofline_is_checked_by_reached_94_percent_of_it() -> None:
    assert 10_471 / ceiling(shape("llama3-8b", context=4096), GPUS["h200"], "full") == pytest.approx(0.943, abs=0.001)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA GB200", None),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L40", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_a_gpu_is_known_by_its_name_or_not_at_all(name: str, key: str | None) -> None:
    assert gpu_called(name) == (None if key is None else GPUS[key])


def test_the_measured_peak_is_that_of_a_plain_product() -> None:
    assert 1e8 < measured_peak(torch.device("cpu")) < 1e14
