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


KINDS = {"books": inputs.FOLDER, "c4": inputs.WHOLE}


def described(path: Path) -> list[tuple[str, int, str]]:
    return [(file.file, file.size, file.kind) for file in inputs.find([f"books={path}"], KINDS)]


def test_a_folder_is_one_input_where_the_reader_takes_folders(tmp_path):
    for name in ("shelf/a.txt", "shelf/b.txt", "shelf/c/d.txt", "other/e.txt", "f.txt"):
        write(tmp_path / name)
    assert described(tmp_path / "shelf") == [("shelf", 3, "folder")]
    assert described(tmp_path / "*") == [("f.txt", 1, "whole"), ("other", 1, "folder"), ("shelf", 3, "folder")]
    assert [name for name, _, _ in described(tmp_path / "**/*.txt")] == [
        "f.txt", "other/e.txt", "shelf/a.txt", "shelf/b.txt", "shelf/c/d.txt",
    ]  # fmt: skip
    found = inputs.find([f"c4={tmp_path / 'shelf'}"], KINDS)
    assert [(file.file, file.kind) for file in found] == [(name, "whole") for name in ("a.txt", "b.txt", "c/d.txt")]


def test_a_folder_is_cut_between_its_entries_and_its_identity_is_its_content(tmp_path):
    for number in range(10):
        write(tmp_path / f"shelf/{number}/a.txt", b"x" * 100)
    files = inputs.find([f"books={tmp_path / 'shelf'}"], KINDS)
    parts = inputs.cut(files, 300)
    assert [(part.start, part.end) for part in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert [part.given().entries for part in parts] == [("0", "1", "2"), ("3", "4", "5"), ("6", "7", "8"), ("9",)]
    write(tmp_path / "shelf/7/a.txt", b"y" * 100)
    assert inputs.find([f"books={tmp_path / 'shelf'}"], KINDS)[0].identity != files[0].identity
    write(tmp_path / "shelf/7/a.txt", b"x" * 100)
    assert inputs.find([f"books={tmp_path / 'shelf'}"], KINDS) == files
    assert inputs.freeze(str(tmp_path / "run"), files, 300) == inputs.freeze(str(tmp_path / "run"), files, 10**9)


def test_a_folder_that_changes_is_refused_where_it_is_read(tmp_path):
    shelf = tmp_path / "shelf"
    for number in range(4):
        write(shelf / f"{number}.txt", b"x" * 100)
    parts = inputs.freeze(str(tmp_path / "run"), inputs.find([f"books={shelf}"], KINDS), 200)
    assert [part.given().entries for part in parts] == [("0.txt", "1.txt"), ("2.txt", "3.txt")]
    for change, undo in (
        ((shelf / "00").mkdir, (shelf / "00").rmdir),
        (lambda: (shelf / "3.txt").rename(shelf / "4.txt"), lambda: (shelf / "4.txt").rename(shelf / "3.txt")),
        (lambda: shelf.rename(tmp_path / "away"), lambda: (tmp_path / "away").rename(shelf)),
    ):
        change()
        for part in parts:
            with pytest.raises(InputError):
                part.given()
        undo()
        assert len(parts[0].given().entries) == 2


def test_empty_folders_and_links_to_folders_are_part_of_what_a_folder_is(tmp_path):
    write(tmp_path / "shelf/a/b.txt")
    seen = set()
    for change in (
        lambda: None,
        (tmp_path / "shelf/c").mkdir,
        (tmp_path / "shelf/a/c").mkdir,
        lambda: (tmp_path / "shelf/d").symlink_to(tmp_path),
        lambda: (tmp_path / "shelf/a/d").symlink_to(tmp_path),
        lambda: ((tmp_path / "shelf/c").rmdir(), (tmp_path / "shelf/c").symlink_to(tmp_path)),
    ):
        change()
        seen.add(inputs.find([f"books={tmp_path / 'shelf'}"], KINDS)[0].identity)
    assert len(seen) == 6


def test_a_file_that_cannot_be_read_does_not_refuse_its_folder(tmp_path, monkeypatch):
    write(tmp_path / "shelf/a.txt")
    write(tmp_path / "shelf/b.txt")

    def opened(path, *arguments):
        if path.endswith("b.txt"):
            raise PermissionError(13, "Permission denied")
        return open(path, *arguments)

    whole = inputs.find([f"books={tmp_path / 'shelf'}"], KINDS)[0]
    monkeypatch.setattr(inputs, "open", opened, raising=False)
    (file,) = inputs.find([f"books={tmp_path / 'shelf'}"], KINDS)
    assert (file.size, file.stored, file.identity != whole.identity) == (2, 1, True)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "shelf").mkdir()
    with pytest.raises(InputError, match="empty folder"):
        described(tmp_path / "shelf")


def test_a_parquet_file_is_a_selection_of_archives_only(tmp_path):
    write(tmp_path / "rows.parquet")
    assert [file.kind for file in inputs.find([f"c4={tmp_path}/rows.parquet"], KINDS)] == ["whole"]
    with pytest.raises(InputError):
        inputs.find([f"{tmp_path}/rows.parquet"], KINDS)


def test_a_file_that_is_given_twice_is_refused(tmp_path):
    write(tmp_path / "shelf/a.txt")
    with pytest.raises(InputError, match=r"a\.txt is given twice, by itself and in .*shelf; give it once"):
        inputs.find([f"books={tmp_path / 'shelf'}", f"books={tmp_path / 'shelf/a.txt'}"], KINDS)
    with pytest.raises(InputError, match=r"given twice, as a\.txt and as shelf/a\.txt"):
        inputs.find([f"c4={tmp_path / 'shelf'}", f"c4={tmp_path}"], KINDS)


def test_a_pattern_of_folders_for_a_reader_of_files(tmp_path):
    write(tmp_path / "one/Posts.xml")
    with pytest.raises(InputError, match="matches folders only"):
        inputs.find([f"c4={tmp_path}/*"], KINDS)
