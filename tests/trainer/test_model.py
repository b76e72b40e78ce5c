from __future__ import annotations

import math

import pytest
import torch

from trainer.config import ModelConfig, load
from trainer.model import FeedForward, Llama, RMSNorm, build, parameters, rotate, rotations, token_losses

SMALL = ModelConfig(dim=32, layers=2, heads=4, kv_heads=2, ffn=48, context=16, vocabulary=50)


def small(seed: int = 0, **changes: object) -> Llama:
    config = ModelConfig(**{**{f: getattr(SMALL, f) for f in SMALL.__slots__}, **changes})  # type: ignore[arg-type]
    model = build(config, torch.device("cpu"))
    model.initialise(seed)
    return model


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("llama1-7b", 6_738_415_616),
        ("llama1-13b", 13_015_864_320),
        ("llama1-33b", 32_528_943_616),
        ("llama1-65b", 65_285_660_672),
        ("llama2-7b", 6_738_415_616),
        ("llama2-13b", 13_015_864_320),
        ("llama2-34b", 33_743_970_304),
        ("llama2-70b", 68_976_648_192),
        ("llama3-8b", 8_030_261_248),
        ("llama3-70b", 70_553_706_496),
        ("llama3.1-8b", 8_030_261_248),
        ("llama3.1-405b", 405_853_388_800),
        ("llama3.2-1b", 1_235_814_400),
        ("llama3.2-3b", 3_212_749_824),
        ("tinyllama-1.1b", 1_100_048_384),
    ],
)
def test_published_models_have_their_published_size(preset: str, count: int) -> None:
    assert parameters(load(preset).model) == count


@pytest.mark.parametrize(("preset", "count"), [("60m", 58_466_816), ("125m", 134_105_856), ("350m", 373_867_520)])
def test_our_sizes_with_a_vocabulary_of_32000(preset: str, count: int) -> None:
    assert parameters(load(preset, ["model.vocabulary=32000"]).model) == count


def test_rmsnorm_is_x_over_its_root_mean_square() -> None:
    norm = RMSNorm(4, eps=0.25)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x = torch.tensor([[1.0, -2.0, 3.0, -1.0]])
    expected = x / math.sqrt((1 + 4 + 9 + 1) / 4 + 0.25) * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_swiglu_is_down_of_silu_gate_times_up() -> None:
    torch.manual_seed(0)
    ffn, x = FeedForward(SMALL), torch.randn(3, 32)
    gate, up = x @ ffn.gate.weight.T, x @ ffn.up.weight.T
    torch.testing.assert_close(ffn(x), (gate / (1 + torch.exp(-gate)) * up) @ ffn.down.weight.T)


def test_rotation_is_multiplication_by_a_unit_complex_number() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    cos, sin = rotations(SMALL, 5, torch.device("cpu"))
    assert cos.shape == (5, 8)
    pairs = torch.complex(x[..., :4], x[..., 4:])  # half-split: feature i belongs with i + half
    frequencies = torch.tensor([10_000.0 ** (-2 * i / 8) for i in range(4)], dtype=torch.float64)
    angles = torch.outer(torch.arange(5.0, dtype=torch.float64), frequencies)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(rotate(x, cos, sin), torch.cat([turned.real, turned.imag], -1), atol=1e-6, rtol=1e-6)


def test_llama_31_stretches_slow_rotations_by_the_factor_and_leaves_fast_ones() -> None:
    config = load("llama3.1-8b").model
    plain = load("llama3-8b").model
    angles = {}
    for name, c in (("scaled", config), ("plain", plain)):
        cos, sin = rotations(c, 2, torch.device("cpu"))
        angles[name] = torch.atan2(sin, cos)[1, : c.head_dim // 2].double()
    ratio = angles["plain"] / angles["scaled"]
    wavelength = 2 * math.pi / angles["plain"]
    fast, slow = wavelength < 8192 / 4, wavelength > 8192
    torch.testing.assert_close(ratio[fast], torch.ones(int(fast.sum()), dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(ratio[slow], torch.full((int(slow.sum()),), 8.0, dtype=torch.float64), rtol=1e-3, atol=0)
    between = ratio[~fast & ~slow]
    assert len(between) > 0
    assert ((between > 1) & (between < 8)).all()
    assert (between.diff() > 0).all()


def test_a_token_changes_no_logit_before_it_and_some_from_it_on() -> None:
    model = small()
    tokens = torch.randint(0, 50, (1, 10))
    changed = tokens.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 50
    difference = (model(tokens) - model(changed)).abs().amax(-1)[0]
    assert difference[:6].max() == 0
    assert (difference[6:] > 0).all()


def test_shared_key_heads_equal_repeated_ones() -> None:
    """Grouped-query attention is full attention whose key and value heads are copies."""
    grouped, full = small(), small(kv_heads=4)
    weights = dict(grouped.state_dict())
    for name in [n for n in weights if n.endswith(("attention.key.weight", "attention.value.weight"))]:
        weights[name] = weights[name].unflatten(0, (2, 8)).repeat_interleave(2, 0).flatten(0, 1)
    full.load_state_dict(weights)
    tokens = torch.randint(0, 50, (2, 12))
    torch.testing.assert_close(grouped(tokens), full(tokens))


def test_initial_weights_have_the_stated_deviations_and_repeat() -> None:
    model = small(dim=256, ffn=512, layers=8)
    deviations = {name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.ndim == 2}
    for name, deviation in deviations.items():
        expected = 0.02 / 4 if name.endswith(("attention.output.weight", "ffn.down.weight")) else 0.02
        assert deviation == pytest.approx(expected, rel=0.05), name
    assert all((p == 1).all() for p in model.parameters() if p.ndim == 1)
    again, other = small(seed=0), small(seed=1)
    assert torch.equal(small(seed=0).embed.weight, again.embed.weight)
    assert not torch.equal(again.embed.weight, other.embed.weight)


def test_tied_model_predicts_with_its_embeddings() -> None:
    model = small(tied=True)
    assert parameters(model.config) == parameters(SMALL) - 50 * 32
    model.embed.weight.data.zero_()
    assert (model(torch.zeros(1, 3, dtype=torch.long)) == 0).all()


def test_token_losses_are_minus_log_softmax_and_ignored_targets_are_free() -> None:
    model = small()
    windows = torch.tensor([[3, 4, 5, 6], [7, 8, -100, -100]])
    losses = token_losses(model, windows)
    logits = model(windows[:, :-1].clamp(min=0))
    assert losses[0, 2].item() == pytest.approx(-torch.log_softmax(logits[0, 2], -1)[6].item(), rel=1e-5)
    assert losses[1, 1:].tolist() == [0.0, 0.0]
    alone = token_losses(model, windows[1:, :2])
    torch.testing.assert_close(losses[1, :1], alone[0])  # what stands to the right is not seen
