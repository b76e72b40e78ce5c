"""Where the arithmetic runs, and in which precision."""

from __future__ import annotations

import contextlib

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
