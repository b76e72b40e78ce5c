from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.config import ModelConfig
from trainer.data import IGNORED
from trainer.loss import cross_entropy
from trainer.model import build

N, D, V = 301, 64, 517
STEP = 4 * N  # predictions of a step of which these are one microbatch in four
CHUNKS = (1, 100, 300, 301, 1024)


def case(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states of unit size, an output layer as it is initialised, targets of which some are ignored."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, D, generator=generator, dtype=torch.float64) * 0.02
    targets = torch.randint(0, V, (N,), generator=generator)
    targets[::7] = IGNORED
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def whole(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The oracle: all logits at once."""
    losses = F.cross_entropy(hidden @ weight.T, targets, reduction="none", ignore_index=IGNORED)
    return losses.sum(), losses


def gradients(dtype: torch.dtype, chunk: int | None) -> tuple[Tensor, Tensor]:
    hidden, weight, targets = case(dtype)
    total = whole(hidden, weight, targets)[0] if chunk is None else cross_entropy(hidden, weight, targets, chunk)[0]
    (total / STEP).backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return hidden.grad, weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_of_one_chunk_is_that_of_torch_to_the_bit(dtype: torch.dtype) -> None:
    arguments = case(dtype)
    total, losses = cross_entropy(*arguments)
    expected, each = whole(*arguments)
    assert torch.equal(losses, each)
    assert torch.equal(total, expected)
    assert not losses.requires_grad


@pytest.mark.parametrize("chunk", CHUNKS)
def test_losses_of_any_chunk_agree(chunk: int) -> None:
    """To the last bits: a matrix product of fewer rows may add in another order."""
    arguments = case(torch.float64)
    losses, each = cross_entropy(*arguments, chunk)[1], whole(*arguments)[1]
    torch.testing.assert_close(losses, each, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("dtype", "chunk", "criterion"),
    [
        *((torch.float64, chunk, 1e-16) for chunk in CHUNKS),
        *((torch.float32, chunk, 3e-9) for chunk in (300, 301, 1024)),
    ],
)
def test_gradients_are_those_of_torch(dtype: torch.dtype, chunk: int, criterion: float) -> None:
    for ours, theirs in zip(gradients(dtype, chunk), gradients(dtype, None), strict=True):
        assert ours.abs().max() > 1e-5
        assert (ours - theirs).abs().max() <= criterion


@pytest.mark.parametrize("chunk", CHUNKS)
def test_gradients_in_fp32_are_about_as_near_the_truth_as_those_of_torch(chunk: int) -> None:
    """Also of many small chunks, whose gradients are added one after the other."""
    truth, theirs = gradients(torch.float64, None), gradients(torch.float32, None)
    for ours, their, exact in zip(gradients(torch.float32, chunk), theirs, truth, strict=True):
        assert (ours - exact).abs().max() <= 2.5 * (their - exact).abs().max()


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 6, IGNORED, 3, 3])
    assert torch.autograd.gradcheck(lambda h, w: cross_entropy(h, w, targets, 2)[0], (hidden, weight))
    assert torch.autograd.gradcheck(lambda h: cross_entropy(h, weight.detach(), targets)[0], hidden)


def test_an_ignored_target_costs_nothing_and_pulls_at_nothing() -> None:
    hidden, weight, targets = case(torch.float32)
    total, losses = cross_entropy(hidden, weight, targets)
    total.backward()
    ignored = targets == IGNORED
    assert hidden.grad is not None
    assert (losses[ignored] == 0).all()
    assert (hidden.grad[ignored] == 0).all()
    assert (hidden.grad[~ignored].abs().amax(dim=1) > 0).all()


def test_under_autocast_losses_are_those_of_bf16_logits_and_gradients_add_up_in_fp32() -> None:
    hidden, weight, targets = case(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, losses = cross_entropy(hidden, weight, targets, 16)
        logits = F.linear(hidden, weight)
    assert logits.dtype == torch.bfloat16
    expected = F.cross_entropy(logits.float(), targets, reduction="none", ignore_index=IGNORED)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=0)
    (total / STEP).backward()
    for ours, exact in zip((hidden.grad, weight.grad), gradients(torch.float64, None), strict=True):
        assert ours is not None
        assert ours.dtype == torch.float32
        assert (ours - exact).norm() / exact.norm() < 4e-3  # bf16 keeps 8 bits: 2**-8


class Largest(TorchDispatchMode):
    """The most elements that any operation's result had, in forward and backward, and the names of operations."""

    def __init__(self) -> None:
        super().__init__()
        self.elements, self.names = 0, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(str(func))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("tokens", [64, 640])
def test_logits_of_all_tokens_are_never_made(tokens: int) -> None:
    """What is made at most has the size of a chunk's logits, or of the weight, however many tokens there are."""
    hidden, weight = torch.randn(tokens, 8, requires_grad=True), torch.randn(300, 8, requires_grad=True)
    targets = torch.randint(0, 300, (tokens,))
    with Largest() as chunked:
        cross_entropy(hidden, weight, targets, chunk=32)[0].backward()
    assert chunked.elements <= max(32 * 300, hidden.numel(), weight.numel())
    with Largest() as oracle:
        F.cross_entropy(hidden @ weight.T, targets).backward()
    assert oracle.elements == tokens * 300  # the measure sees it where it is made


def test_without_gradients_only_losses_are_computed() -> None:
    hidden, weight, targets = case(torch.float32)
    expected = cross_entropy(hidden, weight, targets)
    with torch.no_grad(), Largest() as mode:
        found = cross_entropy(hidden, weight, targets, chunk=10)
    torch.testing.assert_close(found, tuple(t.detach() for t in expected), rtol=1e-6, atol=0)
    assert "aten.exp_.default" not in mode.names
    with Largest() as mode:
        cross_entropy(hidden, weight, targets)
    assert "aten.exp_.default" in mode.names


@pytest.mark.parametrize("tied", [False, True])
def test_the_models_loss_has_the_gradients_of_its_logits(tied: bool) -> None:
    config = ModelConfig(dim=32, layers=2, heads=4, kv_heads=2, ffn=48, context=16, vocabulary=50, tied=tied)
    model = build(config, torch.device("cpu")).double()
    model.initialise(0)
    tokens = torch.randint(0, 50, (3, 17), generator=torch.Generator().manual_seed(0))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    total, losses = model(inputs, targets)
    each = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    assert torch.equal(losses, each)
    one = torch.autograd.grad(total, list(model.parameters()))
    other = torch.autograd.grad(each.sum(), list(model.parameters()))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=4e-11)
