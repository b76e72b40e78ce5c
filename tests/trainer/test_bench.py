from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from curation.errors import UserError
from trainer import bench
from trainer.config import Config, load
from trainer.flops import training

CPU = torch.device("cpu")
FAST = ["--device", "cpu", "--steps", "3", "--warmup", "1", "--microbatch", "2", "--context", "32"]
TINY = ["--set", "model.vocabulary=64", "--set", "model.layers=2", "--set", "model.dim=32", "--set", "model.ffn=64"]


def tiny(**run: object) -> Config:
    config = load("tiny", ["model.vocabulary=64", "model.layers=2", "model.dim=32", "model.ffn=64", "model.context=16"])
    return dataclasses.replace(config, run=dataclasses.replace(config.run, **run))


def test_a_bench_of_two_presets_beside_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / "bench.json"
    assert bench.main(["tiny", "60m", *FAST, *TINY, "--peer", "transformers", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [(row["preset"], row["who"]) for row in found["rows"]] == [
        ("tiny", "ours"),
        ("tiny", "transformers"),
        ("60m", "ours"),
        ("60m", "transformers"),
    ]
    assert found["environment"]["torch"] == torch.__version__
    for row in found["rows"]:
        assert row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["tokens_per_second"] == pytest.approx(2 * 32 / row["median_ms"] * 1e3)
        assert row["last_loss"] < row["first_loss"]  # it learns the one batch
        assert row["mfu_causal"] is None  # no data sheet for this processor
        config = load(row["preset"], TINY[1::2]).model
        share = row["tokens_per_second"] * training(config, 32).causal / 1e12
        assert row["of_measured_peak"] == pytest.approx(share / found["environment"]["measured_peak_tflops"], rel=1e-3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5].split()[:2] == ["preset", "who"]
    assert [line.split()[1] for line in lines[-4:]] == ["ours", "transformers"] * 2


@pytest.mark.parametrize("tied", [False, True])
def test_the_peer_is_the_same_model_with_the_same_loss_and_gradient(tied: bool) -> None:
    pytest.importorskip("transformers")
    config = dataclasses.replace(tiny(), model=dataclasses.replace(tiny().model, tied=tied))
    windows = torch.randint(64, (2, 17), generator=torch.Generator().manual_seed(3))
    losses, norms = [], []
    for make in (bench.ours, bench.transformers_peer):
        model, loss = make(config, CPU, False)
        value = loss(windows)
        value.backward()
        losses.append(value.item())
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)


def test_accumulated_microbatches_are_one_step_with_their_mean() -> None:
    """The batch is the same each time, so two of it make the step that one makes."""
    config, found = tiny(microbatch=2), []
    for accumulate in (1, 2):
        model, loss = bench.ours(config, CPU, False)
        times, first, last = bench.timed_steps(model, loss, config, CPU, 2, 1, accumulate)
        assert len(times) == 2
        found.append((first, last))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_microbatch_is_halved_while_memory_is_short() -> None:
    tried: list[int] = []
    said: list[str] = []

    def run(microbatch: int) -> bench.Row:
        tried.append(microbatch)
        if microbatch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"  # type: ignore[return-value]

    assert bench.halving(run, 12, said.append) == "done"
    assert tried == [12, 6, 3, 1]
    assert said == [f"out of memory with microbatches of {n}: trying {n // 2}" for n in (12, 6, 3)]

    def never(microbatch: int) -> bench.Row:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="not even one sequence"):
        bench.halving(never, 4, said.append)


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputation_changes_no_loss(recompute: str) -> None:
    losses = []
    for how in ("none", recompute):
        config = tiny(microbatch=2, recompute=how)
        model, loss = bench.ours(config, CPU, False)
        losses.append(bench.timed_steps(model, loss, config, CPU, 2, 0, 1)[1:])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["tinny"], "did you mean tiny"),
        (["tiny", "--steps", "0"], "--steps 0"),
        (["tiny", "--warmup", "-1"], "--warmup -1"),
        (["tiny", *FAST, *TINY, "--peer", "transformers", "--recompute", "selective"], "selective"),
        (["tiny", *FAST, *TINY, "--json", "/nowhere/x.json"], "--json"),
        (["tiny", *FAST, *TINY, "--set", "run.document_mask=true"], "run.document_mask"),
    ],
)
def test_what_cannot_be_done_is_one_line(wrong: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench.main(wrong)
