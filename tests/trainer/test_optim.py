from __future__ import annotations

import pytest
import torch

from trainer.config import load
from trainer.model import build
from trainer.optim import adamw, groups, learning_rate

CONFIG = load(
    "tiny", ["optimiser.lr=1.0", "schedule.warmup=4", "schedule.final=0.1", "run.steps=14", "model.vocabulary=20"]
)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 0.25),
        (3, 0.75),
        (4, 1.0),  # the peak is reached with the last step of the warm-up
        (9, 0.55),  # half-way down the cosine
        (14, 0.1),  # the last step
        (5, 0.1 + 0.9 * 0.5 * (1 + 0.9510565162951535)),  # cos(pi / 10)
    ],
)
def test_learning_rate(step: int, rate: float) -> None:
    assert learning_rate(step, CONFIG) == pytest.approx(rate, rel=1e-12)


def test_no_warmup_and_a_warmup_longer_than_the_run() -> None:
    assert learning_rate(1, load("tiny", ["schedule.warmup=0", "run.steps=1", "optimiser.lr=1.0"])) == pytest.approx(
        0.1
    )
    assert learning_rate(3, load("tiny", ["schedule.warmup=10", "run.steps=3", "optimiser.lr=1.0"])) == pytest.approx(
        0.3
    )


def test_matrices_decay_and_norms_do_not() -> None:
    model = build(CONFIG.model, torch.device("cpu"))
    decayed, plain = groups(model)
    assert sorted(decayed + plain) == sorted(name for name, _ in model.named_parameters())
    assert all(name.endswith("norm.weight") for name in plain)
    assert len(plain) == 2 * CONFIG.model.layers + 1
    assert {"embed.weight", "head.weight"} <= set(decayed)
    optimiser = adamw(model, CONFIG.optimiser)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in optimiser.param_groups] == [len(decayed), len(plain)]


def test_two_steps_are_those_of_loshchilov_and_hutter() -> None:
    """AdamW written out, in float64: decoupled decay, then the bias-corrected ratio of the moments."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2, bias=False)
    settings = load("tiny", ["optimiser.lr=0.01", "optimiser.eps=1e-5"]).optimiser
    optimiser = adamw(layer, settings)
    weight = layer.weight.detach().double()
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for step in (1, 2):
        gradient = torch.randn(2, 3)
        layer.weight.grad = gradient.clone()
        optimiser.step()
        first = 0.9 * first + 0.1 * gradient.double()
        second = 0.95 * second + 0.05 * gradient.double() ** 2
        weight *= 1 - 0.01 * 0.1
        weight -= 0.01 * (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-5)
    torch.testing.assert_close(layer.weight.detach().double(), weight, atol=1e-7, rtol=1e-6)
