from __future__ import annotations

import base64
import dataclasses
import json
import pydoc_data.topics
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from curation.errors import InputError, UserError
from curation.token_shard import Dataset
from models.tokenizer import PROBES, Tokenizer
from trainer import checkpoint, hf, hf_tokenizer, pretrain
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


def saved(model: Llama, corpus: Path, run: Path) -> Path:
    """A checkpoint of the model, by a step that changes nothing."""
    config = Config(model=model.config, run=RunConfig(steps=1, sequences=1))
    optimiser = adamw(model, config.optimiser)
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = 0.0
    optimiser.step()
    return checkpoint.Saver(run).save(model, optimiser, 1, 1, Dataset.open(corpus), config)


def equal(one: Llama, other: Llama) -> bool:
    mine, its = one.state_dict(), other.state_dict()
    return mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_there_and_back(shape: dict[str, object], corpus: Path, tmp_path: Path) -> None:
    """The whole way: checkpoint, export in several files, `from_pretrained`; logits equal to the bit; and import."""
    transformers = pytest.importorskip("transformers")
    model = model_of(shape)
    path, out = saved(model, corpus, tmp_path / "run"), tmp_path / "hf"
    assert hf.main(["--checkpoint", str(path), "--out", str(out), "--shard-bytes", "150000"]) == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    assert theirs.dtype == torch.float32
    assert (theirs.generation_config.bos_token_id, theirs.generation_config.eos_token_id) == (1, 2)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in model.parameters())
    tokens = torch.randint(0, 512, (3, 50), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(theirs(tokens).logits, model(tokens))
    assert equal(hf.load(out), model)
    assert hf.load(out).config == model.config
    theirs.save_pretrained(tmp_path / "saved by transformers")
    assert equal(hf.load(tmp_path / "saved by transformers"), model)
    assert hf.load(tmp_path / "saved by transformers").config == model.config


def test_files_are_no_larger_than_asked_and_the_index_knows_them(tmp_path: Path) -> None:
    weights = {f"{i}": torch.full((100,), float(i)) for i in range(7)} | {"large": torch.zeros(500)}
    hf.write_weights(weights, tmp_path, torch.float32, 1000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * 1200
    places = index["weight_map"]
    assert list(places) == list(weights)
    assert sorted(set(places.values())) == [f"model-{i:05d}-of-00005.safetensors" for i in range(1, 6)]
    for file in set(places.values()):
        tensors = load_file(tmp_path / file)
        assert sorted(tensors) == sorted(name for name in places if places[name] == file)
        assert sum(t.nbytes for t in tensors.values()) <= 1000 or list(tensors) == ["large"]
    hf.write_weights(weights, tmp_path / "..", torch.float32, 4 * 1200)
    assert load_file(tmp_path / ".." / "model.safetensors").keys() == weights.keys()


def test_bf16_is_each_weight_rounded_and_comes_back_as_it_is(corpus: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = model_of({})
    path, out = saved(model, corpus, tmp_path / "run"), tmp_path / "hf"
    assert hf.main(["--checkpoint", str(path), "--out", str(out), "--dtype", "bfloat16"]) == 0
    assert transformers.AutoModelForCausalLM.from_pretrained(out).dtype == torch.bfloat16
    rounded = {name: tensor.bfloat16().float() for name, tensor in model.state_dict().items()}
    found = hf.load(out).state_dict()
    assert all(found[name].dtype == torch.float32 and torch.equal(found[name], rounded[name]) for name in rounded)


SHAPE = ["dim=64", "layers=3", "heads=4", "kv_heads=2", "ffn=96", "context=32"]


def test_an_imported_model_trains_on_and_writes(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of({"kv_heads": 2})
    path, out, run = saved(model, corpus, tmp_path / "run"), tmp_path / "hf", tmp_path / "again"
    hf.main(["--checkpoint", str(path), "--out", str(out)])
    overrides = [part for setting in SHAPE for part in ("--set", f"model.{setting}")]
    overrides += ["--set", "run.sequences=2", "--set", "run.evaluate_tokens=500", "--set", "run.steps=2"]
    arguments = ["--from", str(out), "--data", str(corpus), "--out", str(run), *overrides]
    assert hf.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()[-1].split()
    assert printed[:3] == ["python", "-m", "trainer.pretrain"]
    found = checkpoint.find(run)
    assert (found.step, found.g, found.config.model.context) == (0, 0, 32)
    assert equal(checkpoint.load_model(found, torch.device("cpu")), model)
    moments = found.path / "optimiser.safetensors"
    assert set(load_file(moments)) <= {"generator.cpu", "generator.cuda"}  # AdamW begins from nothing
    assert pretrain.main([*printed[3:], "--device", "cpu"]) == 0
    assert checkpoint.find(run).step == 2
    with pytest.raises(InputError, match="not empty"):
        hf.main(arguments)


def test_a_vocabulary_that_was_padded_is_asked_for_and_one_that_is_too_small_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def arguments(vocabulary: int) -> list[str]:
        name = str(vocabulary)
        path = saved(model_of({"kv_heads": 2, "vocabulary": vocabulary}), corpus, tmp_path / f"run-{name}")
        hf.main(["--checkpoint", str(path), "--out", str(tmp_path / name)])
        settings = [f"model.{s}" for s in SHAPE] + ["run.sequences=2", "run.steps=1", "run.evaluate_tokens=500"]
        overrides = [word for setting in settings for word in ("--set", setting)]
        return ["--from", str(tmp_path / name), "--data", str(corpus), "--out", str(tmp_path / "new"), *overrides]

    larger, smaller = arguments(640), arguments(500)
    with pytest.raises(UserError, match=r"another shape than .*: --set model\.vocabulary=640$"):
        hf.main(larger)
    with pytest.raises(UserError, match="has a vocabulary of 500, and the dataset's tokenizer 512"):
        hf.main(smaller)
    with pytest.raises(UserError, match="has a vocabulary of 500, and the dataset's tokenizer 512"):
        hf.main([*smaller, "--set", "model.vocabulary=500"])
    assert not (tmp_path / "new").exists()
    capsys.readouterr()
    assert hf.main([*larger, "--set", "model.vocabulary=640"]) == 0
    printed = capsys.readouterr().out.splitlines()[-1].split()
    assert pretrain.main([*printed[3:], "--device", "cpu"]) == 0
    assert checkpoint.find(tmp_path / "new").config.model.vocabulary == 640


def test_an_import_that_does_not_fit_is_refused(corpus: Path, tmp_path: Path) -> None:
    model = model_of({"kv_heads": 2})
    path, out = saved(model, corpus, tmp_path / "run"), tmp_path / "hf"
    hf.main(["--checkpoint", str(path), "--out", str(out)])
    dataset, run = Dataset.open(corpus), tmp_path / "again"
    config = load("tiny", [f"model.{setting}" for setting in SHAPE])
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, layers=4, tied=True))
    with pytest.raises(UserError, match=r"another shape than .*: --set model\.layers=3 --set model\.tied=false$"):
        hf.import_(out, dataset, other, run)
    with pytest.raises(UserError, match="--data"):
        hf.main(["--from", str(out), "--out", str(run)])
    tokenizer = (out / "tokenizer.model").read_bytes()
    (out / "tokenizer.model").unlink()
    hf_tokenizer.check_same(corpus / "tokenizer.model", out)  # the tokenizer.json will do
    table = json.loads((out / "tokenizer.json").read_text())
    table["model"]["merges"] = table["model"]["merges"][1:]
    (out / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="another tokenizer"):
        hf.import_(out, dataset, config, run)
    (out / "tokenizer.model").write_bytes(tokenizer)
    (out / "model.safetensors").write_bytes((out / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        hf.import_(out, dataset, config, run)
    (out / "config.json").write_text(
        (out / "config.json").read_text().replace('"hidden_size": 64', '"hidden_size": 128')
    )
    with pytest.raises(UserError, match="head_dim = 16"):
        hf.load(out)
    assert not run.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mistral"}, "model_type = 'mistral'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type = 'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "lacks low_freq_factor, high_freq_factor"),
        ({"hidden_size": None}, "lacks hidden_size"),
    ],
)
def test_another_architecture_is_refused(change: dict[str, object], said: str) -> None:
    table = hf.config_json(load("llama1-7b").model, 1, 2)
    with pytest.raises(UserError, match=said):
        hf.model_config({**table, **change})


def test_presets_survive_config_json() -> None:
    for name in ("llama1-7b", "llama3-8b", "llama3.1-405b", "llama3.2-1b"):
        config = load(name).model
        assert hf.model_config(json.loads(json.dumps(hf.config_json(config, 1, 2)))) == config


def ranks() -> bytes:
    """A file as Llama 3's: all bytes, and a few joined pieces."""
    joined = ("th", "he", " t", "the", " the", "in", "ing", "  ", "    ", "\n\n", "'s", "12", "123")
    pieces = [*(bytes([byte]) for byte in range(256)), *(piece.encode() for piece in joined)]
    return b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(pieces))


@pytest.mark.parametrize("kind", ["ours", "a space before", "tiktoken", "tokenizer.json", "tokenizer.json without BOS"])
def test_the_tokenizer_of_transformers_gives_our_ids(kind: str, corpus: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    file, out = tmp_path / "file", tmp_path / "out"
    out.mkdir()
    content = (corpus / "tokenizer.model").read_bytes()
    if kind == "a space before":  # as LLaMA's; normalizer_spec { add_dummy_prefix: true } overrides what came before
        content += b"\x1a\x02\x18\x01"
    elif kind == "tiktoken":
        content = ranks()
    file.write_bytes(content)
    if kind.startswith("tokenizer.json"):
        hf_tokenizer.write(file, out, 64)
        made = json.loads((out / "tokenizer.json").read_text())
        if kind.endswith("without BOS"):
            made["post_processor"] = None
        file.write_text(json.dumps(made, indent=1))
        out = tmp_path / "copied"
        out.mkdir()
    names = hf_tokenizer.write(file, out, 100_000)
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert ("tokenizer.model" in names) == (not kind.startswith("tokenizer.json"))
    assert (file.read_bytes() == (out / "tokenizer.json").read_bytes()) == (kind == "tokenizer.json")
    ours = Tokenizer.load(file)
    (out / "config.json").write_text(json.dumps(hf.config_json(model_of({}).config, ours.bos, ours.eos)))
    theirs = transformers.AutoTokenizer.from_pretrained(out)
    assert (theirs.bos_token_id, theirs.eos_token_id, len(theirs)) == (ours.bos, ours.eos, ours.vocabulary)
    texts = [*PROBES, "", *(text[:2000] for text in list(pydoc_data.topics.topics.values())[:5])]
    for text in texts:
        ids = ours.encode(text).tolist()
        if kind == "tiktoken" or "\u2581" not in text:
            assert theirs(text)["input_ids"] == [ours.bos, *ids], text
        assert theirs.decode(ids) == text
    hf_tokenizer.check_same(file, out)


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
