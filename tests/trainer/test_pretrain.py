"""Training as a user does it: real text, real processes, real interruptions."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curation.errors import UserError, exit_on_user_error
from curation.token_shard import Dataset
from trainer import checkpoint, evaluate, generate, parallel, pretrain
from trainer.config import load
from trainer.evaluate import evaluate_unigram, from_log, total, unigram

CPU = torch.device("cpu")
Start = Callable[[int, list[dict[str, Any]], Path], Any]  # conftest.py
SHAPE = {"dim": 16, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 32, "context": 32}
RUN = {"sequences": 4, "evaluate_every": 50, "evaluate_tokens": 500, "checkpoint_every": 10}
OVERRIDES = [f"model.{k}={v}" for k, v in SHAPE.items()] + [f"run.{k}={v}" for k, v in RUN.items()]


def flags(data: Path, out: Path, *more: str) -> list[str]:
    overrides = [word for override in OVERRIDES for word in ("--set", override)]
    return ["--data", str(data), "--out", str(out), "--device", "cpu", *overrides, *more]


def run(data: Path, out: Path, *more: str) -> int:
    return exit_on_user_error(lambda: pretrain.main(flags(data, out, *more)))


def stop_while_writing(running: Any, out: Path) -> Path:
    """Stops the process (SIGSTOP) when a checkpoint is on its way to the disk, and returns how far that is."""
    pid, deadline = json.loads((running.directory / "pids.json").read_text())[0], time.monotonic() + 120
    while time.monotonic() < deadline and running.running():
        for half in out.glob(".checkpoint-*.tmp"):
            os.kill(pid, signal.SIGSTOP)
            while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                time.sleep(0.0005)
            if half.is_dir() and not (half / "checkpoint.json").exists():
                return half
            os.kill(pid, signal.SIGCONT)
    raise AssertionError(f"no checkpoint was seen while it was written: {running.said()}")


def losses(out: Path) -> list[tuple[int, float, float]]:
    """(step, loss, gradient norm) of every step in the log, in its order."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"], r["grad_norm"]) for r in records if "loss" in r]


def heldout_steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines() if "heldout" in line]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.find(out).path / "model.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    assert heldout_steps(one) == heldout_steps(other)
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


class StopAfter(pretrain.Stop):
    """Asks the run to stop once its log has so many lines, as a signal would."""

    def __init__(self, out: Path, steps: int) -> None:
        self.out, self.steps = out, steps

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        return int(signal.SIGTERM) if len(losses(self.out)) >= self.steps else None


def test_three_steps_and_three_more_are_six_to_the_bit(corpus: Path, tmp_path: Path) -> None:
    config = load("tiny", [*OVERRIDES, "run.steps=6"])
    dataset = Dataset.open(corpus)
    pretrain.train(config, dataset, tmp_path / "straight", CPU, pretrain.Stop())
    half, _ = pretrain.train(config, dataset, tmp_path / "halves", CPU, StopAfter(tmp_path / "halves", 3))
    assert (half.step, half.g) == (3, 12)
    whole, _ = pretrain.train(config, dataset, tmp_path / "halves", CPU, pretrain.Stop())
    assert (whole.step, whole.g) == (6, 24)
    assert len(losses(tmp_path / "halves")) == 6
    assert_same_run(tmp_path / "straight", tmp_path / "halves")


@pytest.mark.xdist_group("processes")
def test_killed_then_terminated_then_continued_is_the_uninterrupted_run(
    corpus: Path, processes: Start, tmp_path: Path
) -> None:
    """With checkpoints in the background, the first process is killed (SIGKILL) in the middle of writing one."""
    steps, broken = ("--steps", "90"), tmp_path / "broken"
    job = {"command": flags(corpus, broken, *steps, "--set", "run.checkpoint_async=true")}
    running = processes(1, [job], tmp_path / "killed")
    running.wait_for_step(broken, 17)
    half = stop_while_writing(running, broken)
    running.send(0, signal.SIGKILL)
    assert running.ended() == [-signal.SIGKILL]
    assert half.is_dir()
    assert checkpoint.find(broken).step < losses(broken)[-1][0] < 90
    running = processes(1, [job], tmp_path / "terminated")
    running.wait_for_step(broken, 53)
    running.send(0, signal.SIGTERM)
    assert running.ended() == [128 + signal.SIGTERM]
    stopped = checkpoint.find(broken).step
    assert 53 <= stopped == losses(broken)[-1][0] < 90
    assert f"stopped by SIGTERM; all up to step {stopped} is saved" in running.said()
    assert run(corpus, broken, *steps) == 0
    assert run(corpus, tmp_path / "whole", *steps) == 0
    assert_same_run(tmp_path / "whole", broken)


def test_a_damaged_checkpoint_is_passed_over_and_never_the_last_good_one(corpus: Path, tmp_path: Path) -> None:
    config, dataset = load("tiny", [*OVERRIDES, "run.steps=4", "run.checkpoint_every=1"]), Dataset.open(corpus)
    pretrain.train(config, dataset, tmp_path, CPU, StopAfter(tmp_path, 2))
    (tmp_path / "checkpoint-0000002" / "optimiser.safetensors").write_bytes(b"")
    training = pretrain.begin(config, dataset, tmp_path, CPU)
    assert training.step == 1
    training.advance()
    training.advance()
    training.save()
    assert [checkpoint.read(path).step for path in sorted(tmp_path.glob("checkpoint-*"))] == [1, 3]


def test_the_log_is_on_the_disk_before_the_checkpoint_that_covers_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = [], os.fsync

    def note(handle: int) -> None:
        fsync(handle)
        log = tmp_path / "log.jsonl"
        flushed.append(len(losses(tmp_path)) if os.path.samestat(os.fstat(handle), log.stat()) else -1)

    monkeypatch.setattr(os, "fsync", note)
    config = load("tiny", [*OVERRIDES, "run.steps=5", "run.checkpoint_every=2"])
    pretrain.train(config, Dataset.open(corpus), tmp_path, CPU, StopAfter(tmp_path, 3))
    assert flushed[0] == 2  # before any file of the checkpoint
    assert [lines for lines in flushed if lines >= 0] == [2, 3]
    assert flushed.index(3) == len(flushed) // 2


def test_a_checkpoint_that_cannot_be_written_ends_the_run_in_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # of the moments there are more
    try:
        assert run(corpus, tmp_path, "--steps", "150", "--set", "run.checkpoint_async=true") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "checkpoint-0000010 could not be written: " in said
    assert "there is none before it" in said
    assert 10 <= losses(tmp_path)[-1][0] <= 20  # the next would have waited for it


def test_it_learns_real_text_better_than_a_unigram_and_says_so(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bigger = {"model.dim": 64, "model.heads": 4, "model.ffn": 160, "run.sequences": 16}
    bigger |= {"run.evaluate_tokens": 4000, "run.checkpoint_every": 60}
    more = [word for k, v in bigger.items() for word in ("--set", f"{k}={v}")]
    assert run(corpus, tmp_path / "run", "--steps", "120", *more) == 0
    said = capsys.readouterr().out
    dataset = Dataset.open(corpus)
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = {r["step"]: from_log(r["heldout"]) for r in records if "heldout" in r}
    baseline = evaluate_unigram(unigram(dataset), dataset, 4000)
    for start_score, end, uni in zip(scores[0], scores[120], baseline, strict=True):
        assert (end.source, end.tokens, end.bytes) == (uni.source, uni.tokens, uni.bytes)
        assert end.bits_per_byte < uni.bits_per_byte < start_score.bits_per_byte
    assert total(scores[120]).bits_per_byte < 0.9 * total(baseline).bits_per_byte
    for expected in (
        "never seen",
        "step 1/120 | loss 6.",
        "held-out at step 120",
        f"{total(baseline).bits_per_byte:.4f}",
        f"{total(scores[120]).bits_per_byte:.4f}",
        "a sample, from nothing:",
    ):
        assert expected in said

    assert run(corpus, tmp_path / "run", "--steps", "120", *more) == 0  # again: nothing to do, the same report
    assert said.split("\nloss: ")[1] == capsys.readouterr().out.split("\nloss: ")[1]

    shown = ["--checkpoint", str(tmp_path / "run"), "--device", "cpu"]
    assert evaluate.main(["--data", str(corpus), *shown]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[-3:]] == ["code", "reference", "all"]
    assert float(table[-1].split()[-2]) < float(table[-1].split()[-1])

    texts = []
    for seed in ("1", "1", "2"):
        assert generate.main([*shown, "--prompt", "The  statement", "--tokens", "12", "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert all(text.startswith("The  statement") for text in texts)


def test_what_the_user_did_wrong_is_one_line_and_exit_2(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(data: Path, *more: str, out: Path = tmp_path / "run") -> str:
        capsys.readouterr()
        assert run(data, out, "--steps", "1", *more) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    truncated = tmp_path / "truncated"
    shutil.copytree(corpus, truncated)
    with (truncated / "train-00001.bin").open("r+b") as stream:
        stream.truncate(1000)
    assert "train-00001.bin has 1000 bytes" in said(truncated)
    swapped = tmp_path / "swapped"
    shutil.copytree(corpus, swapped)
    (swapped / "tokenizer.model").write_bytes(b"another")
    assert "not the tokenizer that the manifest describes" in said(swapped)
    assert "no manifest.json" in said(tmp_path / "nowhere")
    assert "did you mean optimiser.lr?" in said(corpus, "--set", "optimiser.lr_=1")
    assert "there is no preset 'huge'" in said(corpus, "--preset", "huge")
    assert "--set model.vocabulary=512" in said(corpus, "--set", "model.vocabulary=100")
    assert "model.context = 129: tiny is made for" in said(corpus, "--set", "model.context=129")
    assert "tensor = 2 do not make 1 processes" in said(corpus, "--set", "parallel.tensor=2")
    assert "--out" in said(corpus, out=corpus / "manifest.json")
    assert not (tmp_path / "run").exists()
    if not torch.cuda.is_available():
        assert "--device cuda" in said(corpus, "--device", "cuda")


@pytest.mark.xdist_group("processes")
def test_a_model_that_does_not_fit_the_memory_is_refused_before_anything_is_made(
    corpus: Path, processes: Start, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["--data", str(corpus), "--out", str(out), "--preset", "llama1-65b", "--device", "cpu"]
    running = processes(1, [{"command": command}], tmp_path / "refused")
    assert running.ended() == [2]
    assert running.said().count("\n") == 1
    assert "65,285,660,672 parameters take 1044.6 GB for weights, gradients and moments alone" in running.said()
    assert not out.exists()


def test_half_written_checkpoints_are_passed_over_and_where_none_is_whole_nothing_is_begun_anew(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps in (1, 2):
        assert run(corpus, tmp_path, "--steps", "2", "--set", f"run.checkpoint_every={steps}") == 0
    for step, passed_over, code in ((2, 1, 0), (1, 2, 2)):
        (tmp_path / f"checkpoint-000000{step}" / "model.safetensors").write_bytes(b"")
        capsys.readouterr()
        assert run(corpus, tmp_path, "--steps", "2") == code
        said = capsys.readouterr()
        assert said.err.count("passed over: ") == passed_over
        if code:
            assert "2 checkpoints and none is whole: remove them or choose another --out" in said.err
        else:
            assert "continuing after step 1 of 2" in said.out
            (tmp_path / "checkpoint-0000002" / "model.safetensors").write_bytes(b"")


def test_a_run_is_not_continued_on_other_data_or_with_other_settings(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(corpus, out, "--steps", "2") == 0
    other = tmp_path / "other"
    shutil.copytree(corpus, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "dataset_id": "f" * 64}))
    with pytest.raises(UserError, match="was trained on dataset"):
        pretrain.begin(load("tiny", [*OVERRIDES, "run.steps=2"]), Dataset.open(other), out, CPU)
    fewer = load("tiny", [*OVERRIDES, "run.steps=1"])
    with pytest.raises(UserError, match=r"0000002 is beyond run\.steps = 1"):
        pretrain.begin(fewer, Dataset.open(corpus), out, CPU, ["run.steps"])
    with pytest.raises(UserError, match=r"run\.steps was 2, now 3; run\.seed was 0, now 5"):
        pretrain.begin(load("tiny", [*OVERRIDES, "run.steps=3", "run.seed=5"]), Dataset.open(corpus), out, CPU)
    assert (
        pretrain.begin(
            load("tiny", [*OVERRIDES, "run.steps=2", "run.print_every=1"]), Dataset.open(corpus), out, CPU
        ).step
        == 2
    )


def nan_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """From now on these calls of `clip`, the first is 1, return a norm that is not a number."""
    right, calls = parallel.clip, iter(range(1, 1000))

    def clip(parameters: Sequence[torch.nn.Parameter], limit: float) -> torch.Tensor:
        return right(parameters, limit) * (float("nan") if next(calls) in steps else 1.0)

    monkeypatch.setattr(parallel, "clip", clip)


def test_a_step_that_is_not_finite_changes_nothing_but_the_step(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = pretrain.begin(load("tiny", [*OVERRIDES, "run.steps=9"]), Dataset.open(corpus), tmp_path, CPU)
    training.advance()

    def state() -> dict[str, torch.Tensor]:
        return training.model.state_dict() | checkpoint.moments_of(training.model, training.optimiser)

    before = {name: value.clone() for name, value in state().items()}
    nan_at(monkeypatch, {1, 2})
    updates = [training.advance(), training.advance()]
    assert [update.skipped for update in updates] == ["not finite"] * 2
    assert updates[0].rate < updates[1].rate
    after = state()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert (training.step, training.g, training.skipped, training.skipped_in_a_row) == (3, 12, 2, 2)
    assert training.advance().skipped == ""
    assert (training.skipped, training.skipped_in_a_row) == (2, 0)


def test_ten_skipped_steps_in_a_row_end_the_run_also_when_it_was_interrupted_between(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, dataset = load("tiny", [*OVERRIDES, "run.steps=30"]), Dataset.open(corpus)
    nan_at(monkeypatch, {*range(1, 10), *range(11, 100)})  # nine, one good one, and then
    half, _ = pretrain.train(config, dataset, tmp_path, CPU, StopAfter(tmp_path, 14))
    assert (half.step, half.skipped, half.skipped_in_a_row) == (14, 13, 4)
    with pytest.raises(UserError, match="10 steps in a row were skipped, the last, 20, with a loss of 6"):
        pretrain.train(config, dataset, tmp_path, CPU, pretrain.Stop())
    assert checkpoint.find(tmp_path).step == 14
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "skipped" in r] == [*range(1, 10), *range(11, 21)]


def test_a_spike_is_skipped_where_the_run_says_so_and_never_before_there_is_something_to_compare(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_SPIKE_AFTER", 12)
    config, dataset = load("tiny", [*OVERRIDES, "run.steps=20", "run.skip_z=1.5"]), Dataset.open(corpus)
    pretrain.train(config, dataset, tmp_path / "straight", CPU, pretrain.Stop())
    records = [json.loads(line) for line in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    skipped = [r["step"] for r in records if "skipped" in r]
    assert skipped
    assert min(skipped) > 12
    assert all("a spike of " in r["skipped"] for r in records if "skipped" in r)
    pretrain.train(config, dataset, tmp_path / "halves", CPU, StopAfter(tmp_path / "halves", skipped[0]))
    pretrain.train(config, dataset, tmp_path / "halves", CPU, pretrain.Stop())
    assert_same_run(tmp_path / "straight", tmp_path / "halves")
