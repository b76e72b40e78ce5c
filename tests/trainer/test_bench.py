from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from curation.errors import UserError
from trainer import bench, bench_peers, plan
from trainer.bench_peers import MAKERS, Runner
from trainer.config import Config, load
from trainer.flops import GPUS, ceiling, training

CPU = torch.device("cpu")
FAST = ["--device", "cpu", "--steps", "4", "--turns", "2", "--warmup", "0", "--microbatch", "2", "--context", "32"]
SMALL = ["vocabulary=64", "dim=32", "ffn=64", "heads=4", "kv_heads=2"]
TINY = ["--layers", "2", *(word for setting in SMALL for word in ("--set", f"model.{setting}"))]


def tiny(**run: object) -> Config:
    small = ["model.vocabulary=64", "model.layers=2", "model.dim=32", "model.ffn=64", "model.context=16"]
    config = load("tiny", [*bench._RATE, *small])
    return dataclasses.replace(config, run=dataclasses.replace(config.run, **run))


def learned(config: Config, who: str, accumulate: int = 1, steps: int = 3) -> list[float]:
    runner = MAKERS[who](config, CPU, False)
    return [float(runner.step(bench.batch(config, accumulate))) for _ in range(steps)]


def test_all_take_turns_on_two_presets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / "bench.json"
    peers = ["--peer", "transformers", "--peer", "plain"]
    assert bench.main(["tiny", "1.1b", *FAST, *TINY, *peers, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    who = ["ours", "transformers", "plain"]
    assert [(row["preset"], row["who"]) for row in found["rows"]] == [(p, w) for p in ("tiny", "1.1b") for w in who]
    assert found["environment"]["torch"] == torch.__version__
    for row in found["rows"]:
        assert row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["tokens_per_second"] == pytest.approx(2 * 32 / row["median_ms"] * 1e3)
        assert row["last_loss"] < row["first_loss"]  # it learns the one batch
        assert row["mfu_causal"] is row["of_ceiling"] is None  # no data sheet for this processor
        assert row["model"]["layers"] == 2
        cost = training(dataclasses.replace(tiny().model, heads=4, context=32))
        share = row["tokens_per_second"] * cost.causal / 1e12
        assert row["of_measured_peak"] == pytest.approx(share / found["environment"]["measured_peak_tflops"], rel=1e-3)
        least, middle, most = row["ours_is_faster"] or (1, 1, 1)
        assert 0 < least <= middle <= most
    said = capsys.readouterr().out.splitlines()
    turns = [line for line in said if line.startswith("tiny, ") and "turn" in line]
    assert turns == [f"tiny, {name}: turn {turn} of 2" for turn in (1, 2) for name in who]
    assert [line.split()[1] for line in said[-6:]] == who * 2


@pytest.mark.parametrize("tied", [False, True])
def test_all_make_the_same_update_of_the_same_model(tied: bool) -> None:
    """To rounding: loss for loss, through clipping and AdamW."""
    pytest.importorskip("transformers")
    config = tiny(microbatch=2)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, tied=tied))
    ours = learned(config, "ours", accumulate=2, steps=4)
    assert ours[3] < ours[0]
    for peer in ("plain", "transformers"):
        assert learned(config, peer, accumulate=2, steps=4) == pytest.approx(ours, rel=2e-6)


def test_accumulated_microbatches_are_one_step_with_their_mean() -> None:
    """The batch is the same each time, so two of it make the step that one makes."""
    for who in ("ours", "plain"):
        config = tiny(microbatch=2)
        assert learned(config, who, accumulate=2) == pytest.approx(learned(config, who, accumulate=1), rel=1e-6)


def test_ours_is_the_step_that_is_trained_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict that the update is to be left out holds in both: nothing is learned."""
    monkeypatch.setattr(bench_peers.learner(tiny(), bench_peers.World(CPU)).__class__, "_verdict", lambda *_: "no")
    losses = learned(tiny(microbatch=2), "ours")
    assert losses[0] == losses[2]


def test_what_one_holds_waits_elsewhere_and_comes_back() -> None:
    """To the meta device, where nothing comes back from, to see what is moved: all of it."""
    runner = MAKERS["ours"](tiny(microbatch=2), CPU, False)
    runner.step(bench.batch(tiny(microbatch=2), 1))
    runner.move(torch.device("meta"))
    moments = [tensor for state in runner.optimiser.state.values() for tensor in state.values()]
    held = [*runner.model.parameters(), *moments]
    assert len(held) == 4 * len(list(runner.model.parameters()))
    assert {tensor.device.type for tensor in held} == {"meta"}


def test_the_microbatch_is_halved_while_memory_is_short() -> None:
    tried: list[int] = []
    said: list[str] = []

    def start(microbatch: int) -> Runner:
        tried.append(microbatch)
        if microbatch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Runner(torch.nn.Linear(1, 1), None, None)  # type: ignore[arg-type]

    assert bench.halving(start, 12, said.append).microbatch == 1
    assert tried == [12, 6, 3, 1]
    assert said == [f"out of memory with microbatches of {n}: trying {n // 2}" for n in (12, 6, 3)]

    def never(microbatch: int) -> Runner:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="not even one sequence"):
        bench.halving(never, 4, said.append)


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputation_changes_no_loss(recompute: str) -> None:
    assert learned(tiny(microbatch=2, recompute=recompute), "ours") == learned(tiny(microbatch=2), "ours")


def on_h100(path: Path, ours: float, config: Config, peak: float) -> dict:
    """What would be written on an H100 on which 20 steps of 4 rows took so many seconds each."""
    runner = Runner(torch.nn.Linear(1, 1), None, lambda rows: 0.0, microbatch=4)  # type: ignore[arg-type]
    runner.times, runner.losses = [[ours] * 10] * 2, [10.0, 9.0]
    facts = {"gpu": "NVIDIA H100 80GB HBM3", "accumulate": 1, "compile": True}
    row = bench.row("350m", "ours", runner, config, peak, facts) | {"ours_is_faster": None}
    path.write_text(json.dumps({"environment": {**facts, "measured_peak_tflops": peak / 1e12}, "rows": [row]}))
    return row


def test_shares_of_the_ceiling_and_a_plan_that_is_calibrated_by_them(tmp_path: Path) -> None:
    config, peak = load("350m", ["model.vocabulary=32000"]), 750e12
    top = ceiling(config.model, GPUS["h100"], peak=peak)
    seconds = 4 * 2048 / (0.85 * top)
    row = on_h100(tmp_path / "bench.json", seconds, config, peak)
    assert row["of_ceiling"] == pytest.approx(0.85)
    assert row["mfu_palm"] == pytest.approx(0.85 * top * training(config.model).palm / 989e12)
    assert "85%, milestone" in bench.table([row])
    assert "94%, goal" in bench.table([{**row, "of_ceiling": 0.94}])
    assert " 79%  " in bench.table([{**row, "of_ceiling": 0.79}])

    found = plan.measured(tmp_path / "bench.json", GPUS["h100"])
    same, source = plan.assumed_mfu(config.model, GPUS["h100"], 1, "none", found)
    assert same == pytest.approx(row["mfu_palm"])
    assert source.startswith("measured: on this very model")
    wider = load("tinyllama-1.1b").model
    other, source = plan.assumed_mfu(wider, GPUS["h100"], 1, "none", found)
    assert other == pytest.approx(0.85 * ceiling(wider, GPUS["h100"], peak=peak) * training(wider).palm / 989e12)
    assert source.startswith("calibrated: 350m reached 85% of its ceiling")
    assert plan.assumed_mfu(wider, GPUS["h100"], 1, "none")[1].startswith("assumed: 93%")
    with pytest.raises(UserError, match="was measured on NVIDIA H100 80GB HBM3, which is not A100"):
        plan.measured(tmp_path / "bench.json", GPUS["a100"])
    other_file = tmp_path / "other.json"
    for content in (None, "[]", '{"rows": [], "environment": {}}', '{"rows": [{"who": "ours", "of_ceiling": 1}]}'):
        if content:
            other_file.write_text(content)
        with pytest.raises(UserError, match=r"other\.json is not what trainer\.bench --json writes"):
            plan.measured(other_file, GPUS["h100"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["tinny"], "did you mean tiny"),
        (["tiny", "--steps", "0"], "--steps 0"),
        (["tiny", "--warmup", "-1"], "--warmup -1"),
        (["tiny", *FAST, *TINY, "--peer", "transformers", "--recompute", "selective"], "selective"),
        (["tiny", *FAST, *TINY, "--json", "/nowhere/x.json"], "--json"),
        (["tiny", *FAST, *TINY, "--json", "/"], "--json"),
        (["llama3.1-405b", "--device", "cpu"], "weights, gradients and moments alone"),
        (["tiny", *FAST, *TINY, "--set", "run.document_mask=true"], "run.document_mask"),
    ],
)
def test_what_cannot_be_done_is_one_line(wrong: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench.main(wrong)


def test_rows_of_a_step_are_one_microbatch_again_and_again() -> None:
    rows = bench.batch(tiny(microbatch=3), 2)
    assert rows.shape == (6, 17)
    assert np.array_equal(rows[:3], rows[3:])
