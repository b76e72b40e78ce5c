"""The sample crawl through the bundled recipe, checked to the record against what was planted in it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.records import read_range
from curation.shard_check import verify
from curation.token_shard import Dataset
from pipelines import run


@pytest.fixture(scope="module")
def ledger(made) -> dict[str, dict[str, dict]]:
    """The books of the finished run: stage, then unit."""
    from tests.whole_way.conftest import arguments

    assert run.main([*arguments(made), "--workers", "2"]) == 0
    stages = json.loads((made.run / "ledger.json").read_text())
    return {stage["name"]: {balance["unit"]: balance for balance in stage["balances"]} for stage in stages}


def test_every_planted_record_is_in_the_books(made, ledger):
    planted = made.crawl
    records = ledger["commoncrawl/documents"]["records"]
    empty = planted["damages"]["empty_files"]
    assert records["in"] == planted["records"]["total"] + empty
    assert records["failed"]["read.empty_file"] == empty
    damaged = len(planted["damages"]["records"])
    for kind in ("warcinfo", "request", "metadata", "revisit"):
        assert records["skipped"][kind] == planted["records"][kind]
    responses = records["kept"] + sum(records["dropped"].values()) + sum(records["failed"].values())
    assert responses == planted["records"]["response"] + empty
    assert sum(n for reason, n in records["failed"].items() if reason.startswith("read.")) == damaged + empty
    assert records["failed"]["winnow.binary_body"] == planted["exchanges"]["binary_as_html"]
    unwanted = sum(planted["exchanges"][kind] for kind in ("redirect", "not_found", "server_error"))
    assert records["dropped"]["winnow.http_status"] == unwanted
    other = sum(planted["exchanges"][kind] for kind in ("css", "javascript", "json", "pdf", "png"))
    assert records["dropped"]["winnow.content_type"] == other
    size = sum(file["bytes"] for file in planted["files"].values())
    assert ledger["commoncrawl/documents"]["bytes"]["in"] == size


def test_the_funnel_hands_on_what_it_keeps(ledger):
    assert ledger["commoncrawl/after-lines"]["documents"]["in"] == ledger["commoncrawl/documents"]["records"]["kept"]
    assert ledger["commoncrawl/after-near"]["documents"]["in"] == ledger["commoncrawl/after-lines"]["documents"]["kept"]
    assert ledger["commoncrawl/tokens"]["documents"]["in"] == ledger["commoncrawl/after-near"]["documents"]["kept"]
    assert ledger["commoncrawl/after-lines"]["documents"]["dropped"]["lines.all_lines_repeat"] > 0
    assert ledger["wikipedia/tokens"]["documents"]["kept"] > 90


def test_what_was_dropped_and_what_failed_can_be_looked_up(made, ledger):
    stage = made.run / "commoncrawl" / "documents"
    dropped = pq.read_table(stage / "dropped").to_pylist()
    booked = ledger["commoncrawl/documents"]["records"]["dropped"]
    assert Counter(f"{row['step']}.{row['rule']}" for row in dropped) == booked
    assert all(row["measured"] and row["limit"] for row in dropped)
    failed = pq.read_table(stage / "failed").to_pylist()
    assert {row["reason"] for row in failed} >= {"binary_body", "truncated", "damaged_gzip"}
    assert all("#" in row["id"] for row in failed)


def test_the_dataset_is_whole_and_nothing_held_out_is_trained_on(made, ledger):
    dataset = verify(made.run / "shards")
    trained = [row for shard in dataset.shards() for row in shard.provenance().to_pylist()]
    held = [row["id"] for shard in dataset.heldout() for row in shard.provenance().to_pylist()]
    assert held
    assert not set(held) & {row["id"] for row in trained}
    copies = Counter(row["id"] for row in trained)
    by_source = {name: {n for id, n in copies.items() if id.startswith(name)} for name in dataset.sources}
    assert by_source == {"commoncrawl": {2}, "wikipedia": {1, 2}}  # 2 epochs, and one and a half


def test_realised_epochs_are_those_asked_for_to_within_a_document(made, ledger):
    dataset = Dataset.open(made.run / "shards")
    longest = max(int(shard.lengths.max()) for shard in dataset.shards())
    for source in dataset.manifest["sources"]:
        assert abs(source["epochs_asked"] * source["tokens"] - source["mixed_tokens"]) <= longest


def test_provenance_leads_back_to_the_record(made, ledger):
    dataset = Dataset.open(made.run / "shards")
    rows = [row for row in dataset.shards()[0].provenance().to_pylist() if row["id"].startswith("commoncrawl")]
    for row in rows[:20]:
        path = Path(made.folder, row["file"])
        with path.open("rb") as stream:
            start = int(row["locator"])
            record = next(read_range(stream, path.stat().st_size, start, start + 1, "commoncrawl", row["file"]))
        assert (record.value.url, record.value.id) == (row["url"], row["id"])


def test_running_again_changes_nothing(made, ledger, capsys):
    from tests.whole_way.conftest import arguments

    before = {path: path.stat().st_mtime_ns for path in (made.run / "commoncrawl").rglob("*") if path.is_file()}
    assert run.main(arguments(made)) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (made.run / "commoncrawl").rglob("*") if path.is_file()}
    assert "commoncrawl" in capsys.readouterr().out
