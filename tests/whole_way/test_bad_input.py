"""The user's mistakes: one line and exit 2. Bad data: a dead letter. Never a traceback."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from curation.errors import exit_on_user_error
from pipelines import run
from tests.whole_way.test_same_bytes import arguments

MISTAKES = {
    "missing path": (["--input", "/nowhere/*.warc.gz"], "no input file matches /nowhere/"),
    "missing recipe": (["--recipe", "tiney"], "did you mean 'tiny'"),
    "unknown flag": (["--wrokers", "2"], "did you mean '--workers'"),
    "unknown beam flag": (["--runer=DirectRunner"], "did you mean '--runner'"),
    "no such size": (["--memory", "much"], "--memory"),
    "no workers": (["--workers", "0"], "--workers"),
    "no such stage": (["--until", "document"], "the stages are documents, lines"),
    "missing models": (["--models", "/nowhere"], "/nowhere lacks 3 models"),
    "missing tokenizer": (["--tokenizer", "/nowhere.model"], "/nowhere.model"),
    "tokenizer is a folder": (["--tokenizer", "/tmp"], "no tokenizer file /tmp"),
    "tokenizer is something else": (["--tokenizer", __file__], "test_bad_input.py"),
    "output cannot be made": (["--output", "/dev/null/run"], "cannot write to /dev/null/run"),
    "output of no known kind": (["--output", "foo://bar/run"], "foo://bar/run"),
    "input of no known kind": (["--input", "foo://bar/*.gz"], "foo://bar/*.gz"),
    "no crawl range": (["--crawl", "CC-MAIN-2024-10", "--files", "all"], "--files"),
}


@pytest.mark.parametrize(("flags", "says"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_the_user(models, wet, tmp_path, capsys, flags, says):
    options = [*arguments(wet, models, tmp_path / "run"), "--workers", "1", *flags]
    assert exit_on_user_error(lambda: run.main(options)) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.startswith("error: ")
    assert says in printed
    assert "\n" not in printed
    assert not (tmp_path / "run" / "commoncrawl").exists()


def test_a_typo_in_a_recipe(models, wet, tmp_path, capsys):
    recipe = tmp_path / "typo.toml"
    recipe.write_text((wet / "quick.toml").read_text().replace("min_words", "min_word"))
    options = [*arguments(wet, models, tmp_path / "run"), "--recipe", str(recipe)]
    assert exit_on_user_error(lambda: run.main(options)) == 2
    assert "did you mean 'min_words'" in capsys.readouterr().err


def test_a_model_with_another_checksum(models, wet, tmp_path, capsys):
    damaged = tmp_path / "models"
    shutil.copytree(models, damaged)
    with (damaged / "language_id" / "lid.176.ftz").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\0\0\0\0")
    options = [*arguments(wet, models, tmp_path / "run"), "--models", str(damaged)]
    assert exit_on_user_error(lambda: run.main(options)) == 2
    assert "lid.176.ftz" in capsys.readouterr().err


def test_other_inputs_in_the_same_output(models, wet, tmp_path, capsys):
    options = arguments(wet, models, tmp_path / "run")
    assert run.main([*options, "--until", "documents", "--workers", "1"]) == 0
    fewer = [*options[: options.index("--input") + 2], "--workers", "1"]
    assert exit_on_user_error(lambda: run.main(fewer)) == 2
    assert "begun with other input files" in capsys.readouterr().err


def test_from_the_shell():
    command = [sys.executable, "-m", "pipelines.run", "--input", "/nowhere", "--output", "/nowhere/run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: no input file matches /nowhere\n"
    assert done.stdout == ""


def test_bad_data_becomes_dead_letters(models, wet, tmp_path):
    folder = tmp_path / "crawl"
    folder.mkdir()
    whole = sorted(wet.glob("*.wet.gz"))[0].read_bytes()
    (folder / "empty.warc.gz").write_bytes(b"")
    (folder / "cut.warc.gz").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "junk.warc.gz").write_bytes(bytes(range(256)) * 40)
    (folder / "text.warc.gz").write_bytes(gzip.compress(b"not an archive, only compressed\n" * 50))
    (folder / "whole.warc.gz").write_bytes(whole)
    options = ["--recipe", str(wet / "quick.toml"), "--models", str(models), "--output", str(tmp_path / "run")]
    options += [
        "--input",
        str(folder),
        "--until",
        "documents",
        "--workers",
        "1",
        "--max-failed-fraction",
        "0.5",
        "--quiet",
    ]
    assert run.main(options) == 0
    manifest = json.loads((tmp_path / "run/commoncrawl/documents/manifest.json").read_text())
    records, size = manifest["balances"]
    assert size["in"] == sum(path.stat().st_size for path in folder.iterdir())
    failed = pq.read_table(tmp_path / "run/commoncrawl/documents/failed").to_pylist()
    by_file = {row["id"].split(":")[1].split("#")[0]: row["reason"] for row in failed}
    assert by_file.keys() == {"cut.warc.gz", "empty.warc.gz", "junk.warc.gz", "text.warc.gz"}
    assert records["kept"] > 10


def test_too_much_bad_data_stops_the_run(models, wet, tmp_path, capsys):
    (tmp_path / "junk.warc.gz").write_bytes(bytes(range(256)) * 40)
    options = ["--recipe", str(wet / "quick.toml"), "--models", str(models), "--output", str(tmp_path / "run")]
    options += ["--input", str(tmp_path / "junk.warc.gz"), "--workers", "1", "--quiet"]
    assert exit_on_user_error(lambda: run.main(options)) == 2
    assert "1 of 1 records failed" in capsys.readouterr().err


def test_a_source_with_a_name_of_its_own(models, wet, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text((wet / "quick.toml").read_text().replace("commoncrawl", "my-web"))
    options = ["--recipe", str(recipe), "--models", str(models), "--output", str(tmp_path / "run"), "--quiet"]
    options += ["--input", f"my-web={wet}/00000.warc.wet.gz", "--workers", "1", "--until", "after-lines"]
    assert run.main(options) == 0
    assert (tmp_path / "run/my-web/after-lines/manifest.json").exists()


def test_nothing_kept_is_said(models, wet, tmp_path, capsys):
    recipe = tmp_path / "strict.toml"
    recipe.write_text((wet / "quick.toml").read_text().replace("min_characters = 100", "min_characters = 999_999"))
    options = [*arguments(wet, models, tmp_path / "run"), "--recipe", str(recipe), "--workers", "1"]
    assert exit_on_user_error(lambda: run.main(options)) == 2
    assert "no document was kept" in capsys.readouterr().err


def test_a_weight_for_a_source_without_input(models, wet, tmp_path, capsys):
    recipe = tmp_path / "weights.toml"
    text = (
        (wet / "quick.toml")
        .read_text()
        .replace("epochs = { commoncrawl = 1.6 }", "weights = { books = 1.0 }\ntokens = 9")
    )
    recipe.write_text(text + '\n[sources.books]\nsteps = [{ extract = "plain" }]\n')
    options = [*arguments(wet, models, tmp_path / "run"), "--recipe", str(recipe), "--workers", "1"]
    assert exit_on_user_error(lambda: run.main(options)) == 2
    assert "no input of it" in capsys.readouterr().err
