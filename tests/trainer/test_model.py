from __future__ import annotations

import math
import re

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.profiler import ProfilerActivity, profile

from tests.trainer.conftest import token_losses
from trainer.attention import documents
from trainer.config import PRESETS, ModelConfig, load, presets
from trainer.model import (
    FeedForward,
    Llama,
    RMSNorm,
    build,
    compile_blocks,
    parameters,
    rotate,
    rotations,
)

SMALL = ModelConfig(dim=32, layers=2, heads=4, kv_heads=2, ffn=48, context=16, vocabulary=50)


def small(seed: int = 0, **changes: object) -> Llama:
    config = ModelConfig(**{**{f: getattr(SMALL, f) for f in SMALL.__slots__}, **changes})  # type: ignore[arg-type]
    model = build(config, torch.device("cpu"))
    model.initialise(seed)
    return model


# Parameters, and those of them that are in no embedding or output layer; where the preset leaves the vocabulary to the
# dataset, with one of 32,000.
SIZES = {
    "llama1-7b": (6_738_415_616, 6_476_271_616),
    "llama1-13b": (13_015_864_320, 12_688_184_320),
    "llama1-33b": (32_528_943_616, 32_102_959_616),
    "llama1-65b": (65_285_660_672, 64_761_372_672),
    "llama2-7b": (6_738_415_616, 6_476_271_616),
    "llama2-13b": (13_015_864_320, 12_688_184_320),
    "llama2-34b": (33_743_970_304, 33_219_682_304),
    "llama2-70b": (68_976_648_192, 68_452_360_192),
    "llama3-8b": (8_030_261_248, 6_979_588_096),
    "llama3-70b": (70_553_706_496, 68_452_360_192),
    "llama3.1-8b": (8_030_261_248, 6_979_588_096),
    "llama3.1-70b": (70_553_706_496, 68_452_360_192),
    "llama3.1-405b": (405_853_388_800, 401_650_696_192),
    "llama3.2-1b": (1_235_814_400, 973_146_112),
    "llama3.2-3b": (3_212_749_824, 2_818_747_392),
    "tinyllama-1.1b": (1_100_048_384, 968_976_384),
    "tiny": (8_979_584, 787_584),
    "20m": (21_204_224, 4_820_224),
    "60m": (58_466_816, 25_698_816),
    "125m": (134_105_856, 84_953_856),
    "350m": (373_867_520, 308_331_520),
}


def test_every_preset_has_its_size() -> None:
    assert set(presets()) == set(SIZES)
    for preset, (count, inner) in SIZES.items():
        config = load(preset).model
        config = config if config.vocabulary else load(preset, ["model.vocabulary=32000"]).model
        assert parameters(config) == count, preset
        assert config.vocabulary is not None
        assert count - config.vocabulary * config.dim * (1 if config.tied else 2) == inner, preset


def test_every_preset_says_where_its_numbers_come_from() -> None:
    for preset in presets():
        first = (PRESETS / f"{preset}.toml").read_text().splitlines()[0]
        assert re.match(r"# .*(arXiv \d{4}\.\d{5}|released configuration|reference code)|# Ours: ", first), preset


def test_rmsnorm_is_x_over_its_root_mean_square() -> None:
    norm = RMSNorm(4, eps=0.25)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x = torch.tensor([[1.0, -2.0, 3.0, -1.0]])
    expected = x / math.sqrt((1 + 4 + 9 + 1) / 4 + 0.25) * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_swiglu_is_down_of_silu_gate_times_up() -> None:
    torch.manual_seed(0)
    ffn, x = FeedForward(SMALL), torch.randn(3, 32)
    for weight in ffn.parameters():
        torch.nn.init.normal_(weight, std=0.1)
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


def test_losses_with_and_without_gradients_are_the_same() -> None:
    model, windows = small(), torch.tensor([[3, 4, 5, 6], [7, 8, -100, -100]])
    with torch.no_grad():
        torch.testing.assert_close(token_losses(model, windows), token_losses(model, windows).detach())


def test_what_was_read_before_is_not_read_again_and_counts_the_same() -> None:
    model = small().double().eval()
    tokens = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, past = model(tokens), model.nothing_read()
        steps = [model(tokens[:, :5], past=past), *(model(tokens[:, i : i + 1], past=past) for i in range(5, 12))]
    assert all(step.shape == (2, 1, 50) for step in steps)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole[:, 4:], rtol=0, atol=1e-13)


def step(model: Llama, tokens: torch.Tensor, **arguments: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    total, _ = model(tokens[:, :-1], tokens[:, 1:], **arguments)
    return total, list(torch.autograd.grad(total, list(model.parameters())))


@pytest.mark.parametrize("masked", [False, True])
def test_recomputation_changes_no_bit_of_the_gradients(masked: bool) -> None:
    model, tokens = small(), torch.randint(0, 50, (2, 17), generator=torch.Generator().manual_seed(0))
    arguments = {"documents": documents(tokens[:, :-1], 7)} if masked else {}
    loss, expected = step(model, tokens, **arguments)
    for what in ("selective", "full", "none"):
        model.set_recompute(what)
        again, found = step(model, tokens, **arguments)
        assert torch.equal(again, loss)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)), what


def held(model: Llama, tokens: torch.Tensor) -> int:
    """Bytes that the forward pass leaves allocated for the backward pass."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as log:
        loss = model(tokens, tokens)
    assert loss is not None
    return sum(event.self_cpu_memory_usage for event in log.events())


def test_recomputation_saves_memory() -> None:
    """What is held for a block: half of what two more blocks hold. In fp32 numbers a token, as the shapes foresee."""
    tokens = torch.zeros(2, 128, dtype=torch.long)
    per_block = {}
    for what in ("none", "selective", "full"):
        sizes = []
        for layers in (1, 3):
            model = small(dim=64, ffn=192, layers=layers, context=128)
            model.set_recompute(what)
            model(tokens, tokens)  # the first call allocates what stays
            sizes.append(held(model, tokens))
        per_block[what] = (sizes[1] - sizes[0]) / 2 / (256 * 4)
    x, matrices = 64, 64 + 32 + 32 + 64 + 192 + 192 + 64  # q k v o gate up down
    assert per_block["full"] == pytest.approx(x, rel=0.02)
    assert per_block["selective"] == pytest.approx(x + matrices + 64 + 4, rel=0.02)  # and attention, with a sum a head
    assert per_block["none"] > 1.6 * per_block["selective"]


@pytest.mark.parametrize(("what", "masked"), [("none", False), ("selective", True)])
def test_blocks_compile_whole_and_once_for_all_of_them(what: str, masked: bool) -> None:
    """No graph breaks (`fullgraph`), one compilation for 9 blocks, the same gradients, and none in evaluation."""
    torch._dynamo.reset()
    model, tokens = small(layers=9), torch.randint(0, 50, (2, 17), generator=torch.Generator().manual_seed(0))
    arguments = {"documents": documents(tokens[:, :-1], 7)} if masked else {}
    names = list(model.state_dict())
    model.set_recompute(what)
    loss, expected = step(model, tokens, **arguments)
    counter = CompileCounterWithBackend("aot_eager")
    compile_blocks(model, counter)
    compiled, found = step(model, tokens, **arguments)
    torch.testing.assert_close(compiled, loss)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        for length in range(2, 14):
            model(tokens[:, :length])
    assert counter.frame_count == 1
    assert list(model.state_dict()) == names
    torch._dynamo.reset()
