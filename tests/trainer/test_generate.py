from __future__ import annotations

import pytest
import torch

from trainer import hf
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


def test_temperature_0_takes_the_likeliest_and_a_full_context_is_halved(model: Llama) -> None:
    """The oracle reads everything anew for each token."""
    tokens, begin = [1, 5, 6], 0
    for token in write(model, temperature=0.0):
        if len(tokens) - begin > 8:
            begin = len(tokens) - 4
        assert token == int(model(torch.tensor([tokens[begin:]]))[0, -1].argmax())
        tokens.append(token)
    assert begin > 8


@pytest.mark.parametrize("length", [8, 9, 20])
def test_a_prompt_as_long_as_the_context_or_longer_is_read_from_its_end(model: Llama, length: int) -> None:
    prompt = torch.randint(0, 30, (length,), generator=torch.Generator().manual_seed(3)).tolist()
    (token,) = generate(model, prompt, 1, context=8, device=CPU, temperature=0.0)
    assert token == int(model(torch.tensor([prompt[-8:]]))[0, -1].argmax())


@pytest.mark.parametrize("shape", [{}, {"kv_heads": 4}, {"tied": True, "rope_factor": 8.0, "rope_original": 32}])
def test_greedy_is_that_of_transformers_token_by_token(shape: dict[str, object]) -> None:
    transformers = pytest.importorskip("transformers")
    base = {"dim": 64, "layers": 3, "heads": 4, "kv_heads": 2, "ffn": 96, "context": 128, "vocabulary": 100}
    ours = build(ModelConfig(**{**base, **shape}), CPU).eval()  # type: ignore[arg-type]
    ours.initialise(0)
    for parameter in ours.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.2
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**hf.config_json(ours.config, 1, 2))).eval()
    theirs.load_state_dict(hf.state_dict(ours.state_dict()), strict=not ours.config.tied)
    prompt = [1, 17, 55, 4]
    found = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 4),
        max_new_tokens=60,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[0, 4:].tolist()
    assert len(found) == 60
    assert len(set(found)) > 3
    assert generate(ours, prompt, 60, context=128, device=CPU, temperature=0.0) == found
    stop = found[30]
    assert generate(ours, prompt, 60, context=128, device=CPU, temperature=0.0, stop=stop) == found[: found.index(stop)]


def test_each_token_is_read_once(model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda tokens, **more: (read.append(tokens.numel()), forward(tokens, **more))[1]
    )
    generate(model, [1, 5, 6], 5, context=8, device=CPU)
    assert read == [3, 1, 1, 1, 1]


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
