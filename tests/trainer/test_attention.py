from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from trainer.attention import attend, document_mask, documents, positions, preferred_kernels, same_document
from trainer.config import ModelConfig
from trainer.model import Llama, build

BOS = 1
CPU = torch.device("cpu")
LENGTHS = ([5, 1, 9, 3], [2, 16], [18])  # of the documents in each row


@pytest.fixture
def model() -> Llama:
    made = build(ModelConfig(dim=32, layers=3, heads=4, kv_heads=2, ffn=48, context=18, vocabulary=50), CPU)
    made.initialise(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.03
    return made


@pytest.fixture
def rows() -> torch.Tensor:
    """Three rows of several documents; the second row begins in the middle of one, as windows do."""
    made = torch.randint(2, 50, (3, 18), generator=torch.Generator().manual_seed(2))
    for row, lengths in zip(made, LENGTHS, strict=True):
        row[torch.tensor([0, *lengths[:-1]]).cumsum(0)] = BOS
    made[1, 0] = 7
    return made


def test_bos_begins_a_document_and_places_count_from_it() -> None:
    tokens = torch.tensor([[BOS, 5, 6, BOS, BOS, 7], [5, 6, BOS, 7, 8, BOS]])
    numbers = documents(tokens, BOS)
    assert numbers.tolist() == [[1, 1, 1, 2, 3, 3], [0, 0, 1, 1, 1, 2]]
    assert positions(numbers).tolist() == [[0, 1, 2, 0, 0, 1], [0, 1, 0, 1, 2, 0]]


def test_mask_is_causal_and_stays_inside_documents() -> None:
    numbers = documents(torch.tensor([[5, BOS, 6, BOS]]), BOS)
    mask = document_mask(numbers)
    assert isinstance(mask, torch.Tensor)
    assert mask.int().tolist() == [[[[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]]]
    every = torch.arange(4)
    rule = same_document(numbers)(torch.tensor(0), torch.tensor(0), every[:, None], every[None])
    assert torch.equal(rule, mask[0, 0])


@pytest.mark.parametrize(("dtype", "criterion"), [(torch.float32, 3e-7), (torch.float64, 1e-15)])
def test_documents_of_a_row_are_read_as_if_each_stood_alone(
    model: Llama, rows: torch.Tensor, dtype: torch.dtype, criterion: float
) -> None:
    model = model.to(dtype)
    with torch.no_grad():
        masked, leaking = model(rows, documents=documents(rows, BOS)), model(rows)
        apart, leak = 0.0, 0.0
        for row, lengths in enumerate(LENGTHS):
            for number, alone in enumerate(rows[row].split(lengths)):
                part = slice(sum(lengths[:number]), sum(lengths[: number + 1]))
                expected = model(alone[None])[0]
                apart = max(apart, (masked[row, part] - expected).abs().max().item())
                leak = max(leak, (leaking[row, part] - expected).abs().max().item())
    assert apart <= criterion
    assert leak > 0.3  # without the mask documents do see each other: the test can fail


def test_losses_and_gradients_are_those_of_the_documents_alone(model: Llama, rows: torch.Tensor) -> None:
    model = model.double()
    targets = rows.roll(-1, dims=1)
    total, losses = model(rows, targets, documents=documents(rows, BOS))
    together = torch.autograd.grad(total, list(model.parameters()))
    pieces = [
        (one[None], two[None])
        for row, target, lengths in zip(rows, targets, LENGTHS, strict=True)
        for one, two in zip(row.split(lengths), target.split(lengths), strict=True)
    ]
    alone = [model(one, two) for one, two in pieces]
    expected = torch.autograd.grad(torch.stack([one for one, _ in alone]).sum(), list(model.parameters()))
    torch.testing.assert_close(losses.flatten(), torch.cat([each.flatten() for _, each in alone]), rtol=1e-13, atol=0)
    torch.testing.assert_close(together, expected, rtol=1e-10, atol=1e-13)


def test_one_document_a_row_is_attention_without_documents(model: Llama, rows: torch.Tensor) -> None:
    one = torch.zeros_like(rows)
    torch.testing.assert_close(model(rows, documents=one), model(rows), rtol=0, atol=3e-7)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_with_our_rule_is_attention_with_our_mask(rows: torch.Tensor) -> None:
    """What CUDA runs compiled, run here as it is: the rule, the shapes and the shared heads."""
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(3, 4, 18, 16, generator=generator)
    key, value = (torch.randn(3, 2, 18, 16, generator=generator) for _ in range(2))
    numbers = documents(rows, BOS)
    block_mask = create_block_mask(same_document(numbers), 3, None, 18, 18, device="cpu")
    found = flex_attention(query, key, value, block_mask=block_mask, enable_gqa=True)
    torch.testing.assert_close(found, attend(query, key, value, document_mask(numbers)), rtol=0, atol=1e-6)


def test_cudnn_comes_first_on_hopper_and_nothing_changes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _cur_sdpa_kernel_backends(with_priority=True)
    cuda = torch.device("cuda")
    cudnn = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]
    for capability, first in ((9, cudnn), (8, before[:2]), (10, before[:2])):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: (found, 0))
        with preferred_kernels(cuda):
            assert _cur_sdpa_kernel_backends(with_priority=True)[:2] == first
    with preferred_kernels(CPU):
        assert _cur_sdpa_kernel_backends(with_priority=True) == before
    assert _cur_sdpa_kernel_backends(with_priority=True) == before
