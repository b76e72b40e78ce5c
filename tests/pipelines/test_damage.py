"""A small part of `benchmarks/damage.py`: seeded damage ends with balanced books, and no page is altered."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import damage
from curation.records import read_range
from pipelines import inputs, sample_faults
from pipelines.sample_warc import file_head, members
from tests.curation.test_records import BODIES, write_arc, write_warc

ROOT = Path(__file__).parents[2]


def crawl() -> bytes:
    """A file of the sample's kind: requests, responses in all encodings, revisits, images, redirects."""
    exchanges = sample_faults.extras()
    parts = [file_head("damage.warc.gz", 0)]
    for place, exchange in enumerate(exchanges, 1):
        parts += members(exchange, 0, place)
    return b"".join(parts)


FILES = {
    "crawl.warc.gz": crawl(),
    "pages.warc.gz": write_warc(BODIES),
    "pages.warc": write_warc(BODIES, gz=False),
    "pages.arc.gz": write_arc(BODIES),
    "pages.warc.zst": damage.packed(crawl(), "zstd"),
}


@pytest.mark.parametrize("kind", damage.KINDS)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_balance_and_give_what_was_spared(name: str, kind: str) -> None:
    tally = damage.damage(Path(name), FILES[name], kind, variants=12, seed=1, longest=60, warcio=False)
    assert tally.variants == 12
    # Nothing vouches for the headers of a plain file, so a bit of a URL may change.
    assert tally.altered <= (0 if name.endswith((".gz", ".zst")) else 1)
    assert tally.bytes.incoming == tally.size
    assert tally.records.failed.total() > 0
    # In plain files damage can hide where the next record begins; noise put between two costs the next at most.
    assert tally.spared - tally.spared_read <= (0 if ".gz" in name or ".zst" in name else tally.variants)


def test_the_same_seed_is_the_same_damage() -> None:
    data = FILES["pages.warc.gz"]
    for make in damage.KINDS.values():
        assert make(data, random.Random("x")) == make(data, random.Random("x"))
        assert damage.apply(data, make(data, random.Random("x"))) != data


def test_spared_are_pages_of_which_no_byte_was_touched() -> None:
    one, two = ("http://a/", b"1"), ("http://b/", b"2")
    spans = [(0, 10, one), (10, 20, two)]
    for edits, spared in (
        ([(9, 10, b"x")], [two]),
        ([(10, 10, b"new")], [one, two]),  # put in between the two
        ([(10, 11, b"")], [one]),
        ([(15, 15, b"new")], [one]),
        ([(5, 15, b"")], []),
        ([(20, 20, b"x")], [one, two]),
    ):
        assert damage.untouched(spans, edits) == Counter(spared)


def test_a_reader_that_skips_bytes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.read.read_range", lambda *args: iter(list(read_range(*args))[1:]))
    with pytest.raises(damage.LedgerError):
        damage.damage(Path("pages.warc.gz"), FILES["pages.warc.gz"], "flipped", 2, 0, longest=60, warcio=False)


@pytest.mark.parametrize(("inside", "status"), [("raise OSError", 0), ("pass", 0), ("time.sleep(60)", 1)])
def test_only_what_hangs_inside_ends_the_process(inside: str, status: int) -> None:
    code = f"""
import contextlib, time
from benchmarks.damage import ended_after
with contextlib.suppress(OSError), ended_after(1):
    {inside}
time.sleep(1.5)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=50)
    assert done.returncode == status, done.stderr
    assert (b"Timeout" in done.stderr) is bool(status)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(FILES["crawl.warc.gz"])
    assert damage.main([str(path), "--variants", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "6 damaged files read, all books balanced" in printed.out
    assert len(printed.out.splitlines()) == 1 + 3 + 3 + 2


def test_only_whole_records_are_taken_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(FILES["crawl.warc.gz"])
    head = damage.beginning(path, 20_000)
    assert 20_000 <= len(head) < len(FILES["crawl.warc.gz"])
    records = list(read_range(io.BytesIO(head), len(head), 0, len(head), "s", "f"))
    assert records[-1].end == len(head)
    assert len(inputs.cut([inputs.InputFile("s", str(path), "f", len(head), "")], 5_000)) == -(-len(head) // 5_000)
