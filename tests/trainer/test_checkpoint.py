from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.errors import InputError, ModelError
from curation.token_shard import Dataset
from tests.trainer.conftest import token_losses
from trainer import checkpoint
from trainer.checkpoint import Saver
from trainer.config import Config, load
from trainer.model import Llama, build
from trainer.optim import adamw

CPU = torch.device("cpu")
SMALL = ["dim=16", "layers=1", "heads=2", "kv_heads=1", "ffn=24", "context=16", "vocabulary=512"]
CONFIG = load("tiny", [f"model.{setting}" for setting in SMALL])


def trained(steps: int, seed: int = 0) -> tuple[Llama, torch.optim.Optimizer]:
    model = build(CONFIG.model, CPU)
    model.initialise(seed)
    optimiser = adamw(model, CONFIG.optimiser)
    for step in range(steps):
        advance(model, optimiser, step)
    return model, optimiser


def advance(model: Llama, optimiser: torch.optim.Optimizer, step: int) -> None:
    windows = torch.randint(0, 512, (2, 9), generator=torch.Generator().manual_seed(step))
    token_losses(model, windows).mean().backward()
    optimiser.step()
    optimiser.zero_grad()


@pytest.fixture
def dataset(corpus: Path) -> Dataset:
    return Dataset.open(corpus)


@pytest.fixture
def out(tmp_path: Path, dataset: Dataset) -> Path:
    """A run with checkpoints at steps 1, 2 and 3, of which two are kept."""
    model, optimiser = trained(0)
    saver = Saver(tmp_path)
    for step in range(3):
        advance(model, optimiser, step)
        saver.save(model, optimiser, step + 1, 8 * (step + 1), dataset, CONFIG)
    return tmp_path


def test_the_newest_two_are_kept_and_the_newest_is_found(out: Path, dataset: Dataset) -> None:
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint-0000002", "checkpoint-0000003"]
    found = checkpoint.latest(out)
    assert found is not None
    assert (found.step, found.g, found.config) == (3, 24, CONFIG)
    assert found.datasets == [{"id": dataset.id, "weight": 1}]
    assert checkpoint.find(out) == checkpoint.find(out / "checkpoint-0000003") == found
    assert found.tokenizer_file.read_bytes() == (dataset.directory / "tokenizer.model").read_bytes()


def test_restored_training_goes_on_to_the_same_bits(out: Path) -> None:
    straight, _ = trained(5)
    model, optimiser = trained(1, seed=7)  # something else, to be overwritten whole
    found = checkpoint.latest(out)
    assert found is not None
    checkpoint.restore(found, model, optimiser)
    for step in (3, 4):
        advance(model, optimiser, step)
    for (name, one), other in zip(straight.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_random_generators_are_restored(out: Path, dataset: Dataset) -> None:
    model, optimiser = trained(1)
    torch.manual_seed(5)
    path = Saver(out).save(model, optimiser, 9, 9, dataset, CONFIG)
    expected = torch.rand(3)
    checkpoint.restore(checkpoint.read(path), model, optimiser)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "checkpoint.json", "tokenizer.model"])
@pytest.mark.parametrize("damage", ["cut", "flip", "lose"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    out: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = out / "checkpoint-0000003" / name
    content = path.read_bytes()
    if damage == "lose":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    found = checkpoint.latest(out)
    assert found is not None
    assert found.step == 2
    assert "passed over: " in capsys.readouterr().err


def test_a_half_written_checkpoint_is_ignored_and_swept(out: Path) -> None:
    half = out / ".checkpoint-0000004.123.tmp"
    shutil.copytree(out / "checkpoint-0000003", half)
    found = checkpoint.latest(out)
    assert found is not None
    assert found.step == 3
    checkpoint.sweep(out)
    assert not half.exists()


def test_a_save_that_dies_before_the_rename_leaves_the_last_good_one(
    out: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint.os, "replace", die)
    with pytest.raises(InputError, match="checkpoint-0000004 could not be written: no space"):
        Saver(out).save(*trained(4), 4, 32, dataset, CONFIG)
    monkeypatch.undo()
    assert checkpoint.find(out).step == 3


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(out: Path, dataset: Dataset) -> None:
    (out / "checkpoint-0000003" / "model.safetensors").unlink()
    Saver(out).save(*trained(3), 3, 24, dataset, CONFIG)
    assert checkpoint.find(out).step == 3


def test_newer_ones_that_were_passed_over_go_with_the_next_save_and_two_whole_ones_stay(
    out: Path, dataset: Dataset
) -> None:
    for step in (8, 9):
        shutil.copytree(out / "checkpoint-0000003", out / f"checkpoint-000000{step}")
        (out / f"checkpoint-000000{step}" / "model.safetensors").write_bytes(b"")
    assert checkpoint.find(out).step == 3
    Saver(out, good=checkpoint.find(out).path).save(*trained(4), 4, 32, dataset, CONFIG)
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint-0000003", "checkpoint-0000004"]
    assert [checkpoint.read(path).step for path in sorted(out.iterdir())] == [3, 4]


def test_a_damaged_one_between_is_no_last_good_one(out: Path, dataset: Dataset) -> None:
    (out / "checkpoint-0000003" / "model.safetensors").write_bytes(b"")
    saver = Saver(out, good=checkpoint.find(out).path)
    for step, kept in ((4, [2, 4]), (5, [4, 5])):
        saver.save(*trained(step), step, 8 * step, dataset, CONFIG)
        assert [checkpoint.read(path).step for path in sorted(out.iterdir())] == kept


class Held:
    """Until `let_go`, nothing that is written reaches the disk: `checkpoint` waits in its flush."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, flush = threading.Event(), checkpoint._flush

        def held(path: Path) -> None:
            if path.suffix == ".safetensors":
                assert self.free.wait(60)
            flush(path)

        monkeypatch.setattr(checkpoint, "_flush", held)

    def let_go(self) -> None:
        self.free.set()


def test_training_goes_on_while_one_is_written_and_it_is_the_same_to_the_bit(
    out: Path, tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model, optimiser), expected = trained(4), tmp_path_factory.mktemp("expected")
    at_once = Saver(expected).save(model, optimiser, 4, 32, dataset, CONFIG)
    held, saver = Held(monkeypatch), Saver(out, good=out / "checkpoint-0000003", background=True)
    path = saver.save(model, optimiser, 4, 32, dataset, CONFIG)
    for step in (4, 5):
        advance(model, optimiser, step)
        saver.look()
        assert checkpoint.find(out).step == 3  # not there as long as it is not on the disk
    held.let_go()
    saver.wait()
    assert [p.name for p in sorted(out.iterdir())] == ["checkpoint-0000003", "checkpoint-0000004"]
    names = sorted(p.name for p in at_once.iterdir())
    assert names == sorted(p.name for p in path.iterdir())
    assert all((path / name).read_bytes() == (at_once / name).read_bytes() for name in names)


def test_at_most_one_is_on_its_way(out: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    held, saver = Held(monkeypatch), Saver(out, good=out / "checkpoint-0000003", background=True)
    saver.save(*trained(4), 4, 32, dataset, CONFIG)
    threading.Timer(0.1, held.let_go).start()
    saver.save(*trained(5), 5, 40, dataset, CONFIG)
    assert checkpoint.read(out / "checkpoint-0000004").step == 4  # the second waited for it
    saver.wait()
    assert [checkpoint.read(path).step for path in sorted(out.iterdir())] == [4, 5]


def test_what_is_copied_is_let_go_of(tmp_path: Path, dataset: Dataset) -> None:
    """Fifty of 1.8 MB each: the process grows by less than eight of them."""
    model = build(replace(CONFIG.model, dim=128), CPU)
    model.initialise(0)
    optimiser = adamw(model, CONFIG.optimiser)
    advance(model, optimiser, 0)
    size = sum(tensor.nbytes for tensor in (model.state_dict() | checkpoint.moments_of(model, optimiser)).values())
    assert size > 1.8e6
    saver, resident = Saver(tmp_path, background=True), []
    for step in range(1, 51):
        saver.save(model, optimiser, step, step, dataset, CONFIG)
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    saver.wait()
    assert max(resident) - resident[2] < 8 * size
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["checkpoint-0000049", "checkpoint-0000050"]


@pytest.mark.parametrize("background", [False, True])
def test_a_write_that_fails_is_said_and_leaves_the_last_good_one(out: Path, dataset: Dataset, background: bool) -> None:
    """A disk that is full, as far as this process can tell: no file may be longer than 20,000 bytes."""
    model, optimiser = trained(4)
    saver = Saver(out, good=out / "checkpoint-0000003", background=background)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        if background:
            saver.save(model, optimiser, 4, 32, dataset, CONFIG)
        with pytest.raises(InputError, match=r"0000004 could not be written: .*too large; .*0000003 is the last good"):
            saver.wait() if background else saver.save(model, optimiser, 4, 32, dataset, CONFIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in sorted(out.iterdir())] == ["checkpoint-0000002", "checkpoint-0000003"]


def test_what_cannot_be_read_is_said_in_one_line(out: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no checkpoint and holds none"):
        checkpoint.find(tmp_path / "nowhere")
    for name in ("checkpoint-0000002", "checkpoint-0000003"):
        (out / name / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="2 checkpoints and none is whole"):
        checkpoint.latest(out)
    path = out / "checkpoint-0000003" / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        checkpoint.find(path.parent)
    for other in ("null", "[]", '{"format": 3, "sha256": []}'):
        path.write_text(other)
        with pytest.raises(ModelError, match="is damaged"):
            checkpoint.find(path.parent)


def test_a_loaded_model_is_the_saved_one(out: Path) -> None:
    model, _ = trained(3)
    loaded = checkpoint.load_model(checkpoint.find(out), CPU)
    assert not loaded.training
    tokens = torch.arange(10)[None]
    assert torch.equal(loaded(tokens), model(tokens))


def test_a_tokenizer_that_is_not_the_manifests_is_refused(dataset: Dataset) -> None:
    wrong = {**dataset.manifest, "tokenizer": {**dataset.manifest["tokenizer"], "sha256": "0" * 64}}
    with pytest.raises(ModelError, match="not the tokenizer that the manifest describes"):
        checkpoint.tokenizer_of(Dataset(dataset.directory, wrong))


def test_the_configuration_is_stored_whole(out: Path) -> None:
    stored = json.loads((out / "checkpoint-0000003" / "checkpoint.json").read_text())["config"]
    assert stored == CONFIG.to_dict()
    assert isinstance(CONFIG, Config)


def test_a_checkpoint_from_before_there_were_several_processes_is_read(out: Path) -> None:
    path = out / "checkpoint-0000003" / "checkpoint.json"
    description = json.loads(path.read_text())
    del description["skipped"], description["skipped_in_a_row"], description["config"]["parallel"]
    path.write_text(json.dumps(description))
    found = checkpoint.find(out)
    assert (found.step, found.skipped, found.skipped_in_a_row, found.config) == (3, 0, 0, CONFIG)


def test_a_checkpoint_of_format_1_as_it_was_written_is_read_and_trained_on(tmp_path: Path, dataset: Dataset) -> None:
    model, optimiser = trained(3)
    path = tmp_path / "checkpoint-0000003"
    path.mkdir()
    parameters = dict(model.named_parameters())
    keys = ("step", "exp_avg", "exp_avg_sq")
    moments = {f"{key}.{name}": optimiser.state[p][key] for name, p in parameters.items() for key in keys}
    save_file(model.state_dict(), path / "model.safetensors")
    save_file(moments | {"generator.cpu": torch.get_rng_state()}, path / "optimiser.safetensors")
    shutil.copyfile(dataset.directory / "tokenizer.model", path / "tokenizer.model")
    config = CONFIG.to_dict()
    del config["parallel"]
    for later in ("recompute", "document_mask", "skip_z"):
        del config["run"][later]
    description = {
        "format": 1,
        "step": 3,
        "g": 24,
        "dataset_id": dataset.id,
        "tokenizer": dataset.manifest["tokenizer"],
        "config": config,
        "torch": "2.6.0",
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.iterdir())},
    }
    (path / "checkpoint.json").write_text(json.dumps(description, indent=1) + "\n")
    found = checkpoint.find(tmp_path)
    assert (found.step, found.g, found.skipped, found.skipped_in_a_row, found.config) == (3, 24, 0, 0, CONFIG)
    model, optimiser = trained(1, seed=7)
    checkpoint.restore(found, model, optimiser)
    advance(model, optimiser, 3)
    for one, other in zip(model.parameters(), trained(4)[0].parameters(), strict=True):
        assert torch.equal(one, other)
    saved = Saver(tmp_path, good=path).save(model, optimiser, 4, 32, dataset, CONFIG)
    assert json.loads((saved / "checkpoint.json").read_text())["format"] == checkpoint.FORMAT


def test_nothing_to_remember_before_the_first_update(tmp_path: Path, dataset: Dataset) -> None:
    """The first steps may all have been skipped."""
    Saver(tmp_path).save(*trained(0), 2, 16, dataset, CONFIG, skipped=(2, 2))
    model, optimiser = trained(0, seed=7)
    found = checkpoint.find(tmp_path)
    checkpoint.restore(found, model, optimiser)
    assert (found.skipped, found.skipped_in_a_row) == (2, 2)
    advance(model, optimiser, 0)
    for one, other in zip(model.parameters(), trained(1)[0].parameters(), strict=True):
        assert torch.equal(one, other)
