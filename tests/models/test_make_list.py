from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from curation.errors import ModelError, exit_on_user_error
from curation.hashing import hash64
from curation.lists import DOMAINS, KINDS, URLS, WORDS, keys, read
from models.artifact import open_artifact, read_manifest
from models.make_list import main


def files_of(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(directory.iterdir())}


def made(tmp_path: Path, *arguments: object, name: str = "x") -> Path:
    assert main(["--name", name, "--out", str(tmp_path / "models"), *map(str, arguments)]) == 0
    return open_artifact(tmp_path / "models", f"list-{name}")


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
def test_equal_entries_give_equal_bytes(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    (tmp_path / "one").write_bytes(pack(b"B.example\na.example\n"))
    (tmp_path / "two").write_bytes(pack(b"a.example\r\n# c.example\r\n\r\nb.example."))
    first = files_of(made(tmp_path, "--domains", tmp_path / "one"))
    second = files_of(made(tmp_path, "--domains", tmp_path / "two"))
    assert {**first, "manifest.json": b""} == {**second, "manifest.json": b""}
    found = np.load(tmp_path / "models" / "list-x" / DOMAINS)
    assert found.tolist() == sorted([hash64("a.example"), hash64("b.example")])


def test_keys() -> None:
    assert hash64("a.example") == int(np.frombuffer(hashlib.blake2b(b"a.example", digest_size=8).digest(), "<u8")[0])
    found = keys(["b", "a", "b"])
    assert found.dtype == np.uint64
    assert found.tolist() == sorted({hash64("a"), hash64("b")})
    assert keys([]).shape == (0,)


def test_what_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("a.example\n")
    (tmp_path / "urls").write_text("HTTP://www.b.example/x/\n")
    (tmp_path / "words").write_text("Übel\nzwei  Wörter\n")
    found = read("x", made(tmp_path, "--folder", tmp_path, "--words", tmp_path / "words"))
    assert found.has_domain("a.example")
    assert not found.has_domain("b.example")
    assert found.has_url("b.example/x")
    assert not found.has_url("b.example/")
    assert found.words == {"substrings": set(), "words": {"übel", "zwei wörter"}, "soft_words": set()}


def test_bytes_that_are_not_utf8_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "domains").write_bytes(b"a.example\nb\xff.example\n\0\n")
    assert read("x", made(tmp_path, "--folder", tmp_path)).has_domain("a.example")


def test_a_licence_is_kept(tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("a.example\n")
    assert read_manifest(made(tmp_path, "--folder", tmp_path, "--licence", "CC BY-SA 4.0"))["licence"] == "CC BY-SA 4.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "Adult List"], "--name is of a-z"),
        (["--name", "x"], "no file holds an entry"),
        (["--name", "x", "--domains", "{}/missing"], "cannot read"),
        (["--name", "x", "--domains", "{}/cut.gz"], "cannot read"),
        (["--name", "x", "--domains", "{}/comments"], "no file holds an entry"),
        (["--name", "x", "--folder", "{}/empty"], "holds no file called domains or urls"),
        (["--name", "x", "--folder", "{}/missing"], "holds no file called domains or urls"),
        (["--name", "x", "--word", "{}/comments"], "--word"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "comments").write_text("# nothing\n! nor this\n\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a.example\n" * 1000)[:-12])
    given = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    assert exit_on_user_error(lambda: main([*given, "--out", str(tmp_path / "models")])) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"words": []}', "x"])
def test_words_that_are_none(tmp_path: Path, content: str) -> None:
    for file in (DOMAINS, URLS):
        np.save(tmp_path / file, keys(["a"]))
    (tmp_path / WORDS).write_text(content)
    with pytest.raises(ModelError, match="does not hold a list"):
        read("x", tmp_path)
    (tmp_path / WORDS).write_text(json.dumps({kind: [] for kind in KINDS}))
    assert read("x", tmp_path).has_domain("a")
    np.save(tmp_path / URLS, np.zeros(2))
    with pytest.raises(ModelError, match="does not hold a list"):
        read("x", tmp_path)
