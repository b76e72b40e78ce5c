"""Checkpoints: everything that a run is, in one directory that appears whole or not at all.

    OUT/checkpoint-0000120/
        model.safetensors       weights, fp32, by the names of trainer/model.py
        optimiser.safetensors   AdamW's moments, by parameter, and the states of the random generators
        tokenizer.model         copied from the dataset
        checkpoint.json         step, g, dataset id, tokenizer, configuration, and the sha256 of the other files

It is written under another name, flushed to disk, and renamed. The two newest are kept. One whose files are not what
its checkpoint.json says is passed over for the one before. Nothing is pickled.

With several processes each writes a file of its own, `model-00001-of-00008.safetensors`: whole tensors, every eighth of
them. So the format knows no layout: any number of processes, however divided, continues from what any other number
wrote, and whoever wants the weights alone reads plain safetensors. Tensors are put together, written and read one at a
time: what a process needs for it is the largest tensor of the model, not the model. All processes must see OUT.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from curation.errors import InputError, ModelError
from curation.token_shard import Dataset
from trainer import optim, parallel
from trainer.config import Config, from_dict
from trainer.model import Llama, build
from trainer.parallel import World

FORMAT = 2  # since 1: a file per process, and the counts of skipped steps
_READ = (1, FORMAT)
_KEPT = 2
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_TYPES = {torch.float32: "F32", torch.uint8: "U8"}  # as the header of a safetensors file has them
_ALONE = World(torch.device("cpu"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint on disk. `g` is the number of sequences seen: the loader's state."""

    path: Path
    step: int
    g: int
    dataset_id: str
    tokenizer: dict[str, Any]  # as in the dataset's manifest
    config: Config
    skipped: int = 0  # steps whose update was left out
    skipped_in_a_row: int = 0  # of these, the last ones, with none that was made after them

    @property
    def tokenizer_file(self) -> Path:
        return self.path / "tokenizer.model"


def save(
    out: Path,
    model: Llama,
    optimiser: torch.optim.Optimizer,
    step: int,
    g: int,
    dataset: Dataset,
    config: Config,
    world: World = _ALONE,
    skipped: tuple[int, int] = (0, 0),
) -> Path:
    """Write OUT/checkpoint-STEP and drop all others but the one before it. Returns its path.

    All processes must call it.
    """
    final = out / f"checkpoint-{step:07d}"
    temporary = world.told(lambda: _make(out / f".{final.name}.{os.getpid()}.tmp"))
    own = {}
    for kind, tensors in (("model", model.state_dict()), ("optimiser", _moments(model, optimiser) | _generators())):
        part = f"-{world.rank + 1:05d}-of-{world.size:05d}" if world.size > 1 else ""
        path = temporary / f"{kind}{part}.safetensors"
        own[path.name] = _write(path, tensors, world)
    files = {name: digest for written in world.each(own) for name, digest in written.items()}
    if world.rank == 0:
        shutil.copyfile(tokenizer_of(dataset), temporary / "tokenizer.model")
        _flush(temporary / "tokenizer.model")
        description = {
            "format": FORMAT,
            "step": step,
            "g": g,
            "skipped": skipped[0],
            "skipped_in_a_row": skipped[1],
            "dataset_id": dataset.id,
            "tokenizer": dataset.manifest["tokenizer"],
            "config": config.to_dict(),
            "torch": torch.__version__,
            "sha256": files | {"tokenizer.model": _sha256(temporary / "tokenizer.model")},
        }
        (temporary / "checkpoint.json").write_text(json.dumps(description, indent=1) + "\n")
        _flush(temporary / "checkpoint.json")
        _flush(temporary)
        if final.exists():
            shutil.rmtree(final)  # a damaged one of the same step, or this command would have continued from it
        os.replace(temporary, final)
        _flush(out)
        directories = _directories(out)
        place = directories.index(final)
        for old in directories[:place] + directories[place + _KEPT :]:
            shutil.rmtree(old)  # what is newer than this was passed over as damaged
    world.each(None)  # nobody goes on, or ends, before it is there
    return final


def _make(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _write(path: Path, tensors: Mapping[str, torch.Tensor], world: World) -> str:
    """Write this process's share of the tensors to a safetensors file. Returns its sha256.

    A file is the length of its header (8 bytes, little-endian), the header (JSON), and the tensors' bytes.
    """
    shares = {name: number % world.size == world.rank for number, name in enumerate(tensors)}
    header, end = {}, 0
    for name, tensor in tensors.items():
        if shares[name]:
            start, end = end, end + tensor.numel() * tensor.element_size()
            header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for piece in (len(text).to_bytes(8, "little"), text):
            stream.write(piece)
            digest.update(piece)
        for name, tensor in tensors.items():
            value = parallel.whole(tensor.detach())
            if shares[name]:
                content = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                stream.write(content.data)
                digest.update(content.data)
            del value
    _flush(path)
    return digest.hexdigest()


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
        if description["format"] not in _READ:
            readable = " and ".join(map(str, _READ))
            raise InputError(f"{path} has checkpoint format {description['format']}; this version reads {readable}")
        with ThreadPoolExecutor(min(len(description["sha256"]), os.cpu_count() or 1)) as pool:
            found = dict(
                zip(description["sha256"], pool.map(_sha256, map(path.joinpath, description["sha256"])), strict=True)
            )
        for name, expected in description["sha256"].items():
            if found[name] != expected:
                raise ModelError(f"{path / name} is damaged: its sha256 is not the one in checkpoint.json")
        known = {key: description[key] for key in ("step", "g", "dataset_id", "tokenizer")}
        known |= {key: description.get(key, 0) for key in ("skipped", "skipped_in_a_row")}
        return Checkpoint(path=path, **known, config=from_dict(description["config"]))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is damaged: {error!r}") from None


def load_model(checkpoint: Checkpoint, device: torch.device) -> Llama:
    """The model of a checkpoint, in evaluation mode."""
    model = build(checkpoint.config.model, device)
    _load_weights(checkpoint, model)
    return model.eval()


def restore(checkpoint: Checkpoint, model: Llama, optimiser: torch.optim.Optimizer) -> None:
    """Put weights, moments and random generators back as they were when the checkpoint was written.

    Of a model that is divided among processes, each takes its pieces.
    """
    _load_weights(checkpoint, model)
    parameters = dict(model.named_parameters())
    moments: dict[str, dict[str, torch.Tensor]] = {name: {} for name in parameters}
    for full_name, value in _tensors(checkpoint, "optimiser"):
        key, _, name = full_name.partition(".")
        if key == "generator":
            if name == "cpu":
                torch.set_rng_state(value.clone())
            elif torch.cuda.is_available():
                torch.cuda.set_rng_state(value.clone())
        elif key == "step":
            moments[name][key] = value.clone()
        else:
            moments[name][key] = torch.zeros_like(parameters[name])
            parallel.put(moments[name][key], value)
    names = [name for group in optim.groups(model) for name in group]
    state = {index: moments[name] for index, name in enumerate(names) if moments[name]}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _load_weights(checkpoint: Checkpoint, model: Llama) -> None:
    waiting = dict(model.named_parameters())
    for name, value in _tensors(checkpoint, "model"):
        parallel.put(waiting.pop(name), value)
    if waiting:
        raise ModelError(f"{checkpoint.path} lacks {', '.join(waiting)}")


def _tensors(checkpoint: Checkpoint, kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values in the files of a kind, mapped: what is not copied is not read."""
    for path in sorted(checkpoint.path.glob(f"{kind}*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name)


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


def state(model: Llama, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights and moments by name: what an update changes."""
    return model.state_dict() | _moments(model, optimiser)


def _moments(model: Llama, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    parameters = dict(model.named_parameters())
    # There is none before the first update, which may have been skipped.
    state = {name: optimiser.state[parameter] for name, parameter in parameters.items() if optimiser.state}
    return {f"{key}.{name}": moments[key] for name, moments in state.items() for key in _MOMENTS}


def _generators() -> dict[str, torch.Tensor]:
    tensors = {"generator.cpu": torch.get_rng_state()}
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
