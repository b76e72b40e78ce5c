"""Token shards: the contract between the pipeline and any trainer (docs/shards.md is its specification).

A shard NAME is a family of files:

    NAME.bin           tokens, headerless, little-endian, uint16 or int32
    NAME.idx           document boundaries, in the layout of Megatron-LM's indexed datasets
    NAME.src           uint16 per document: source id
    NAME.nbytes        uint32 per document: UTF-8 bytes of its text, for bits per byte
    NAME.prov.parquet  one row per document, in order: where it came from and what the models said of it

Every document is stored as [BOS] tokens [EOS]. `manifest.json`, written last, makes a directory of shards a dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.document import NUMERIC_FIELDS, SCORE_FIELDS
from curation.errors import InputError

FORMAT = 1
FORMAT_TAKEN_DOWN = 2  # of a dataset that documents were taken down from: older readers do not know how to skip them
SUFFIXES = (".bin", ".idx", ".src", ".nbytes", ".prov.parquet")
MANIFEST = "manifest.json"
JOURNAL = "takedown.json"  # there only while a take-down is going on, or after one was cut off
TAKEN_DOWN = 0xFFFF  # the source id of a document that was taken down: [BOS] EOS … EOS, to be masked from the loss

# Megatron-LM, core/datasets/indexed_dataset.py: magic, version, and the codes of its DType enumeration.
_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_DTYPE_CODES = {"uint16": 8, "int32": 4}
_HEADER = len(_MAGIC) + struct.calcsize("<QBQQ")  # bytes before the lengths

PROVENANCE = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("file", pa.string()),
        ("locator", pa.string()),
        ("date", pa.string()),
        ("digest", pa.string()),
        *((name, pa.float32() if name in NUMERIC_FIELDS else pa.string()) for name in SCORE_FIELDS),
    ]
)


def token_dtype(vocabulary: int) -> str:
    """The narrowest of the two stored types that holds ids 0 … vocabulary - 1."""
    return "uint16" if vocabulary <= 1 << 16 else "int32"


def index_bytes(lengths: np.ndarray, dtype: str) -> bytes:
    """The .idx file for documents of these lengths in tokens: int array [documents]."""
    count = len(lengths)
    lengths = np.asarray(lengths, dtype="<i4")
    pointers = np.zeros(count, dtype="<i8")
    np.cumsum(lengths[:-1].astype("<i8") * np.dtype(dtype).itemsize, out=pointers[1:])
    header = _MAGIC + struct.pack("<QBQQ", _VERSION, _DTYPE_CODES[dtype], count, count + 1)
    return header + lengths.tobytes() + pointers.tobytes() + np.arange(count + 1, dtype="<i8").tobytes()


def read_index(path: Path) -> tuple[np.ndarray, str]:
    """Document lengths (int32 [documents]) and token dtype of an .idx file. Raises InputError if it is not one."""
    data = path.read_bytes()
    if len(data) < _HEADER or not data.startswith(_MAGIC):
        raise InputError(f"{path} is not a token index")
    version, code, count, boundaries = struct.unpack_from("<QBQQ", data, len(_MAGIC))
    dtypes = {code: name for name, code in _DTYPE_CODES.items()}
    expected = _HEADER + 12 * count + 8 * boundaries
    if version != _VERSION or code not in dtypes or len(data) != expected:
        raise InputError(
            f"{path} is damaged: version {version}, type {code}, {len(data)} bytes where {expected} belong"
        )
    return np.frombuffer(data, "<i4", count, _HEADER), dtypes[code]


def write_shard(
    directory: Path,
    name: str,
    tokens: Sequence[np.ndarray],
    sources: np.ndarray,
    nbytes: np.ndarray,
    provenance: pa.Table,
    dtype: str,
) -> dict[str, Any]:
    """Write one shard and return its entry for the manifest.

    `tokens` holds one array per document, BOS and EOS included; `sources`, `nbytes` and the rows of `provenance` run
    parallel to it. The files appear under their names only when they are whole.
    """
    if not len(tokens) == len(sources) == len(nbytes) == provenance.num_rows:
        raise ValueError(
            f"{name}: {len(tokens)} token arrays, {len(sources)} sources, {len(nbytes)} sizes, "
            f"{provenance.num_rows} rows"
        )
    lengths = np.array([len(t) for t in tokens], dtype="<i4")
    sink = pa.BufferOutputStream()
    pq.write_table(provenance.cast(PROVENANCE), sink, compression="zstd")
    contents = {
        ".bin": b"".join(_packed(t, np.dtype(dtype).newbyteorder("<")) for t in tokens),
        ".idx": index_bytes(lengths, dtype),
        ".src": _packed(sources, "<u2"),
        ".nbytes": _packed(nbytes, "<u4"),
        ".prov.parquet": sink.getvalue().to_pybytes(),
    }
    for suffix, content in contents.items():
        path = directory / (name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(content)
        os.replace(temporary, path)
    return {
        "name": name,
        "documents": len(tokens),
        "tokens": int(lengths.sum(dtype=np.int64)),
        "bytes": int(np.asarray(nbytes).sum(dtype=np.int64)),
        "sha256": {suffix: hashlib.sha256(content).hexdigest() for suffix, content in contents.items()},
        "content": content_hash(
            {suffix: hashlib.sha256(content).digest() for suffix, content in contents.items()},
            provenance["id"].to_pylist(),
        ),
    }


def _packed(values: np.ndarray, dtype: Any) -> bytes:
    packed = np.ascontiguousarray(values, dtype=dtype)
    if not np.array_equal(packed, values):  # NumPy would wrap them in silence
        raise ValueError(f"values do not fit {dtype}: {np.min(values)} to {np.max(values)}")
    return packed.tobytes()


def content_hash(digests: dict[str, bytes], ids: Iterable[str]) -> str:
    """Identity of a shard: tokens, lengths, sources and document ids, but not how Parquet happened to encode them.

    `digests` holds the SHA-256 of each file, by suffix.
    """
    of_ids = hashlib.sha256()
    for number, id in enumerate(ids):
        of_ids.update((f"\n{id}" if number else id).encode())
    return hashlib.sha256(digests[".bin"] + digests[".idx"] + digests[".src"] + of_ids.digest()).hexdigest()


def dataset_id(entries: Sequence[dict[str, Any]], tokenizer_sha256: str) -> str:
    """Identity of a dataset: its tokenizer and the content hash of every shard, by name, held-out ones included."""
    digest = hashlib.sha256(f"winnow {FORMAT} {tokenizer_sha256}".encode())
    for entry in sorted(entries, key=lambda e: e["name"]):
        digest.update(f"\n{entry['name']} {entry['content']}".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Shard:
    """A shard on local disk, memory-mapped. Arrays are per document, in stored order."""

    path: Path  # without suffix
    dtype: str

    def file(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    @cached_property
    def tokens(self) -> np.ndarray:
        """All tokens, documents back to back: [tokens], a read-only memory map."""
        if self.file(".bin").stat().st_size == 0:
            return np.empty(0, self.dtype)
        return np.memmap(self.file(".bin"), mode="r", dtype=np.dtype(self.dtype).newbyteorder("<"))

    @cached_property
    def lengths(self) -> np.ndarray:
        return read_index(self.file(".idx"))[0]

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each document starts in `tokens`, and where the last one ends: int64 [documents + 1]."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    @cached_property
    def sources(self) -> np.ndarray:
        return np.fromfile(self.file(".src"), dtype="<u2")

    @property
    def taken_down(self) -> np.ndarray:
        """Which documents were taken down: bool [documents]."""
        return np.asarray(self.sources == TAKEN_DOWN)

    @cached_property
    def nbytes(self) -> np.ndarray:
        return np.fromfile(self.file(".nbytes"), dtype="<u4")

    @cached_property
    def mapped_pointers(self) -> np.ndarray:
        """Where each document starts, in bytes of the .bin: int64 [documents], a read-only memory map of the .idx."""
        count = len(self.mapped_sources)
        return self._mapped(".idx", "<i8", _HEADER + 4 * count, count)  # behind the lengths

    @cached_property
    def mapped_sources(self) -> np.ndarray:
        """`sources` as a read-only memory map: of a few documents, only these are read."""
        return self._mapped(".src", "<u2", 0, self.file(".src").stat().st_size // 2)

    def _mapped(self, suffix: str, dtype: str, offset: int, count: int) -> np.ndarray:
        if not count:
            return np.empty(0, dtype)  # no memory map is empty
        return np.memmap(self.file(suffix), mode="r", dtype=dtype, offset=offset, shape=(count,))

    def covering(self, start: int, end: int) -> tuple[int, np.ndarray]:
        """The documents that tokens `start` to `end` (exclusive, and not none) belong to.

        Returns the number of the first, and where each starts and the last one ends: int64 [documents + 1]. No other
        document's entry is read.
        """
        width = np.dtype(self.dtype).itemsize
        first = int(np.searchsorted(self.mapped_pointers, start * width, side="right")) - 1
        last = int(np.searchsorted(self.mapped_pointers, end * width, side="left"))
        offsets = self.mapped_pointers[first : last + 1] // width
        return first, offsets if last < len(self.mapped_pointers) else np.append(offsets, len(self.tokens))

    def provenance(self) -> pa.Table:
        return pq.read_table(self.file(".prov.parquet"), partitioning=None)

    def provenance_of(self, documents: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of some documents, by their numbers, read a batch at a time. Raises InputError for one too many."""
        left, start = sorted(set(documents)), 0
        rows: dict[int, dict[str, Any]] = {}
        with pq.ParquetFile(self.file(".prov.parquet")) as file:
            for batch in file.iter_batches():
                while left and left[0] < start + len(batch):
                    number = left.pop(0)
                    rows[number] = dict(batch.slice(number - start, 1).to_pylist()[0])
                start += len(batch)
                if not left:
                    break
        if left:
            raise InputError(f"{self.file('.prov.parquet')} has {start} rows, and {left[0]} is looked for")
        return [rows[number] for number in documents]

    def documents(self) -> Iterator[np.ndarray]:
        for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.tokens[start:end]


@dataclass(frozen=True)
class Dataset:
    """A directory of shards with its manifest."""

    directory: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, directory: str | os.PathLike[str], whole: bool = True) -> Dataset:
        """Open and check cheaply: the manifest, and if `whole`, that every file is there and has the size it should.

        Raises InputError.
        """
        root = Path(directory)
        path = root / MANIFEST
        if (root / JOURNAL).exists():
            raise InputError(
                f"{root} is half taken down: `python -m pipelines.shards takedown {root}` ends what was cut off"
            )
        if not path.is_file():
            raise InputError(
                f"{root} holds no {MANIFEST}: not a dataset, or the pipeline that writes it has not finished"
            )
        try:
            manifest = json.loads(path.read_text())
            dataset = cls(root, manifest)
            if manifest["format"] not in (FORMAT, FORMAT_TAKEN_DOWN):
                raise InputError(
                    f"{path} has format {manifest['format']}; this version reads {FORMAT} and {FORMAT_TAKEN_DOWN}"
                )
            for entry in manifest["shards"] + manifest["heldout"] if whole else ():
                dataset._check_size(entry)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged: {error!r}") from None
        return dataset

    def _check_size(self, entry: dict[str, Any]) -> None:
        per_unit = {
            ".bin": entry["tokens"] * np.dtype(self.manifest["dtype"]).itemsize,
            ".idx": _HEADER + entry["documents"] * 20 + 8,
            ".src": entry["documents"] * 2,
            ".nbytes": entry["documents"] * 4,
        }
        for suffix in SUFFIXES:
            path = self.directory / (entry["name"] + suffix)
            if not path.is_file():
                raise InputError(f"{path} is missing")
            expected = per_unit.get(suffix)
            if expected is not None and path.stat().st_size != expected:
                raise InputError(
                    f"{path} has {path.stat().st_size} bytes where {expected} belong: truncated or overwritten"
                )

    @property
    def id(self) -> str:
        return str(self.manifest["dataset_id"])

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Ids of the datasets that this one was made from by take-downs, the first one first."""
        return tuple(self.manifest.get("ancestors", ()))

    @property
    def root(self) -> str:
        """Id of the dataset as it was mixed, before any take-down. What orders the documents is keyed by it."""
        return (*self.ancestors, self.id)[0]

    @property
    def sources(self) -> list[str]:
        """Source names, indexed by the ids in .src files."""
        return [source["name"] for source in self.manifest["sources"]]

    def shards(self) -> list[Shard]:
        return [Shard(self.directory / entry["name"], self.manifest["dtype"]) for entry in self.manifest["shards"]]

    def heldout(self) -> list[Shard]:
        """One shard per source, named `heldout/SOURCE`."""
        return [Shard(self.directory / entry["name"], self.manifest["dtype"]) for entry in self.manifest["heldout"]]
