"""Checkpoints: everything that a run is, in one directory that appears whole or not at all.

    OUT/checkpoint-0000120/
        model.safetensors       weights, fp32, by the names of trainer/model.py
        optimiser.safetensors   AdamW's moments, by parameter, and the states of the random generators
        tokenizer.model         copied from the dataset
        checkpoint.json         step, g, dataset ids, tokenizer, configuration, and the sha256 of the other files

It is written under another name, flushed to disk, and renamed. Two are kept: it, and the last good one before it. One
whose files are not what its checkpoint.json says is passed over for the one before. Nothing is pickled.

With several processes each writes a file of its own, `model-00001-of-00008.safetensors`: whole tensors, every eighth of
them. So the format knows no layout: any number of processes, however divided, continues from what any other number
wrote, and whoever wants the weights alone reads plain safetensors. Tensors are put together, written and read one at a
time: what a process needs for it is the largest tensor of the model, not the model. All processes must see OUT.

With `run.checkpoint_async` a thread writes each file while training goes on, from a copy in host memory: 12 bytes a
parameter, divided by the processes. No thread speaks to another process. Between two steps the processes ask each
other, and when all have written, the first adds checkpoint.json and renames.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from curation.errors import InputError, ModelError
from curation.token_shard import Dataset
from trainer import optim, parallel
from trainer.config import Config, from_dict
from trainer.device import synchronize
from trainer.mixture import Mixture
from trainer.model import Llama, build
from trainer.parallel import World

FORMAT = 3  # since 2: several datasets; since 1: a file per process, and the counts of skipped steps
_READ = (1, 2, FORMAT)
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_TYPES = {torch.float32: "F32", torch.uint8: "U8"}  # as the header of a safetensors file has them
_ALONE = World(torch.device("cpu"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint on disk. `g` is the number of sequences seen: the loader's state."""

    path: Path
    step: int
    g: int
    datasets: list[dict[str, Any]]  # id and weight of each: trainer/mixture.py
    tokenizer: dict[str, Any]  # as in the dataset's manifest
    config: Config
    skipped: int = 0  # steps whose update was left out
    skipped_in_a_row: int = 0  # of these, the last ones, with none that was made after them

    @property
    def tokenizer_file(self) -> Path:
        return self.path / "tokenizer.model"


_Shares = dict[Path, tuple[bytes, Iterable[torch.Tensor]]]  # file -> its header and the tensors that follow it


@dataclass
class Saver:
    """Writes the checkpoints of a run. All processes must call its methods, at the same steps.

    `good` is the newest that is known to be whole: the one that was continued from, later the one written last.
    """

    out: Path
    world: World = _ALONE
    good: Path | None = None
    background: bool = False
    _draft: tuple[Path, Path, dict[str, Any]] | None = None  # temporary and final name, and description
    _written: Future[dict[str, str]] = field(default_factory=Future)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def save(
        self,
        model: Llama,
        optimiser: torch.optim.Optimizer,
        step: int,
        g: int,
        data: Dataset | Mixture,
        config: Config,
        skipped: tuple[int, int] = (0, 0),
    ) -> Path:
        """Write OUT/checkpoint-STEP and drop all others but the last good one. Returns its path.

        In the background this copies, after the one before is there, and returns: `look` and `wait` do the rest. Raises
        InputError where a file cannot be written.
        """
        self.wait()
        mixture = Mixture.of(data)
        final = self.out / f"checkpoint-{step:07d}"
        temporary = self.world.told(
            lambda: _make(self.out / f".{final.name}.{os.getpid()}.tmp", tokenizer_of(mixture.datasets[0]))
        )
        description = {
            "format": FORMAT,
            "step": step,
            "g": g,
            "skipped": skipped[0],
            "skipped_in_a_row": skipped[1],
            "datasets": mixture.ids,
            "tokenizer": mixture.tokenizer,
            "config": config.to_dict(),
            "torch": torch.__version__,
        }
        self._draft = temporary, final, description
        part = f"-{self.world.rank + 1:05d}-of-{self.world.size:05d}" if self.world.size > 1 else ""
        kinds = {"model": model.state_dict(), "optimiser": moments_of(model, optimiser) | _generators()}
        shares: _Shares = {
            temporary / f"{kind}{part}.safetensors": (_header(tensors, self.world), _values(tensors, self.world))
            for kind, tensors in kinds.items()
        }
        if self.background:
            shares = {path: (header, [_copy(value) for value in values]) for path, (header, values) in shares.items()}
            synchronize(self.world.device)
            self._written = self._thread.submit(_write, shares)
        else:
            self._written = Future()
            try:
                self._written.set_result(_write(shares))
            except OSError as error:
                for _, values in shares.values():
                    deque(values, maxlen=0)  # the other processes wait for its part in putting tensors together
                self._written.set_exception(error)
            self.look()
        return final

    def look(self) -> None:
        """Between two steps: what all have written becomes a checkpoint. Raises InputError where one could not."""
        if self._draft is None:
            return
        done = self._written.done()
        failed = self._written.exception() if done else None
        if self.world.most(2 if failed else 0 if done else 1) == 1:
            return
        # all are done, or one has failed: then nobody waits for those that still write
        (temporary, final, description), self._draft = self._draft, None
        told = self.world.each(str(failed) if failed else self._written.result() if done else {})
        if reasons := [reason for reason in told if isinstance(reason, str)]:
            self.world.told(lambda: shutil.rmtree(temporary, ignore_errors=True))
            before = f"{self.good} is the last good one" if self.good else "there is none before it"
            raise InputError(f"{final} could not be written: {reasons[0]}; {before}")
        files = {name: digest for written in told if isinstance(written, dict) for name, digest in written.items()}
        self.world.told(lambda: self._publish(temporary, final, {**description, "sha256": files}))
        self.good = final

    def wait(self) -> None:
        """Until there is nothing left to write."""
        if self._draft is not None:
            wait([self._written])
            self.look()

    def _publish(self, temporary: Path, final: Path, description: dict[str, Any]) -> None:
        try:
            description["sha256"]["tokenizer.model"] = _sha256(temporary / "tokenizer.model")
            (temporary / "checkpoint.json").write_text(json.dumps(description, indent=1) + "\n")
            _flush(temporary / "checkpoint.json")
            _flush(temporary)
            if final.exists():
                shutil.rmtree(final)  # a damaged one of the same step, or the run would have continued from it
            os.replace(temporary, final)
            _flush(self.out)
        except OSError as error:
            raise InputError(f"{final} could not be written: {error}") from None
        for old in directories(self.out).values():
            if old not in (final, self.good):  # what is newer than the good one was passed over as damaged
                shutil.rmtree(old)


def _make(directory: Path, tokenizer: Path) -> Path:
    try:
        directory.mkdir(parents=True)
        shutil.copyfile(tokenizer, directory / "tokenizer.model")
        _flush(directory / "tokenizer.model")
    except OSError as error:
        raise InputError(f"{directory} could not be written: {error}") from None
    return directory


def _header(tensors: Mapping[str, torch.Tensor], world: World) -> bytes:
    """How a safetensors file of this process's share begins: the length of what follows (8 bytes, little-endian), and
    in JSON where each tensor's bytes lie behind that."""
    header, end = {}, 0
    for number, (name, tensor) in enumerate(tensors.items()):
        if number % world.size == world.rank:
            start, end = end, end + tensor.numel() * tensor.element_size()
            header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _values(tensors: Mapping[str, torch.Tensor], world: World) -> Iterator[torch.Tensor]:
    """This process's share, each tensor whole, one at a time. All processes must take all of theirs."""
    for number, tensor in enumerate(tensors.values()):
        value = parallel.whole(tensor.detach())
        if number % world.size == world.rank:
            yield value
        del value


def _copy(value: torch.Tensor) -> torch.Tensor:
    """In host memory, where training does not change it; pinned, so that a GPU writes there at full speed."""
    host = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
    return host.copy_(value, non_blocking=value.is_cuda)


def _write(shares: _Shares) -> dict[str, str]:
    """Write files. Returns their sha256, by name."""
    digests = {}
    for path, (header, values) in shares.items():
        digest = hashlib.sha256(header)
        with path.open("wb") as stream:
            stream.write(header)
            for value in values:
                content = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
                stream.write(content)
                digest.update(content)
        _flush(path)
        digests[path.name] = digest.hexdigest()
    return digests


def latest(out: Path) -> Checkpoint | None:
    """The newest whole checkpoint in OUT, or None if there never was one. Says on stderr which ones it passed over.

    Raises InputError if none of those that are there is whole: nobody wants to start anew without being told.
    """
    there = directories(out)
    for path in there.values():
        try:
            return read(path)
        except ModelError as error:
            print(f"passed over: {error}", file=sys.stderr)
    if there:
        raise InputError(f"{out} has {len(there)} checkpoints and none is whole: remove them or choose another --out")
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
            readable = ", ".join(map(str, _READ))
            raise InputError(f"{path} has checkpoint format {description['format']}; this version reads {readable}")
        with ThreadPoolExecutor(min(len(description["sha256"]), os.cpu_count() or 1)) as pool:
            found = dict(
                zip(description["sha256"], pool.map(_sha256, map(path.joinpath, description["sha256"])), strict=True)
            )
        for name, expected in description["sha256"].items():
            if found[name] != expected:
                raise ModelError(f"{path / name} is damaged: its sha256 is not the one in checkpoint.json")
        known = {key: description[key] for key in ("step", "g", "tokenizer")}
        known["datasets"] = description.get("datasets") or [{"id": description["dataset_id"], "weight": 1}]
        known |= {key: description.get(key, 0) for key in ("skipped", "skipped_in_a_row")}
        return Checkpoint(path=path, **known, config=from_dict(description["config"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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


def moments_of(model: Llama, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's state by name, as a checkpoint has it."""
    parameters = dict(model.named_parameters())
    # There is none before the first update, which may have been skipped.
    state = {name: optimiser.state[parameter] for name, parameter in parameters.items() if optimiser.state}
    return {f"{key}.{name}": moments[key] for name, moments in state.items() for key in _MOMENTS}


def _generators() -> dict[str, torch.Tensor]:
    tensors = {"generator.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["generator.cuda"] = torch.cuda.get_rng_state()
    return tensors


def directories(out: Path) -> dict[int, Path]:
    """Checkpoints in OUT by their step, newest first, whole or not."""
    found = {int(path.name[11:]): path for path in out.glob("checkpoint-*") if path.name[11:].isdecimal()}
    return dict(sorted(found.items(), reverse=True))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
