from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.extraction_speed import REFERENCE, Time, is_text, main, measure, percentile, slowest, table, timed
from curation.document import Document, Drop, Page
from curation.errors import DataError, InputError
from tests.benchmarks.conftest import MakePage, WriteWarc


def test_percentile_is_the_least_value_that_so_many_do_not_exceed() -> None:
    values = [float(n) for n in range(1000, 0, -1)]
    assert [percentile(values, per_mille) for per_mille in (500, 990, 999, 1000)] == [500, 990, 999, 1000]
    assert [percentile([3.0, 1.0], per_mille) for per_mille in (1, 500, 501, 1000)] == [1, 1, 3, 3]
    assert percentile([5.0], 999) == 5.0


def test_time_is_the_processs_own_and_the_least(make_page: MakePage) -> None:
    calls = []

    def extract(page: Page) -> Document | Drop:
        calls.append(page)
        until = time.process_time() + (0.002 if len(calls) == 2 else 0.03)
        while time.process_time() < until:
            pass
        time.sleep(0.02)
        return Drop("no_text", 0, 1)

    ms, verdict = timed(extract, make_page("a"), 3)
    assert 2 <= ms < 20
    assert (len(calls), verdict) == (3, "no_text")


def test_verdicts(make_page: MakePage) -> None:
    def fails(page: Page) -> Document | Drop:
        raise DataError("binary_body")

    def keeps(page: Page) -> Document | Drop:
        return Document(id="", url="", date="", digest="", text="a")

    assert (timed(fails, make_page(), 1)[1], timed(keeps, make_page(), 1)[1]) == ("binary_body", "")
    assert (is_text(make_page("a")), is_text(make_page(" ")), is_text(make_page("\0\1\2" * 99))) == (True, False, False)


def test_every_extractor_sees_the_same_pages_and_some_only_a_few(make_page: MakePage) -> None:
    seen: dict[str, list[bytes]] = {"x": [], "y": []}

    def extractor(name: str) -> object:
        def extract(page: Page) -> Document | Drop:
            seen[name].append(page.body)
            return Drop("no_text", 0, 1)

        return extract

    pages = [make_page(f"<p>page {n}</p><p>and more</p>") for n in range(3)]
    both = {name: extractor(name) for name in ("x", "y")}
    found = measure(pages, both, {"y": 4}, 10, 0, 1)  # type: ignore[arg-type]
    warm = 3
    assert seen["y"][warm:] == seen["x"][warm::4]
    assert [t.number for t in found["x"]] == list(range(10))
    assert [t.number for t in found["y"]] == [0, 4, 8]
    assert [bool(t.changed) for t in found["x"]] == [False] * 3 + [True] * 7
    assert [t.bytes for t in found["x"]] == [len(body) for body in seen["x"][warm:]]


def test_table_by_hand() -> None:
    times = {
        "x": [Time(n, "", 1000, float(n + 1), "no_text" if n == 1 else "") for n in range(4)],
        REFERENCE: [Time(n, "", 1000, 10.0, "") for n in (0, 2)],
    }
    lines = table(times).splitlines()
    assert lines[2] == "| x | 4 | 2.50 | 2.0 | 4.0 | 4.0 | 4.0 | 0.4 | 1 : 5.0 | 1 no_text |"
    assert lines[3] == f"| {REFERENCE} | 2 | 10.00 | 10.0 | 10.0 | 10.0 | 10.0 | 0.1 | 1 : 1.0 |  |"
    assert slowest(times, 1).splitlines()[2:] == [
        "| x | 3 | 1000 | 4.0 | 4000 |  |  |",
        f"| {REFERENCE} | 0 | 1000 | 10.0 | 10000 |  |  |",
    ]


def test_from_archive_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], write_warc: WriteWarc) -> None:
    body = "".join(f"<p>The river rose in the night, and by morning house {n} was under water.</p>" for n in range(9))
    pages = {f"http://{name}.org/": f"<html><body>{name}{body}</body></html>" for name in "ae"}  # one of each half
    write_warc(tmp_path / "x.warc.gz", {**pages, "http://g.org/": "\0\1\2\3" * 99})
    asked = ["--warc", str(tmp_path / "*.gz"), "--extractors", REFERENCE, "--pages", "6", "--every", "3"]
    assert main([*asked, "--slowest", "1"]) == 0
    captured = capsys.readouterr()
    assert "\n1 real pages" in f"\n{captured.err}"
    assert f"| {REFERENCE} | 2 |" in captured.out
    assert captured.out.count(f"| {REFERENCE} |") == 2
    assert main([*asked, "--save", "0", "4", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "0.html").read_text() == pages["http://e.org/"]
    assert (tmp_path / "4.html").read_text() != pages["http://e.org/"]
    with pytest.raises(InputError, match="at least 1"):
        main([*asked, "--every", "0"])
