from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import InputError, LedgerError, UserError
from pipelines import overlap_report
from pipelines.overlap_report import SendUnits, main
from tests.pipelines.finished import write_run


def spelled(number: int) -> str:
    """In letters: to the key of a line all digits are the same."""
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))


def line(number: int) -> str:
    return f"Line {spelled(number)} of {spelled(number * number)}, long enough to count {'on ' * (number % 5)}."


def words(first: int, count: int) -> str:
    return " ".join(f"w{spelled(number)}" for number in range(first, first + count))


@pytest.fixture(scope="module")
def texts() -> dict[str, list[list[str]]]:
    """Lines that sources share, some more than once and in another case; whole copies; n-grams across line breaks."""
    rng = np.random.default_rng(7)
    ranges = {"books": range(60), "crawl": range(30, 200), "wiki": range(150, 260)}
    found = {}
    for source, numbers in ranges.items():
        parts = []
        for _ in range(3):
            documents = []
            for _ in range(8):
                chosen = rng.choice(np.array(numbers), rng.integers(1, 9)).tolist()
                lines = [line(n).upper() if rng.random() < 0.2 else line(n) for n in chosen]
                first = int(rng.integers(0, 200))
                documents.append("\n".join([*lines, "Menu", words(first, 20).replace(" ", "\n", 1)]))
            documents += [documents[0], documents[1].replace(" ", "  ").upper()]
            parts.append(documents)
        found[source] = parts
    found["wiki"][0].append(found["crawl"][2][3])
    return found


@pytest.fixture(scope="module")
def finished(texts: dict[str, list[list[str]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("finished") / "run", texts)


def units_of(text: str, kind: str) -> list[tuple[Any, int]]:
    """What is compared, as strings, with what it weighs."""
    lower = text.lower()
    if kind == "documents":
        return [(" ".join(lower.split()), 1)]
    if kind == "lines":
        lines = [one.strip() for one in text.split("\n") if len(one.strip()) >= 40]
        return [(one.lower(), len(one.encode())) for one in lines]
    found = "".join(c if c.isalnum() else " " for c in lower).split()
    return [(tuple(found[i : i + 13]), 1) for i in range(len(found) - 12)]


def oracle(texts: dict[str, list[list[str]]], kind: str) -> dict[tuple[str, str], float]:
    counts: dict[str, Counter[Any]] = {}
    weights: dict[str, Counter[Any]] = {}
    for source, parts in texts.items():
        counts[source], weights[source] = Counter(), Counter()
        for text in (text for part in parts for text in part):
            for unit, weight in units_of(text, kind):
                counts[source][unit] += 1
                weights[source][unit] += weight
    result = {}
    for a in texts:
        whole = sum(weights[a].values())
        for b in texts:
            if a == b:
                shared = sum(weight * (1 - 1 / counts[a][unit]) for unit, weight in weights[a].items())
            else:
                shared = sum(weight for unit, weight in weights[a].items() if unit in counts[b])
            result[a, b] = shared / whole
    return result


def report(run: Path, tmp_path: Path, *options: str) -> dict[str, Any]:
    assert main([str(run), "--json", str(tmp_path / "report.json"), "--quiet", "--workers", "1", *options]) == 0
    found: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    return found


def matrix(found: dict[str, Any], kind: str) -> dict[tuple[str, str], float]:
    return {(row["source"], row["other"]): row["share"] for row in found[kind]["shares"]}


@pytest.fixture(scope="module")
def exact(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("exact")
    shutil.copytree(finished, folder / "run")
    return report(folder / "run", folder, "--sample", "1")


@pytest.mark.parametrize("kind", ["documents", "lines", "ngrams"])
def test_as_sets_of_strings_say(texts: dict[str, list[list[str]]], exact: dict[str, Any], kind: str) -> None:
    expected = oracle(texts, kind)
    assert matrix(exact, kind) == pytest.approx(expected, abs=1e-12)
    assert len({share for share in expected.values() if 0 < share < 1}) > 3
    assert all(row["low"] == row["share"] == row["high"] for row in exact[kind]["shares"])
    for source, parts in texts.items():
        mine = [unit for part in parts for text in part for unit in units_of(text, kind)]
        total = {"occurrences": len(mine), "weight": sum(weight for _, weight in mine)}
        assert exact[kind]["totals"][source] == total


def test_a_sample_is_near_and_says_how_near(finished: Path, exact: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    sampled = report(run, tmp_path, "--sample", "0.26")
    assert sampled["ngrams"]["one_in"] == 4
    assert sampled["ngrams"]["totals"] == exact["ngrams"]["totals"]
    inside = 0
    for kind in ("lines", "ngrams"):
        for row, whole in zip(sampled[kind]["shares"], exact[kind]["shares"], strict=True):
            assert row["low"] <= row["share"] <= row["high"]
            inside += row["low"] - 1e-9 <= whole["share"] <= row["high"] + 1e-9
    assert inside >= 15  # of 18


def test_the_same_command_goes_on_where_it_stopped(
    finished: Path, exact: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several passes over the hash space, which make no difference."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    options = ("--sample", "1", "--memory", "128KiB")
    build = overlap_report.build
    with monkeypatch.context() as patch:

        def dies(pipeline: Any, output: str, key: str, sources: Any, turn: int, *rest: int) -> None:
            if turn == 1:
                raise RuntimeError("killed")
            build(pipeline, output, key, sources, turn, *rest)

        patch.setattr(overlap_report, "build", dies)
        with pytest.raises(RuntimeError, match="killed"):
            report(run, tmp_path, *options)
    done = {path.name: path.stat().st_mtime_ns for path in (run / "reports/overlap/ledger").iterdir()}
    assert sorted(done) == ["pass-0000.json"]
    first = report(run, tmp_path, *options)
    for kind in ("documents", "lines", "ngrams"):
        assert matrix(first, kind) == matrix(exact, kind)
    assert {name: (run / "reports/overlap/ledger" / name).stat().st_mtime_ns for name in done} == done
    stamp = (run / "reports/overlap/manifest.json").stat().st_mtime_ns
    assert report(run, tmp_path, *options) == first  # from what is there
    assert (run / "reports/overlap/manifest.json").stat().st_mtime_ns == stamp
    patched = {"min_line": 60, "ngram": 13}
    other = report(run, tmp_path, "--sample", "1", "--min-line", "60")
    assert other["units"] == patched
    assert other["lines"]["totals"] != first["lines"]["totals"]


def test_cuts_and_compression_do_not_change_the_sample(
    texts: dict[str, list[list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap_report, "HASHES", 500)
    found = report(write_run(tmp_path / "a", texts), tmp_path)
    whole = {source: [[text for part in parts for text in part]] for source, parts in texts.items()}
    assert report(write_run(tmp_path / "b", whole), tmp_path) == found
    size = sum(len(text.encode()) for parts in texts.values() for part in parts for text in part)
    assert [found[kind]["one_in"] for kind in ("documents", "lines", "ngrams")] == [
        1 << max(0, math.ceil(math.log2(count / 500))) for count in (91, size / 80, size / 6)
    ]
    assert found["ngrams"]["one_in"] > 1


def test_a_hash_that_is_lost_is_noticed(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    send = SendUnits.__call__

    def forgetful(self: SendUnits, part: tuple[int, int]) -> Any:
        sent = list(send(self, part))
        largest = max(sent, key=lambda keyed: len(keyed[1]))
        return [one for one in sent if one is not largest] if part[0] == 2 else sent

    monkeypatch.setattr(SendUnits, "__call__", forgetful)
    with pytest.raises(LedgerError, match="sampled"):
        report(run, tmp_path, "--sample", "1")


def test_a_source_without_anything_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", {"a": [["short"], []], "b": [[words(0, 40)]]})
    found = report(run, tmp_path, "--sample", "1")
    assert matrix(found, "ngrams") == {("a", "a"): None, ("a", "b"): None, ("b", "a"): 0.0, ("b", "b"): 0.0}
    assert matrix(found, "documents")["a", "b"] == 0.0
    assert capsys.readouterr().out.splitlines()[-2].split() == ["a", "-", "-", "0"]


def test_mistakes(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a finished run"):
        main([str(tmp_path)])
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    manifest = run / "crawl/documents/manifest.json"
    for change in (lambda: manifest.write_text('{"key": "another"}'), manifest.unlink):
        change()
        with pytest.raises(InputError, match="crawl/documents is being made anew"):
            main([str(run)])
    for option in ("--ngram", "--min-line"):
        with pytest.raises(UserError, match="at least 1"):
            main([str(finished), option, "0"])
    for sample in ("1.5", "-0.5"):
        with pytest.raises(UserError, match="--sample is a share"):
            main([str(finished), "--sample", sample])


FLAGS = [
    "--runner=DataflowRunner", "--dry_run=True", "--project=winnow-test", "--region=us-central1", "--no_auth",
    "--temp_location=gs://winnow-test/tmp", "--sdk_container_image=winnow-test/worker:1", "--sdk_location=container",
]  # fmt: skip


def test_a_dry_run_submits_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(finished), *FLAGS]) == 0
    assert "accepted:\n  reports/overlap-sketch\n  reports/overlap\n" in capsys.readouterr().out
    assert not (finished / "reports").exists()
