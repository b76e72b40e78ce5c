"""What the input arguments mean, what files are called in ids, and how they are cut."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from curation.errors import InputError
from pipelines import inputs


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(*patterns: str) -> list[tuple[str, str]]:
    return [(file.source, file.file) for file in inputs.find(patterns)]


def test_relative_and_absolute_paths_are_one_file(tmp_path, monkeypatch):
    write(tmp_path / "crawl-data/a/b.warc.gz")
    monkeypatch.chdir(tmp_path)
    found = inputs.find(["crawl-data/**/*.warc.gz", str(tmp_path / "crawl-data/a/b.warc.gz"), "./crawl-data"])
    assert [(file.file, file.path) for file in found] == [
        ("crawl-data/a/b.warc.gz", str(tmp_path / "crawl-data/a/b.warc.gz"))
    ]


def test_names_never_depend_on_where_the_folder_is(tmp_path):
    for root in ("one", "two/deeper"):
        write(tmp_path / root / "x/1.warc.gz")
        write(tmp_path / root / "x/2.warc.gz")
        assert names(str(tmp_path / root)) == [("commoncrawl", "x/1.warc.gz"), ("commoncrawl", "x/2.warc.gz")]
        assert names(f"{tmp_path / root}/*/*.gz") == names(str(tmp_path / root))
    assert names(str(tmp_path / "one/x/1.warc.gz")) == [("commoncrawl", "1.warc.gz")]


def test_sources_are_named_or_told_by_the_dump_suffix(tmp_path):
    write(tmp_path / "enwiki.xml.bz2")
    write(tmp_path / "b.warc.gz")
    assert names(f"{tmp_path}/*.bz2", f"mine={tmp_path}/*.gz") == [
        ("mine", "b.warc.gz"),
        ("wikipedia", "enwiki.xml.bz2"),
    ]


def test_two_files_of_one_name_are_refused(tmp_path):
    write(tmp_path / "a/1.warc.gz")
    write(tmp_path / "b/1.warc.gz")
    with pytest.raises(InputError, match=r"both be called 1\.warc\.gz"):
        inputs.find([str(tmp_path / "a/1.warc.gz"), str(tmp_path / "b/1.warc.gz")])
    assert len(names(str(tmp_path))) == 2


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no input file matches"):
        inputs.find([str(tmp_path / "*.warc.gz")])


def test_only_a_member_per_record_is_cut(tmp_path):
    record = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
    members = write(tmp_path / "members.warc.gz", gzip.compress(record) * 100)
    plain = write(tmp_path / "plain.warc", record * 100)
    write(tmp_path / "zero.warc.gz", b"")
    parts = inputs.cut(inputs.find([str(tmp_path)]), 1000)
    by_file = {name: [p for p in parts if p.file == name] for name in ("members.warc.gz", "plain.warc", "zero.warc.gz")}
    size = members.stat().st_size
    assert [(p.start, p.end) for p in by_file["members.warc.gz"]] == [
        (start, min(start + 1000, size)) for start in range(0, size, 1000)
    ]
    assert [(p.start, p.end) for p in by_file["plain.warc"]] == [(0, plain.stat().st_size)]
    assert [(p.start, p.end) for p in by_file["zero.warc.gz"]] == [(0, 0)]
    assert [p.number for p in parts] == list(range(len(parts)))
    assert {p.file: p.file_number for p in parts} == {"members.warc.gz": 0, "plain.warc": 1, "zero.warc.gz": 2}
