from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.document import Document
from curation.errors import CommandLine
from curation.heldout import is_heldout
from curation.ledger import Balance
from curation.tombstones import Tombstones
from models.train_tokenizer import train_tokenizer
from pipelines import heldout, inputs, runner, storage, tokens
from pipelines.finished_run import endings
from pipelines.inputs import InputFile
from pipelines.part_files import PartWriter, StageFiles, read_texts
from pipelines.plan import Stage
from pipelines.stages import Result, Run, part_name

FRACTION = 0.3
WORDS = [f"word{i}" for i in range(400)]
SOURCES = ("books", "web")
KEY = "kept"


def texts() -> dict[str, list[str]]:
    """40 books, and 60 pages of the web: 40 of their own, 20 that are books with one word changed."""
    draw = random.Random(0)
    books = [" ".join(draw.choices(WORDS, k=150)) for _ in range(40)]
    copies = [f"{book.partition(' ')[2]} end" for book in books[:20]]
    return {"books": books, "web": [" ".join(draw.choices(WORDS, k=150)) for _ in range(40)] + copies}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(texts()["books"], path, 275)
    return str(path)


def prepare(output: str, cuts: int, given: dict[str, list[str]]) -> dict[str, list[inputs.Part]]:
    """The kept parts of both sources, each in so many parts."""
    files = [InputFile(source, f"/{source}{n}", f"{source}{n:03d}", 1, "") for source in SOURCES for n in range(cuts)]
    parts = inputs.freeze(output, files, 1)
    by_source = {source: [part for part in parts if part.source == source] for source in SOURCES}
    for source, of_source in by_source.items():
        stage = StageFiles(storage.join(output, source, "last"))
        bounds = np.linspace(0, len(given[source]), cuts + 1).astype(int).tolist()
        for part, start, end in zip(of_source, bounds[:-1], bounds[1:], strict=True):
            with PartWriter(stage, part.number) as writer:
                for i in range(start, end):
                    id = f"{source}:file#{i}"
                    writer.keep(Document(id=id, url="", date="", digest="", text=given[source][i]))
                balance = Balance("documents", incoming=end - start, kept=end - start)
                row = {"key": KEY, "part": part_name(part.number), "balances": [balance.to_json()]}
                writer.commit(row, None)
    return by_source


def go(
    output: Path, tokenizer: str, cuts: int = 1, memory: int = 1 << 30, near: bool = True, given: dict | None = None
) -> tuple[dict[str, Result], heldout.Collected | None]:
    given = given or texts()
    parts = prepare(str(output), cuts, given)
    execute = runner.executor(runner.beam_flags([], 1, CommandLine()))
    run = Run(str(output), "", execute, memory, progress=False)
    # A stage's key says what it has read, so another text is another key.
    digests = {source: hashlib.sha256(repr(given[source]).encode()).hexdigest() for source in SOURCES}
    last = {source: Stage(source, "last", "survivors", key=f"{KEY} {source} {digests[source]}") for source in SOURCES}
    counts = {source: len(given[source]) for source in SOURCES}
    collected = heldout.collect(run, FRACTION, last, parts, counts)[0] if near else None
    results = {
        source: tokens.run_stage(run, source, parts[source], last[source], tokenizer, FRACTION, True, collected)
        for source in SOURCES
    }
    return results, collected


def slices(output: Path) -> int:
    return int(json.loads((output / "heldout/manifest.json").read_text())["notes"]["slices"])


def ids(output: Path, source: str, side: str) -> set[str]:
    files = (output / source / "tokens" / side).glob("*.prov.parquet")
    return {id for file in files for id in pq.read_table(file, partitioning=None)["id"].to_pylist()}


def expected() -> set[str]:
    """Pages for training whose book is held out: nothing else is near anything."""
    books, web = texts()["books"], texts()["web"]
    return {
        f"web:file#{40 + i}"
        for i in range(20)
        if is_heldout(books[i], FRACTION) and not is_heldout(web[40 + i], FRACTION)
    }


def test_what_is_near_a_held_out_document_of_another_source_is_dropped_and_counted(
    tmp_path: Path, tokenizer: str
) -> None:
    with_near, _ = go(tmp_path / "near", tokenizer)
    without, _ = go(tmp_path / "all", tokenizer, near=False)
    pages = ids(tmp_path / "all", "web", "train") - ids(tmp_path / "near", "web", "train")
    assert pages == expected()
    assert len(pages) > 3
    assert ids(tmp_path / "near", "web", "heldout") == ids(tmp_path / "all", "web", "heldout")
    balance = with_near["web"].balances["documents"]
    assert (balance.incoming, balance.kept) == (60, 60 - len(pages))
    assert dict(balance.dropped) == {"near_heldout.books": len(pages)}
    books = with_near["books"].balances["documents"]  # and the other way round
    assert books.dropped["near_heldout.web"] == sum(
        is_heldout(page, FRACTION) and not is_heldout(book, FRACTION)
        for book, page in zip(texts()["books"][:20], texts()["web"][40:], strict=True)
    )
    assert without["web"].balances["documents"].kept == 60
    (one,) = {key for key, count in balance.dropped.items() if count}
    tables = [pq.read_table(file) for file in (tmp_path / "near/web/tokens/dropped").iterdir()]
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["id"] for row in rows} == pages
    assert {f"{row['step']}.{row['rule']}" for row in rows} == {one}
    assert all(0 < int(row["measured"]) <= 14 for row in rows)


@pytest.mark.parametrize(("cuts", "memory"), [(7, 1 << 30), (2, 20_000)])
def test_neither_cuts_nor_passes_change_what_is_held_out_or_dropped(
    tmp_path: Path, tokenizer: str, cuts: int, memory: int
) -> None:
    _, few = go(tmp_path / "a", tokenizer)
    _, more = go(tmp_path / "b", tokenizer, cuts, memory)
    assert few is not None
    assert more is not None
    assert (slices(tmp_path / "b") > slices(tmp_path / "a")) == (memory < 1 << 30)
    assert Path(few.path).read_bytes() == Path(more.path).read_bytes()
    assert Path(few.path).stat().st_size > 0
    for source in SOURCES:
        for side in ("train", "heldout"):
            assert ids(tmp_path / "a", source, side) == ids(tmp_path / "b", source, side)


def test_a_finished_stage_is_not_run_again_and_another_text_changes_the_key(tmp_path: Path, tokenizer: str) -> None:
    _, first = go(tmp_path / "run", tokenizer)
    assert first is not None
    files = sorted((tmp_path / "run/heldout").glob("*.bands"))
    assert len(files) == slices(tmp_path / "run") + 1
    times = [path.stat().st_mtime_ns for path in files]
    _, again = go(tmp_path / "run", tokenizer)
    assert again == first
    assert [path.stat().st_mtime_ns for path in files] == times
    bands = Path(first.path).read_bytes()
    given = texts()
    at = next(number for number, text in enumerate(given["books"]) if is_heldout(text, FRACTION))
    given["books"][at] = " ".join(reversed(given["books"][at].split()))
    _, other = go(tmp_path / "run", tokenizer, given=given)
    assert other is not None
    assert (other.path, other.sources) == (first.path, first.sources)
    assert other.key != first.key
    assert Path(other.path).read_bytes() != bands


def test_it_continues_where_it_stopped(tmp_path: Path, tokenizer: str) -> None:
    _, first = go(tmp_path / "run", tokenizer)
    before = {path: path.read_bytes() for path in (tmp_path / "run/heldout").glob("*.bands")}
    (tmp_path / "run/heldout/manifest.json").unlink()
    (tmp_path / "run/heldout/ledger/slice-00003.json").unlink()
    (tmp_path / "run/heldout/slice-00003.bands").write_bytes(b"half")
    assert go(tmp_path / "run", tokenizer)[1] == first
    assert {path: path.read_bytes() for path in (tmp_path / "run/heldout").glob("*.bands")} == before


def test_many_slices_are_one_open_file(tmp_path: Path, tokenizer: str) -> None:
    _, collected = go(tmp_path / "run", tokenizer, memory=20_000)
    assert collected is not None
    assert slices(tmp_path / "run") > 10
    heldout.load.cache_clear()
    before = os.listdir("/proc/self/fd") if Path("/proc/self/fd").exists() else None
    bands = heldout.load(collected)
    assert before is None or len(os.listdir("/proc/self/fd")) <= len(before) + 1
    assert bands.check(next(text for text in texts()["books"] if is_heldout(text, FRACTION))) is not None


def test_what_is_taken_down_holds_nothing_out_and_is_among_the_dropped(tmp_path: Path, tokenizer: str) -> None:
    """A held-out book, and one of the web's training pages; without `near` too there is a table of what was dropped."""
    number = next(i for i in range(20) if f"web:file#{40 + i}" in expected())
    page = next(i for i, text in enumerate(texts()["web"][:40]) if not is_heldout(text, FRACTION))
    gone = {f"books:file#{number}", f"web:file#{page}"}
    for near in (True, False):
        output = tmp_path / str(near)
        storage.write_bytes(str(output / "tombstones.jsonl"), Tombstones.of(ids=sorted(gone)).to_bytes())
        results, _ = go(output, tokenizer, near=near)
        assert f"web:file#{40 + number}" in ids(output, "web", "train")
        assert results["web"].balances["documents"].dropped["tombstones.taken_down"] == 1
        rows = [row for file in output.glob("*/tokens/dropped/*") for row in pq.read_table(file).to_pylist()]
        assert {row["id"] for row in rows if (row["step"], row["rule"]) == ("tombstones", "taken_down")} == gone
        assert {row["id"] for row in rows if row["id"].startswith("web") and row["step"] == "near_heldout"} == (
            expected() - {f"web:file#{40 + number}"} if near else set()
        )
    (row,) = json.loads((tmp_path / "True/books/heldout/manifest.json").read_text())["balances"]
    assert row["skipped"]["taken_down"] == 1


def test_the_books_are_given_back(tmp_path: Path, tokenizer: str) -> None:
    parts = prepare(str(tmp_path), 2, texts())
    execute = runner.executor(runner.beam_flags([], 1, CommandLine()))
    last = {source: Stage(source, "last", "survivors", key=KEY) for source in SOURCES}
    run = Run(str(tmp_path), "", execute, 1 << 30, progress=False)
    _, results = heldout.collect(run, FRACTION, last, parts, {"books": 40, "web": 60})
    assert [result.name for result in results] == ["books/heldout", "web/heldout", "heldout"]
    for result in results:
        path = tmp_path / result.name / "manifest.json"
        assert json.loads(path.read_text()) == result.to_json()


def test_the_books_of_a_run_have_it(small: Path) -> None:
    """And no report takes the stage, which keeps held-out documents alone, for what a source ended with."""
    rows = json.loads((small / "run/ledger.json").read_text())
    names = [row["name"] for row in rows if "heldout" in row["name"]]
    assert names == ["crawl/heldout", "other/heldout", "heldout"]
    found = endings(str(small / "run"))
    assert [one.stages[-1] for one in found] == ["after-lines", "documents"]
    for one in found:
        files = [one.files(str(small / "run")).kept(number) for number in one.parts]
        assert one.text == sum(len(text.encode()) for file in files for text in read_texts(file)) > 0


def test_no_document_held_out(tmp_path: Path, tokenizer: str) -> None:
    kept = {source: [text for text in of if not is_heldout(text, FRACTION)] for source, of in texts().items()}
    results, collected = go(tmp_path / "run", tokenizer, given=kept)
    assert collected is not None
    assert sum(path.stat().st_size for path in (tmp_path / "run/heldout").glob("*.bands")) == 0
    assert all(result.balances["documents"].kept == len(kept[source]) for source, result in results.items())
