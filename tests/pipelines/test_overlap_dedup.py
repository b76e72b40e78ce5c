from __future__ import annotations

import json
import math
import os
import random
import shutil
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.dedup.overlap import PAIR, Overlap, candidates
from curation.dedup.verdict import CLAIM
from curation.document import Document
from curation.errors import LedgerError, UserError
from pipelines import hash_passes, run, storage
from pipelines.export import documents
from pipelines.overlap_dedup import Losers, Measure, judge, read_some
from pipelines.part_files import StageFiles, read_documents, write_array
from pipelines.plan import BoundStep

RECIPE = """
format = 1
name = "library"
[sources.books]
steps = [
  {{ extract = "gutenberg" }},
  {{ dedup = "overlap", {options} }},
]
"""
OPTIONS = "ngram = 2, bands = 40, rows = 2, most_candidates = 60"
STEP = Overlap(ngram=2, bands=40, rows=2, most_candidates=60)
DATA = Path(os.environ.get("WINNOW_EXTRA_DATA", "/nowhere")) / "books"


def text(number: int) -> str:
    """Books of six families: editions with some words changed, shorter ones, and stories that an anthology holds."""
    draw = random.Random(number)
    family = number % 6
    words = [f"family{family}word{at}" for at in range(200 + 40 * (number % 4))][number % 3 * 20 :]
    for at in draw.sample(range(len(words)), int(len(words) * draw.choice((0, 0.01, 0.03, 0.05, 0.2)))):
        words[at] = f"other{draw.randrange(10**6)}"
    return "" if number == 17 else " ".join(words)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in") / "library"
    folder.mkdir()
    for number in range(36):
        (folder / f"{number:02d}.txt").write_text(text(number) or " ")
    return folder


def go(library: Path, output: Path, *more: str, options: str = OPTIONS, until: str = "after-overlap") -> int:
    recipe = output.parent / f"{output.name}.toml"
    recipe.write_text(RECIPE.format(options=options))
    arguments = ["--recipe", str(recipe), "--input", f"books={library}", "--output", str(output), "--until", until]
    return run.main([*arguments, "--quiet", "--workers", "1", *more])


def kept(output: Path) -> list[str]:
    return [document.id for document in documents(str(output / "books" / "after-overlap"))]


def rows(output: Path, pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted((output / "books").glob(pattern)) for row in pq.read_table(path).to_pylist()]


def measured(output: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "ordinal"} for row in rows(output, "overlap/overlaps/*.parquet")]


def manifest(output: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "books" / stage / "manifest.json").read_text())
    return found


@pytest.fixture(scope="module")
def done(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "run"
    assert go(library, output, "--range-size", "12KiB") == 0
    assert len(list((output / "books" / "overlap" / "overlaps").iterdir())) > 3
    return output


def test_the_run_drops_what_all_pairs_say(done: Path) -> None:
    """Of all pairs that share a band, by sets of strings."""
    found = {f"books:library#{number:02d}.txt": text(number).split() for number in range(36) if text(number)}
    grams = {id: {tuple(words[at : at + 2]) for at in range(len(words) - 1)} for id, words in found.items()}
    bands = {
        id: set(STEP.hashes(Document(id=id, url="", date="", digest="", text=" ".join(words))).tolist())
        for id, words in found.items()
    }
    expected = {}
    for d in found:
        for e in found:
            if bands[d] & bands[e] and (-len(grams[e]), e) < (-len(grams[d]), d):
                common = len(grams[d] & grams[e])
                expected[d, e] = (len(grams[d]), len(grams[e]), common, common >= 0.9 * len(grams[d]))
    losers = {d for (d, _), values in expected.items() if values[3]}
    assert 5 < len(losers) < 30
    assert kept(done) == [id for id in found if id not in losers]
    pairs = measured(done)
    assert {
        (row["id"], row["other"]): (row["size"], row["other_size"], row["shared"], row["goes"]) for row in pairs
    } == expected
    for row in pairs:
        assert row["overlap"] == row["shared"] / row["size"]
        assert row["jaccard"] == row["shared"] / (row["size"] + row["other_size"] - row["shared"])
    dropped = {row["id"]: row for row in rows(done, "after-overlap/dropped/*.parquet")}
    assert set(dropped) == losers
    for id, row in dropped.items():
        most = max(pair["overlap"] for pair in pairs if pair["id"] == id)
        assert (row["step"], row["rule"], row["measured"], row["limit"]) == ("overlap", "overlap", str(most), "0.9")


def claims_of(part: int, rng: np.random.Generator, count: int, hashes: int = 40) -> bytes:
    rows = np.zeros(count, dtype=CLAIM)
    rows["hash"], rows["first"] = np.sort(rng.integers(0, hashes, count)), rng.integers(0, 5, count)
    rows["weight"] = rng.integers(1, 6, count)
    return np.int32(part).tobytes() + rows.tobytes()


@pytest.mark.parametrize("most", [1, 3, 100])
def test_what_a_bucket_tells_each_part(most: int) -> None:
    """Against the pairs of `candidates`, as sets; a part of which the bucket has nothing hears that, too."""
    rng = np.random.default_rng(most)
    sent = [claims_of(part, rng, count) for part, count in ((7, 30), (2, 0), (5, 60), (9, 1))]
    payloads = sorted(sent, key=lambda payload: payload[:4])
    rows = np.concatenate([np.frombuffer(payload, CLAIM, offset=4) for payload in payloads])
    parts = np.concatenate([np.full((len(p) - 4) // CLAIM.itemsize, p[0]) for p in payloads]).astype(np.int64)
    smaller, larger, cut = candidates(rows, parts, most)
    found = {}
    for part, payload in judge(("0", sent), most):
        pairs = np.frombuffer(payload, PAIR, offset=16).tolist()
        assert pairs == sorted(set(pairs))
        found[part] = (*np.frombuffer(payload, "<u8", count=2).tolist(), set(pairs))
    expected = {part: (int((parts == part).sum()), int(cut[parts == part].sum()), set()) for part in (2, 5, 7, 9)}
    for one, other in zip(smaller.tolist(), larger.tolist(), strict=True):
        expected[int(parts[one])][2].add((int(rows["first"][one]), int(parts[other]), int(rows["first"][other])))
    assert found == expected
    assert sum(len(pairs) for _, _, pairs in found.values()) > 20


def test_two_parts_with_the_same_pair_both_hear_of_it() -> None:
    def one(part: int, first: int, weight: int) -> bytes:
        return np.int32(part).tobytes() + np.array([(1, first, weight)], dtype=CLAIM).tobytes()

    assert CLAIM.names == ("hash", "first", "weight")
    told = judge(("0", [one(0, 3, 1), one(1, 3, 1), one(9, 0, 5)]), 1)
    assert {part: np.frombuffer(payload, PAIR, offset=16).tolist() for part, payload in told} == {
        0: [(3, 9, 0)],
        1: [(3, 9, 0)],
        9: [],
    }


def test_a_bucket_of_many_parts_is_sorted_once() -> None:
    """Its 600,000 pairs are not looked at again for each of 4,000 parts, which takes 40 times as long."""
    rng = np.random.default_rng(0)
    seconds = []
    for parts in (4, 4000):
        sent = [claims_of(part, rng, 80_000 // parts, 5000) for part in range(parts)]
        started = time.process_time()
        assert sum(1 for _ in judge(("0", sent), 8)) == parts
        seconds.append(time.process_time() - started)
    assert seconds[1] < 6 * seconds[0] + 0.3


def test_the_books_balance(done: Path) -> None:
    claims, pairs = manifest(done, "overlap")["balances"]
    assert (claims["in"], claims["kept"]) == (35 * 40, 35 * 40)
    goes = [row["goes"] for row in measured(done)]
    assert (pairs["in"], pairs["kept"], pairs["dropped"]) == (len(goes), goes.count(False), {"overlap": sum(goes)})
    notes = manifest(done, "overlap")["notes"]
    went = 35 - len(kept(done))
    assert (notes["documents"], notes["candidates_cut"]) == (went, 0)
    survivors, overlapping = manifest(done, "after-overlap")["balances"]
    assert survivors["dropped"] == {"overlap.overlap": went}
    assert (overlapping["in"], overlapping["dropped"]) == (went, {"overlap": went})


@pytest.mark.parametrize(
    "more",
    [("--range-size", "1GiB"), ("--memory", "4MiB", "--range-size", "30KiB")],
    ids=["one part", "passes"],
)
def test_how_it_runs_has_no_bearing(library: Path, done: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert go(library, tmp_path / "run", *more) == 0
    assert kept(tmp_path / "run") == kept(done)
    assert measured(tmp_path / "run") == measured(done)
    notes, (claims, _) = (manifest(tmp_path / "run", "overlap")[key] for key in ("notes", "balances"))
    memory = 4 << 20 if "--memory" in more else 4 << 30
    # A claim may be in so many pairs, which are shuffled too.
    shuffled = hash_passes.SHUFFLE_BYTES_PER_HASH * claims["in"] * (1 + STEP.most_candidates)
    assert notes["passes"] == math.ceil(shuffled / memory)
    assert notes["passes"] > 1 or "--memory" not in more


@pytest.mark.parametrize(
    "lost",
    ["overlap/ledger/part-0000001.0000.json", "overlap/ledger/part-0000002.json"],
)
def test_an_interrupted_run_ends_with_the_same_bytes(library: Path, done: Path, tmp_path: Path, lost: str) -> None:
    shutil.copytree(done, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "books" / "after-overlap")
    for path in (lost, "overlap/manifest.json"):
        (tmp_path / "run" / "books" / path).unlink()
    assert go(library, tmp_path / "run", "--range-size", "12KiB") == 0
    compared = Counter()
    for folder in ("overlap", "after-overlap"):
        for path in (done / "books" / folder).rglob("*.[pnj]*"):
            if path.suffix != ".json" or "seconds" not in path.read_text():
                assert path.read_bytes() == (tmp_path / "run" / path.relative_to(done)).read_bytes(), path
                compared[folder, path.suffix] += 1
    assert min(compared[kind] for kind in (("overlap", ".parquet"), ("overlap", ".npy"), ("after-overlap", ".parquet")))


def test_claims_that_are_lost_are_noticed(library: Path, done: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "run")
    (tmp_path / "run" / "books" / "overlap" / "manifest.json").unlink()
    row = tmp_path / "run" / "books" / "overlap" / "ledger" / "part-0000001.0000.json"
    row.write_text(json.dumps({**json.loads(row.read_text()), "received": 1}))
    with pytest.raises(LedgerError, match=r"part-0000001 sent .* claims and 1 were judged"):
        go(library, tmp_path / "run", "--range-size", "12KiB")


def test_what_is_cut_is_counted(library: Path, tmp_path: Path) -> None:
    assert go(library, tmp_path / "run", options=OPTIONS.replace("60", "1")) == 0
    notes = manifest(tmp_path / "run", "overlap")["notes"]
    assert notes["candidates_cut"] > 100
    assert notes["documents"] > 0


def test_an_earlier_run_is_refused(library: Path, done: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compares texts"):
        go(library, tmp_path / "run", "--against", str(done))
    assert not (tmp_path / "run" / "inputs.parquet").exists()  # nothing was begun


def files_of(done: Path) -> tuple[StageFiles, StageFiles]:
    return StageFiles(str(done / "books" / "documents")), StageFiles(str(done / "books" / "overlap"))


def test_blocks_have_no_bearing(done: Path, tmp_path: Path) -> None:
    upstream, files = files_of(done)
    shutil.copytree(files.root, tmp_path / "overlap")
    shutil.rmtree(tmp_path / "overlap" / "ledger")
    copy = StageFiles(str(tmp_path / "overlap"))
    for number in range(3):
        expected = pq.read_table(files.file("overlaps", number, ".parquet"))
        Measure(copy, upstream, "key", STEP, block_bytes=1)(number)
        assert pq.read_table(copy.file("overlaps", number, ".parquet")).equals(expected)


def test_a_pair_without_its_document_is_noticed(done: Path, tmp_path: Path) -> None:
    upstream, _ = files_of(done)
    files = StageFiles(str(tmp_path / "overlap"))
    storage.write_json(str(tmp_path / "overlap" / "plan.json"), {"passes": 1})
    for pair in ((0, 0, 999), (999, 0, 0)):
        write_array(files.file("pairs", 0, ".0000.npy"), np.array([pair], dtype=PAIR))
        with pytest.raises(LedgerError, match="has no document 999"):
            Measure(files, upstream, "key", STEP)(0)


def test_documents_by_ordinal(done: Path) -> None:
    path = files_of(done)[0].kept(0)
    found = list(read_some(path, np.array([3, 1], dtype="<u4")))
    everything = list(islice(documents(str(done / "books" / "documents")), 4))
    assert [(ordinal, d.id, d.text) for ordinal, d in found] == [
        (n, everything[n].id, everything[n].text) for n in (1, 3)
    ]


def test_ordinals_count_through_row_groups(tmp_path: Path) -> None:
    table = pa.table({"id": [f"books:b#{n}" for n in range(9)], "text": [f"text {n}" for n in range(9)]})
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=2)
    found = read_some(str(tmp_path / "part.parquet"), np.array([1, 4, 8], dtype="<u4"))
    assert [(ordinal, d.text) for ordinal, d in found] == [(1, "text 1"), (4, "text 4"), (8, "text 8")]


def test_a_verdict_on_another_document_is_noticed(done: Path) -> None:
    upstream, files = files_of(done)
    number = next(n for n in range(9) if json.loads(Path(files.ledger(n)).read_text())["goes"])
    losers = Losers(BoundStep("dedup", "overlap", STEP), files, number)
    others = [replace(document, id="books:library#x") for document in read_documents(upstream.kept(number))]
    with pytest.raises(LedgerError, match="is applied to books:library#x"):
        list(losers.apply(others, None))  # type: ignore[arg-type]


@pytest.mark.skipif(not DATA.is_dir(), reason="WINNOW_EXTRA_DATA names no folder with books in it")
def test_of_two_editions_one_goes(tmp_path: Path) -> None:
    assert go(DATA, tmp_path / "run", options="ngram = 5") == 0
    assert kept(tmp_path / "run") == ["books:books#3261.txt", "books:books#972.txt"]
    (pair,) = measured(tmp_path / "run")
    assert (pair["id"], pair["other"]) == ("books:books#nwsnw10.txt", "books:books#3261.txt")
    assert 0.98 < pair["overlap"] < 1
