from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.document import Document, Drop
from curation.errors import InputError, ModelError, UserError
from curation.evals import read
from curation.filters.decontaminate import Decontaminate
from models.artifact import open_artifact
from models.make_evals import make_evals
from pipelines import contamination, run
from pipelines.contamination import main
from tests.pipelines.finished import write_run


def text(first: int, count: int = 20) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


QUIZ = [text(1000 * n) for n in range(1, 6)]  # 8 n-grams each
CLOZE = [text(50_000, 9), text(60_000)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    (folder / "evals").mkdir()
    for name, examples in {"quiz": QUIZ, "cloze": CLOZE, "never": [text(90_000)]}.items():
        (folder / "evals" / f"{name}.txt").write_text("\n".join([*examples, "short"]) + "\n", encoding="utf-8")
    make_evals("all", folder / "evals", folder / "models")
    return folder / "models"


def filtered(models: Path, texts: list[str]) -> tuple[list[str], list[Drop]]:
    judge = Decontaminate().load({"evals-all": open_artifact(models, "evals-all")})
    verdicts = [judge(Document(id="x:f#0", url="", date="", digest="", text=text)) for text in texts]
    kept = [verdict.text for verdict in verdicts if isinstance(verdict, Document)]
    return kept, [verdict for verdict in verdicts if isinstance(verdict, Drop)]


# What is in which source: part by part, what a filter would drop among it.
CRAWL = [
    ["clean", QUIZ[0], f"before {QUIZ[0]} after. {CLOZE[0]}", text(2000, 14)],
    [text(2003, 17), "more that is clean", f"{QUIZ[3]} {CLOZE[1]} {CLOZE[0]}"],
]
WIKI = [["clean too", text(2000, 15).upper()]]


def report(run: Path, models: Path, tmp_path: Path, *options: str) -> tuple[dict[Any, Any], list[Any]]:
    path = tmp_path / "report.json"
    arguments = [str(run), "--models", str(models), "--json", str(path), "--quiet", "--workers", "1"]
    assert main([*arguments, *options]) == 0
    found = json.loads(path.read_text())
    fields = ("kept", "dropped", "examples", "compared", "found", "left")
    rows = {(row["set"], row["source"]): [row[field] for field in fields] for row in found["rows"]}
    examples = [
        [row[field] for field in ("set", "example", "kept", "dropped", "most", "total")] for row in found["examples"]
    ]
    return rows, examples


def test_of_a_run_that_filtered_nothing(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", {"crawl": CRAWL, "wiki": WIKI})
    rows, examples = report(run, models, tmp_path)
    assert rows == {
        ("quiz", "crawl"): [5, 0, 6, 5, 3, 3],
        ("quiz", "wiki"): [1, 0, 6, 5, 1, 1],
        ("quiz", ""): [6, 0, 6, 5, 3, 3],
        ("cloze", "crawl"): [2, 0, 3, 2, 2, 2],
        ("cloze", "wiki"): [0, 0, 3, 2, 0, 0],
        ("cloze", ""): [2, 0, 3, 2, 2, 2],
        **{("never", source): [0, 0, 2, 1, 0, 0] for source in ("crawl", "wiki", "")},
    }
    assert examples == [
        ["cloze", 0, 2, 0, 1, 1],
        ["cloze", 1, 1, 0, 8, 8],
        ["quiz", 0, 2, 0, 8, 8],
        ["quiz", 1, 3, 0, 5, 8],
        ["quiz", 3, 1, 0, 8, 8],
    ]
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.split()[:2] == ["quiz", "wiki"])
    assert line.split()[2:] == ["0", "1", "5", "1", "20.0%", "1", "38%"]  # 3 of 8 n-grams


def test_of_a_run_that_filtered(models: Path, tmp_path: Path) -> None:
    parts = {source: [filtered(models, texts) for texts in found] for source, found in {"c": CRAWL, "w": WIKI}.items()}
    dropped = {0: parts["c"][0][1], 1: parts["c"][1][1], 2: parts["w"][0][1]}
    kept = {source: [texts for texts, _ in found] for source, found in parts.items()}
    kept["w"][0].append(text(4000, 13))  # as an edit after the filter might leave it
    run = write_run(tmp_path / "run", kept, dropped)
    rows, examples = report(run, models, tmp_path)
    assert rows["quiz", "c"] == [0, 5, 6, 5, 3, 0]
    assert rows["quiz", "w"] == [1, 1, 6, 5, 2, 1]
    assert rows["cloze", "c"] == [0, 2, 3, 2, 2, 0]  # one of them was dropped for the other set
    assert rows["quiz", ""] == [1, 6, 6, 5, 3, 1]
    assert ["quiz", 3, 1, 1, 8, 8] in examples
    assert ["cloze", 0, 0, 2, 1, 1] in examples


def test_enough_is_as_the_recipe_says(models: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"crawl": CRAWL, "wiki": WIKI})
    rows, _ = report(run, models, tmp_path, "--min-matches", "5")
    assert rows["quiz", "crawl"][0] == 4
    rows, _ = report(run, models, tmp_path, "--min-share", "0.7")
    assert rows["quiz", "crawl"][0] == 3
    assert rows["cloze", "crawl"][0] == 2


def test_the_most_of_an_example_in_one_document(models: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"crawl": [[text(1000, 14), QUIZ[0], text(1001, 15)], [text(1000, 13)]]})
    assert report(run, models, tmp_path)[1] == [["quiz", 0, 4, 0, 8, 8]]


def test_parts_are_looked_at_once(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", {"crawl": CRAWL, "wiki": WIKI})
    found = contamination.read_texts
    with monkeypatch.context() as patch:

        def dies(path: str) -> Any:
            if path.endswith("0000001.parquet"):
                raise RuntimeError("killed")
            return found(path)

        patch.setattr(contamination, "read_texts", dies)
        with pytest.raises(RuntimeError, match="killed"):
            report(run, models, tmp_path)
    assert not (run / "reports/contamination/manifest.json").exists()
    first = report(run, models, tmp_path)
    monkeypatch.setattr(contamination, "read_texts", None)
    assert report(run, models, tmp_path) == first


def test_common_ngrams_are_those_of_many_documents(models: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"crawl": CRAWL, "wiki": WIKI})
    path = tmp_path / "common.npy"
    report(run, models, tmp_path, "--common", str(path), "--common-above", "1")
    hashes = np.load(path)
    assert hashes.tolist() == sorted(hashes.tolist())
    # quiz 0 in two documents: 8; quiz 1: n-grams 0 and 1 in two, then 2 in one, 3 in one, 4 in one; cloze 0 in two
    assert len(hashes) == 8 + 2 + 1
    again = make_evals("less", models.parent / "evals", tmp_path / "models", common=path)
    sets = {one.name: one for one in again.sets}
    assert (sets["quiz"].left_out, sets["quiz"].too_common, sets["cloze"].too_common) == (10, 1, 1)
    rows, _ = report(run, tmp_path / "models", tmp_path, "--evals", "less")
    assert rows["quiz", "crawl"][0] == 2


def test_mistakes(models: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"a": [["x"]]}, {0: [Drop("quiz", "quiz/0:1/9", 1)]})
    with pytest.raises(InputError, match="dropped for quiz/0:1/9, which these evaluation sets do not have"):
        report(run, models, tmp_path)
    with pytest.raises(ModelError, match=r"evals-other.*models.make_evals"):
        report(run, models, tmp_path, "--evals", "other")
    with pytest.raises(UserError, match=r"ends in \.npy"):
        report(run, models, tmp_path, "--common", "x.txt")
    with pytest.raises(InputError, match="not a finished run"):
        report(tmp_path, models, tmp_path)


RECIPE = """
format = 1
name = "clean"
[sources.commoncrawl]
steps = [{ extract = "plain" }, { dedup = "exact" }, { filter = "decontaminate" }]
[sources.other]
steps = [{ extract = "plain" }, { filter = "decontaminate", min_matches = 6 }]
[tokenizer]
vocabulary = 300
"""


def write_wet(path: Path, texts: list[str]) -> None:
    records = []
    for number, body in enumerate(text.encode() for text in texts):
        head = (
            f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://example.org/{number}\r\n"
            f"WARC-Date: 2024-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        records.append(gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0))
    path.write_bytes(b"".join(records))


def test_from_crawl_to_report(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: what is planted goes, by the books of the run, and nothing else does."""
    prose = [f"Page {n} of those that stay, and says so {'again and ' * n}again." for n in range(30)]
    write_wet(tmp_path / "a.warc.wet.gz", [*prose[:20], f"{prose[20]}\n{QUIZ[2]}\n", f"{prose[21]} {CLOZE[0]}"])
    write_wet(
        tmp_path / "b.warc.wet.gz", [*prose[22:], f"{prose[0]}\n{text(5000, 17)}", f"{prose[1]} {text(4000, 18)}"]
    )
    (tmp_path / "r.toml").write_text(RECIPE)
    inputs = ["--input", str(tmp_path / "a.warc.wet.gz"), "--input", f"other={tmp_path / 'b.warc.wet.gz'}"]
    arguments = ["--recipe", str(tmp_path / "r.toml"), *inputs, "--models", str(models)]
    assert run.main([*arguments, "--output", str(tmp_path / "run"), "--quiet", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert [word for line in printed.splitlines() for word in line.split() if word.startswith("decontaminate.")] == [
        "decontaminate.cloze",
        "decontaminate.quiz",
        "decontaminate.quiz",
    ]
    rows, examples = report(tmp_path / "run", models, tmp_path)
    assert rows["quiz", "commoncrawl"][:2] == [0, 1]
    assert rows["cloze", "commoncrawl"][:2] == [0, 1]
    assert rows["quiz", "other"][:2] == [1, 1]  # 5 n-grams stayed, which the recipe allows there
    assert examples == [
        ["cloze", 0, 0, 1, 1, 1],
        ["quiz", 2, 0, 1, 8, 8],
        ["quiz", 3, 0, 1, 6, 8],
        ["quiz", 4, 1, 0, 5, 8],
    ]
    assert read(models / "evals-all").ngram == 13


FLAGS = [
    "--runner=DataflowRunner", "--dry_run=True", "--project=winnow-test", "--region=us-central1", "--no_auth",
    "--temp_location=gs://winnow-test/tmp", "--sdk_container_image=winnow-test/worker:1", "--sdk_location=container",
]  # fmt: skip


def test_a_dry_run_submits_nothing(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", {"crawl": CRAWL})
    assert main([str(run), "--models", str(models), *FLAGS]) == 0
    assert "accepted: reports/contamination" in capsys.readouterr().out
    assert not (run / "reports").exists()
