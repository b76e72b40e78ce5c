from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import exit_on_user_error
from curation.evals import Evals, read
from curation.word_hashes import ngram_hashes, word_hashes
from models.artifact import open_artifact, read_manifest
from models.make_evals import main


def text(first: int, count: int = 15) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def made(tmp_path: Path, *options: str) -> Evals:
    arguments = ["--evals", str(tmp_path / "evals"), "--out", str(tmp_path / "models"), *options]
    assert main(arguments) == 0
    return read(open_artifact(tmp_path / "models", "evals-all"))


@pytest.fixture
def evals(tmp_path: Path) -> Path:
    folder = tmp_path / "evals"
    folder.mkdir()
    return folder


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def holders(found: Evals, words: str) -> list[tuple[str, int]]:
    hits = found.hits(found.found(words))
    sets = [found.set_of(example) for example in hits.examples.tolist()]
    return [(one.name, example - one.first) for one, example in zip(sets, hits.examples.tolist(), strict=True)]


def test_files_and_folders_are_sets(tmp_path: Path, evals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (evals / "lines.txt").write_text(f"{text(0)}\n\n{text(100)}\n", encoding="utf-8")
    (evals / "Quiz-v2.jsonl.gz").write_bytes(gzip.compress(jsonl({"question": text(200)}, {"question": "too short"})))
    (evals / "mmlu" / "deep").mkdir(parents=True)
    pq.write_table(pa.table({"question": [text(300)], "answer": [1]}), evals / "mmlu" / "b.parquet")
    (evals / "mmlu" / "deep" / "a.jsonl").write_bytes(b"\n" + jsonl({"question": text(400), "id": "x"}))
    (evals / "README.md").write_text("not a set")
    (evals / ".hidden.txt").write_text(text(500))
    found = made(tmp_path)
    assert [(one.name, one.examples, one.compared, one.too_short) for one in found.sets] == [
        ("quiz_v2", 2, 1, 1),
        ("lines", 2, 2, 0),
        ("mmlu", 2, 2, 0),
    ]
    places = {0: ("lines", 0), 100: ("lines", 1), 200: ("quiz_v2", 0), 300: ("mmlu", 0), 400: ("mmlu", 1)}
    for first, place in places.items():
        assert holders(found, text(first)) == [place]
    assert holders(found, text(500)) == []
    said = capsys.readouterr().err
    assert "left out" in said
    assert "README.md" in said
    assert "mmlu: fields not taken: id" in said


@pytest.mark.parametrize(
    ("content", "examples"),
    [
        (f"{text(0)}\n{text(100)}\n", 2),
        (f"{text(0)}\n{text(100)}\n \n{text(200)}\n", 2),
        (f"\n\n{text(0)}\r\n\r\n{text(100)}", 2),
        (f"{text(0)}", 1),
    ],
)
def test_examples_of_a_text(tmp_path: Path, evals: Path, content: str, examples: int) -> None:
    (evals / "a.txt").write_text(content, encoding="utf-8", newline="")
    assert made(tmp_path).sets[0].examples == examples


def test_fields_are_taken_by_name_and_compared_apart(tmp_path: Path, evals: Path) -> None:
    row = {
        "context": text(0),
        "question": text(100, 10),
        "choices": {"label": ["A", "B"], "text": [text(200), text(300)]},
        "answers": [text(400, 8), text(500, 7)],
        "answer": 3,
    }
    (evals / "a.jsonl").write_bytes(jsonl(row))
    found = made(tmp_path)
    for first, count, is_there in ((0, 15, 0), (100, 10, 1), (200, 15, 1), (300, 15, 1), (400, 8, 1), (500, 7, 0)):
        assert len(holders(found, text(first, count))) == is_there, first
    assert found.totals.tolist() == [1 + 3 + 3 + 1]
    assert not holders(found, f"{text(103, 7)} {text(200, 6)}")  # no n-gram goes over the end of a field
    other = made(tmp_path, "--fields", "context, question", "--shortest", "11")
    assert other.totals.tolist() == [3]


def test_lengths_and_limits(tmp_path: Path, evals: Path) -> None:
    (evals / "a.jsonl").write_bytes(
        jsonl(*({"question": f"{text(100 * n, 9)} same old words here"} for n in range(1, 14)))
    )
    assert made(tmp_path, "--ngram", "4").sets[0].left_out == 1  # "same old words here"
    assert made(tmp_path, "--ngram", "4", "--max-examples", "13").sets[0].left_out == 0
    assert made(tmp_path, "--ngram", "4", "--max-examples", "0").sets[0].left_out == 0
    common = ngram_hashes(word_hashes(text(100, 9)), 4)
    np.save(tmp_path / "common.npy", common[::-1])
    found = made(tmp_path, "--ngram", "4", "--max-examples", "0", "--common", str(tmp_path / "common.npy"))
    assert found.sets[0].left_out == 6
    assert found.totals.tolist() == [4, *[10] * 12]
    assert read_manifest(tmp_path / "models" / "evals-all")["parameters"]["common"] == 6


def test_equal_rows_give_equal_bytes(tmp_path: Path, evals: Path) -> None:
    rows = [{"question": text(n), "answer": text(n + 7)} for n in range(0, 90, 10)]
    folder = tmp_path / "models" / "evals-all"
    (evals / "a.jsonl").write_bytes(jsonl(*rows))
    made(tmp_path)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    (evals / "a.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist(rows), evals / "a.parquet")
    made(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, [], "holds no .jsonl, .parquet or .txt"),
        ({"a.md": b"x"}, [], "holds no .jsonl, .parquet or .txt"),
        ({"a.txt": text(0).encode(), "A.jsonl": b"{}\n"}, [], "would both be the set a"),
        ({"日.txt": b"x"}, [], "a letter or a digit"),
        ({"a.jsonl": b'{"question": "x"}\n{"question"\n'}, [], "line 2 is not a JSON object"),
        ({"a.jsonl": b"[1]\n"}, [], "line 1 is not a JSON object"),
        ({"a.jsonl": b'{"prose": "x", "id": 1}\n'}, [], "its fields are id, prose: name them with --fields"),
        ({"a.parquet": b"PAR1"}, [], "cannot read"),
        ({"a.txt.gz": gzip.compress(text(0).encode() * 99)[:-9]}, [], "cannot read"),
        ({"a.txt": text(0, 7).encode()}, [], "no example has 8 words"),
        ({"a.txt": text(0).encode()}, ["--ngram", "0"], "--ngram 1 to 1000"),
        ({"a.txt": text(0).encode()}, ["--max-examples", "-1"], "--max-examples"),
        ({"a.txt": text(0).encode()}, ["--common", "{}/evals/a.txt"], "cannot read"),
        ({"a.txt": text(0).encode()}, ["--name", "My Evals"], "--name is of a-z"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    evals: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, bytes],
    options: list[str],
    message: str,
) -> None:
    for name, content in files.items():
        (evals / name).write_bytes(content)
    options = [option.replace("{}", str(tmp_path)) for option in options]
    given = ["--evals", str(evals), "--out", str(tmp_path / "models"), *options]
    assert exit_on_user_error(lambda: main(given)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not (tmp_path / "models").exists()
