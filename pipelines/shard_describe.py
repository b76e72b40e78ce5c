"""What is in a dataset: as a table, and looked up from a token to its page and from a page to all its tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from curation.document import document_key
from curation.errors import UserError
from curation.mixture import keys64, mix_order, shard_of
from curation.take_down import MARK, mark
from curation.token_shard import TAKEN_DOWN, Dataset, Shard
from curation.tombstones import Tombstones
from models.tokenizer import Tokenizer
from pipelines.dataset import warnings

AROUND = 200  # characters of text shown on either side of a token


@dataclass(frozen=True, slots=True)
class Span:
    """One copy of a document: tokens `start` to `end` (exclusive) of a shard, and which pass over its source it is."""

    shard: str
    document: int
    start: int
    end: int
    turn: int | None  # 0 for the first pass; None where it is held out or taken down, or the manifest does not tell
    id: str
    url: str
    taken_down: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The document that a token belongs to, and the text around it."""

    span: Span
    source: str
    provenance: dict[str, Any]
    token: int  # its number in the document
    before: str
    text: str  # what the token spells
    after: str


def summary(dataset: Dataset) -> dict[str, Any]:
    """What `table` says, as plain values."""
    manifest = dataset.manifest
    entries = manifest["shards"] + manifest["heldout"]
    gone = [entry["taken_down"] for entry in entries if "taken_down" in entry]
    return {
        "directory": str(dataset.directory),
        **{key: manifest.get(key) for key in ("format", "dataset_id", "parent", "dtype", "tokenizer", "recipe")},
        **{key: manifest.get(key) for key in ("mixture", "heldout_fraction", "reproducible", "killed")},
        "ancestors": list(dataset.ancestors),
        "sources": manifest["sources"],
        "shards": len(manifest["shards"]),
        **{f"{side}_{unit}": sum(entry[unit] for entry in manifest[key]) for side, key in _SIDES for unit in _UNITS},
        "taken_down": {unit: sum(entry[unit] for entry in gone) for unit in ("documents", "tokens")},
    }


_SIDES = (("training", "shards"), ("heldout", "heldout"))
_UNITS = ("documents", "tokens", "bytes")
_COLUMNS = {
    "documents": ("documents", ","),
    "tokens": ("tokens", ","),
    "held out": ("heldout_tokens", ","),
    "asked": ("epochs_asked", ".3f"),
    "epochs": ("epochs", ".3f"),
    "mixed tokens": ("mixed_tokens", ","),
    "share": ("share", ".2%"),
}


def table(dataset: Dataset) -> str:
    """The dataset in words and a row per source."""
    values = summary(dataset)
    tokenizer, recipe = values["tokenizer"], values["recipe"] or {}
    rows = [("source", *_COLUMNS)]
    for source in values["sources"]:
        cells = (format(source[key], form) if key in source else "?" for key, form in _COLUMNS.values())
        rows.append((source["name"], *cells))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        f"dataset    {values['dataset_id']}",
        f"in         {values['directory']}, format {values['format']}",
        f"recipe     {recipe.get('name', '?')} {recipe.get('sha256', '')[:16]}; mixture {_asked(values['mixture'])}",
        f"tokenizer  {tokenizer.get('vocabulary', '?')} ids, sha256 {tokenizer['sha256'][:16]}; {values['dtype']}",
        f"training   {values['training_tokens']:,} tokens, {values['training_documents']:,} documents",
        f"shards     {values['shards']}, and {len(dataset.manifest['heldout'])} held out",
        f"held out   {values['heldout_tokens']:,} tokens, {values['heldout_documents']:,} documents",
    ]
    if values["ancestors"]:
        gone = values["taken_down"]
        lines.append(f"taken down {gone['tokens']:,} tokens, {gone['documents']:,} documents; from {values['parent']}")
    lines.append("")
    for row in rows:
        lines.append("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]))
    return "\n".join([*lines, *warnings(dataset.manifest)])


def _asked(mixture: dict[str, Any] | None) -> str:
    asked = {key: value for key, value in (mixture or {}).items() if value is not None}
    return ", ".join(f"{key} {value}" for key, value in asked.items()) or "?"


def at(dataset: Dataset, place: str) -> Place:
    """The document at SHARD:OFFSET, in tokens from the start of the shard. Raises UserError if none is there."""
    name, _, offset = place.rpartition(":")
    names = [entry["name"] for entry in _entries(dataset)]
    if not name or not offset.isdecimal():
        raise UserError(f"--at {place}: give SHARD:OFFSET, such as {names[0] if names else 'shard-00000'}:12345")
    if name not in names:
        raise UserError(f"--at {place}: the shards are {_some(names)}")
    shard, token = _shard(dataset, name), int(offset)
    if token >= shard.offsets[-1]:
        raise UserError(f"--at {place}: {name} has {shard.offsets[-1]} tokens")
    row = int(np.searchsorted(shard.offsets, token, side="right")) - 1
    (provenance,) = shard.provenance_of([row])
    start, end = int(shard.offsets[row]), int(shard.offsets[row + 1])
    (span,) = (span for span in _of_ids(dataset, {str(provenance["id"])}, [name]) if span.document == row)
    tokenizer, ids = _tokenizer(dataset), shard.tokens[start:end]
    texts = [
        tokenizer.decode(part) for part in (ids[: token - start], ids[token - start :][:1], ids[token - start + 1 :])
    ]
    source = int(shard.sources[row])
    return Place(
        span,
        dataset.sources[source] if source < len(dataset.sources) else "taken down",
        provenance,
        token - start,
        texts[0][-AROUND:],
        texts[1],
        texts[2][:AROUND],
    )


def spans(dataset: Dataset, wanted: Tombstones) -> list[Span]:
    """Every copy of the documents that an address, an id or a host names, in the order of the shards."""
    ids = {id for name in _names(dataset) for id, url in _pages(dataset, name) if wanted.covering(id, url)}
    return _of_ids(dataset, ids | {mark(id) for id in wanted.ids})


def _of_ids(dataset: Dataset, ids: set[str], within: Sequence[str] = ()) -> list[Span]:
    """Spans of these documents, in all shards or only in some."""
    found = []
    for name in within or _names(dataset):
        rows = [(row, id, url) for row, (id, url) in enumerate(_pages(dataset, name)) if id in ids]
        if not rows:
            continue
        shard = _shard(dataset, name)
        copies = Counter(id for _, id, _ in rows)
        turns = {id: iter(_turns(dataset, name, id, int(shard.sources[row]), copies[id])) for row, id, _ in rows}
        for row, id, url in rows:
            start, end = int(shard.offsets[row]), int(shard.offsets[row + 1])
            found.append(Span(name, row, start, end, next(turns[id], None), id, url, id.startswith(MARK)))
    return found


def _turns(dataset: Dataset, name: str, id: str, source: int, copies: int) -> Sequence[int]:
    """Which passes the copies of a document in one shard are of, in their order there.

    A pass has a place for every copy, which is a hash. Only of the last, fractional pass may a copy be missing.
    """
    shards = [entry["name"] for entry in dataset.manifest["shards"]]
    seed = (dataset.manifest.get("mixture") or {}).get("seed")
    asked = dataset.manifest["sources"][source].get("epochs_asked") if source != TAKEN_DOWN else None
    if seed is None or asked is None or name not in shards:
        return ()
    keys = keys64(np.frombuffer(document_key(id), dtype=np.uint8).reshape(1, 16))
    order = {turn: mix_order(keys, seed, turn) for turn in range(math.ceil(asked))}
    here = [turn for turn in order if int(shard_of(order[turn], len(shards))[0]) == shards.index(name)]
    return sorted(here[:copies], key=lambda turn: int(order[turn][0]))


def _entries(dataset: Dataset) -> list[dict[str, Any]]:
    return [*dataset.manifest["shards"], *dataset.manifest["heldout"]]


def _names(dataset: Dataset) -> list[str]:
    return [entry["name"] for entry in _entries(dataset)]


def _shard(dataset: Dataset, name: str) -> Shard:
    return Shard(dataset.directory / name, dataset.manifest["dtype"])


def _pages(dataset: Dataset, name: str) -> Iterator[tuple[str, str]]:
    """(id, url) of every document of a shard, a batch in memory at a time."""
    for batch in pq.ParquetFile(_shard(dataset, name).file(".prov.parquet")).iter_batches(columns=["id", "url"]):
        for id, url in zip(batch["id"].to_pylist(), batch["url"].to_pylist(), strict=True):
            yield id, url or ""


@cache
def _tokenizer_at(path: str) -> Tokenizer:
    return Tokenizer.load(path)


def _tokenizer(dataset: Dataset) -> Tokenizer:
    return _tokenizer_at(str(dataset.directory / dataset.manifest["tokenizer"]["file"]))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])}, … {names[-1]}"


def show_place(place: Place) -> str:
    """The place in lines for eyes."""
    span = place.span
    known = {k: v for k, v in place.provenance.items() if v not in (None, "")}
    lines = [f"{show_span(span)}; token {place.token} of {span.end - span.start}, source {place.source}"]
    lines += [f"  {key:<18}{value}" for key, value in known.items()]
    return "\n".join([*lines, "", f"{place.before}⟦{place.text}⟧{place.after}"])


def show_span(span: Span) -> str:
    where = f"{span.shard} document {span.document}, tokens {span.start} to {span.end}"
    turn = "" if span.turn is None else f", pass {span.turn}"
    return f"{where}{turn}{', taken down' if span.taken_down else ''}"


def plain(value: Span | Place) -> dict[str, Any]:
    """A span or place as JSON has it."""
    return asdict(value)
