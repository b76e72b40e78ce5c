"""A line that shows how far a stage is, from the parts it has committed. Works the same for every local runner."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from pipelines import storage

if TYPE_CHECKING:
    from pipelines.stages import Run

EVERY_S = 0.5  # on a terminal, where the line is rewritten
EVERY_S_LOG = 5.0  # elsewhere


class Progress(AbstractContextManager["Progress"]):
    """Prints `commoncrawl/documents   7/12 parts   14 s` while the body runs, and a last line when it ends."""

    def __init__(self, run: Run, directory: str, total: int) -> None:
        self._directory = directory
        self._folder = storage.join(run.output, directory, "ledger")
        self._total = total
        self._shown = run.progress and storage.is_local(run.output)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        if self._shown:
            self._print(self._count())
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stop.set()
            self._thread.join()
            self._print(self._count(), last=True)

    def _watch(self) -> None:
        terminal = sys.stderr.isatty()
        while not self._stop.wait(EVERY_S if terminal else EVERY_S_LOG):
            self._print(self._count())

    def _count(self) -> int:
        return min(sum(name.endswith(".json") for name in storage.names_in(self._folder)), self._total)

    def _print(self, count: int, last: bool = False) -> None:
        elapsed = time.monotonic() - self._started
        line = f"  {self._directory:<28} {count:>6}/{self._total} parts  {elapsed:6.0f} s"
        if sys.stderr.isatty():
            print(f"\r{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
