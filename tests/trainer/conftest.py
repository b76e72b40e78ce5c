"""Datasets made of real text that every Python carries: its language reference, its library's code, its licence."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pydoc_data.topics
import signal
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import torch
import torch.nn.functional as F

from curation.token_shard import MANIFEST, PROVENANCE, dataset_id, token_dtype, write_shard

torch.set_num_threads(1)


def token_losses(model: torch.nn.Module, windows: torch.Tensor) -> torch.Tensor:
    """-ln p of each next token: windows int64 [B, T + 1] in, fp32 [B, T] out. A target of -100 costs nothing.

    With gradients enabled each loss can be differentiated, at the price of all logits; without, they are never made.
    """
    inputs, targets = windows[:, :-1].clamp(min=0), windows[:, 1:]
    if not torch.is_grad_enabled():
        losses: torch.Tensor = model(inputs, targets)[1]
        return losses
    logits = model(inputs).float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


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
        empty = dict.fromkeys(PROVENANCE.names)
        rows = [
            {
                **empty,
                "id": f"{name}#{i}",
                "url": f"https://{source}/{name}/{i}",
                "file": "a.warc.gz",
                "locator": str(i),
            }
            for i, (source, _, _) in enumerate(documents)
        ]
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
    counted = Counter(dict.fromkeys(names, 0))  # tokens in the mixture: here two epochs of each source
    for source, tokens, _ in (document for documents in train for document in documents):
        counted[source] += len(tokens)
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
        "sources": [
            {"id": i, "name": name, "tokens": counted[name] // 2, "mixed_tokens": counted[name]}
            for i, name in enumerate(names)
        ],
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


@dataclass
class Processes:
    """So many processes that run jobs (several_processes.py); their output and how they ended are in `directory`."""

    server: subprocess.Popen[str]
    count: int
    jobs: list[dict[str, Any]]
    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir()
        (self.directory / "jobs.json").write_text(json.dumps(self.jobs))
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps({"count": self.count, "directory": str(self.directory)}) + "\n")
        self.server.stdin.flush()

    def send(self, rank: int, number: int) -> None:
        os.kill(json.loads((self.directory / "pids.json").read_text())[rank], number)

    def said(self, rank: int = 0) -> str:
        return (self.directory / f"said-{rank}").read_text()

    def running(self) -> bool:
        return self.server.poll() is None and not (self.directory / "ended.json").exists()

    def ended(self) -> list[int]:
        """Wait for all of them: their exit codes, by rank."""
        deadline = time.monotonic() + 300
        while self.running():
            if time.monotonic() > deadline:
                for rank in range(self.count):
                    self.send(rank, signal.SIGKILL)
            time.sleep(0.02)
        codes: list[int] = json.loads((self.directory / "ended.json").read_text())
        return codes

    def wait_for_step(self, out: Path, step: int) -> None:
        path, deadline = out / "log.jsonl", time.monotonic() + 120
        while time.monotonic() < deadline and self.running():
            if path.is_file() and f'\n{{"step": {step},' in path.read_text():
                return
            time.sleep(0.002)
        raise AssertionError(f"step {step} never came: {self.ended()} {self.said()}")


@pytest.fixture(scope="session")
def processes() -> Iterator[Callable[[int, list[dict[str, Any]], Path], Processes]]:
    """Start so many processes on jobs, with a directory that is not there yet; one such set at a time."""
    worker = Path(__file__).with_name("several_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, str(worker)], stdin=subprocess.PIPE, text=True, env=environment) as server:
        yield lambda count, jobs, directory: Processes(server, count, jobs, directory)
