from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from curation.errors import UserError
from trainer import parallel, plan
from trainer.config import Config, ModelConfig, ParallelConfig, RunConfig, load, named
from trainer.flops import GPUS
from trainer.memory import deep_step, saved_by_compiled_block, state, step
from trainer.model import Block, Llama, rotations
from trainer.optim import adamw
from trainer.parallel import World

SMALL = ModelConfig(dim=64, layers=5, heads=4, kv_heads=2, ffn=160, context=32, vocabulary=304)
MODES = ("none", "selective", "full")


def run(sequences: int = 64, **changes: object) -> Config:
    return Config(model=dataclasses.replace(SMALL, **changes), run=RunConfig(steps=10, sequences=sequences))


@pytest.mark.parametrize(
    ("recompute", "sharded", "fp32"), [("none", True, False), ("selective", False, True), ("full", False, False)]
)
def test_tensors_without_data_take_what_real_ones_take(recompute: str, sharded: bool, fp32: bool) -> None:
    config, how = dataclasses.replace(SMALL, layers=1), (2, recompute, sharded)
    assert step(config, *how, fp32=fp32) == step(config, *how, fp32=fp32, fake=False)


@pytest.mark.parametrize(("recompute", "sharded"), [("none", False), ("selective", True), ("full", False)])
def test_a_deep_model_is_a_shallow_one_and_a_multiple_of_a_layer(recompute: str, sharded: bool) -> None:
    expected = step(SMALL, 3, recompute, sharded, fake=False)
    found = deep_step(SMALL, 3, recompute, sharded, False)
    assert (found.saved, found.forward) == (expected.saved, expected.forward)
    assert expected.backward <= found.backward <= 1.05 * expected.backward


def saved(config: ModelConfig, tokens: int, sharded: bool, backend: str | None) -> int:
    """Bytes that autograd saves of one real block, but for its weights, counted by hooks and not by our own counter."""
    block = Block(config).to(torch.bfloat16 if sharded else torch.float32)
    x = torch.randn(1, tokens, config.dim, dtype=torch.bfloat16 if sharded else torch.float32, requires_grad=True)
    tables = rotations(config, tokens, torch.device("cpu"))
    if backend:
        block.compile(fullgraph=True, dynamic=False, backend=backend)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*block.parameters(), *tables)}
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=not sharded):
            y = block(x, *tables)
    assert y.shape == x.shape
    return sum(found.values())


@pytest.mark.parametrize("sharded", [False, True])
def test_what_a_layer_adds_is_what_autograd_saves_of_a_block(sharded: bool) -> None:
    one, two = (step(dataclasses.replace(SMALL, layers=layers), 1, "none", sharded, fake=False) for layers in (1, 2))
    # a block's input is the output of the one before, so both count it once
    assert two.saved - one.saved == saved(SMALL, SMALL.context, sharded, None)


@pytest.mark.parametrize("sharded", [False, True])
def test_compiled_blocks_save_what_the_partitioner_decides(sharded: bool) -> None:
    config = ModelConfig(dim=192, layers=1, heads=4, kv_heads=2, ffn=320, context=40, vocabulary=300)
    copies = 0 if sharded else 2 * sum(p.numel() for p in Block(config).parameters() if p.ndim == 2)
    found = saved(config, 40, sharded, "aot_eager_decomp_partition")
    assert found == saved_by_compiled_block(config, 40, sharded) + copies


@pytest.fixture
def many_processes() -> Iterator[None]:
    """Sixteen processes, of which this is the first: the others are never heard of."""
    dist.init_process_group("fake", rank=0, world_size=16, store=FakeStore())
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(("replicate", "shards", "tensor"), [(1, 16, 1), (2, 8, 1), (1, 8, 2), (2, 4, 2), (4, 4, 1)])
@pytest.mark.usefixtures("many_processes")
def test_weights_and_moments_are_what_the_first_process_holds(
    monkeypatch: pytest.MonkeyPatch, replicate: int, shards: int, tensor: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "16")
    world = parallel.start(ParallelConfig(replicate=replicate, shard=shards, tensor=tensor), "cpu")
    config = SMALL if tensor > 1 else dataclasses.replace(SMALL, vocabulary=301, ffn=150)  # which 16 does not divide
    model = Llama(config)
    parallel.cut_by_tensor(model, world)
    parallel.shard(model, world)
    own = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters()]
    found = state(config, shards, tensor)
    assert found.weights == sum(tensor.untyped_storage().nbytes() for tensor in own)


def test_the_state_of_one_process_is_what_adamw_makes() -> None:
    model = Llama(SMALL)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser = adamw(model, run().optimiser)
    optimiser.step()
    moments = sum(t.nbytes for values in optimiser.state.values() for t in values.values())
    weights = sum(parameter.nbytes for parameter in model.parameters())
    found = state(SMALL)
    assert (found.weights, found.gradients, found.moments) == (weights, weights, moments)


def test_a_7b_on_one_gpu_needs_108_gb_before_any_activation() -> None:
    assert state(load("llama1-7b").model).total == 16 * 6_738_415_616 + 4 * 291


def chosen(config: Config, gpus: int, gpu_bytes: float) -> tuple[int, int, int, int, str]:
    return dataclasses.astuple(plan.choose(config, gpus, gpu_bytes, compiled=False))


def test_nothing_is_recomputed_before_one_sequence_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_RESERVE", 0.0)
    config = run(sequences=1, layers=12)
    wanted = []
    for mode in MODES:
        layout = plan.Layout(1, 1, 1, 1, mode)
        wanted.append(plan.memory(config.model, layout, 0.0, False).total / (1 - plan._SLACK))
    assert wanted[0] > wanted[1] > wanted[2]
    for mode, need in zip(MODES, wanted, strict=True):
        assert chosen(config, 1, need + 64) == (1, 1, 1, 1, mode)
    with pytest.raises(UserError, match=r"no layout fits 1 x 0 GB; 2 would do"):
        plan.choose(config, 1, wanted[2] - 64, compiled=False)
    with pytest.raises(UserError, match="no layout fits 1 x 0 GB; no number of them will do"):
        plan.choose(config, 1, 1.0, compiled=False)


def test_microbatches_grow_to_what_fits_and_divides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_RESERVE", 0.0)
    four = plan.memory(SMALL, plan.Layout(1, 1, 1, 4, "none"), 0.0, False).total / (1 - plan._SLACK)
    assert chosen(run(sequences=4), 1, four + 64) == (1, 1, 1, 4, "none")
    assert chosen(run(sequences=4), 1, four - 64) == (1, 1, 1, 2, "none")
    assert chosen(run(sequences=6), 1, 80e9) == (1, 1, 1, 2, "none")


def test_a_training_that_does_not_fit_is_refused_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    """On the CPU all is fp32: 8 rows of a preset of ours, and the same with room for it, and for its weights only."""
    world, config = World(torch.device("cpu")), run(sequences=8, context=512)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, microbatch=8))
    need = plan.memory(config.model, plan.Layout(1, 1, 1, 8, "none"), 0.0, False, fp32=True).total
    plan.refuse(config, world, need / (1 - plan._SLACK) + 64)
    with pytest.raises(UserError, match=r"microbatches of 8 x 512 tokens need .*--set run\.microbatch=4 .* would fit"):
        plan.refuse(config, world, need / (1 - plan._SLACK) - 64)
    with pytest.raises(UserError, match=r"alone on each of cpu, which has 1\.0: 128 processes could hold them"):
        plan.refuse(load("llama1-7b"), world, 1e9)
    with pytest.raises(UserError, match="cannot be divided"):
        plan.refuse(run(sequences=3), World(torch.device("cpu"), 0, 2, (1, 2, 1)), 1e12)


def test_more_gpus_than_64_hold_replicas_and_an_undividable_step_is_refused() -> None:
    assert chosen(run(sequences=256), 128, 80e9) == (64, 2, 1, 2, "none")
    with pytest.raises(UserError, match=r"among 1000000000000 GPUs"):  # and soon
        plan.choose(run(), 10**12, 80e9)
    with pytest.raises(UserError, match=r"run\.sequences = 64.* cannot be divided among 7 GPUs"):
        plan.choose(run(), 7, 80e9)


def test_llama_65b_as_it_was_trained() -> None:
    """380 tokens/s on each of 2048 A100 of 80 GB, 1.4T tokens, about 21 days (LLaMA section 2.4)."""
    found = plan.plan(load("llama1-65b"), 2048, GPUS["a100"], 1_400_000_000_000, 80e9, 0.495)
    assert found["parameters"] == 65_285_660_672
    assert found["tokens_per_second_per_gpu"] == pytest.approx(380, rel=0.002)
    assert found["days"] == pytest.approx(21, rel=0.02)
    assert found["gpu_hours"] == pytest.approx(1_022_362, rel=0.01)  # table 15
    assert (found["steps"], found["batch_tokens"]) == (333_787, 4_194_304)
    assert found["memory"]["total"] <= 80e9
    assert "--set run.steps=333787" in plan.describe(found)


def test_llama_405b_took_the_operations_its_paper_states() -> None:
    """3.8e25 for 15.6T tokens (Llama 3, section 3.2), which leaves attention out: 6 times parameters times tokens."""
    config = load("llama3.1-405b")
    tokens = 15_600_000_000_000
    found = plan.training(config.model).matmuls * tokens
    assert found == pytest.approx(3.8e25, rel=0.01)


@pytest.mark.parametrize(("gpus", "share"), [(8, None), (16, 0.45)])
def test_the_assumed_speed_is_the_rooflines_goal_on_one_node_and_a_published_one_beyond(
    gpus: int, share: float | None
) -> None:
    config = load("llama1-7b").model
    value, source = plan.assumed_mfu(config, GPUS["h100"], gpus, "none")
    assert value == pytest.approx(share or 0.93 * 0.729, abs=0.001)
    assert "roofline" in source


def test_the_short_name_of_a_preset_and_amounts_with_a_letter(capsys: pytest.CaptureFixture[str]) -> None:
    assert named("7b") == ("llama1-7b", ["llama2-7b"])
    assert named("65b") == ("llama1-65b", [])
    assert named("125m") == ("125m", [])
    assert named("nonsense") == ("nonsense", [])
    assert [plan.amount(text) for text in ("1.4e12", "1.4T", "300m", "7")] == [1400 * 10**9] * 2 + [300 * 10**6, 7]
    for text in ("", "T", "x", "0", "-1", "nan", "inf", "1e30"):
        with pytest.raises(UserError, match="--tokens"):
            plan.amount(text)


def test_the_command_prints_lines_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--preset", "tiny", "--gpus", "2", "--tokens", "1M", "--mfu", "0.3", "--set", "run.sequences=4"]
    assert plan.main(command) == 0
    text = capsys.readouterr().out
    assert "FSDP over 2, microbatches of 2, no recomputation, 1 to a step" in text
    assert "1,954 steps of 512 tokens; the preset has 150" in text
    assert plan.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["preset"], found["steps"], found["layout"]["shards"], found["mfu_palm"]) == ("tiny", 1954, 2, 0.3)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--gpus", "0"],
        ["--memory", "0"],
        ["--memory", "inf"],
        ["--mfu", "1.5"],
        ["--gpu", "h1000"],
        ["--tokens", "many"],
    ],
)
def test_a_wrong_flag_is_one_line(wrong: list[str]) -> None:
    with pytest.raises(UserError, match=wrong[0]):
        plan.main(["--preset", "tiny", *wrong])
