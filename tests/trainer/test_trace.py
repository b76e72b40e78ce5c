"""From a step back to the pages in it, on a run of real text on two datasets with one document of noise in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import UserError, exit_on_user_error
from curation.token_shard import Dataset
from tests.trainer.conftest import write_dataset
from tests.trainer.test_take_down import take_down
from trainer import checkpoint, evaluate, pretrain
from trainer import trace as tracing
from trainer.mixture import Blend, Mixture
from trainer.trace import trace

SHAPE = ["dim=32", "layers=1", "heads=2", "kv_heads=1", "ffn=64", "context=48"]
RUN = ["sequences=6", "microbatch=4", "steps=44", "checkpoint_every=1", "evaluate_every=99", "seed=5"]
OPTIONS = [f"model.{o}" for o in SHAPE] + [f"run.{o}" for o in RUN] + ["optimiser.lr=3e-3", "schedule.warmup=5"]
URL = "https://noise/train-00001/7"
NOISE = 7  # the number of the document in shard train-00001 of the second dataset


@dataclass(frozen=True)
class Run:
    out: Path
    data: Mixture
    logged: dict[int, dict[str, Any]]
    noisy: list[int]  # steps that read a good part of the noise


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root, dataset = tmp_path_factory.mktemp("trace"), Dataset.open(corpus)
    tokenizer = (corpus / "tokenizer.model").read_bytes()
    texts = [(text[:200], 9) for shard in dataset.shards() for text in shard.documents()]
    noise = np.concatenate([[1], np.random.default_rng(1).integers(300, 512, 400), [2]])
    ours = [("web", *text) for text in texts[0:40]]
    theirs = [("web", *text) for text in texts[40:60]]
    for name, shards in (
        ("ours", [ours[:25], ours[25:]]),
        ("theirs", [theirs[:9], [*theirs[9 : 9 + NOISE], ("noise", noise, 9), *theirs[9 + NOISE :]]]),
    ):
        write_dataset(root / name / "shards", shards, shards[0][:2], vocabulary=512, tokenizer=tokenizer)
    named = [f"{root / 'ours/shards'}=2", f"{root / 'theirs/shards'}=1"]
    keep = pytest.MonkeyPatch()
    keep.setattr(checkpoint.shutil, "rmtree", lambda path, **_: None)  # so that every step has the one before it
    flags = [word for name in named for word in ("--data", name)] + ["--out", str(root / "run"), "--device", "cpu"]
    assert pretrain.main(flags + [word for option in OPTIONS for word in ("--set", option)]) == 0
    keep.undo()
    records = map(json.loads, (root / "run/log.jsonl").read_text().splitlines())
    logged = {record["step"]: record for record in records if "loss" in record}
    noisy = []
    for step in range(20, 45):
        pages = trace(root / "run", step)["pages"]
        noisy += [step] if sum(page["tokens"] for page in pages if page["url"] == URL) > 30 else []
    assert len(noisy) > 1
    return Run(root / "run", Mixture.open(named), logged, noisy)


def test_the_noise_comes_first_with_its_url_and_place(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for step in run.noisy:
        told = trace(run.out, step, found=tracing.checkpoint_before(run.out, step), top=4)
        first = told["pages"][0]
        assert (first["url"], first["file"], first["locator"]) == (URL, "a.warc.gz", "7")
        assert (first["source"], Path(first["shard"]).name, first["document"]) == ("noise", "train-00001", NOISE)
        assert first["lifts"] > 2 * next(page["lifts"] for page in told["pages"] if page["url"] != URL)
        assert first["loss"] > told["loss"] + 0.3
        assert len(first["worst"]) == min(8, first["tokens"])
    arguments = ["--run", str(run.out), "--step", str(run.noisy[0]), "--device", "cpu", "--top", "2"]
    assert tracing.main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[2].strip() == f"1. {URL}"
    assert said[1].startswith(f"mean loss in the log {run.logged[run.noisy[0]]['loss']:.4f}; ")
    assert tracing.main([*arguments, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pages"]) == 2


@pytest.mark.parametrize("step", [1, 2, 30, 44])
def test_every_prediction_is_of_one_document_and_their_losses_are_the_steps(run: Run, step: int) -> None:
    found = tracing.checkpoint_before(run.out, step) if step > 1 else None
    told = trace(run.out, step, found=found)
    assert (told["first"], told["sequences"]) == (6 * (step - 1), 6)
    assert told["predictions"] == sum(page["tokens"] for page in told["pages"]) == 6 * 48
    assert told["taken_down"] == 0
    shards = {str(s.path): s for dataset in run.data.datasets for s in dataset.shards()}
    rows: dict[int, list[int]] = {}
    for page in told["pages"]:
        shard = shards[page["shard"]]
        assert shard.offsets[page["document"]] <= page["start"] < page["end"] <= shard.offsets[page["document"] + 1]
        assert shard.provenance()["url"][page["document"]].as_py() == page["url"]
        rows.setdefault(page["sequence"], []).extend(shard.tokens[page["start"] : page["end"]].tolist())
    if not found:  # then they are in the order in which the step reads them
        read = Blend(run.data, 5, 48).read(told["first"], 6)[0]
        assert [rows[told["first"] + n] for n in range(6)] == read[:, 1:].tolist()
    else:
        assert found.step == step - 1
        assert told["loss"] == pytest.approx(run.logged[step]["loss"], rel=1e-5)
        assert sum(page["loss"] * page["tokens"] for page in told["pages"]) == pytest.approx(told["loss"] * 6 * 48)
        assert sum(page["lifts"] for page in told["pages"]) == pytest.approx(0, abs=1e-6)
        worst = max((token["loss"], token["at"], page["shard"]) for page in told["pages"] for token in page["worst"])
        assert all(token["loss"] <= worst[0] for page in told["pages"] for token in page["worst"])


def test_it_is_the_newest_checkpoint_from_before_the_step_that_is_whole(run: Run, tmp_path: Path) -> None:
    for step in (3, 8, 9):
        shutil.copytree(run.out / f"checkpoint-{step:07d}", tmp_path / f"checkpoint-{step:07d}")

    def before(step: int) -> int | None:
        found = tracing.checkpoint_before(tmp_path, step)
        return found.step if found else None

    assert [before(step) for step in (2, 3, 4, 8, 9, 10, 50)] == [None, 3, 3, 3, 8, 9, 9]
    (tmp_path / "checkpoint-0000008/model.safetensors").write_bytes(b"")
    assert before(9) == 3


def test_what_was_taken_down_is_counted_and_never_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = (dataset.directory for dataset in run.data.datasets)
    shutil.copytree(ours, tmp_path / "ours/shards")
    take_down(theirs, tmp_path / "theirs/shards", {"train-00001": [NOISE]})
    moved = [f"{tmp_path / 'ours/shards'}=2", f"{tmp_path / 'theirs/shards'}=1"]
    step = run.noisy[0]
    for found in (None, tracing.checkpoint_before(run.out, step)):
        whole, left = (trace(run.out, step, data, found) for data in ((), moved))
        gone = [page for page in whole["pages"] if page["url"] == URL]
        assert left["taken_down"] == sum(page["tokens"] for page in gone) > 0
        assert left["predictions"] + left["taken_down"] == whole["predictions"]
        assert len(left["pages"]) == len(whole["pages"]) - len(gone)
        assert "taken-down" not in json.dumps(left)
        assert URL not in json.dumps(left)
    data = [word for name in moved for word in ("--data", name)]
    assert tracing.main(["--run", str(run.out), "--step", str(step), "--list", *data]) == 0
    assert f"besides {left['taken_down']} tokens of documents that were taken down" in capsys.readouterr().out


def test_a_step_is_what_the_log_says_whatever_the_batches_were(tmp_path: Path) -> None:
    lines = [
        {"step": 0, "heldout": {}},
        *({"step": s, "loss": 1.0, "g": g} for s, g in ((1, 4), (2, 8), (3, 24), (4, 40))),
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 5, "g')
    steps = [tracing.find_step(tmp_path, number, 16) for number in (1, 2, 3, 4)]
    assert [step[:2] for step in steps] == [(0, 4), (4, 4), (8, 16), (24, 16)]
    with pytest.raises(UserError, match=r"--step 5: .*log\.jsonl has steps 1 to 4"):
        tracing.find_step(tmp_path, 5, 16)


def test_wrong_requests_are_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, out: Path = run.out) -> str:
        assert exit_on_user_error(lambda: tracing.main(["--run", str(out), *arguments])) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    assert "has steps 1 to 44" in said("--step", "45")
    assert "no run.json" in said("--step", "1", out=tmp_path)
    assert "--top 0" in said("--step", "1", "--top", "0")
    first = run.data.datasets[0].directory
    assert "was trained on dataset" in said("--step", "1", "--data", str(first), "--list")
    assert "is no checkpoint" in said("--step", "1", "--checkpoint", str(tmp_path))
    known = json.loads((run.out / "run.json").read_text())
    for wrong in ([], {}, {"config": known["config"]}):
        (tmp_path / "run.json").write_text(json.dumps(wrong))
        assert "no run.json" in said("--step", "1", "--list", out=tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**known, "data": ["/moved/away=1"]}))
    assert "/moved/away holds no manifest.json" in (text := said("--step", "1", "--list", out=tmp_path))
    assert "--data says where" in text
    shutil.copy(run.out / "run.json", tmp_path)
    (tmp_path / "log.jsonl").write_text("null\n")
    assert "log.jsonl is damaged: line 1" in said("--step", "1", "--list", out=tmp_path)


def test_a_step_before_all_checkpoints_is_listed_without_losses(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("run.json", "log.jsonl"):
        shutil.copy(run.out / name, tmp_path / name)
    assert tracing.main(["--run", str(tmp_path), "--step", "9"]) == 0
    out, err = capsys.readouterr()
    assert "no checkpoint from before the step" in err
    assert "loss in the log" in out
    assert "lifts" not in out


def test_all_are_evaluated_by_their_names(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    data = [word for one in run.data.datasets for word in ("--data", f"{one.directory}=1")]
    assert evaluate.main([*data, "--checkpoint", str(run.out), "--device", "cpu"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-3:]] == ["ours/web", "theirs/web", "all"]
