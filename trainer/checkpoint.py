"""Checkpoints: everything that a run is, in one directory that appears whole or not at all.

    OUT/checkpoint-0000120/
        model.safetensors       weights, fp32, by the names of trainer/model.py
        optimiser.safetensors   AdamW's moments, by parameter, and the states of the random generators
        tokenizer.model         copied from the dataset
        checkpoint.json         step, g, dataset id, tokenizer, configuration, and the sha256 of the other files

It is written under a temporary name, flushed to disk, and renamed. The two newest are kept. One whose files are not
what its checkpoint.json says is passed over for the one before. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from curation.errors import InputError, ModelError
from curation.token_shard import Dataset
from trainer import optim
from trainer.config import Config, from_dict
from trainer.model import Llama, build

FORMAT = 1
_KEPT = 2
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint on disk. `g` is the number of sequences seen: the loader's state."""

    path: Path
    step: int
    g: int
    dataset_id: str
    tokenizer: dict[str, Any]  # as in the dataset's manifest
    config: Config

    @property
    def tokenizer_file(self) -> Path:
        return self.path / "tokenizer.model"


def save(
    out: Path, model: Llama, optimiser: torch.optim.Optimizer, step: int, g: int, dataset: Dataset, config: Config
) -> Path:
    """Write OUT/checkpoint-STEP and drop all but the newest two. Returns its path."""
    final = out / f"checkpoint-{step:07d}"
    temporary = out / f".{final.name}.{os.getpid()}.tmp"
    temporary.mkdir(parents=True)
    save_file(model.state_dict(), temporary / "model.safetensors")
    save_file(_optimiser_tensors(model, optimiser), temporary / "optimiser.safetensors")
    shutil.copyfile(tokenizer_of(dataset), temporary / "tokenizer.model")
    description = {
        "format": FORMAT,
        "step": step,
        "g": g,
        "dataset_id": dataset.id,
        "tokenizer": dataset.manifest["tokenizer"],
        "config": config.to_dict(),
        "torch": torch.__version__,
        "sha256": {path.name: _sha256(path) for path in sorted(temporary.iterdir())},
    }
    (temporary / "checkpoint.json").write_text(json.dumps(description, indent=1) + "\n")
    for path in [*temporary.iterdir(), temporary]:
        _flush(path)
    if final.exists():
        shutil.rmtree(final)  # a damaged one of the same step, or this command would have continued from it
    os.replace(temporary, final)
    _flush(out)
    for old in _directories(out)[_KEPT:]:
        shutil.rmtree(old)
    return final


def latest(out: Path) -> Checkpoint | None:
    """The newest whole checkpoint in OUT, or None if there never was one. Says on stderr which ones it passed over.

    Raises InputError if none of those that are there is whole: nobody wants to start anew without being told.
    """
    directories = _directories(out)
    for path in directories:
        try:
            return read(path)
        except ModelError as error:
            print(f"passed over: {error}", file=sys.stderr)
    if directories:
        raise InputError(
            f"{out} has {len(directories)} checkpoints and none is whole: remove them or choose another --out"
        )
    return None


def find(path: Path) -> Checkpoint:
    """The checkpoint at a path that is one, or the newest in a run's output directory. Raises InputError."""
    if (path / "checkpoint.json").is_file():
        return read(path)
    checkpoint = latest(path) if path.is_dir() else None
    if checkpoint is None:
        raise InputError(f"{path} is no checkpoint and holds none")
    return checkpoint


def read(path: Path) -> Checkpoint:
    """Read the description and check every file against it.

    Raises ModelError if one is missing or differs, and InputError for the format of another version.
    """
    try:
        description = json.loads((path / "checkpoint.json").read_text())
        if description["format"] != FORMAT:
            raise InputError(f"{path} has checkpoint format {description['format']}; this version reads {FORMAT}")
        for name, expected in description["sha256"].items():
            if _sha256(path / name) != expected:
                raise ModelError(f"{path / name} is damaged: its sha256 is not the one in checkpoint.json")
        known = {key: description[key] for key in ("step", "g", "dataset_id", "tokenizer")}
        return Checkpoint(path=path, **known, config=from_dict(description["config"]))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is damaged: {error!r}") from None


def load_model(checkpoint: Checkpoint, device: torch.device) -> Llama:
    """The model of a checkpoint, in evaluation mode."""
    model = build(checkpoint.config.model, device)
    model.load_state_dict(load_file(checkpoint.path / "model.safetensors", device=str(device)))
    return model.eval()


def restore(checkpoint: Checkpoint, model: Llama, optimiser: torch.optim.Optimizer) -> None:
    """Put weights, moments and random generators back as they were when the checkpoint was written."""
    model.load_state_dict(load_file(checkpoint.path / "model.safetensors"))
    tensors = load_file(checkpoint.path / "optimiser.safetensors")
    names = [name for group in optim.groups(model) for name in group]
    state = {index: {key: tensors[f"{key}.{name}"] for key in _MOMENTS} for index, name in enumerate(names)}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["generator.cpu"])
    if "generator.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["generator.cuda"])


def sweep(out: Path) -> None:
    """Remove what an interrupted save left behind."""
    for path in out.glob(".checkpoint-*.tmp"):
        shutil.rmtree(path)


def tokenizer_of(dataset: Dataset) -> Path:
    """The tokenizer file of a dataset. Raises ModelError if it is not the one that the manifest describes."""
    path = dataset.directory / str(dataset.manifest["tokenizer"]["file"])
    if not path.is_file():
        raise ModelError(f"{path} is missing: a dataset carries the tokenizer that its tokens were made with")
    if _sha256(path) != dataset.manifest["tokenizer"]["sha256"]:
        raise ModelError(f"{path} is not the tokenizer that the manifest describes: its sha256 differs")
    return path


def _optimiser_tensors(model: Llama, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    parameters = dict(model.named_parameters())
    tensors = {f"{key}.{name}": optimiser.state[p][key] for name, p in parameters.items() for key in _MOMENTS}
    tensors["generator.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["generator.cuda"] = torch.cuda.get_rng_state()
    return tensors


def _directories(out: Path) -> list[Path]:
    """Checkpoints in OUT by name, newest first, whole or not."""
    return sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
