"""The log of a run, OUT/log.jsonl: a line per step and per evaluation, each once however often it was interrupted.

{"step": 120, "loss": 4.21, "grad_norm": 0.83, "lr": 0.00029, "g": 3840, "seconds": 0.29}
{"step": 120, "heldout": {"web": {"bits": 81234.5, "bytes": 40321, ...}, ...}}

Where the package `tensorboard` is installed, OUT/tensorboard shows the same curves; log.jsonl is what counts.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import InputError

_WINDOW = 128  # steps that a z-score compares with
_ENOUGH = 8


class Log:
    """Appends to the file, and remembers what the step line and the final report need."""

    def __init__(self, path: Path, step: int) -> None:
        """Continue after `step`: later lines, which no checkpoint covers, are taken out of the file. At 0 all are."""
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self.heldout: dict[int, dict[str, Any]] = {}
        self._recent: dict[str, deque[float]] = {key: deque(maxlen=_WINDOW) for key in ("loss", "grad_norm")}
        kept = []
        try:
            for line, record in records(path) if step else ():
                if record["step"] > step:
                    break
                kept.append(line)
                self._remember(record)
        except InputError:
            if not kept or json.loads(kept[-1])["step"] < step:
                raise  # else it is what a crash of the machine left behind the checkpoint
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text("".join(kept))
        os.replace(temporary, path)
        self._file = path.open("a")
        self._curves = _writer(path.parent / "tensorboard", step)

    def append(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._curves:
            for name, value in curves(record):
                self._curves.add_scalar(name, value, record["step"])
            self._curves.flush()  # as whole as log.jsonl, however the process ends
        self._remember(record)

    def flush(self) -> None:
        """See to it that all lines are on the disk."""
        os.fsync(self._file.fileno())  # `append` has flushed them to the system

    def close(self) -> None:
        self._file.close()
        if self._curves:
            self._curves.close()

    def z_score(self, key: str, value: float) -> float:
        """How many standard deviations a value lies above the mean of the last 128 steps that were not skipped.

        0 before there are eight.
        """
        recent = self._recent[key]
        spread = statistics.pstdev(recent) if len(recent) >= _ENOUGH else 0.0
        return (value - statistics.fmean(recent)) / spread if spread else 0.0

    @property
    def settled(self) -> bool:
        """Whether there are 128 steps to compare with: before, the loss still falls steeply."""
        return all(len(values) == _WINDOW for values in self._recent.values())

    def _remember(self, record: dict[str, Any]) -> None:
        if "heldout" in record:
            self.heldout[record["step"]] = record["heldout"]
            return
        if record["loss"] is None:  # it was not finite, and the step was skipped
            return
        self.first = self.first or record
        self.last = record
        if "skipped" in record:  # a spike is no measure for those that follow it
            return
        for key, values in self._recent.items():
            values.append(record[key])


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line of a log and what it says, but for a last one that is being written. Raises InputError for another."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(keepends=True), 1):
        try:
            record = json.loads(line)
            int(record["step"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged: line {number} is no step and no evaluation") from None
        yield line, record


def curves(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The points of one line: train/loss and each other number, loss_by_source/web, heldout_bits_per_byte/web and /all.

    A number in the line is a curve, whatever its name; what is null, text or step is none.
    """
    if heldout := record.get("heldout"):
        for source, score in heldout.items():
            yield f"heldout_bits_per_byte/{source}", score["bits"] / score["bytes"]
        bits, size = (sum(score[key] for score in heldout.values()) for key in ("bits", "bytes"))
        yield "heldout_bits_per_byte/all", bits / size
    for key, value in record.items():
        if type(value) in (int, float) and key != "step":
            yield f"train/{key}", value
    for source, loss in record.get("sources", {}).items():
        yield f"loss_by_source/{source}", loss


def _writer(directory: Path, step: int) -> Any:
    """What writes event files, or None without tensorboard. Points after `step`, of an attempt that was cut off, are
    purged by an event that every reader of these files understands; at 0 the whole attempt is."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    begun = directory.is_dir()
    return SummaryWriter(directory, purge_step=(step + 1 if step else 0) if begun else None)
