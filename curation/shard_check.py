"""Is a dataset what its manifest says, byte for byte, and is it put together as docs/shards.md has it?

Every file is read once, by blocks, so memory depends on neither the size of a shard's tokens nor their number.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.token_shard import (
    FORMAT,
    FORMAT_TAKEN_DOWN,
    MANIFEST,
    SUFFIXES,
    TAKEN_DOWN,
    Dataset,
    Shard,
    content_hash,
    dataset_id,
    index_bytes,
    read_index,
)

BLOCK = 1 << 23  # bytes read at once
Units = dict[int, np.ndarray]  # by source id: int64 [documents, tokens]


def verify(directory: str | os.PathLike[str]) -> Dataset:
    """Open a dataset and check all of it. Raises InputError that names the first thing that is wrong."""
    for problem in problems(directory):
        raise InputError(problem)
    return Dataset.open(directory)


def problems(
    directory: str | os.PathLike[str], workers: int = 1, checked: Callable[[str], None] = lambda name: None
) -> Iterator[str]:
    """All that is wrong with a dataset, a line each, at most a few for each file; nothing if it is sound.

    `checked` is told the name of each shard as it is done. Raises InputError where there is no dataset.
    """
    root = Path(directory)
    if not (root / MANIFEST).is_file():
        Dataset.open(root)  # says what there is instead
    try:
        dataset = Dataset.open(root, whole=False)
        entries = dataset.manifest["shards"] + dataset.manifest["heldout"]
        about = _Manifest(dataset)
        yield from list(about.problems())
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        yield str(error) if isinstance(error, InputError) else f"{root / MANIFEST} is damaged: {error!r}"
        return
    sums: list[Units] = []
    sound = True
    with ThreadPoolExecutor(workers) as pool:
        for entry, (found, units) in zip(entries, pool.map(about.check, entries), strict=True):
            yield from found
            sound = sound and not found
            sums.append(units)
            checked(str(entry["name"]))
    if not sound:  # then their sums say nothing about the manifest
        return
    count = len(dataset.manifest["shards"])
    yield from about.problems_of_sums("mixed_", sums[:count])
    yield from about.problems_of_sums("heldout_", sums[count:])


class _Manifest:
    """A manifest that has the shape of one, and what it says of each shard."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._path = dataset.directory / MANIFEST
        manifest = dataset.manifest
        self._tokenizer: dict[str, Any] = manifest["tokenizer"]
        self._sources = len(manifest["sources"])
        self._entries: list[dict[str, Any]] = manifest["shards"] + manifest["heldout"]
        for entry in self._entries:
            for key in ("name", "documents", "tokens", "bytes", "sha256", "content"):
                entry[key]
        self._itemsize = np.dtype(manifest["dtype"]).itemsize

    def problems(self) -> Iterator[str]:
        manifest = self._dataset.manifest
        names = [entry["name"] for entry in self._entries]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{self._path} was edited: it names {name} twice"
        if dataset_id(self._entries, self._tokenizer["sha256"]) != self._dataset.id:
            yield f"{self._path} was edited: its dataset id is not the hash of its shards"
        file = self._tokenizer.get("file")
        if file is not None:
            path = self._dataset.directory / file
            if not path.is_file():
                yield f"{path} is missing"
            elif _sha256(path) != self._tokenizer["sha256"]:
                yield f"{path} is not the tokenizer that the manifest describes: its sha256 differs"
        ancestors = self._dataset.ancestors
        if manifest.get("parent") != (ancestors[-1] if ancestors else None):
            yield f"{self._path} was edited: its parent is not the last of its ancestors"
        if manifest["format"] != (FORMAT_TAKEN_DOWN if ancestors else FORMAT):
            yield f"{self._path} was edited: format {manifest['format']} with {len(ancestors)} ancestors"

    def problems_of_sums(self, side: str, sums: list[Units]) -> Iterator[str]:
        """The manifest's table of sources against the shards."""
        for number, source in enumerate(self._dataset.manifest["sources"]):
            found = sum((units[number] for units in sums if number in units), np.zeros(2, dtype=np.int64))
            for unit, count in zip(("documents", "tokens"), found.tolist(), strict=True):
                if (said := source.get(side + unit)) is not None and said != count:
                    yield (
                        f"{self._path} was edited: {source.get('name', number)} has {said} {side}{unit}, "
                        f"and its shards hold {count}"
                    )

    def check(self, entry: dict[str, Any]) -> tuple[list[str], Units]:
        """What is wrong with a shard's files; and how much each source has in it."""
        shard = Shard(self._dataset.directory / entry["name"], self._dataset.manifest["dtype"])
        found: list[str] = []
        digests: dict[str, bytes] = {}
        for suffix in SUFFIXES:
            path = shard.file(suffix)
            if not path.is_file():
                found.append(f"{path} is missing")
            elif suffix != ".bin":
                digests[suffix] = self._hash(path, entry, suffix, found)
        if ".idx" not in digests:
            return found, {}
        try:
            lengths, dtype = read_index(shard.file(".idx"))
        except InputError as error:
            return [*found, str(error)], {}
        found += self._index(shard, entry, lengths, dtype)
        if shard.file(".bin").is_file():
            digests[".bin"] = self._tokens(shard, entry, lengths, found)
        if len(digests) < len(SUFFIXES):
            return found, {}
        if any(digest.hex() != entry["sha256"].get(suffix) for suffix, digest in digests.items()):
            return found, {}  # what such a file says is not looked into
        try:
            found += self._per_document(shard, entry, lengths)
            if entry["content"] != content_hash(digests, _ids(shard)):
                found.append(f"{self._path} was edited: {entry['name']} does not have the content it says")
        except (pa.ArrowException, KeyError, TypeError) as error:
            found.append(f"{shard.file('.prov.parquet')} cannot be read: {error}")
        if len(shard.sources) != len(lengths):
            return found, {}
        return found, _units(shard.sources, lengths)

    def _hash(self, path: Path, entry: dict[str, Any], suffix: str, found: list[str]) -> bytes:
        digest = bytes.fromhex(_sha256(path))
        self._compare(path, digest, entry, suffix, found)
        return digest

    def _compare(self, path: Path, digest: bytes, entry: dict[str, Any], suffix: str, found: list[str]) -> None:
        if digest.hex() != entry["sha256"].get(suffix):
            found.append(f"{path} is not the file that the manifest describes: its sha256 differs")

    def _index(self, shard: Shard, entry: dict[str, Any], lengths: np.ndarray, dtype: str) -> Iterator[str]:
        path = shard.file(".idx")
        if dtype != shard.dtype:
            yield f"{path} is of {dtype}, and the manifest of {shard.dtype}"
        elif path.read_bytes() != index_bytes(lengths, dtype):
            yield f"{path} is damaged: its pointers do not follow from its lengths"
        if len(lengths) and int(lengths.min()) < 0:
            yield f"{path} is damaged: it has a document of {lengths.min()} tokens"
        for unit, count in (("documents", len(lengths)), ("tokens", int(lengths.sum(dtype=np.int64)))):
            if entry[unit] != count:
                yield f"{self._path} was edited: {entry['name']} has {entry[unit]} {unit}, and its index {count}"

    def _tokens(self, shard: Shard, entry: dict[str, Any], lengths: np.ndarray, found: list[str]) -> bytes:
        """Hash the tokens, and check them on the way: their number, their range, where documents begin and end."""
        path, digest, at = shard.file(".bin"), hashlib.sha256(), 0
        filled = lengths[lengths > 0].astype(np.int64)
        ends = np.cumsum(filled)
        marks = [("begin", "bos", ends - filled), ("end", "eos", ends - 1)]
        wrong = {"vocabulary": 0, "bos": 0, "eos": 0}
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                tokens = np.frombuffer(block[: len(block) // self._itemsize * self._itemsize], f"<{_code(shard.dtype)}")
                if limit := self._tokenizer.get("vocabulary"):
                    wrong["vocabulary"] += int(((tokens < 0) | (tokens >= limit)).sum())
                for _, mark, places in marks:
                    if (id := self._tokenizer.get(mark)) is not None:
                        first, last = np.searchsorted(places, [at, at + len(tokens)])
                        wrong[mark] += int((tokens[places[first:last] - at] != id).sum())
                at += len(tokens)
        self._compare(path, digest.digest(), entry, ".bin", found)
        size = path.stat().st_size
        if size != int(filled.sum()) * self._itemsize:
            found.append(f"{path} has {size} bytes where {int(filled.sum()) * self._itemsize} belong")
        if wrong["vocabulary"]:
            found.append(f"{path} holds {wrong['vocabulary']} tokens that are not in the vocabulary")
        for verb, mark, _ in marks:
            if wrong[mark]:
                found.append(f"{path} has {wrong[mark]} documents that do not {verb} with {mark.upper()}")
        return digest.digest()

    def _per_document(self, shard: Shard, entry: dict[str, Any], lengths: np.ndarray) -> Iterator[str]:
        rows = pq.read_metadata(shard.file(".prov.parquet")).num_rows
        for suffix, count in ((".src", len(shard.sources)), (".nbytes", len(shard.nbytes)), (".prov.parquet", rows)):
            if count != len(lengths):
                yield f"{shard.file(suffix)} is of {count} documents, and the index of {len(lengths)}"
        known = (shard.sources < self._sources) | shard.taken_down
        if not known.all():
            yield f"{shard.file('.src')} names source {shard.sources[~known][0]}, and there are {self._sources}"
        size = int(shard.nbytes.sum(dtype=np.int64))
        if entry["bytes"] != size:
            yield f"{self._path} was edited: {entry['name']} has {entry['bytes']} bytes, and its documents {size}"
        gone = entry.get("taken_down", {"documents": 0})["documents"]
        if gone != int(shard.taken_down.sum()):
            yield f"{self._path} was edited: {entry['name']} has {gone} documents taken down, not what .src says"


def _units(sources: np.ndarray, lengths: np.ndarray) -> Units:
    return {
        int(source): np.array([(mine := sources == source).sum(), lengths[mine].sum(dtype=np.int64)])
        for source in np.unique(sources)
        if source != TAKEN_DOWN
    }


def _ids(shard: Shard) -> Iterator[str]:
    for batch in pq.ParquetFile(shard.file(".prov.parquet")).iter_batches(columns=["id"]):
        yield from batch["id"].to_pylist()


def _code(dtype: str) -> str:
    return np.dtype(dtype).str[1:]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
