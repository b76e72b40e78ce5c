from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.extraction import HALVES, Gold, Row, half_of, host_of, load_gold, main, measure, score, table
from curation.document import Document, Drop, Page
from curation.errors import DataError, InputError

ROW = Row("x", "http://a.org/", "dev", found=3, must=4, unwanted=1, must_not=5, characters=9, ms=2.0)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org/a?b=http", "example.org"),
        ("http://sub.example.org:8080/", "sub.example.org"),
        ("https://web.archive.org/web/2018/https://www.example.org/a", "example.org"),
        ("hard::dw.com.colonial.html", "dw.com.colonial.html"),
    ],
)
def test_host(url: str, host: str) -> None:
    assert host_of(url) == host


def test_halves_are_fixed_by_the_host_alone() -> None:
    """These four must never move: what was developed on one half would be reported on the other."""
    assert [half_of(f"http://{name}.org/") for name in "aceg"] == ["report", "report", "dev", "dev"]
    assert half_of("https://www.e.org/x") == half_of("http://e.org/y?z") == "dev"
    share = sum(half_of(f"http://{n}.org/") == "dev" for n in range(2000)) / 2000
    assert 0.45 < share < 0.55
    assert {half_of(f"http://{n}.org/") for n in range(20)} == set(HALVES)


def test_score_by_hand() -> None:
    found = score([ROW, replace(ROW, found=1, must=2, unwanted=1, characters=0, ms=4.0)])
    assert (found.pages, found.empty, found.ms) == (2, 1, 3.0)
    assert found.precision == pytest.approx(4 / 6)
    assert found.recall == pytest.approx(4 / 6)
    assert found.f1 == pytest.approx(4 / 6)
    assert score([replace(ROW, found=1)]).f1 == pytest.approx(2 * 0.5 * 0.25 / 0.75)


def test_score_of_nothing_found() -> None:
    nothing = score([replace(ROW, found=0, unwanted=0)])
    assert (nothing.precision, nothing.recall, nothing.f1) == (1.0, 0.0, 0.0)
    assert score([replace(ROW, found=0, must=0, unwanted=0)]).f1 == 1.0
    assert score([replace(ROW, ms=float(n)) for n in range(200)]).p99_ms == 197.0


def page(url: str, body: str) -> Page:
    return Page(id="s:f#0", url=url, date="", digest="", status=200, content_type="x", charset="", body=body.encode())


def test_strings_are_sought_with_white_space_collapsed_and_failures_are_empty_texts() -> None:
    def extract(page: Page) -> Document | Drop:
        if page.body == b"bad":
            raise DataError("binary_body")
        if page.body == b"none":
            return Drop("no_text", 0, 1)
        return Document(id="", url="", date="", digest="", text=page.body.decode())

    gold = Gold(("a b", "e\u0301"), ("c d",))
    pages = [page("u1", "x a\n b y"), page("u2", "bad"), page("u3", "none"), page("u4", "c\nd \u00e9")]
    rows = list(measure("x", extract, pages, {f"u{n}": gold for n in range(1, 5)}, 1))
    assert [(row.found, row.must, row.unwanted, row.must_not) for row in rows] == [
        (1, 2, 0, 1),
        (0, 2, 0, 1),
        (0, 2, 0, 1),
        (0, 2, 1, 1),
    ]
    assert [row.characters for row in rows] == [8, 0, 0, 5]


def test_gold_is_collapsed_and_in_nfc(tmp_path: Path) -> None:
    path = tmp_path / "gold.json"
    path.write_text(json.dumps({"http://a.org/ ": {"with": ["a\n b ", "e\u0301"], "without": []}}))
    assert load_gold(path) == {"http://a.org/": Gold(("a b", "\u00e9"), ())}


@pytest.mark.parametrize("content", ["[]", "{", '{"u": {"with": []}}', '{"u": 1}'])
def test_gold_of_another_form_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gold.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is not JSON of the form"):
        load_gold(path)
    with pytest.raises(InputError, match="No such file"):
        load_gold(tmp_path / "absent.json")


def test_from_archive_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = [f"The river rose in the night, and by morning house {n} was under water." for n in range(9)]
    html = f"<html><body><article>{''.join(f'<p>{s}</p>' for s in sentences)}</article></body></html>"
    gold, members = {}, []
    for name in "ae":
        url = f"http://{name}.org/"
        block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}".encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        members.append(gzip.compress(head.encode() + block + b"\r\n\r\n"))
        gold[url] = {"with": sentences[:2], "without": ["nowhere"]}
    (tmp_path / "x.warc.gz").write_bytes(b"".join(members))
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    asked = ["--gold", str(tmp_path / "gold.json"), "--warc", str(tmp_path / "*.warc.gz"), "--repeats", "1"]
    rows = tmp_path / "rows.jsonl"
    assert main([*asked, "--extractors", "trafilatura fast", "--rows", str(rows)]) == 0
    out = capsys.readouterr().out
    assert out.count("| trafilatura fast | 1 | 1.000 | 1.000 | 1.000 | 0 |") == 2
    assert out.count("| trafilatura fast | 2 | 1.000 | 1.000 | 1.000 | 0 |") == 1
    assert [json.loads(line)["half"] for line in rows.read_text().splitlines()] == ["report", "dev"]
    with pytest.raises(InputError, match="no extractor fast"):
        main([*asked, "--extractors", "fast"])
    with pytest.raises(InputError, match="there is no such file"):
        main(["--gold", str(tmp_path / "gold.json"), "--warc", str(tmp_path / "absent")])


def test_table_splits_by_half() -> None:
    rows = [ROW, replace(ROW, half="report", found=4)]
    assert "| x | 1 | 0.750 | 0.750 | 0.750 |" in table(rows, "dev")
    assert "| x | 1 | 0.889 | 0.800 | 1.000 |" in table(rows, "report")
    assert "| x | 2 |" in table(rows, "all")
