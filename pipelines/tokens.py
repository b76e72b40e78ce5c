"""The tokenizer, and a source's kept documents as token parts, from which any mixture is copied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from curation.document import Document
from curation.errors import ModelError
from curation.ledger import Balance
from curation.mixture import prefix_order
from curation.recipe import TokenizerSpec
from curation.token_shard import PROVENANCE, token_dtype, write_shard
from models.tokenizer import Tokenizer
from models.train_tokenizer import train_tokenizer
from pipelines import storage
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, count_documents, read_documents
from pipelines.plan import Stage
from pipelines.stages import Result, Run, over_parts, part_name

HELDOUT = "heldout"
TRAIN = "train"


def ensure_tokenizer(run: Run, given: str, spec: TokenizerSpec, kept: Sequence[tuple[Part, str, str]]) -> str:
    """Path of the tokenizer: the one given, or one trained on a sample of the kept documents (part, directory, key)."""
    path = storage.join(run.output, "tokenizer", "tokenizer.model")
    mark = storage.join(run.output, "tokenizer", "manifest.json")
    if given:
        storage.remove(mark)
        storage.write_bytes(path, storage.read_bytes(given))
        return path
    key = hashlib.sha256(repr((sorted({key for _, _, key in kept}), sorted(asdict(spec).items()))).encode()).hexdigest()
    if storage.exists(mark) and storage.read_json(mark) == {"key": key, "sha256": file_hash(path)}:
        return path
    storage.remove(mark)
    if run.progress:
        print(f"  tokenizer: training {spec.vocabulary} pieces on the kept text", flush=True)
    with storage.scratch(path) as folder:
        train_tokenizer(_sample(run, spec, kept), folder / "tokenizer.model", spec.vocabulary)
        storage.publish(folder / "tokenizer.model", path)
    storage.write_json(mark, {"key": key, "sha256": file_hash(path)})
    return path


def _sample(run: Run, spec: TokenizerSpec, kept: Sequence[tuple[Part, str, str]]) -> Iterator[str]:
    """Texts of about `sample_bytes`, each document chosen by the hash of its key, in the order of the parts."""
    files = [StageFiles(storage.join(run.output, directory)).kept(part.number) for part, directory, _ in kept]
    size = sum(_bytes_of(file) for file in files)
    limit = min(1.0, spec.sample_bytes / max(size, 1)) * float(1 << 64)
    for file in files:
        for document in read_documents(file):
            if int(prefix_order(np.frombuffer(document.key[:8], "<u8"), 0)[0]) < limit:
                yield document.text


def _bytes_of(path: str) -> int:
    return sum(len(document.text.encode()) for document in read_documents(path))


def file_hash(path: str) -> str:
    return hashlib.sha256(storage.read_bytes(path)).hexdigest()


def is_heldout(text: str, fraction: float) -> bool:
    """By the hash of the content, case and white space aside: equal texts are on the same side, always."""
    digest = hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * float(1 << 64)


def run_stage(
    run: Run, source: str, parts: Sequence[Part], upstream: Stage, tokenizer: str, fraction: float, light: bool = False
) -> Result:
    """Tokenize a source's kept documents."""
    identity = file_hash(tokenizer)
    key = hashlib.sha256(
        repr(("tokens 2", version("sentencepiece"), upstream.key, identity, fraction)).encode()
    ).hexdigest()
    work = TokenizePart(run.output, source, upstream.name, tokenizer, identity, fraction, key)
    return over_parts(run, f"{source}/tokens", key, work, [part.number for part in parts], light)


@dataclass(frozen=True, slots=True)
class TokenizePart:
    """One kept part into two token shards, `train/part-N` and `heldout/part-N`."""

    output: str
    source: str
    upstream: str
    tokenizer: str
    identity: str
    fraction: float
    key: str

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, self.source, "tokens"))
        if files.committed(number, self.key):
            return
        upstream = StageFiles(storage.join(self.output, self.source, self.upstream))
        tokenizer = load_tokenizer(self.tokenizer, self.identity)
        balance = Balance("documents", incoming=count_documents(upstream, number))
        dtype = token_dtype(tokenizer.vocabulary)
        sides: dict[str, list[tuple[dict[str, Any], int, np.ndarray]]] = {TRAIN: [], HELDOUT: []}
        for document in read_documents(upstream.kept(number)):
            ids = np.concatenate([[tokenizer.bos], tokenizer.encode(document.text), [tokenizer.eos]]).astype(dtype)
            side = HELDOUT if is_heldout(document.text, self.fraction) else TRAIN
            sides[side].append((provenance(document), len(document.text.encode()), ids))
            balance.kept += 1
        balance.check(f"{self.source}/tokens/{part_name(number)}")
        entries = {}
        with storage.scratch(files.ledger(number)) as folder:
            for side, rows in sides.items():
                entries[side] = write_shard(
                    folder,
                    part_name(number),
                    [ids for _, _, ids in rows],
                    np.zeros(len(rows), dtype=np.uint16),
                    np.array([size for _, size, _ in rows], dtype=np.uint32),
                    pa.Table.from_pylist([origin for origin, _, _ in rows], PROVENANCE),
                    dtype,
                )
                for file in sorted(folder.glob("part-*")):
                    storage.publish(file, storage.join(files.root, side, file.name))
        row = {
            "key": self.key,
            "part": part_name(number),
            "balances": [balance.to_json()],
            "entries": entries,
            "notes": {
                f"{side}_{unit}": entry[unit]
                for side, entry in entries.items()
                for unit in ("documents", "tokens", "bytes")
            },
        }
        storage.write_json(files.ledger(number), row)


def provenance(document: Document) -> dict[str, Any]:
    """The row of a document in a .prov.parquet."""
    file, _, locator = document.id.partition(":")[2].rpartition("#")
    known = {name: getattr(document, name) for name in PROVENANCE.names if name not in ("file", "locator")}
    return {**known, "file": file, "locator": locator}


@lru_cache(maxsize=2)
def load_tokenizer(path: str, identity: str) -> Tokenizer:
    """One copy a process. Raises ModelError if the file is not the one with this SHA-256."""
    if file_hash(path) != identity:
        raise ModelError(f"{path} is not the tokenizer that this run was planned with")
    if storage.is_local(path):
        return Tokenizer.load(path)
    with storage.scratch("/tmp/tokenizer") as folder:
        local = folder / "tokenizer.model"
        local.write_bytes(storage.read_bytes(path))
        return Tokenizer.load(local)
