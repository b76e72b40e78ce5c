from __future__ import annotations

import pytest
import torch

from trainer.config import ModelConfig
from trainer.generate import draw, generate
from trainer.model import Llama, build

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> Llama:
    made = build(ModelConfig(dim=16, layers=2, heads=2, kv_heads=1, ffn=24, context=8, vocabulary=30), CPU)
    made.initialise(0)
    for parameter in made.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3
    return made


def write(model: Llama, **arguments: object) -> list[int]:
    return generate(model, [1, 5, 6], 30, context=8, device=CPU, **arguments)  # type: ignore[arg-type]


def test_the_same_seed_writes_the_same_and_another_does_not(model: Llama) -> None:
    torch.manual_seed(99)
    first = write(model, seed=4)
    torch.manual_seed(100)
    assert write(model, seed=4) == first
    assert write(model, seed=5) != first
    assert len(first) == 30


def test_temperature_0_takes_the_likeliest_within_the_context(model: Llama) -> None:
    tokens = [1, 5, 6]
    for token in write(model, temperature=0.0):
        assert token == int(model(torch.tensor([tokens[-8:]]))[0, -1].argmax())
        tokens.append(token)


def test_it_ends_before_the_stop_token_and_never_writes_a_banned_one(model: Llama) -> None:
    free = write(model, seed=4)
    stop = free[10]
    assert write(model, seed=4, stop=stop) == free[: free.index(stop)]
    assert stop not in write(model, seed=4, banned=[stop])


@pytest.mark.parametrize(
    ("top_p", "allowed"), [(0.3, {2}), (0.5, {2}), (0.51, {0, 2}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_fewest_likeliest_that_reach_it(top_p: float, allowed: set[int]) -> None:
    logits = torch.tensor([0.3, 0.125, 0.5, 0.075]).log()
    generator = torch.Generator().manual_seed(0)
    assert {draw(logits, 1.0, top_p, generator) for _ in range(400)} == allowed
