"""Taking documents out of a shard without moving any other, and what the manifest says of it (docs/shards.md).

A document that is taken down keeps its place and its length: [BOS] EOS … EOS. Its source id becomes TAKEN_DOWN, its
size 0, and its row of provenance only says the key of its id. Doing it twice is doing it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.document import document_key
from curation.token_shard import (
    FORMAT,
    FORMAT_TAKEN_DOWN,
    SUFFIXES,
    TAKEN_DOWN,
    Shard,
    content_hash,
    dataset_id,
)

CHANGED = (".bin", ".src", ".nbytes", ".prov.parquet")
MARK = "taken-down:"  # then the key of the id, in hex


def mark(id: str) -> str:
    """What stands for an id that was taken down."""
    return id if id.startswith(MARK) else MARK + document_key(id).hex()


def blank(shard: Shard, rows: Sequence[int], bos: int, eos: int) -> None:
    """Take documents, by their numbers, out of a shard's files. Nobody else may read them meanwhile."""
    offsets = shard.offsets
    if shard.file(".bin").stat().st_size:
        tokens = np.memmap(shard.file(".bin"), mode="r+", dtype=np.dtype(shard.dtype).newbyteorder("<"))
        for row in rows:
            tokens[offsets[row] : offsets[row + 1]] = eos
            tokens[offsets[row] : offsets[row] + 1] = bos
        tokens.flush()
    at = np.array(rows, dtype=np.int64)
    for suffix, values, value in ((".src", shard.sources, TAKEN_DOWN), (".nbytes", shard.nbytes, 0)):
        values[at] = value
        shard.file(suffix).write_bytes(values.tobytes())
    gone = np.zeros(len(offsets) - 1, dtype=bool)
    gone[at] = True
    pq.write_table(_blanked(shard.provenance(), gone), shard.file(".prov.parquet"), compression="zstd")


def _blanked(table: pa.Table, gone: np.ndarray) -> pa.Table:
    columns = []
    for field in table.schema:
        values = table[field.name].to_pylist()
        for row in np.flatnonzero(gone).tolist():
            if field.name == "id":
                values[row] = mark(values[row])
            else:
                values[row] = "" if field.type == pa.string() and values[row] is not None else None
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=table.schema)


def entry_of(shard: Shard, name: str) -> dict[str, Any]:
    """What the manifest says of a shard, from its files as they are."""
    digests = {}
    for suffix in SUFFIXES:
        with shard.file(suffix).open("rb") as stream:
            digests[suffix] = hashlib.file_digest(stream, "sha256").digest()
    gone = shard.taken_down
    return {
        "name": name,
        "documents": len(shard.lengths),
        "tokens": int(shard.lengths.sum(dtype=np.int64)),
        "bytes": int(shard.nbytes.sum(dtype=np.int64)),
        "sha256": {suffix: digest.hex() for suffix, digest in digests.items()},
        "content": content_hash(digests, shard.provenance()["id"].to_pylist()),
        "taken_down": {"documents": int(gone.sum()), "tokens": int(shard.lengths[gone].sum(dtype=np.int64))},
    }


def sources_without(
    sources: Sequence[Mapping[str, Any]], gone: Iterable[tuple[int, str, int, bool]]
) -> list[dict[str, Any]]:
    """The manifest's table of sources without some copies: (source id, document id, tokens, held out) of each."""
    table = [dict(source) for source in sources]
    seen: set[tuple[int, str]] = set()
    for number, id, tokens, heldout in gone:
        sides = ["heldout_"] if heldout else ["mixed_"]
        if not heldout and (number, id) not in seen:
            sides.append("")
            seen.add((number, id))
        for side in sides:
            for unit, count in (("documents", 1), ("tokens", tokens)):
                if side + unit in table[number]:
                    table[number][side + unit] -= count
    total = sum(source.get("mixed_tokens", 0) for source in table)
    for source in table:
        if "mixed_tokens" in source:
            source["epochs"] = source["mixed_tokens"] / source["tokens"] if source["tokens"] else 0.0
            source["share"] = source["mixed_tokens"] / total if total else 0.0
    return table


def lineage(ancestors: Sequence[str]) -> dict[str, Any]:
    """What the manifest says of the datasets that this one was made from: nothing, if it was mixed as it is."""
    return {
        "format": FORMAT_TAKEN_DOWN if ancestors else FORMAT,
        "parent": ancestors[-1] if ancestors else None,
        **({"ancestors": list(ancestors)} if ancestors else {}),
    }


def descendant(
    manifest: Mapping[str, Any],
    parent: str,
    entries: Mapping[str, Mapping[str, Any]],
    sources: Sequence[Mapping[str, Any]],
    ancestors: Sequence[str],
) -> dict[str, Any]:
    """The manifest after a take-down: `entries` are new, by the names of their shards."""
    sides = {side: [dict(entries.get(e["name"], e)) for e in manifest[side]] for side in ("shards", "heldout")}
    whole = sides["shards"] + sides["heldout"]
    return {
        **manifest,
        **lineage([*ancestors, parent]),
        **sides,
        "sources": list(sources),
        "dataset_id": dataset_id(whole, manifest["tokenizer"]["sha256"]),
    }
