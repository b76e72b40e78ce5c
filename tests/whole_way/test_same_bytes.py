"""The shards do not depend on how they were made: workers, ranges, order, memory, and being killed at any stage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.token_shard import Dataset
from models.train_tokenizer import train_tokenizer
from pipelines import run, runner
from pipelines.part_files import PartWriter

STAGES = ["documents", "lines", "after-lines", "near", "after-near", "tokens"]


def arguments(wet: Path, models: Path, output: Path) -> list[str]:
    names = sorted(str(path) for path in wet.glob("*.wet.gz"))
    options = ["--recipe", str(wet / "quick.toml"), "--models", str(models), "--output", str(output), "--quiet"]
    return options + [flag for name in names for flag in ("--input", name)]


def shards(output: Path) -> dict[str, str]:
    files = sorted(path for path in (output / "shards").rglob("*") if path.is_file() and "mix" not in path.parts)
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_workers(models, wet, reference, tmp_path):
    assert run.main([*arguments(wet, models, tmp_path / "run"), "--workers", "2"]) == 0
    assert shards(tmp_path / "run") == reference


@pytest.mark.parametrize("size", ["5KiB", "9KB"])
def test_range_sizes(models, wet, reference, tmp_path, size):
    assert run.main([*arguments(wet, models, tmp_path / "run"), "--workers", "1", "--range-size", size]) == 0
    parts = len(list((tmp_path / "run/commoncrawl/documents/ledger").iterdir()))
    assert parts > 2 * 14
    assert shards(tmp_path / "run") == reference


def test_inputs_in_reverse(models, wet, reference, tmp_path):
    options = arguments(wet, models, tmp_path / "run")
    at = options.index("--input")
    flags = [options[i : i + 2] for i in range(at, len(options), 2)]
    reverse = [*options[:at], *[word for pair in reversed(flags) for word in pair]]
    assert run.main([*reverse, "--workers", "1"]) == 0
    assert shards(tmp_path / "run") == reference


def test_little_memory_means_more_passes_and_the_same_bytes(models, wet, reference, tmp_path, monkeypatch):
    jobs, executor = [], runner.executor

    def noting(flags):
        execute = executor(flags)
        return lambda name, *given: (jobs.append(name), execute(name, *given))

    monkeypatch.setattr(runner, "executor", noting)
    assert run.main([*arguments(wet, models, tmp_path / "run"), "--workers", "1", "--memory", "800KiB"]) == 0
    stages = {stage["name"]: stage for stage in json.loads((tmp_path / "run" / "ledger.json").read_text())}
    assert stages["commoncrawl/lines"]["notes"]["passes"] > 1
    assert [name for name in jobs if name.startswith("shards-")][:2] == ["shards-0", "shards-1"]
    assert shards(tmp_path / "run") == reference


def kill_in(folder: Path, command: list[str]) -> None:
    """Run, and kill -9 the whole process group as soon as the stage of this folder has committed its first part."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and not any((folder / "ledger").glob("*.json")):
            assert time.monotonic() < deadline, f"{folder} never began"
            time.sleep(0.001)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_killed_in_every_stage_and_continued(models, wet, reference, tmp_path):
    """One stage after the other, then to the end. A kill that comes too late, after the last file, is tried again."""
    output = tmp_path / "run"
    command = [sys.executable, "-m", "pipelines.run", *arguments(wet, models, output), "--workers", "2"]
    for folder in [*(output / "commoncrawl" / stage for stage in STAGES), output / "shards" / "mix"]:
        for _ in range(5):
            kill_in(folder, command)
            if not (output / "shards" / "manifest.json").exists():
                break
            shutil.rmtree(output / "shards")
        assert any((folder / "ledger").glob("*.json"))
        assert not (output / "shards" / "manifest.json").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    assert shards(output) == reference


def test_another_recipe_in_between_leaves_nothing_behind(models, wet, reference, tmp_path, monkeypatch):
    """A, then B that dies half-way in A's folders, then A with one thing changed: as if A' had run alone."""
    output = tmp_path / "run"
    quick = (wet / "quick.toml").read_text()
    changed = {
        "b": quick.replace('{ dedup = "near" },', '{ dedup = "near" }, { filter = "length", min_characters = 1500 },'),
        "c": quick.replace("fraction = 0.1", "fraction = 0.2"),
    }
    for name, text in changed.items():
        (tmp_path / f"{name}.toml").write_text(text)
    options = [*arguments(wet, models, output), "--workers", "1"]
    assert run.main([*options, "--tokenizer", ""]) == 0
    with monkeypatch.context() as patch:
        commit = PartWriter.commit
        count = iter(range(10**9))

        def dies(self, *args):
            if next(count) == 5:
                raise RuntimeError("killed")
            commit(self, *args)

        patch.setattr(PartWriter, "commit", dies)
        with pytest.raises(RuntimeError, match="killed"):
            run.main([*options, "--recipe", str(tmp_path / "b.toml")])
    assert run.main([*options, "--recipe", str(tmp_path / "c.toml")]) == 0
    other = [*arguments(wet, models, tmp_path / "alone"), "--workers", "1", "--recipe", str(tmp_path / "c.toml")]
    assert run.main(other) == 0
    assert shards(output) == shards(tmp_path / "alone")
    assert run.main(options) == 0
    assert shards(output) == reference


def test_a_tokenizer_that_was_given_once_does_not_stay(models, wet, reference, tmp_path):
    options = [*arguments(wet, models, tmp_path / "run"), "--workers", "1"]
    given = tmp_path / "other.model"
    train_tokenizer([f"other words {n}" for n in range(2000)], given, 290)
    assert run.main([*options, "--tokenizer", str(given)]) == 0
    assert shards(tmp_path / "run") != reference
    assert run.main(options) == 0
    assert shards(tmp_path / "run") == reference


def test_nearly_whole_epochs(models, wet, tmp_path):
    recipe = tmp_path / "nearly.toml"
    recipe.write_text((wet / "quick.toml").read_text().replace("commoncrawl = 1.6", "commoncrawl = 0.9999999"))
    output = tmp_path / "run"
    assert run.main([*arguments(wet, models, output), "--workers", "1", "--recipe", str(recipe)]) == 0
    (source,) = Dataset.open(output / "shards").manifest["sources"]
    assert source["mixed_tokens"] == source["tokens"]
