"""Where the arithmetic runs, and in which precision."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

from curation.errors import UserError

DEVICES = ("auto", "cuda", "mps", "cpu")


def pick(name: str) -> torch.device:
    """The named device; "auto" is the best there is. Raises UserError for one that this machine lacks."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there[name]:
        raise UserError(f"--device {name}: this machine or this torch has none; --device auto takes what there is")
    return torch.device(name)


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bf16 arithmetic over fp32 weights on CUDA; fp32 elsewhere."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def capacity(device: torch.device) -> int:
    """Bytes that this process may fill: a GPU's memory, or its part of this machine's, as far as its container lets it.

    Processes of one machine (torchrun says how many) share its memory alike.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
            room = min(room, int(text))
    return room // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
