"""Real processes that talk to each other over loopback (gloo). What is compared are the logs and files they leave."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curation.errors import UserError
from curation.take_down import blank, descendant, entry_of, sources_without
from curation.token_shard import MANIFEST, Dataset, Shard
from trainer import checkpoint, parallel, pretrain
from trainer.config import ParallelConfig, load
from trainer.data import IGNORED, Loader
from trainer.parallel import World

pytestmark = pytest.mark.xdist_group("processes")
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
Start = Callable[[int, list[dict[str, Any]], Path], Any]  # conftest.py
SHAPE = {"dim": 16, "layers": 2, "heads": 4, "kv_heads": 2, "ffn": 32, "context": 32}
RUN = {"steps": 6, "sequences": 4, "microbatch": 2, "evaluate_tokens": 300, "print_every": 1}
BASE = [f"model.{k}={v}" for k, v in SHAPE.items()] + [f"run.{k}={v}" for k, v in RUN.items()]
SHARD, TENSOR = ["parallel.shard=2"], ["parallel.tensor=2"]
REPLICATE = ["parallel.replicate=2", "run.microbatch=1"]  # two of them: copies agree after the last
LONG = ["run.steps=70", "run.checkpoint_every=10"]  # far longer than it takes to see where it is
MASKED = ["model.context=128", "run.seed=2", "run.steps=2", "run.recompute=selective", "run.document_mask=true"]
RAGGED = ["run.steps=3", "run.microbatch=1"]
COMPILED = ["model.layers=1", "run.steps=1", "run.compile=true"]


def alone(data: Path, out: Path, more: list[str] | None = None, stop: pretrain.Stop | None = None) -> None:
    pretrain.train(load("tiny", BASE + (more or [])), Dataset.open(data), out, CPU, stop or pretrain.Stop())


def log(out: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def losses(out: Path) -> list[float]:
    return [record["loss"] for record in log(out) if "loss" in record]


def norms(out: Path) -> list[float]:
    return [record["grad_norm"] for record in log(out) if "loss" in record]


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, whoever wrote them."""
    return {name: tensor for file in path.glob("*.safetensors") for name, tensor in load_file(file).items()}


def assert_equal_tensors(one: Path, other: Path) -> None:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


class StopAfterThree(pretrain.Stop):
    def __init__(self, out: Path) -> None:
        self.out = out

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        return 15 if len(losses(self.out)) >= 3 else None


def take_down_half(data: Path) -> None:
    """Every second document goes: many rows of a step are left with few predictions, or with none."""
    manifest = json.loads((data / MANIFEST).read_text())
    entries = {}
    for entry in manifest["shards"]:
        shard = Shard(data / entry["name"], manifest["dtype"])
        blank(shard, range(0, len(shard.lengths), 2), 1, 2)
        entries[entry["name"]] = entry_of(Shard(data / entry["name"], manifest["dtype"]), entry["name"])
    child = descendant(manifest, manifest["dataset_id"], entries, sources_without(manifest["sources"], []), [])
    (data / MANIFEST).write_text(json.dumps(child))


@pytest.fixture(scope="module")
def two(corpus: Path, processes: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that two processes do, in one start of them: a directory per training."""
    root = tmp_path_factory.mktemp("two")
    alone(corpus, root / "one")
    alone(corpus, root / "one-to-shard", stop=StopAfterThree(root / "one-to-shard"))
    alone(corpus, root / "one-masked", MASKED)
    alone(corpus, root / "one-compiled", COMPILED[:-1])
    alone(corpus, root / "one-unmasked", MASKED[:-1])

    ragged = shutil.copytree(corpus, root / "data")
    take_down_half(ragged)
    alone(ragged, root / "one-ragged", [*RAGGED, "run.microbatch=4"])

    def job(out: str, more: list[str], **options: Any) -> dict[str, Any]:
        return {"data": str(corpus), "out": str(root / out), "overrides": BASE + more, **options}

    jobs = [
        job("shard", SHARD),
        job("tensor", TENSOR),
        job("replicate", REPLICATE),
        job("shard-halves", SHARD, stop=3),
        job("shard-halves", TENSOR, keep=str(root / "kept-by-tensor")),
        job("shard-halves", SHARD),
        job("one-to-shard", SHARD),
        job("shard-to-one", SHARD, stop=3),
        job("tensor-to-one", TENSOR, stop=3),
        job("tensor-to-one", SHARD, keep=str(root / "kept-by-shard")),
        job("tensor-masked", [*TENSOR, *MASKED]),
        job("whole", [*SHARD, *LONG]),
        job("tensor-compiled", [*TENSOR, *COMPILED], backend="aot_eager"),
        {**job("ragged", [*SHARD, *RAGGED]), "data": str(ragged)},
        job("background", [*SHARD, "run.checkpoint_async=true", "run.checkpoint_every=2"]),
        job("full-False", [*SHARD, "run.checkpoint_every=2"], limit=20_000),
        job("full-True", [*SHARD, "run.checkpoint_async=true", "run.checkpoint_every=2"], limit=20_000),
        job("spoiled", SHARD, spoil=3),
    ]
    running = processes(2, jobs, root / "processes")
    assert running.ended() == [0, 0], running.said(0) + running.said(1)
    for name in ("shard-halves", "shard-to-one", "tensor-to-one"):
        (root / f"{name}-at-3").symlink_to(root / name / "checkpoint-0000003")
    for name in ("shard-to-one", "tensor-to-one"):
        alone(corpus, root / name)
    return root


@pytest.mark.parametrize(("layout", "criterion"), [("shard", 1e-6), ("tensor", 5e-7), ("replicate", 1e-6)])
def test_two_processes_learn_what_one_learns(two: Path, layout: str, criterion: float) -> None:
    """Six steps: to 1e-6, and with tensor parallelism to seven digits of 6.2."""
    assert losses(two / layout) == pytest.approx(losses(two / "one"), rel=0, abs=criterion)
    assert norms(two / layout) == pytest.approx(norms(two / "one"), rel=0, abs=criterion)
    for mine, other in zip(log(two / layout), log(two / "one"), strict=True):
        assert mine.get("sources", {}) == pytest.approx(other.get("sources", {}), rel=1e-6)
        for source, score in mine.get("heldout", {}).items():
            assert score == pytest.approx(other["heldout"][source], rel=1e-6)


def test_predictions_that_are_spread_unevenly_weigh_the_same_wherever_they_are(two: Path) -> None:
    data = Dataset.open(two / "data")
    left = (Loader(data, 0, 32).batch(0, 12)[:, 1:] != IGNORED).sum(axis=1)
    assert (left == 0).any()
    assert len(set(left.reshape(-1, 2).sum(axis=1))) > 1  # of the rows of one process and the other
    assert losses(two / "ragged") == pytest.approx(losses(two / "one-ragged"), rel=0, abs=1e-6)
    assert norms(two / "ragged") == pytest.approx(norms(two / "one-ragged"), rel=1e-6)


def test_documents_and_recomputation_come_through_tensor_parallelism(two: Path) -> None:
    assert losses(two / "tensor-masked") == pytest.approx(losses(two / "one-masked"), rel=1e-6)
    assert norms(two / "tensor-masked") == pytest.approx(norms(two / "one-masked"), rel=1e-6)
    assert losses(two / "one-masked") != pytest.approx(losses(two / "one-unmasked"), rel=1e-5)


def test_compiled_blocks_lose_no_gradient_to_tensor_parallelism(two: Path) -> None:
    assert norms(two / "tensor-compiled") == pytest.approx(norms(two / "one-compiled"), rel=1e-5)


def test_three_steps_and_three_more_are_six_to_the_bit(two: Path) -> None:
    assert log(two / "shard-halves") == log(two / "shard")
    assert_equal_tensors(checkpoint.find(two / "shard-halves").path, checkpoint.find(two / "shard").path)


@pytest.mark.parametrize(
    ("resumed", "straight"), [("one-to-shard", "shard"), ("shard-to-one", "one"), ("tensor-to-one", "one")]
)
def test_another_layout_continues(two: Path, resumed: str, straight: str) -> None:
    """As floats, the losses are those of the layout that was not interrupted: 6.2 has a spacing of 4.8e-7 in fp32."""
    assert [record["step"] for record in log(two / resumed) if "loss" in record] == [1, 2, 3, 4, 5, 6]
    assert losses(two / resumed) == pytest.approx(losses(two / straight), rel=0, abs=1e-7)
    assert norms(two / resumed) == pytest.approx(norms(two / straight), rel=0, abs=2e-7)


@pytest.mark.parametrize(
    ("kept", "was"), [("kept-by-tensor", "shard-halves-at-3"), ("kept-by-shard", "tensor-to-one-at-3")]
)
def test_a_checkpoint_goes_through_another_layout_to_the_bit(two: Path, kept: str, was: str) -> None:
    assert_equal_tensors(checkpoint.find(two / kept).path, two / was)


def test_a_checkpoint_of_two_is_whole_and_of_plain_safetensors(two: Path) -> None:
    found = checkpoint.find(two / "shard")
    names = [f"{kind}-0000{n}-of-00002.safetensors" for kind in ("model", "optimiser") for n in (1, 2)]
    assert sorted(p.name for p in found.path.iterdir()) == ["checkpoint.json", *names, "tokenizer.model"]
    model = checkpoint.load_model(found, CPU)
    one = checkpoint.load_model(checkpoint.find(two / "one"), CPU)
    for (name, mine), other in zip(model.named_parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5, msg=name)


def test_what_is_not_finite_in_one_process_is_skipped_in_all(two: Path) -> None:
    records = [record for record in log(two / "spoiled") if "lr" in record]
    assert [record["step"] for record in records if "skipped" in record] == [3]
    assert records[2]["skipped"].startswith("not finite: loss 6.")
    assert losses(two / "spoiled")[:2] == losses(two / "shard")[:2]
    assert losses(two / "spoiled")[3] != losses(two / "shard")[3]
    assert checkpoint.find(two / "spoiled").skipped == 1


def test_what_is_written_in_the_background_is_the_same_to_the_bit(two: Path) -> None:
    assert log(two / "background") == log(two / "shard")
    assert_equal_tensors(checkpoint.find(two / "background").path, checkpoint.find(two / "shard").path)
    assert [checkpoint.read(path).step for path in sorted((two / "background").glob("checkpoint-*"))] == [4, 6]


@pytest.mark.parametrize("background", [False, True])
def test_where_one_process_cannot_write_all_end_with_its_reason(two: Path, background: bool) -> None:
    out = two / f"full-{background}"
    for rank in (0, 1):
        said = (out / f"said-{rank}").read_text()
        assert re.search("checkpoint-0000002 could not be written: .*File too large", said)
    assert list(out.glob("*checkpoint-*")) == []
    assert losses(out)[-1] in losses(two / "shard")[1 : None if background else 2]  # beside it, steps go on meanwhile


def test_killed_then_terminated_then_continued_by_torchrun_is_the_uninterrupted_run(
    two: Path, corpus: Path, processes: Start, tmp_path: Path
) -> None:
    overrides = [word for override in [*BASE, *LONG, *SHARD] for word in ("--set", override)]
    out = tmp_path / "out"
    command = ["--data", str(corpus), "--out", str(out), "--device", "cpu", *overrides]

    running = processes(2, [{"command": command}], tmp_path / "killed")
    running.wait_for_step(out, 17)
    running.send(1, signal.SIGKILL)  # nothing is saved
    assert running.ended()[0] not in (0, 128 + signal.SIGTERM)  # the other does not wait for it
    assert checkpoint.find(out).step % 10 == 0

    running = processes(2, [{"command": command}], tmp_path / "terminated")
    running.wait_for_step(out, 33)
    running.send(1, signal.SIGTERM)  # the other is not told
    assert running.ended() == [128 + signal.SIGTERM] * 2
    stopped = checkpoint.find(out).step
    assert 33 <= stopped < 70
    assert f"stopped by SIGTERM; all up to step {stopped} is saved" in running.said(0)
    assert running.said(1) == ""

    address = ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *address]
    by_hand = [*torchrun, "-m", "trainer.pretrain", *command]
    done = subprocess.run(by_hand, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "held-out bits per byte" in done.stdout
    assert log(out) == log(two / "whole")
    assert_equal_tensors(checkpoint.find(out).path, checkpoint.find(two / "whole").path)


def test_four_processes_shard_copies_and_shard_what_tensor_parallelism_cut(
    corpus: Path, processes: Start, tmp_path: Path
) -> None:
    short, tied = "run.steps=2", "model.tied=true"
    accumulated = [short, "run.sequences=8", "run.microbatch=1"]  # two microbatches in each process
    layouts = {
        "copies-of-shards": [*accumulated, "parallel.replicate=2", "parallel.shard=2"],
        "shards-of-cuts": [short, tied, "parallel.shard=2", "parallel.tensor=2"],
    }
    jobs = [{"data": str(corpus), "out": str(tmp_path / name), "overrides": BASE + x} for name, x in layouts.items()]
    jobs.append({**jobs[1], "keep": str(tmp_path / "kept")})
    running = processes(4, jobs, tmp_path / "processes")
    assert running.ended() == [0] * 4, running.said(0) + running.said(3)
    for name, more in (("copies-of-shards", accumulated), ("shards-of-cuts", [short, tied])):
        alone(corpus, tmp_path / "one" / name, more)
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "one" / name), rel=0, abs=1e-6)
        assert norms(tmp_path / name) == pytest.approx(norms(tmp_path / "one" / name), rel=1e-6)
    assert_equal_tensors(checkpoint.find(tmp_path / "kept").path, checkpoint.find(tmp_path / "shards-of-cuts").path)


@pytest.mark.parametrize(
    ("layout", "size", "shape"),
    [
        ({}, 1, (1, 1, 1)),
        ({}, 8, (1, 8, 1)),
        ({"tensor": 2}, 8, (1, 4, 2)),
        ({"replicate": 2, "tensor": 2}, 8, (2, 2, 2)),
        ({"replicate": 8, "shard": 1}, 8, (8, 1, 1)),
    ],
)
def test_the_processes_that_are_left_shard(layout: dict[str, int], size: int, shape: tuple[int, int, int]) -> None:
    assert parallel.layout(ParallelConfig(**layout), size) == shape


@pytest.mark.parametrize(
    ("layout", "size"), [({"tensor": 2}, 1), ({"tensor": 3}, 8), ({"shard": 4}, 8), ({"replicate": 16}, 8)]
)
def test_a_number_of_processes_that_does_not_divide_is_one_line(layout: dict[str, int], size: int) -> None:
    with pytest.raises(UserError, match=rf"do not make {size} processes"):
        parallel.layout(ParallelConfig(**layout), size)


@pytest.mark.parametrize(
    ("override", "shape", "said"),
    [
        ("run.sequences=6", (1, 4, 1), "run.sequences = 6 cannot be divided by the 4"),
        ("model.kv_heads=1", (1, 1, 2), "model.kv_heads = 1 cannot be divided by 2"),
        ("model.context=31", (1, 1, 2), "model.context = 31 cannot be divided by 2"),
        ("model.ffn=34", (1, 2, 2), "model.ffn = 34 cannot be divided by 4"),
    ],
)
def test_what_cannot_be_divided_is_one_line(override: str, shape: tuple[int, int, int], said: str) -> None:
    config = load("tiny", [*BASE, "model.vocabulary=512", override])
    with pytest.raises(UserError, match=said):
        parallel.check(config, World(CPU, shape=shape))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (2, 2, 1), (2, 1, 2), (1, 4, 2)])
def test_rows_and_columns_of_all_processes_are_all_there_are(shape: tuple[int, int, int]) -> None:
    seen = torch.zeros(8, 6, dtype=torch.long)
    for place in itertools.product(*map(range, shape)):
        world = World(CPU, shape=shape, place=place)
        first, count = world.rows(8)
        seen[first : first + count, world.columns(6)] += 1
    assert seen.eq(1).all()
