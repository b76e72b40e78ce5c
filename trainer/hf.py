"""Export to the layout of Hugging Face transformers: a renaming, since model.py keeps its rotary convention.

    python -m trainer.hf --checkpoint RUN --out DIR

DIR then opens with `transformers.LlamaForCausalLM.from_pretrained(DIR)`, whose fp32 logits equal ours to the bit.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from curation.errors import CommandLine, InputError, exit_on_user_error
from trainer import checkpoint
from trainer.config import ModelConfig

_NAMES = {
    "embed": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn.gate": "mlp.gate_proj",
    "ffn.up": "mlp.up_proj",
    "ffn.down": "mlp.down_proj",
}
_BLOCK = re.compile(r"(?:(?P<block>blocks\.\d+)\.)?(?P<part>.+)\.weight")


def hf_name(name: str) -> str:
    """`blocks.3.ffn.up.weight` is `model.layers.3.mlp.up_proj.weight` there."""
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise ValueError(name)
    block = match["block"].replace("blocks", "model.layers") + "." if match["block"] else ""
    return f"{block}{_NAMES[match['part']]}.weight"


def state_dict(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our weights under the names of LlamaForCausalLM; the tensors are the same objects."""
    return {hf_name(name): tensor for name, tensor in weights.items()}


def config_json(config: ModelConfig, bos: int, eos: int) -> dict[str, Any]:
    """The config.json of a LlamaForCausalLM of this shape."""
    scaling = {
        "rope_type": "llama3",
        "factor": config.rope_factor,
        "low_freq_factor": config.rope_low,
        "high_freq_factor": config.rope_high,
        "original_max_position_embeddings": config.rope_original,
    }
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.dim,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling if config.rope_factor != 1.0 else None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "torch_dtype": "float32",
    }


def export(found: checkpoint.Checkpoint, out: Path) -> None:
    """Write config.json, model.safetensors and tokenizer.model to a directory that is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    model = checkpoint.load_model(found, torch.device("cpu"))
    save_file(state_dict(model.state_dict()), out / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(found.tokenizer_file, out / "tokenizer.model")
    described = config_json(found.config.model, found.tokenizer["bos"], found.tokenizer["eos"])
    (out / "config.json").write_text(json.dumps(described, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.hf", description="Export for transformers.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint, or a run's output directory")
    parser.add_argument("--out", type=Path, required=True, help="a directory to create")
    args = parser.parse_args(argv)
    found = checkpoint.find(args.checkpoint)
    export(found, args.out)
    print(f"{found.path} is now {args.out}: config.json, model.safetensors, tokenizer.model")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
