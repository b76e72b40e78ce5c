"""A source's kept documents as token parts, from which any mixture is copied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from curation.document import Document
from curation.errors import ModelError
from curation.hashing import folded, hash64
from curation.ledger import Balance
from curation.token_shard import PROVENANCE, token_dtype, write_shard
from models.tokenizer import Tokenizer
from pipelines import storage
from pipelines.code_identity import code_identity
from pipelines.inputs import Part
from pipelines.part_files import StageFiles, count_documents, read_documents
from pipelines.plan import Stage
from pipelines.stages import Result, Run, over_parts, part_name

HELDOUT = "heldout"
TRAIN = "train"


def file_hash(path: str) -> str:
    return hashlib.sha256(storage.read_bytes(path)).hexdigest()


def is_heldout(text: str, fraction: float) -> bool:
    """By the hash of the content, case and white space aside: equal texts are on the same side, always."""
    return hash64(folded(text)) < fraction * float(1 << 64)


def run_stage(
    run: Run, source: str, parts: Sequence[Part], upstream: Stage, tokenizer: str, fraction: float, light: bool = False
) -> Result:
    """Tokenize a source's kept documents."""
    identity = file_hash(tokenizer)
    encoder = load_tokenizer(tokenizer, identity).encoder
    key = stage_key(encoder, upstream.key, identity, fraction)
    work = TokenizePart(run.output, source, upstream.name, tokenizer, identity, encoder, fraction, key)
    return over_parts(run, f"{source}/tokens", key, work, [part.number for part in parts], light)


def stage_key(encoder: str, upstream_key: str, identity: str, fraction: float) -> str:
    """The stage's key. `encoder` names a library, so the code of ours that gives ids is in it too."""
    state = ("tokens 3", code_identity("models.tokenizer"), encoder, upstream_key, identity, fraction)
    return hashlib.sha256(repr(state).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenizePart:
    """One kept part into two token shards, `train/part-N` and `heldout/part-N`."""

    output: str
    source: str
    upstream: str
    tokenizer: str
    identity: str
    encoder: str
    fraction: float
    key: str

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, self.source, "tokens"))
        if files.committed(number, self.key):
            return
        upstream = StageFiles(storage.join(self.output, self.source, self.upstream))
        tokenizer = load_tokenizer(self.tokenizer, self.identity)
        if tokenizer.encoder != self.encoder:  # it stands in the key, although all are held to give the same ids
            raise ModelError(f"this worker has {tokenizer.encoder}, but the run was planned with {self.encoder}")
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
    content = storage.read_bytes(path)
    if hashlib.sha256(content).hexdigest() != identity:
        raise ModelError(f"{path} is not the tokenizer that this run was planned with")
    return Tokenizer.read(content, path, fast=True)
