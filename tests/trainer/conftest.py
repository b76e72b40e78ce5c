"""Datasets made of real text that every Python carries: its language reference, its library's code, its licence."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pydoc_data.topics
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import torch

from curation.token_shard import MANIFEST, PROVENANCE, dataset_id, token_dtype, write_shard

torch.set_num_threads(1)

Documents = Sequence[tuple[str, np.ndarray, int]]  # (source, tokens with BOS and EOS, UTF-8 bytes)


def write_dataset(
    directory: Path,
    train: Sequence[Documents],
    heldout: Documents,
    *,
    vocabulary: int,
    tokenizer: bytes = b"no tokenizer",
    bos: int = 1,
    eos: int = 2,
) -> Path:
    """A dataset whose training shards hold the given documents, and whose held-out part has a shard per source."""
    dtype = token_dtype(vocabulary)
    names = sorted({source for documents in [*train, heldout] for source, _, _ in documents})
    directory.mkdir(parents=True)
    (directory / "tokenizer.model").write_bytes(tokenizer)

    def shard(name: str, documents: Documents) -> dict:
        rows = [{**dict.fromkeys(PROVENANCE.names), "id": f"{name}#{i}"} for i in range(len(documents))]
        return write_shard(
            directory,
            name,
            [tokens for _, tokens, _ in documents],
            np.array([names.index(source) for source, _, _ in documents]),
            np.array([size for _, _, size in documents]),
            pa.Table.from_pylist(rows, schema=PROVENANCE),
            dtype,
        )

    shards = [shard(f"train-{i:05d}", documents) for i, documents in enumerate(train)]
    held = [shard(f"heldout/{name}", own) for name in names if (own := [d for d in heldout if d[0] == name])]
    digest = hashlib.sha256(tokenizer).hexdigest()
    manifest = {
        "format": 1,
        "dataset_id": dataset_id(shards + held, digest),
        "dtype": dtype,
        "tokenizer": {
            "file": "tokenizer.model",
            "sha256": digest,
            "vocabulary": vocabulary,
            "bos": bos,
            "eos": eos,
            "convention": "[BOS] document [EOS]",
        },
        "sources": [{"id": i, "name": name} for i, name in enumerate(names)],
        "shards": shards,
        "heldout": held,
    }
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return directory


@pytest.fixture
def dataset_of(tmp_path: Path) -> Callable[..., Path]:
    """Make a dataset from token lists alone: `dataset_of([[…], […]], [[…]])`, one inner list per document."""

    def make(
        train: Sequence[Sequence[Sequence[int]]],
        heldout: Mapping[str, Sequence[tuple[Sequence[int], int]]],
        vocabulary: int,
    ) -> Path:
        return write_dataset(
            tmp_path / f"dataset-{len(list(tmp_path.iterdir()))}",
            [[("text", np.array(tokens), len(tokens)) for tokens in shard] for shard in train],
            [(source, np.array(tokens), size) for source, documents in heldout.items() for tokens, size in documents],
            vocabulary=vocabulary,
        )

    return make


def _texts() -> list[tuple[str, str]]:
    library = Path(sysconfig.get_paths()["stdlib"])
    topics = [("reference", pydoc_data.topics.topics[name]) for name in sorted(pydoc_data.topics.topics)]
    code = [("code", (library / f"{name}.py").read_text()) for name in ("typing", "inspect")]
    return [(source, text[i : i + 4000]) for source, text in topics + code for i in range(0, len(text), 4000)]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real text, two sources, a 512-piece SentencePiece model: about 300,000 tokens in two shards, a tenth held out."""
    texts = _texts()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for _, text in texts[::5] for line in text.splitlines()),
        model_writer=model,
        vocab_size=512,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
        num_threads=1,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    documents = [(s, np.array([1, *processor.encode(t), 2]), len(t.encode())) for s, t in texts]
    kept = [d for i, d in enumerate(documents) if i % 10]
    half = len(kept) // 2
    path = tmp_path_factory.mktemp("corpus") / "dataset"
    return write_dataset(path, [kept[:half], kept[half:]], documents[::10], vocabulary=512, tokenizer=model.getvalue())
