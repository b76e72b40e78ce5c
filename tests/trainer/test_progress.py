from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from curation.token_shard import Dataset
from tests.trainer.conftest import write_dataset
from trainer import pretrain
from trainer.config import load
from trainer.log import Log
from trainer.mixture import Blend, Mixture
from trainer.progress import Update, coverage, note

CPU = torch.device("cpu")
OPTIONS = [f"model.{o}" for o in ("dim=16", "layers=1", "heads=2", "kv_heads=1", "ffn=32", "context=32")]


def dataset(directory: Path, sizes: dict[str, int]) -> Dataset:
    documents = [(name, np.full(10, 5), 1) for name, size in sizes.items() for _ in range(size // 10)]
    return Dataset.open(write_dataset(directory, [documents], [], vocabulary=200))


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


def test_coverage_is_told_per_dataset_and_in_proportion_per_source(tmp_path: Path) -> None:
    """a: 801 windows of 10; b: 99. Of 1,000 sequences a has 667, which is part of an epoch, and b has 333."""
    a = dataset(tmp_path / "a", {"web": 6020, "code": 2000})
    b = dataset(tmp_path / "b", {"web": 1000})
    data = Mixture.open([f"{a.directory}=2", f"{b.directory}=1"])
    told = rows(coverage(Blend(data, 0, 10), 1000))
    assert told["a"] == ["66.70%", "8,020", "6,670", "0.83", "0", "1,349"]
    assert told["b"] == ["33.30%", "1,000", "3,330", "3.33", "2,340", "9"]
    assert told["a/web"] == ["50.07%", "6,020", "5,007", "1.66", "0", "1,013"]  # of 3,010 distinct ones
    assert told["code"] == ["16.63%", "2,000", "1,663", "1.66", "0", "336"]
    assert told["b/web"][:4] == ["33.30%", "1,000", "3,330", "6.66"]
    assert told["data"] == ["share", "tokens", "scheduled", "epochs", "repeated", "never", "seen"]


def test_a_dataset_that_tells_nothing_of_its_sources_has_one_row(tmp_path: Path) -> None:
    made = dataset(tmp_path / "a", {"web": 6020})
    for source in made.manifest["sources"]:
        del source["mixed_tokens"]
    assert list(rows(coverage(Blend(Mixture.of(made), 0, 10), 1000))) == ["data", "a"]


def test_it_is_said_that_one_may_train_on_what_another_holds_out(tmp_path: Path) -> None:
    made = [dataset(tmp_path / name, {"web": size}) for name, size in (("a", 2000), ("b", 3000))]
    data = Mixture(tuple(made), (1, 1))
    for fractions, said in (((0.1, 0.1), False), ((0.1, 0.2), True)):
        for one, fraction in zip(made, fractions, strict=True):
            one.manifest["heldout_fraction"] = fraction
        assert ("hold out different fractions" in coverage(Blend(data, 0, 10), 100)) == said


def test_unusual_steps_name_the_command_that_shows_their_pages(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", 0)

    def told(step: int, loss: float, norm: float = 1.0, skipped: str = "") -> str:
        return note(log, Update(loss, norm, 1e-3, {"web": loss}, skipped), step, step * 4, 0, 0.1, f"trace {step}")[1]

    assert [told(step, 3.0 + step % 2) for step in range(1, 101)] == [""] * 100
    assert told(101, 99.0, skipped="not finite") == "is skipped, not finite"
    assert told(102, 8.0) == ""  # only 100 to compare with
    assert [told(step, 3.0 + step % 2) for step in range(103, 240)] == [""] * 137
    assert told(240, 6.4) == ""  # 5.8 deviations of 0.5
    assert told(241, 6.9) == "spikes"
    assert told(242, math.nan, skipped="not finite") == "is skipped, not finite"
    log.close()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {r["step"]: r["trace"] for r in records if "trace" in r} == {n: f"trace {n}" for n in (101, 241, 242)}


def test_a_batch_may_be_changed_on_the_way_where_it_is_said(corpus: Path, tmp_path: Path) -> None:
    """The order goes on where it was, and all else as the function of the step that it is."""
    data, out = Dataset.open(corpus), tmp_path / "run"

    def train(steps: int, sequences: int, *change: str) -> list[str]:
        said: list[str] = []
        config = load("tiny", [*OPTIONS, f"run.sequences={sequences}", f"run.steps={steps}"])
        pretrain.train(config, data, out, CPU, pretrain.Stop(), said.append, change)
        return said

    train(3, 4)
    with pytest.raises(pretrain.UserError, match=r"run\.steps was 3, now 5; run\.sequences was 4, now 6"):
        train(5, 6)
    with pytest.raises(pretrain.UserError, match=r"\(run\.sequences was 4, now 6\): "):
        train(5, 6, "run.steps")
    for key in ("model.layers", "run.seed", "run.nothing"):
        with pytest.raises(pretrain.UserError, match=f"--change {key}"):
            train(5, 6, "run.steps", "run.sequences", key)
    said = train(5, 6, "run.steps", "run.sequences")
    assert " 768 " in next(line for line in said if "never seen" in line)  # (3 * 4 + 2 * 6) * 32 scheduled
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [r["g"] for r in records if "g" in r] == [4, 8, 12, 18, 24]
