from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.document import document_key
from curation.take_down import blank, descendant, entry_of, lineage, mark, sources_without
from curation.token_shard import PROVENANCE, SUFFIXES, TAKEN_DOWN, Shard, dataset_id, write_shard

DOCUMENTS = [[1, 5, 6, 2], [1, 2], [], [1, 7, 2]]


def shard(folder: Path, dtype: str = "uint16") -> Shard:
    rows = [
        {**dict.fromkeys(PROVENANCE.names), "id": f"web:f#{i}", "url": f"https://e.org/{i}", "perplexity": 2.5}
        for i in range(4)
    ]
    tokens = [np.array(tokens, dtype=np.int64) for tokens in DOCUMENTS]
    table = pa.Table.from_pylist(rows, schema=PROVENANCE)
    write_shard(folder, "s", tokens, np.arange(4), np.full(4, 9), table, dtype)
    return Shard(folder / "s", dtype)


def contents(folder: Path) -> dict[str, bytes]:
    return {suffix: (folder / f"s{suffix}").read_bytes() for suffix in SUFFIXES}


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_a_document_goes_and_nothing_moves(tmp_path: Path, dtype: str) -> None:
    blank(shard(tmp_path, dtype), [0, 3], 1, 2)
    read = Shard(tmp_path / "s", dtype)
    assert [document.tolist() for document in read.documents()] == [[1, 2, 2, 2], [1, 2], [], [1, 2, 2]]
    assert read.sources.tolist() == [TAKEN_DOWN, 1, 2, TAKEN_DOWN]
    assert read.taken_down.tolist() == [True, False, False, True]
    assert read.nbytes.tolist() == [0, 9, 9, 0]
    rows = read.provenance().to_pylist()
    assert [row["id"] for row in rows] == [mark("web:f#0"), "web:f#1", "web:f#2", mark("web:f#3")]
    assert {value for key, value in rows[0].items() if key != "id"} == {None, ""}
    assert (rows[1]["url"], rows[1]["perplexity"]) == ("https://e.org/1", 2.5)
    assert b"e.org/0" not in (tmp_path / "s.prov.parquet").read_bytes()


@pytest.mark.parametrize("rows", [[1], [2], [0, 1, 2, 3]])
def test_twice_is_once(tmp_path: Path, rows: list[int]) -> None:
    blank(shard(tmp_path), rows, 1, 2)
    once = contents(tmp_path)
    blank(Shard(tmp_path / "s", "uint16"), rows, 1, 2)
    assert contents(tmp_path) == once


def test_a_shard_without_tokens(tmp_path: Path) -> None:
    write_shard(tmp_path, "s", [], np.empty(0), np.empty(0), PROVENANCE.empty_table(), "uint16")
    before = contents(tmp_path)
    blank(Shard(tmp_path / "s", "uint16"), [], 1, 2)
    assert contents(tmp_path) == before


def test_the_mark_is_the_key_of_the_id() -> None:
    assert mark("web:f#0") == f"taken-down:{document_key('web:f#0').hex()}"
    assert mark(mark("web:f#0")) == mark("web:f#0")


def test_the_entry_is_that_of_the_writer_but_for_what_went(tmp_path: Path) -> None:
    written = shard(tmp_path)
    whole = entry_of(written, "s")
    assert (whole["documents"], whole["tokens"], whole["bytes"]) == (4, 9, 36)
    assert whole["taken_down"] == {"documents": 0, "tokens": 0}
    blank(written, [0], 1, 2)
    entry = entry_of(Shard(tmp_path / "s", "uint16"), "s")
    assert (entry["documents"], entry["tokens"], entry["bytes"]) == (4, 9, 27)
    assert entry["taken_down"] == {"documents": 1, "tokens": 4}
    assert {s for s in SUFFIXES if entry["sha256"][s] != whole["sha256"][s]} == set(SUFFIXES) - {".idx"}
    assert entry["content"] != whole["content"]


def test_the_table_of_sources_counts_a_document_once_and_its_copies_each() -> None:
    source = {"documents": 3, "tokens": 30, "heldout_documents": 2, "heldout_tokens": 8}
    table = [
        {**source, "name": "a", "mixed_documents": 6, "mixed_tokens": 60, "epochs": 2.0, "share": 0.75},
        {**source, "name": "b", "mixed_documents": 2, "mixed_tokens": 20, "epochs": 1.0, "share": 0.25},
    ]
    gone = [(0, "x", 10, False), (0, "x", 10, False), (0, "y", 5, True)]
    a, b = sources_without(table, gone)
    assert (a["documents"], a["tokens"], a["mixed_documents"], a["mixed_tokens"]) == (2, 20, 4, 40)
    assert (a["heldout_documents"], a["heldout_tokens"]) == (1, 3)
    assert (a["epochs"], a["share"], b["share"]) == (2.0, 40 / 60, 20 / 60)
    assert table[0]["mixed_tokens"] == 60
    assert sources_without([{"name": "a"}], [(0, "x", 1, False)]) == [{"name": "a"}]


def test_a_descendant_names_its_parent_and_all_before(tmp_path: Path) -> None:
    old = {"name": "s", "content": "a" * 64}
    other = {"name": "heldout/w", "content": "b" * 64}
    manifest = {"format": 1, "parent": None, "shards": [old], "heldout": [other], "tokenizer": {"sha256": "t"}}
    new = {"name": "s", "content": "c" * 64}
    child = descendant(manifest, "id1", {"s": new}, [], [])
    assert (child["format"], child["parent"], child["ancestors"]) == (2, "id1", ["id1"])
    assert child["dataset_id"] == dataset_id([new, other], "t")
    assert (child["shards"], child["heldout"]) == ([new], [other])
    grandchild = descendant(child, "id2", {}, [], ["id1"])
    assert (grandchild["parent"], grandchild["ancestors"]) == ("id2", ["id1", "id2"])
    assert lineage([]) == {"format": 1, "parent": None}
