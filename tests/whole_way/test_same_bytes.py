"""The shards do not depend on how they were made: workers, ranges, order, memory, and being killed at any stage."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import run

STAGES = ["documents", "lines", "after-lines", "near", "after-near", "tokens"]


def arguments(wet: Path, made, output: Path) -> list[str]:
    names = sorted(str(path) for path in wet.glob("*.wet.gz"))
    options = ["--recipe", str(wet / "quick.toml"), "--models", str(made.models), "--output", str(output), "--quiet"]
    return options + [flag for name in names for flag in ("--input", name)]


def shards(output: Path) -> dict[str, str]:
    files = sorted(path for path in (output / "shards").rglob("*") if path.is_file() and "mix" not in path.parts)
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def reference(made, wet, tmp_path_factory) -> dict[str, str]:
    """Hashes of every file of the dataset, made by one worker in one go."""
    output = tmp_path_factory.mktemp("reference") / "run"
    assert run.main([*arguments(wet, made, output), "--workers", "1"]) == 0
    files = shards(output)
    assert sum(name.endswith(".bin") for name in files) > 4
    assert "shards/manifest.json" in files
    return files


def test_two_workers(made, wet, reference, tmp_path):
    assert run.main([*arguments(wet, made, tmp_path / "run"), "--workers", "2"]) == 0
    assert shards(tmp_path / "run") == reference


@pytest.mark.parametrize("size", ["5KiB", "17KB"])
def test_range_sizes(made, wet, reference, tmp_path, size):
    assert run.main([*arguments(wet, made, tmp_path / "run"), "--workers", "1", "--range-size", size]) == 0
    parts = len(list((tmp_path / "run/commoncrawl/documents/ledger").iterdir()))
    assert parts > 2 * 14
    assert shards(tmp_path / "run") == reference


def test_inputs_in_reverse(made, wet, reference, tmp_path):
    options = arguments(wet, made, tmp_path / "run")
    at = options.index("--input")
    flags = [options[i : i + 2] for i in range(at, len(options), 2)]
    reverse = [*options[:at], *[word for pair in reversed(flags) for word in pair]]
    assert run.main([*reverse, "--workers", "1"]) == 0
    assert shards(tmp_path / "run") == reference


def test_little_memory_means_more_passes_and_the_same_bytes(made, wet, reference, tmp_path):
    assert run.main([*arguments(wet, made, tmp_path / "run"), "--workers", "1", "--memory", "200KiB"]) == 0
    assert len(list((tmp_path / "run/commoncrawl/lines/lost").glob("part-0000000.*"))) > 1
    assert shards(tmp_path / "run") == reference


def test_killed_in_every_stage_and_continued(made, wet, reference, tmp_path):
    """kill -9 of the whole process group as soon as a stage has committed its first part, one stage after the other."""
    output = tmp_path / "run"
    command = [sys.executable, "-m", "pipelines.run", *arguments(wet, made, output), "--workers", "2"]
    folders = [output / "commoncrawl" / stage for stage in STAGES] + [output / "shards" / "mix"]
    killed = []
    for folder in folders:
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
        if not (output / "shards" / "manifest.json").exists():
            killed.append(folder.name)
    assert killed == [folder.name for folder in folders]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    assert shards(output) == reference
