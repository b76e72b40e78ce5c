from __future__ import annotations

import math
import pydoc_data.topics

import numpy as np
import pytest
import torch

from trainer.config import load
from trainer.data import IGNORED
from trainer.parallel import World
from trainer.step import Learner, learner

CPU = World(torch.device("cpu"))
SHAPE = ["dim=32", "layers=1", "heads=2", "kv_heads=1", "ffn=96", "context=64", "vocabulary=256"]


def made(*overrides: str) -> Learner:
    own = learner(load("tiny", [f"model.{setting}" for setting in SHAPE] + list(overrides)), CPU)
    own.model.initialise(0)
    return own


def step(own: Learner, number: int, rows: np.ndarray) -> tuple[float, float]:
    update = own.learn(number, rows, np.zeros_like(rows), ["text"], -1)
    return update.loss, update.norm


def test_a_step_is_the_same_in_microbatches_however_unevenly_predictions_are_spread() -> None:
    """Rows with 64, 33, 2 and no predictions: within 1e-6 of one large batch, where a mean of means is far away."""
    rows = np.random.default_rng(0).integers(256, size=(8, 65))
    for row, left in enumerate((64, 33, 2, 0, 64, 1, 0, 64)):
        rows[row, left + 1 :] = IGNORED
    found, weights = {}, {}
    for size in (8, 4, 3, 2, 1):
        own = made(f"run.microbatch={size}")
        found[size] = [value for number in (1, 2, 3) for value in step(own, number, rows)]
        weights[size] = [parameter.detach().clone() for parameter in own.model.parameters()]
    for size in (4, 3, 2, 1):
        assert found[size] == pytest.approx(found[8], rel=0, abs=1e-6)
        for one, other in zip(weights[size], weights[8], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    alone = [step(made(), 1, rows[row : row + 1])[0] for row in range(8) if (rows[row, 1:] != IGNORED).any()]
    assert abs(sum(alone) / len(alone) - found[8][0]) > 1e-3


def test_it_learns_bytes() -> None:
    """From ln 256 to below 3 in 120 steps: less than the bytes' own frequencies can do."""
    text = "".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)).encode()
    data = np.frombuffer(text, np.uint8).astype(np.int64)
    own = made("optimiser.lr=1e-2", "run.steps=120", "schedule.warmup=10", "run.microbatch=16")
    chosen = np.random.default_rng(0)
    losses = []
    for number in range(1, 121):
        starts = chosen.integers(len(data) - 65, size=16)
        losses.append(step(own, number, np.stack([data[start : start + 65] for start in starts]))[0])
    assert losses[0] == pytest.approx(math.log(256), abs=0.05)
    assert np.mean(losses[-5:]) < 3
    counts = np.bincount(data, minlength=256)
    frequencies = counts[counts > 0] / len(data)
    assert np.mean(losses[-5:]) < -(frequencies * np.log(frequencies)).sum()
