from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from curation.errors import ModelError
from models import artifact
from models.artifact import artifact_identity, check_there, npy, open_artifact, read_manifest, write_artifact


def write(directory: Path, files: dict[str, bytes | Path] | None = None) -> Path:
    files = files if files is not None else {"a.bin": b"one", "b.bin": b"two"}
    return write_artifact(
        directory, files, kind="test", format="bytes", licence="none", origin="here", parameters={"n": 1}
    )


def test_an_array_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(np.arange(5, dtype=np.uint16)))
    found = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert (found.dtype, found.tolist()) == (np.uint16, [0, 1, 2, 3, 4])


def test_what_is_written_opens(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"two")
    directory = write(tmp_path / "models" / "toy", {"a.bin": b"one", "b.bin": tmp_path / "source"})
    assert open_artifact(tmp_path / "models", "toy") == directory
    manifest = read_manifest(directory)
    assert manifest["name"] == "toy"
    assert manifest["parameters"] == {"n": 1}
    assert (
        manifest["files"]["a.bin"] == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    )  # sha256 of "one"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["toy"]


def test_writing_again_replaces_it_and_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    directory = write(tmp_path / "toy", {"old.bin": b"old"})
    before = artifact_identity(tmp_path, "toy")
    write(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["a.bin", "b.bin", "manifest.json"]
    assert artifact_identity(tmp_path, "toy") != before
    other = write(tmp_path / "elsewhere" / "toy")
    assert (other / "manifest.json").read_bytes() == (directory / "manifest.json").read_bytes()
    assert artifact_identity(tmp_path / "elsewhere", "toy") == artifact_identity(tmp_path, "toy")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda directory: (directory / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda directory: (directory / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda directory: (directory / "manifest.json").write_text("[]"), "names no files"),
        (lambda directory: (directory / "manifest.json").write_text('{"files": {"../x": "0"}}'), "names no files"),
        (lambda directory: (directory / "b.bin").unlink(), "b.bin is missing"),
        (lambda directory: (directory / "b.bin").write_bytes(b"tvo"), "b.bin is not the file its manifest describes"),
    ],
)
@pytest.mark.parametrize("opened_before", [False, True])
def test_damage_is_a_model_error_in_one_line(tmp_path: Path, damage, says: str, opened_before: bool) -> None:
    directory = write(tmp_path / "perplexity-en")
    if opened_before:
        open_artifact(tmp_path, "perplexity-en")
    damage(directory)
    for function in (open_artifact, artifact_identity):
        with pytest.raises(ModelError) as raised:
            function(tmp_path, "perplexity-en")
        assert says in str(raised.value)
        assert "python -m models.train_perplexity" in str(raised.value)
        assert "\n" not in str(raised.value)


def test_no_such_artifact(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"language_id .*python -m models.fetch"):
        open_artifact(tmp_path, "language_id")


def test_files_are_hashed_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(tmp_path / "toy")
    hashed: list[Path] = []
    sha256 = artifact._sha256
    monkeypatch.setattr(artifact, "_sha256", lambda path: hashed.append(path) or sha256(path))
    for _ in range(3):
        open_artifact(tmp_path, "toy")
    assert len(hashed) == 2
    os.utime(directory / "a.bin", ns=(1, 1))
    open_artifact(tmp_path, "toy")
    assert len(hashed) == 4


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "manifest.json"])
def test_only_plain_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a file name"):
        write(tmp_path / "toy", {name: b""})
    assert list(tmp_path.iterdir()) == []


def test_identity_covers_names_and_contents(tmp_path: Path) -> None:
    contents: list[dict[str, bytes | Path]] = [{"a": b"1", "b": b"2"}, {"a": b"2", "b": b"1"}, {"a": b"1", "c": b"2"}]
    identities = set()
    for number, files in enumerate(contents):
        write(tmp_path / str(number) / "toy", files)
        identities.add(artifact_identity(tmp_path / str(number), "toy"))
    assert len(identities) == 3
    manifest = json.loads((tmp_path / "0" / "toy" / "manifest.json").read_text())
    assert list(manifest) == sorted(manifest)


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    write_artifact(tmp_path / "language_id", {"f": b"x"}, kind="k", format="f", licence="l", origin="o")
    check_there(tmp_path, ["language_id"])
    with pytest.raises(ModelError, match=r"no model at .*list-bad-en .*models\.make_list --name bad-en --out"):
        check_there(tmp_path, ["language_id", "list-bad-en"])
    names = [f"perplexity-{language}" for language in ("de", "en", "fr", "it", "pl")]
    with pytest.raises(
        ModelError, match=r"lacks 5 models\. perplexity-de: .*ccnet-lm-de.*; and 2 more: perplexity-it, p"
    ):
        check_there(tmp_path, [*names, "language_id", *names])
