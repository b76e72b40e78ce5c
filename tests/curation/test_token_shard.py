from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.shard_check import verify
from curation.token_shard import (
    FORMAT,
    MANIFEST,
    PROVENANCE,
    SUFFIXES,
    Dataset,
    Shard,
    dataset_id,
    index_bytes,
    read_index,
    token_dtype,
    write_shard,
)

TOKENIZER = "0" * 64


def megatron(index: bytes, data: bytes) -> list[list[int]]:
    """The documents of a Megatron-LM indexed dataset, read with nothing but its published layout."""
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, boundaries = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    width, letter = {8: (2, "H"), 4: (4, "i")}[code]
    at = 9 + 8 + 1 + 8 + 8
    lengths = struct.unpack_from(f"<{sequences}i", index, at)
    at += 4 * sequences
    pointers = struct.unpack_from(f"<{sequences}q", index, at)
    at += 8 * sequences
    documents = struct.unpack_from(f"<{boundaries}q", index, at)
    assert at + 8 * boundaries == len(index)
    assert documents == tuple(range(sequences + 1))  # each document is one sequence
    assert sum(lengths) * width == len(data)
    return [list(struct.unpack_from(f"<{n}{letter}", data, p)) for n, p in zip(lengths, pointers, strict=True)]


def shard(directory: Path, name: str, documents: list[list[int]], dtype: str = "uint16") -> dict[str, Any]:
    rows = [{**dict.fromkeys(PROVENANCE.names), "id": f"web:{name}#{i}"} for i in range(len(documents))]
    return write_shard(
        directory,
        name,
        [np.array(tokens, dtype=np.int64) for tokens in documents],
        np.arange(len(documents)) % 3,
        np.array([7 * len(tokens) for tokens in documents], dtype=np.int64),
        pa.Table.from_pylist(rows, schema=PROVENANCE),
        dtype,
    )


def describe(directory: Path, entries: list[dict[str, Any]], held: list[dict[str, Any]], dtype: str = "uint16") -> None:
    manifest = {
        "format": FORMAT,
        "dataset_id": dataset_id(entries + held, TOKENIZER),
        "dtype": dtype,
        "tokenizer": {"sha256": TOKENIZER},
        "sources": [{"id": i, "name": name} for i, name in enumerate(("a", "b", "c"))],
        "shards": entries,
        "heldout": held,
    }
    (directory / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "dataset"
    entries = [shard(root, "shard-00000", [[1, 5, 2], [1, 6, 7, 2]]), shard(root, "shard-00001", [[1, 2]])]
    describe(root, entries, [shard(root, "heldout/a", [[1, 9, 2]])])
    return root


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1, "uint16"), (65536, "uint16"), (65537, "int32")])
def test_the_narrowest_type_that_holds_the_vocabulary(vocabulary: int, dtype: str) -> None:
    assert token_dtype(vocabulary) == dtype
    assert np.iinfo(dtype).max >= vocabulary - 1


@pytest.mark.parametrize(("dtype", "largest"), [("uint16", 65535), ("int32", 2**31 - 1)])
@pytest.mark.parametrize("documents", [[], [[7]], [[0], [1, 2, 3]], [[5, 6], [], [7]], [[]]])
def test_megatrons_layout(tmp_path: Path, dtype: str, largest: int, documents: list[list[int]]) -> None:
    documents = [[largest, *tokens] if tokens else tokens for tokens in documents]
    entry = shard(tmp_path, "s", documents, dtype)
    assert megatron((tmp_path / "s.idx").read_bytes(), (tmp_path / "s.bin").read_bytes()) == documents
    read = Shard(tmp_path / "s", dtype)
    assert [tokens.tolist() for tokens in read.documents()] == documents
    assert read.tokens.dtype == np.dtype(dtype)
    assert read.lengths.tolist() == [len(tokens) for tokens in documents]
    assert len(read.offsets) == len(documents) + 1
    assert read_index(tmp_path / "s.idx")[1] == dtype
    assert (entry["documents"], entry["tokens"]) == (len(documents), sum(map(len, documents)))
    assert entry["bytes"] == 7 * entry["tokens"]
    assert read.sources.tolist() == [i % 3 for i in range(len(documents))]
    assert read.nbytes.tolist() == [7 * len(tokens) for tokens in documents]
    assert read.provenance().schema.remove_metadata() == PROVENANCE
    assert read.provenance()["id"].to_pylist() == [f"web:s#{i}" for i in range(len(documents))]


@given(st.lists(st.integers(0, 2**31 - 1), max_size=20), st.sampled_from(["uint16", "int32"]))
def test_pointers_count_bytes_beyond_32_bits(lengths: list[int], dtype: str) -> None:
    index = index_bytes(np.array(lengths, dtype=np.int64), dtype)
    count, start = len(lengths), 34
    assert list(struct.unpack_from(f"<{count}i", index, start)) == lengths
    width = np.dtype(dtype).itemsize
    expected = [width * sum(lengths[:i]) for i in range(count)]
    assert list(struct.unpack_from(f"<{count}q", index, start + 4 * count)) == expected


def test_files_are_little_endian_and_complete(dataset: Path) -> None:
    assert (dataset / "shard-00000.bin").read_bytes() == struct.pack("<7H", 1, 5, 2, 1, 6, 7, 2)
    assert (dataset / "shard-00000.src").read_bytes() == struct.pack("<2H", 0, 1)
    assert (dataset / "shard-00000.nbytes").read_bytes() == struct.pack("<2I", 21, 28)
    names = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()}
    assert names == {MANIFEST} | {n + s for n in ("shard-00000", "shard-00001", "heldout/a") for s in SUFFIXES}


def test_the_entry_holds_the_hash_of_each_file(tmp_path: Path) -> None:
    entry = shard(tmp_path, "s", [[1, 2]])
    for suffix in SUFFIXES:
        assert entry["sha256"][suffix] == hashlib.sha256((tmp_path / f"s{suffix}").read_bytes()).hexdigest()


def test_the_same_shard_is_the_same_bytes(tmp_path: Path) -> None:
    assert shard(tmp_path / "a", "s", [[1, 2], [3]]) == shard(tmp_path / "b", "s", [[1, 2], [3]])


@pytest.mark.parametrize(("dtype", "token"), [("uint16", 65536), ("uint16", -1), ("int32", 2**31)])
def test_a_token_that_does_not_fit_is_not_wrapped(tmp_path: Path, dtype: str, token: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        shard(tmp_path, "s", [[1, token]], dtype)
    assert not list(tmp_path.iterdir())


def test_parallel_arrays_must_be_parallel(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([dict.fromkeys(PROVENANCE.names)], schema=PROVENANCE)
    one, two = [np.array([1])], np.array([0, 0])
    for tokens, sources, nbytes, rows in [
        (one * 2, two[:1], two[:1], table),
        (one, two, two[:1], table),
        (one, two[:1], two, table),
        (one, two[:1], two[:1], table.slice(0, 0)),
    ]:
        with pytest.raises(ValueError, match="s: "):
            write_shard(tmp_path, "s", tokens, sources, nbytes, rows, "uint16")


def test_content_covers_tokens_lengths_sources_and_ids_alone(tmp_path: Path) -> None:
    def content(tokens: list[list[int]], source: int = 0, size: int = 1, id: str = "i", url: str = "u") -> str:
        rows = [{**dict.fromkeys(PROVENANCE.names), "id": id, "url": url}] * len(tokens)
        arrays = [np.array(t) for t in tokens], np.full(len(tokens), source), np.full(len(tokens), size)
        return str(
            write_shard(tmp_path, "s", *arrays, pa.Table.from_pylist(rows, schema=PROVENANCE), "uint16")["content"]
        )

    first = content([[1, 2], [3]])
    assert content([[1, 2], [3]], size=2, url="v") == first
    others = [content([[1, 2], [4]]), content([[1], [2, 3]]), content([[1, 2], [3]], 1), content([[1, 2], [3]], id="j")]
    assert len({first, *others}) == 5


def test_the_dataset_id_does_not_depend_on_the_order_of_entries(tmp_path: Path) -> None:
    a, b = shard(tmp_path, "a", [[1]]), shard(tmp_path, "b", [[2]])
    whole = dataset_id([a, b], TOKENIZER)
    assert dataset_id([b, a], TOKENIZER) == whole
    others = [dataset_id([a], TOKENIZER), dataset_id([a, b], "1" * 64), dataset_id([a, {**b, "name": "c"}], TOKENIZER)]
    assert len({whole, *others}) == 4


def test_a_sound_dataset_opens_and_verifies(dataset: Path) -> None:
    opened = verify(dataset)
    assert opened.sources == ["a", "b", "c"]
    assert [len(s.lengths) for s in opened.shards()] == [2, 1]
    assert [s.path.relative_to(dataset).as_posix() for s in opened.heldout()] == ["heldout/a"]
    assert opened.id == opened.manifest["dataset_id"]


@pytest.mark.parametrize("name", ["shard-00000", "shard-00001", "heldout/a"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_verify_finds_any_flipped_bit(dataset: Path, name: str, suffix: str) -> None:
    path = dataset / (name + suffix)
    whole = path.read_bytes()
    for at in {0, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match=f"{name}{suffix} is not the file"):
            verify(dataset)
    path.write_bytes(whole)
    verify(dataset)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_open_finds_a_missing_file(dataset: Path, suffix: str) -> None:
    (dataset / f"heldout/a{suffix}").unlink()
    with pytest.raises(InputError, match=f"heldout/a{suffix} is missing"):
        Dataset.open(dataset)


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".prov.parquet"])
@pytest.mark.parametrize("change", [-1, 1])
def test_open_finds_a_file_of_the_wrong_size(dataset: Path, suffix: str, change: int) -> None:
    path = dataset / f"shard-00000{suffix}"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(InputError, match=f"{suffix} has .* bytes where .* belong"):
        Dataset.open(dataset)


@pytest.mark.parametrize("keep", [0, 8, 33, 34, 60, -1])
def test_a_truncated_index_is_no_index(dataset: Path, keep: int) -> None:
    path = dataset / "shard-00000.idx"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"shard-00000\.idx"):
        read_index(path)


@pytest.mark.parametrize(("at", "value"), [(0, 0), (9, 2), (17, 3), (18, 9), (26, 9)])
def test_an_index_with_another_header_is_no_index(dataset: Path, at: int, value: int) -> None:
    path = dataset / "shard-00000.idx"
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"shard-00000\.idx"):
        read_index(path)


def _replace_shard_and_its_hash(root: Path, manifest: dict[str, Any]) -> None:
    path = root / "shard-00000.bin"
    path.write_bytes(path.read_bytes()[::-1])
    manifest["shards"][0]["sha256"][".bin"] = hashlib.sha256(path.read_bytes()).hexdigest()


def _rename_document_and_its_hash(root: Path, manifest: dict[str, Any]) -> None:
    path = root / "shard-00001.prov.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "id", pa.array(["web:other#0"])), path)
    manifest["shards"][1]["sha256"][".prov.parquet"] = hashlib.sha256(path.read_bytes()).hexdigest()


EDITS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "id": lambda _, m: m.update(dataset_id="f" * 64),
    "tokenizer": lambda _, m: m["tokenizer"].update(sha256="1" * 64),
    "a file's hash": lambda _, m: m["shards"][0]["sha256"].update({".src": "f" * 64}),
    "no file's hash": lambda _, m: m["shards"][0]["sha256"].pop(".nbytes"),
    "content": lambda _, m: m["shards"][0].update(content="f" * 64),
    "tokens": lambda _, m: m["shards"][0].update(tokens=6),
    "documents": lambda _, m: m["heldout"][0].update(documents=2),
    "a shard less": lambda _, m: m["shards"].pop(),
    "a shard twice": lambda _, m: m["shards"].append(m["shards"][0]),
    "dtype": lambda _, m: m.update(dtype="int32"),
    "no such dtype": lambda _, m: m.update(dtype="uint17"),
    "format": lambda _, m: m.update(format=2),
    "no format": lambda _, m: m.pop("format"),
    "no shards": lambda _, m: m.pop("shards"),
    "shards are no list": lambda _, m: m.update(shards={}),
    "a shard is no table": lambda _, m: m["shards"].append("shard-00000"),
    "a shard with its hash": _replace_shard_and_its_hash,
    "a document's name with its hash": _rename_document_and_its_hash,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_verify_finds_an_edited_manifest(dataset: Path, edit: Callable[[Path, dict[str, Any]], object]) -> None:
    manifest = json.loads((dataset / MANIFEST).read_text())
    edit(dataset, manifest)
    (dataset / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError) as caught:
        verify(dataset)
    assert "\n" not in str(caught.value)
    assert str(dataset) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff\xfe", b'{"format": 1}', b'"\n'])
def test_a_broken_manifest_is_the_users_one_line(dataset: Path, content: bytes) -> None:
    (dataset / MANIFEST).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Dataset.open(dataset)
    assert "\n" not in str(caught.value)
    assert MANIFEST in str(caught.value)


def test_a_directory_without_a_manifest_is_no_dataset(dataset: Path) -> None:
    (dataset / MANIFEST).unlink()
    for path in (dataset, dataset / "nowhere"):
        with pytest.raises(InputError, match="holds no manifest"):
            Dataset.open(path)


def test_a_dataset_may_be_moved(dataset: Path, tmp_path: Path) -> None:
    moved = shutil.move(dataset, tmp_path / "elsewhere")
    assert verify(moved).shards()[0].tokens.tolist() == [1, 5, 2, 1, 6, 7, 2]


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_the_documents_of_some_tokens_are_found_without_reading_the_others(tmp_path: Path, dtype: str) -> None:
    """Against the whole index, for every stretch; one document is empty."""
    documents = [[1, 5, 2], [1, 2], [], [1, *range(40, 47), 2], [1, 9, 2]]
    shard(tmp_path, "x", documents, dtype)
    made = Shard(tmp_path / "x", dtype)
    assert all(isinstance(each, np.memmap) for each in (made.mapped_pointers, made.mapped_sources))
    assert made.mapped_sources.tolist() == made.sources.tolist()
    of = np.repeat(np.arange(5), made.lengths)
    for start in range(17):
        for end in range(start + 1, 18):
            first, offsets = made.covering(start, end)
            last = first + len(offsets) - 2
            assert (first, last) == (of[start], of[end - 1])
            assert offsets.tolist() == made.offsets[first : last + 2].tolist()


def test_a_shard_of_no_documents_has_empty_maps(tmp_path: Path) -> None:
    shard(tmp_path, "x", [])
    empty = Shard(tmp_path / "x", "uint16")
    assert (len(empty.mapped_pointers), len(empty.mapped_sources), empty.provenance_of([])) == (0, 0, [])


def test_rows_of_provenance_come_in_the_order_in_which_they_are_asked_for(tmp_path: Path) -> None:
    shard(tmp_path, "x", [[1, 2]] * 70)
    made = Shard(tmp_path / "x", "uint16")
    pq.write_table(made.provenance(), made.file(".prov.parquet"), row_group_size=7)
    asked = [69, 0, 13, 14, 13]
    assert made.provenance_of(asked) == [made.provenance().to_pylist()[row] for row in asked]
    with pytest.raises(InputError, match=r"x\.prov\.parquet has 70 rows, and 70 is looked for"):
        made.provenance_of([3, 70])
