"""A source's kept documents as token parts, from which any mixture is copied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.document import Document
from curation.errors import ModelError
from curation.heldout import STEP, is_heldout
from curation.ledger import Balance
from curation.token_shard import PROVENANCE, token_dtype, write_shard
from models.tokenizer import Tokenizer
from pipelines import heldout, storage, tombstones
from pipelines.code_identity import code_identity
from pipelines.inputs import Part
from pipelines.part_files import DROPPED, StageFiles, count_documents, dropped_row, read_documents
from pipelines.plan import Stage
from pipelines.stages import Result, Run, over_parts, part_name

STAGE = "tokens"
HELDOUT = "heldout"
TRAIN = "train"


def file_hash(path: str) -> str:
    return hashlib.sha256(storage.read_bytes(path)).hexdigest()


def run_stage(
    run: Run,
    source: str,
    parts: Sequence[Part],
    upstream: Stage,
    tokenizer: str,
    fraction: float,
    light: bool = False,
    near: heldout.Collected | None = None,
) -> Result:
    """Tokenize a source's kept documents; with `near`, without those for training that are near a held-out one."""
    identity = file_hash(tokenizer)
    encoder = load_tokenizer(tokenizer, identity).encoder
    key = stage_key(encoder, upstream.key, identity, fraction, near.key if near else "")
    gone = tombstones.identity(run.output)
    work = TokenizePart(run.output, source, upstream.name, tokenizer, identity, encoder, fraction, near, key, gone)
    return over_parts(run, f"{source}/tokens", key, work, [part.number for part in parts], light)


def stage_key(encoder: str, upstream_key: str, identity: str, fraction: float, near: str = "") -> str:
    """The stage's key. `encoder` names a library, so the code of ours that gives ids is in it too."""
    code = [code_identity(module) for module in ("models.tokenizer", "curation.heldout", "curation.token_shard")]
    state = ("tokens 5", code, encoder, upstream_key, identity, fraction, near)
    return hashlib.sha256(repr(state).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenizePart:
    """One kept part into two token shards, `train/part-N` and `heldout/part-N`; without what is near a held-out one."""

    output: str
    source: str
    upstream: str
    tokenizer: str
    identity: str
    encoder: str
    fraction: float
    near: heldout.Collected | None
    key: str
    tombstones: str = ""  # identity of the list of what was taken down

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, self.source, "tokens"))
        if files.committed(number, self.key):
            return
        upstream = StageFiles(storage.join(self.output, self.source, self.upstream))
        tokenizer = load_tokenizer(self.tokenizer, self.identity)
        if tokenizer.encoder != self.encoder:  # it stands in the key, although all are held to give the same ids
            raise ModelError(f"this worker has {tokenizer.encoder}, but the run was planned with {self.encoder}")
        balance = Balance("documents", incoming=count_documents(upstream, number))
        gone = tombstones.load(self.output, self.tombstones)
        dtype = token_dtype(tokenizer.vocabulary)
        sides: dict[str, list[tuple[dict[str, Any], int, np.ndarray]]] = {TRAIN: [], HELDOUT: []}
        bands = heldout.load(self.near) if self.near else None
        dropped = []
        for document in read_documents(upstream.kept(number)):
            down = tombstones.verdict(gone, document.id, document.url)
            if down is not None:
                balance.dropped[f"{tombstones.STEP}.{down.rule}"] += 1
                dropped.append(dropped_row(document, tombstones.STEP, down))
                continue
            side = HELDOUT if is_heldout(document.text, self.fraction) else TRAIN
            drop = bands.check(document.text) if bands and side == TRAIN else None
            if drop is not None:
                balance.dropped[f"{STEP}.{drop.rule}"] += 1
                dropped.append(dropped_row(document, STEP, drop))
                continue
            ids = np.concatenate([[tokenizer.bos], tokenizer.encode(document.text), [tokenizer.eos]]).astype(dtype)
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
            pq.write_table(pa.Table.from_pylist(dropped, DROPPED), folder / "dropped.parquet", compression="zstd")
            storage.publish(folder / "dropped.parquet", files.file("dropped", number, ".parquet"))
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
