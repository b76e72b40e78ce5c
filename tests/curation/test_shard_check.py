from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import shard_check
from curation.errors import InputError
from curation.shard_check import problems, verify
from curation.take_down import blank, descendant, entry_of, sources_without
from curation.token_shard import (
    JOURNAL,
    MANIFEST,
    PROVENANCE,
    SUFFIXES,
    Dataset,
    Shard,
    content_hash,
    dataset_id,
    write_shard,
)

Documents = list[list[int]]
TRAIN: list[Documents] = [[[1, 5, 9, 2], [1, 2], [1, 6, 2]], [], [[1, 8, 8, 8, 8, 2]]]
HELDOUT: Documents = [[1, 7, 2]]


def make(root: Path, train: list[Documents], heldout: Documents, dtype: str = "uint16", **tokenizer: Any) -> Path:
    """A dataset of one source; ids 0 … 9, BOS 1 and EOS 2 unless told otherwise."""

    def shard(name: str, documents: Documents) -> dict[str, Any]:
        rows = [{**dict.fromkeys(PROVENANCE.names), "id": f"web:{name}#{i}"} for i in range(len(documents))]
        tokens = [np.array(tokens, dtype=np.int64) for tokens in documents]
        ones = np.ones(len(documents), dtype=np.int64)
        return write_shard(root, name, tokens, 0 * ones, 3 * ones, pa.Table.from_pylist(rows, schema=PROVENANCE), dtype)

    entries = [shard(f"shard-{i:05d}", documents) for i, documents in enumerate(train)]
    held = [shard("heldout/web", heldout)]
    (root / "tokenizer.model").write_bytes(b"pieces")
    digest = hashlib.sha256(b"pieces").hexdigest()
    manifest = {
        "format": 1,
        "parent": None,
        "dataset_id": dataset_id(entries + held, digest),
        "dtype": dtype,
        "tokenizer": {
            "file": "tokenizer.model",
            "sha256": digest,
            "vocabulary": 10,
            "bos": 1,
            "eos": 2,
            **tokenizer,
        },
        "sources": [
            {
                "name": "web",
                "documents": 4,
                "tokens": 15,
                "mixed_documents": sum(len(documents) for documents in train),
                "mixed_tokens": sum(len(tokens) for documents in train for tokens in documents),
                "heldout_documents": len(heldout),
                "heldout_tokens": sum(map(len, heldout)),
            }
        ],
        "shards": entries,
        "heldout": held,
    }
    (root / MANIFEST).write_text(json.dumps(manifest))
    return root


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make(tmp_path / "dataset", TRAIN, HELDOUT)


def sign(root: Path, edit: Callable[[dict[str, Any]], object] = lambda manifest: None) -> None:
    """Write a manifest whose hashes are those of the files as they are now: what is wrong is no accident of a disk."""
    manifest = json.loads((root / MANIFEST).read_text())
    for side in ("shards", "heldout"):
        for number, entry in enumerate(manifest[side]):
            shard = Shard(root / entry["name"], manifest["dtype"])
            digests = {suffix: hashlib.sha256(shard.file(suffix).read_bytes()) for suffix in SUFFIXES}
            now = content_hash({s: d.digest() for s, d in digests.items()}, shard.provenance()["id"].to_pylist())
            hashes = {suffix: digest.hexdigest() for suffix, digest in digests.items()}
            manifest[side][number] = {**entry, "sha256": hashes, "content": now}
    edit(manifest)
    manifest["dataset_id"] = dataset_id(manifest["shards"] + manifest["heldout"], manifest["tokenizer"]["sha256"])
    (root / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@pytest.mark.parametrize("train", [TRAIN, [], [[]], [[[1, 2]]], [[[1, 2]] * 50]])
def test_a_sound_dataset_has_no_problems(tmp_path: Path, dtype: str, train: list[Documents]) -> None:
    names: list[str] = []
    assert list(problems(make(tmp_path / "d", train, HELDOUT, dtype), 3, names.append)) == []
    assert names == [f"shard-{i:05d}" for i in range(len(train))] + ["heldout/web"]


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_documents_of_one_token_and_of_none(tmp_path: Path, dtype: str) -> None:
    """Where BOS is EOS, [BOS] is a whole document. No document is empty, but one would be no reason to fall over."""
    assert list(problems(make(tmp_path / "d", [[[3]], [[3], [3], []]], [[]], dtype, bos=3, eos=3))) == []


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@pytest.mark.parametrize("block", [4, 8, 12])
def test_blocks_of_any_size_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, block: int
) -> None:
    documents = [[[1, 3, 2], [3, 4, 2], [1, 2], [1, 2, 10], [2, 1]], [[1, 3, 3, 3, 3, 3, 3, 2]]]
    root = make(tmp_path / "d", documents, HELDOUT, dtype)
    monkeypatch.setattr(shard_check, "BLOCK", block)
    path = root / "shard-00000.bin"
    assert list(problems(root)) == [
        f"{path} holds 1 tokens that are not in the vocabulary",
        f"{path} has 2 documents that do not begin with BOS",
        f"{path} has 2 documents that do not end with EOS",
    ]


def _rewrite(root: Path, name: str, values: list[int], dtype: str) -> None:
    (root / name).write_bytes(np.array(values, dtype=dtype).tobytes())


def _pointer(root: Path) -> None:
    data = bytearray((root / "shard-00000.idx").read_bytes())
    data[34 + 4 * 3 + 8] ^= 2  # of the second document
    (root / "shard-00000.idx").write_bytes(data)


def _lengths(root: Path) -> None:
    data = bytearray((root / "shard-00000.idx").read_bytes())
    data[34:42] = np.array([3, 3], dtype="<i4").tobytes()
    (root / "shard-00000.idx").write_bytes(data)


def _row_less(root: Path) -> None:
    path = root / "shard-00000.prov.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "token": (lambda r: _rewrite(r, "shard-00002.bin", [1, 8, 10, 8, 8, 2], "<u2"), "not in the vocabulary"),
    "bos": (lambda r: _rewrite(r, "shard-00002.bin", [3, 8, 8, 8, 8, 2], "<u2"), "1 documents that do not begin"),
    "eos": (lambda r: _rewrite(r, "heldout/web.bin", [1, 7, 7], "<u2"), "heldout/web.bin has 1 .* do not end"),
    "pointer": (_pointer, "its pointers do not follow from its lengths"),
    "lengths": (_lengths, "its pointers do not follow from its lengths"),
    "source": (lambda r: _rewrite(r, "shard-00000.src", [0, 1, 0], "<u2"), "names source 1, and there are 1"),
    "sources": (lambda r: _rewrite(r, "shard-00000.src", [0, 0], "<u2"), "src is of 2 documents.* of 3"),
    "gone": (lambda r: _rewrite(r, "shard-00000.src", [0, 65535, 0], "<u2"), "0 documents taken down"),
    "sizes": (lambda r: _rewrite(r, "shard-00000.nbytes", [3, 3, 4], "<u4"), "has 9 bytes, and its documents 10"),
    "rows": (_row_less, "parquet is of 2 documents, and the index of 3"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_put_together_wrongly_is_found_under_right_hashes(
    dataset: Path, change: Callable[[Path], object], message: str
) -> None:
    change(dataset)
    sign(dataset)
    with pytest.raises(InputError, match=message):
        verify(dataset)


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "mixed": (lambda m: m["sources"][0].update(mixed_tokens=16), "16 mixed_tokens, and its shards hold 15"),
    "held": (lambda m: m["sources"][0].update(heldout_documents=0), "0 heldout_documents, and its shards hold 1"),
    "tokens": (lambda m: m["shards"][0].update(tokens=8), "8 tokens, and its index 9"),
    "documents": (lambda m: m["shards"][1].update(documents=1), "1 documents, and its index 0"),
    "dtype": (lambda m: m.update(dtype="int32"), "is of uint16, and the manifest of int32"),
    "twice": (lambda m: m["shards"].append(m["shards"][0]), "names shard-00000 twice"),
    "parent": (lambda m: m.update(parent="x"), "its parent is not the last of its ancestors"),
    "format": (lambda m: m.update(format=2), "format 2 with 0 ancestors"),
    "tokenizer": (lambda m: m["tokenizer"].update(sha256="0" * 64), "not the tokenizer that the manifest describes"),
    "no tokenizer": (lambda m: m["tokenizer"].update(file="other.model"), "other.model is missing"),
}


@pytest.mark.parametrize(("edit", "message"), EDITS.values(), ids=EDITS)
def test_an_edit_of_the_manifest_is_found_under_the_right_id(
    dataset: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    sign(dataset, edit)
    assert any(message in problem for problem in problems(dataset))


def test_all_that_is_wrong_is_said(dataset: Path) -> None:
    for name in ("shard-00000.bin", "shard-00002.src", "heldout/web.nbytes"):
        data = bytearray((dataset / name).read_bytes())
        data[0] ^= 0x80
        (dataset / name).write_bytes(data)
    (dataset / "shard-00001.idx").unlink()
    (dataset / "shard-00002.idx").write_bytes((dataset / "shard-00002.idx").read_bytes()[:-1])
    found = "\n".join(problems(dataset, workers=2))
    for name in ("shard-00000.bin", "shard-00001.idx", "shard-00002.src", "shard-00002.idx", "heldout/web.nbytes"):
        assert f"{dataset / name} is" in found


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 1, -1])
def test_a_truncated_file_of_any_kind(dataset: Path, suffix: str, keep: int) -> None:
    path = dataset / f"shard-00002{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    assert any(str(path) in problem for problem in problems(dataset))


def test_where_there_is_no_dataset_there_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no manifest"):
        list(problems(tmp_path))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"format": 1, "shards": []}', b"\xff"])
def test_a_broken_manifest_is_a_problem(dataset: Path, content: bytes) -> None:
    (dataset / MANIFEST).write_bytes(content)
    (problem,) = problems(dataset)
    assert MANIFEST in problem


def test_half_a_take_down_is_refused(dataset: Path) -> None:
    (dataset / JOURNAL).write_text("{}")
    with pytest.raises(InputError, match=r"half taken down: `python -m pipelines\.shards takedown"):
        Dataset.open(dataset)
    assert "half taken down" in "".join(problems(dataset))


def test_what_was_taken_down_is_sound_and_counted(dataset: Path) -> None:
    manifest = json.loads((dataset / MANIFEST).read_text())
    blank(Shard(dataset / "shard-00000", "uint16"), [0], 1, 2)
    entry = entry_of(Shard(dataset / "shard-00000", "uint16"), "shard-00000")
    sources = sources_without(manifest["sources"], [(0, "web:shard-00000#0", 4, False)])
    child = descendant(manifest, manifest["dataset_id"], {"shard-00000": entry}, sources, [])
    (dataset / MANIFEST).write_text(json.dumps(child))
    opened = verify(dataset)
    assert (opened.root, opened.ancestors) == (manifest["dataset_id"], (manifest["dataset_id"],))
    child["shards"][0]["taken_down"]["documents"] = 2
    (dataset / MANIFEST).write_text(json.dumps(child))
    assert any("2 documents taken down" in problem for problem in problems(dataset))
