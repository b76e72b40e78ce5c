"""What the fixture `processes` starts: a server that forks trainings, so that torch is imported once for all of them.

Each line that it is sent is {"count", "directory"}: so many processes run DIRECTORY/jobs.json, and see what torchrun
would have told them. What each says goes to DIRECTORY/said-RANK, their process ids to pids.json, how each ended to
ended.json. A job is either a training {"data", "out", "overrides"} and optionally "stop", after how many steps it is
told to; "keep", where to save what it begins with, without training; "backend", of torch.compile; "spoil", the step
whose gradient is made NaN in one process; "limit", how many bytes a file may have in one process, which ends it. Or it
is {"command": [...]}, the arguments of trainer.pretrain.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
import torch._dynamo
import torch.distributed.fsdp
import torch.distributed.tensor.parallel
import torch.utils.tensorboard

from curation.errors import InputError, exit_on_user_error
from curation.token_shard import Dataset
from trainer import parallel, pretrain, step
from trainer.checkpoint import Saver
from trainer.config import load
from trainer.model import compile_blocks

torch.set_num_threads(1)


def main() -> None:
    for line in sys.stdin:
        told = json.loads(line)
        start(told["count"], Path(told["directory"]))


def start(count: int, directory: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": str(count)}
    pids = []
    for rank in range(count):
        if not (pid := os.fork()):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            said = os.open(directory / f"said-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            sys.exit(exit_on_user_error(lambda: run(json.loads((directory / "jobs.json").read_text()))))
        pids.append(pid)
    write(directory / "pids.json", pids)
    write(directory / "ended.json", [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def write(path: Path, content: list[int]) -> None:
    path.with_suffix(".tmp").write_text(json.dumps(content))
    path.with_suffix(".tmp").replace(path)


def run(jobs: list[dict[str, Any]]) -> int:
    for job in jobs:
        if "command" in job:
            return pretrain.main(job["command"])
        config, dataset, out = load("tiny", job["overrides"]), Dataset.open(job["data"]), Path(job["out"])
        world = parallel.start(config.parallel, "cpu")
        if "keep" in job:
            training = pretrain.begin(config, dataset, out, world)
            training.saver = Saver(Path(job["keep"]), world)
            training.save()
            continue
        if "backend" in job:
            step.compile_blocks = partial(compile_blocks, backend=job["backend"])
        if "spoil" in job:
            spoil(job["spoil"])
        try:
            if "limit" in job and is_last():
                resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], resource.RLIM_INFINITY))
            pretrain.train(config, dataset, out, world, StopAt(job.get("stop", 1000)))
        except InputError as error:
            assert "limit" in job
            (Path(job["out"]) / f"said-{world.rank}").write_text(str(error))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    parallel.stop()
    return 0


def is_last() -> bool:
    return os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1)


class StopAt(pretrain.Stop):
    """Is told to stop after so many steps, in one process only, the last. `train` asks before each step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        self.left -= 1
        return int(signal.SIGTERM) if self.left < 0 and is_last() else None


def spoil(number: int) -> None:
    """From now on the norm of that step's gradient is NaN in the last process, and there alone."""
    right, steps = parallel.clip, iter(range(1, 1000))

    def wrong(parameters: Any, limit: float) -> torch.Tensor:
        norm = right(parameters, limit)
        return norm * float("nan") if next(steps) == number and is_last() else norm

    parallel.clip = wrong


if __name__ == "__main__":
    main()
