from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from curation.errors import InputError
from curation.token_shard import Dataset
from trainer import checkpoint, hf
from trainer.config import Config, ModelConfig, RunConfig, load
from trainer.model import Llama, build
from trainer.optim import adamw

SHAPES = {
    "multi-head": {},
    "grouped": {"kv_heads": 2},
    "llama 3.1 rotations": {"kv_heads": 2, "rope_theta": 5e5, "rope_factor": 8.0, "rope_original": 32},
    "tied": {"tied": True, "norm_eps": 1e-6},
}


def model_of(shape: dict[str, object]) -> Llama:
    base = {"dim": 64, "layers": 3, "heads": 4, "kv_heads": 4, "ffn": 96, "context": 64, "vocabulary": 512}
    model = build(ModelConfig(**{**base, **shape}), torch.device("cpu"))  # type: ignore[arg-type]
    model.initialise(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.1
    return model.eval()


def test_names() -> None:
    assert hf.hf_name("embed.weight") == "model.embed_tokens.weight"
    assert hf.hf_name("blocks.11.attention.output.weight") == "model.layers.11.self_attn.o_proj.weight"
    assert hf.hf_name("norm.weight") == "model.norm.weight"
    with pytest.raises(KeyError):
        hf.hf_name("blocks.0.unheard_of.weight")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_exported_model_has_equal_logits_in_transformers(
    shape: dict[str, object], corpus: Path, tmp_path: Path
) -> None:
    """The whole way: checkpoint, export, `from_pretrained`; fp32 logits equal to the bit."""
    transformers = pytest.importorskip("transformers")
    model = model_of(shape)
    config = Config(model=model.config, run=RunConfig(steps=1, sequences=1))
    optimiser = adamw(model, config.optimiser)
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = 0.0
    optimiser.step()
    path = checkpoint.save(tmp_path / "run", model, optimiser, 1, 1, Dataset.open(corpus), config)
    assert hf.main(["--checkpoint", str(path), "--out", str(tmp_path / "hf")]) == 0
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in model.parameters())
    tokens = torch.randint(0, 512, (3, 50), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(theirs(tokens).logits, model(tokens))


def test_config_json_of_a_published_model() -> None:
    written = hf.config_json(load("llama3.2-1b").model, 128000, 128001)
    assert json.loads(json.dumps(written)) == written
    assert (written["head_dim"], written["num_key_value_heads"], written["tie_word_embeddings"]) == (64, 8, True)
    assert written["rope_scaling"]["factor"] == 32.0
    assert hf.config_json(load("llama1-7b").model, 1, 2)["rope_scaling"] is None


def test_export_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        hf.export(None, tmp_path)  # type: ignore[arg-type]
