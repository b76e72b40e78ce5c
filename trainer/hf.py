"""To Hugging Face transformers and back: a renaming, since model.py keeps its rotary convention.

    python -m trainer.hf --checkpoint RUN --out DIR                          export
    python -m trainer.hf --from DIR --data DATASET --preset NAME --out RUN   import

DIR then opens with `AutoModelForCausalLM` and `AutoTokenizer`; its fp32 logits equal ours to the bit. An imported model
is a checkpoint of step 0 of a run on DATASET, whose tokenizer it must share: the optimiser begins anew, and
`trainer.pretrain` with the same preset trains on. Weights come back to the bit; bf16 and fp16 ones as fp32.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.token_shard import Dataset
from trainer import checkpoint, hf_tokenizer, pretrain
from trainer import config as configuration
from trainer.config import Config, ModelConfig
from trainer.mixture import SEVERAL, Mixture
from trainer.model import Llama, build
from trainer.optim import adamw

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SHARD_BYTES = 5_000_000_000
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
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
_SIZES = {
    "dim": "hidden_size",
    "ffn": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "context": "max_position_embeddings",
    "vocabulary": "vocab_size",
    "norm_eps": "rms_norm_eps",
}
_ROPE = {
    "rope_factor": "factor",
    "rope_low": "low_freq_factor",
    "rope_high": "high_freq_factor",
    "rope_original": "original_max_position_embeddings",
}
_FIXED = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
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


def config_json(config: ModelConfig, bos: int, eos: int, dtype: str = "float32") -> dict[str, Any]:
    """The config.json of a LlamaForCausalLM of this shape."""
    scaling = {"rope_type": "llama3", **{theirs: getattr(config, ours) for ours, theirs in _ROPE.items()}}
    return {
        "architectures": ["LlamaForCausalLM"],
        **_FIXED,
        **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling if config.rope_factor != 1.0 else None,
        "tie_word_embeddings": config.tied,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "torch_dtype": dtype,
    }


def model_config(table: Mapping[str, Any]) -> ModelConfig:
    """The shape that a config.json describes. Raises UserError for what is no LLaMA, or one that we cannot compute."""
    rope = {**(table.get("rope_scaling") or {}), **(table.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    stretched = kind == "llama3"
    needed = [(table, key) for key in _SIZES.values()] + [(rope, key) for key in _ROPE.values() if stretched]
    if missing := [key for where, key in needed if where.get(key) is None]:
        raise UserError(f"config.json lacks {', '.join(missing)}")
    heads = table["num_attention_heads"]
    wrong = [f"{key} = {table[key]!r}" for key, value in _FIXED.items() if table.get(key, value) != value]
    wrong += [f"rope_type = {kind!r}"] if kind not in ("default", "llama3") else []
    if (size := table.get("head_dim")) and size * heads != table["hidden_size"]:
        wrong.append(f"head_dim = {size}")
    if wrong:
        raise UserError(f"config.json says {', '.join(wrong)}: only LLaMA's own architecture is read")
    return ModelConfig(
        **{ours: table[theirs] for ours, theirs in _SIZES.items()},
        **{ours: rope[theirs] for ours, theirs in _ROPE.items() if stretched},
        kv_heads=table.get("num_key_value_heads") or heads,
        rope_theta=float(rope.get("rope_theta", table.get("rope_theta", 10_000.0))),
        tied=bool(table.get("tie_word_embeddings", False)),
    )


def export(
    found: checkpoint.Checkpoint, out: Path, dtype: str = "float32", shard_bytes: int = _SHARD_BYTES
) -> list[str]:
    """Write a directory that is new or empty, and return the names of its files. It appears whole or not at all."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty: choose another --out")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        model = checkpoint.load_model(found, torch.device("cpu"))
        bos, eos = found.tokenizer["bos"], found.tokenizer["eos"]
        tables = {
            "config.json": config_json(found.config.model, bos, eos, dtype),
            "generation_config.json": {"bos_token_id": bos, "eos_token_id": eos},
        }
        for name, table in tables.items():
            (temporary / name).write_text(json.dumps(table, indent=2) + "\n")
        hf_tokenizer.write(found.tokenizer_file, temporary, found.config.model.context)
        write_weights(state_dict(model.state_dict()), temporary, DTYPES[dtype], shard_bytes)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path.name for path in out.iterdir())


def write_weights(
    weights: Mapping[str, torch.Tensor], directory: Path, dtype: torch.dtype, shard_bytes: int = _SHARD_BYTES
) -> None:
    """model.safetensors; or, if it would be larger than `shard_bytes`, several files and the index of them."""
    shards: list[list[str]] = [[]]
    room, whole = shard_bytes, 0
    for name, tensor in weights.items():
        size = tensor.numel() * dtype.itemsize
        if size > room and shards[-1]:
            shards.append([])
            room = shard_bytes
        shards[-1].append(name)
        room, whole = room - size, whole + size
    files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    if len(shards) == 1:
        files = [_WEIGHTS]
    for file, names in zip(files, shards, strict=True):
        tensors = {name: weights[name].to(dtype).contiguous() for name in names}
        save_file(tensors, directory / file, metadata={"format": "pt"})
    if len(shards) > 1:
        places = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": whole}, "weight_map": places}
        (directory / _INDEX).write_text(json.dumps(index, indent=2) + "\n")


def load(directory: Path, context: int | None = None) -> Llama:
    """The model in a directory of Hugging Face, in fp32 on the CPU, in evaluation mode. `context` overrides its own.

    Raises InputError for files that are missing or damaged, UserError for another architecture.
    """
    config = model_config(_json(directory / "config.json"))
    model = build(dataclasses.replace(config, context=context or config.context), torch.device("cpu"))
    waiting = {hf_name(name): tensor for name, tensor in model.state_dict().items()}
    for name, tensor in _weights(directory):
        if name == "lm_head.weight" and config.tied:
            continue  # some files hold the embeddings twice
        if name.endswith("rotary_emb.inv_freq"):
            continue  # of old files; they follow from the shape
        ours = waiting.pop(name, None)
        if ours is None or ours.shape != tensor.shape:
            raise InputError(f"{directory} holds {name} {list(tensor.shape)}, which its config.json does not foresee")
        ours.copy_(tensor)
    if waiting:
        raise InputError(f"{directory} lacks {', '.join(list(waiting)[:3])}")
    return model.eval()


def import_(directory: Path, data: Dataset | Mixture, config: Config, out: Path) -> Path:
    """Write the checkpoint of step 0 of a run of `config` on `data`, with the weights of a directory.

    Raises UserError if its shape or its tokenizer is another, or if `out` holds checkpoints.
    """
    data = Mixture.of(data)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} exists and is not empty: choose another --out")
    hf_tokenizer.check_same(checkpoint.tokenizer_of(data.datasets[0]), directory)
    model = load(directory, config.model.context)
    theirs = dataclasses.asdict(model.config)
    needed = data.tokenizer["vocabulary"]
    if theirs["vocabulary"] < needed:
        raise UserError(f"{directory} has a vocabulary of {theirs['vocabulary']}, and the dataset's tokenizer {needed}")
    ours = dataclasses.asdict(pretrain.with_vocabulary(config, data).model)
    if wrong := [f"--set model.{key}={json.dumps(theirs[key])}" for key in ours if ours[key] != theirs[key]]:
        raise UserError(f"the preset is of another shape than {directory}: {' '.join(wrong)}")
    config = dataclasses.replace(config, model=model.config)
    return checkpoint.Saver(out).save(model, adamw(model, config.optimiser), 0, 0, data, config)


def _weights(directory: Path) -> Iterator[tuple[str, torch.Tensor]]:
    index = directory / _INDEX
    files = sorted(set(_json(index)["weight_map"].values())) if index.is_file() else [_WEIGHTS]
    for file in files:
        try:
            yield from load_file(directory / file).items()
        except (OSError, SafetensorError) as error:
            raise InputError(f"{directory / file}: {error}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    return table


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.hf", description="Export for transformers, or import from it.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="export this: a checkpoint, or a run's output directory")
    source.add_argument("--from", dest="directory", type=Path, help="import this: a directory of Hugging Face")
    parser.add_argument("--out", type=Path, required=True, help="a directory to create")
    export_only = parser.add_argument_group("export")
    export_only.add_argument("--dtype", choices=DTYPES, default="float32", help="of the weights in the files")
    export_only.add_argument("--shard-bytes", type=int, default=_SHARD_BYTES, help="the most that a file may hold")
    import_only = parser.add_argument_group("import")
    import_only.add_argument("--data", action="append", help=f"to train on, of the same tokenizer: {SEVERAL}")
    import_only.add_argument("--preset", default="tiny", help="the run to begin; its model must have the same shape")
    import_only.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    args = parser.parse_args(argv)
    if args.checkpoint:
        found = checkpoint.find(args.checkpoint)
        files = export(found, args.out, args.dtype, args.shard_bytes)
        print(f"{found.path} is now {args.out}: {', '.join(files)}")
        return 0
    if args.data is None:
        raise UserError("--from needs --data: a checkpoint belongs to a dataset")
    config = configuration.load(args.preset, args.set)
    path = import_(args.directory, Mixture.open(args.data), config, args.out)
    overrides = "".join(f" --set {setting}" for setting in args.set)
    print(f"{args.directory} is now {path}; to train on:")
    named = " --data ".join(args.data)
    print(f"  python -m trainer.pretrain --data {named} --out {args.out} --preset {args.preset}{overrides}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
