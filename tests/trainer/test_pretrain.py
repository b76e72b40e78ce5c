"""Training as a user does it: real text, real processes, real interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from curation.errors import UserError, exit_on_user_error
from curation.token_shard import Dataset
from trainer import checkpoint, evaluate, generate, parallel, pretrain
from trainer.config import load
from trainer.evaluate import evaluate_unigram, from_log, total, unigram

CPU = torch.device("cpu")
ROOT = Path(pretrain.__file__).parents[1]
SHAPE = {"dim": 16, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 32, "context": 32}
RUN = {"sequences": 4, "evaluate_every": 50, "evaluate_tokens": 500, "checkpoint_every": 10}
OVERRIDES = [f"model.{k}={v}" for k, v in SHAPE.items()] + [f"run.{k}={v}" for k, v in RUN.items()]


def flags(data: Path, out: Path, *more: str) -> list[str]:
    overrides = [word for override in OVERRIDES for word in ("--set", override)]
    return ["--data", str(data), "--out", str(out), "--device", "cpu", *overrides, *more]


def run(data: Path, out: Path, *more: str) -> int:
    return exit_on_user_error(lambda: pretrain.main(flags(data, out, *more)))


def start(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainer.pretrain", *flags(data, out, *more)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_step(process: subprocess.Popen[str], out: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "log.jsonl").is_file() and f'\n{{"step": {step},' in (out / "log.jsonl").read_text():
            return
        time.sleep(0.002)
    process.kill()
    raise AssertionError(f"step {step} never came: {process.communicate()[0]}")


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


def test_killed_then_terminated_then_continued_is_the_uninterrupted_run(corpus: Path, tmp_path: Path) -> None:
    steps, broken = ("--steps", "150"), tmp_path / "broken"
    process = start(corpus, broken, *steps)
    wait_for_step(process, broken, 27)
    process.kill()  # SIGKILL: nothing is saved, nothing is flushed
    process.communicate()
    assert checkpoint.find(broken).step < losses(broken)[-1][0] < 150
    process = start(corpus, broken, *steps)
    wait_for_step(process, broken, 73)
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    stopped = checkpoint.find(broken).step
    assert 73 <= stopped == losses(broken)[-1][0] < 150
    assert f"stopped by SIGTERM; all up to step {stopped} is saved" in said
    assert run(corpus, broken, *steps) == 0
    assert run(corpus, tmp_path / "whole", *steps) == 0
    assert_same_run(tmp_path / "whole", broken)


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


def test_microbatches_add_up_to_the_same_step(corpus: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(corpus)
    for name, size in (("at-once", 4), ("ragged", 3), ("single", 1)):
        config = load("tiny", [*OVERRIDES, "run.steps=3", f"run.microbatch={size}"])
        pretrain.train(config, dataset, tmp_path / name, CPU, pretrain.Stop())
    for other in ("ragged", "single"):
        for a, b in zip(losses(tmp_path / "at-once"), losses(tmp_path / other), strict=True):
            assert a == pytest.approx(b, rel=1e-5)


def test_it_learns_real_text_better_than_a_unigram_and_says_so(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bigger = {"model.dim": 64, "model.heads": 4, "model.ffn": 160, "run.sequences": 16, "run.evaluate_tokens": 4000}
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
    assert "--out" in said(corpus, out=corpus / "manifest.json")
    if not torch.cuda.is_available():
        assert "--device cuda" in said(corpus, "--device", "cuda")


def test_a_run_is_not_continued_on_other_data_or_with_other_settings(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(corpus, out, "--steps", "2") == 0
    other = tmp_path / "other"
    shutil.copytree(corpus, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "dataset_id": "f" * 64}))
    with pytest.raises(UserError, match="was trained on dataset"):
        pretrain.begin(load("tiny", [*OVERRIDES, "run.steps=2"]), Dataset.open(other), out, CPU)
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
    before = {name: value.clone() for name, value in checkpoint.state(training.model, training.optimiser).items()}
    nan_at(monkeypatch, {1, 2})
    updates = [training.advance(), training.advance()]
    assert [update.skipped for update in updates] == ["not finite"] * 2
    assert updates[0].rate < updates[1].rate
    after = checkpoint.state(training.model, training.optimiser)
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
