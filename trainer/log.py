"""The log of a run, OUT/log.jsonl: a line per step and per evaluation, each once however often it was interrupted.

{"step": 120, "loss": 4.21, "grad_norm": 0.83, "lr": 0.00029, "g": 3840, "seconds": 0.29}
{"step": 120, "heldout": {"web": {"bits": 81234.5, "bytes": 40321, ...}, ...}}
"""

from __future__ import annotations

import json
import os
import statistics
from collections import deque
from pathlib import Path
from typing import Any

_WINDOW = 128  # steps that a z-score compares with
_ENOUGH = 8


class Log:
    """Appends to the file, and remembers what the step line and the final report need."""

    def __init__(self, path: Path, step: int) -> None:
        """Continue after `step`: later lines, which no checkpoint covers, are taken out of the file."""
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self.heldout: dict[int, dict[str, Any]] = {}
        self._recent: dict[str, deque[float]] = {key: deque(maxlen=_WINDOW) for key in ("loss", "grad_norm")}
        kept = []
        for line in path.read_text().splitlines(keepends=True) if path.is_file() else ():
            if not line.endswith("\n") or json.loads(line)["step"] > step:
                break
            kept.append(line)
            self._remember(json.loads(line))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text("".join(kept))
        os.replace(temporary, path)
        self._file = path.open("a")

    def append(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        self._remember(record)

    def close(self) -> None:
        self._file.close()

    def z_score(self, key: str, value: float) -> float:
        """How many standard deviations a value lies above the mean of the last 128; 0 before there are eight."""
        recent = self._recent[key]
        spread = statistics.pstdev(recent) if len(recent) >= _ENOUGH else 0.0
        return (value - statistics.fmean(recent)) / spread if spread else 0.0

    def _remember(self, record: dict[str, Any]) -> None:
        if "heldout" in record:
            self.heldout[record["step"]] = record["heldout"]
            return
        self.first = self.first or record
        self.last = record
        for key, values in self._recent.items():
            values.append(record[key])
