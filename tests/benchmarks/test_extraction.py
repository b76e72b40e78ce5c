from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from benchmarks.extraction import HALVES, NEVER_SLOW, choose, doubt_of, half_of, load_gold, main, measure
from benchmarks.extraction_scores import Gold, GoldText
from curation.document import Document, Drop, Page
from curation.errors import DataError, InputError
from curation.extractors.winnow import Winnow
from models.main_text_labels import is_development, site_of
from tests.benchmarks.conftest import MakePage, WriteWarc


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org/a?b=http", "example.org"),
        ("http://sub.example.org:8080/", "sub.example.org"),
        ("https://web.archive.org/web/2018/https://www.example.org/a", "example.org"),
        ("hard::dw.com.colonial.html", "dw.com.colonial.html"),
        ("hard::elheraldo.hn-JOH.html", "elheraldo.hn-joh.html"),
    ],
)
def test_host(url: str, host: str) -> None:
    assert site_of(url) == host


def test_halves_are_fixed_by_the_host_alone() -> None:
    """These four must never move: what was developed on one half would be reported on the other."""
    assert [half_of(f"http://{name}.org/") for name in "aceg"] == ["report", "report", "dev", "dev"]
    assert half_of("https://www.e.org/x") == half_of("http://e.org/y?z") == "dev"
    share = sum(half_of(f"http://{n}.org/") == "dev" for n in range(2000)) / 2000
    assert 0.45 < share < 0.55
    assert {half_of(f"http://{n}.org/") for n in range(20)} == set(HALVES)


def test_a_page_that_fails_or_is_dropped_has_the_empty_text(make_page: MakePage) -> None:
    def extract(page: Page) -> Document | Drop:
        if page.body == b"bad":
            raise DataError("binary_body")
        if page.body == b"none":
            return Drop("no_text", 0, 1)
        return Document(id="", url="", date="", digest="", text=page.body.decode())

    pages = [make_page(body, f"http://{n}.org/") for n, body in enumerate(["x a\n b y", "bad", "none", "c\nd"])]
    gold = {page.url: Gold(("a b",), ("c d",)) for page in pages}
    rows = measure({"x": extract, "y": extract}, pages, gold, 1)
    assert [row.extractor for row in rows] == ["x"] * 4 + ["y"] * 4
    assert [row.counts for row in rows[:4]] == [(1, 1, 1, 1), (0, 0, 0, 1), (0, 0, 0, 1), (0, 1, 0, 1)]
    assert [row.characters for row in rows[4:]] == [8, 0, 0, 3]
    assert [(row.host, row.half) for row in rows[:2]] == [("0.org", half_of("0.org")), ("1.org", half_of("1.org"))]
    assert all(0 <= row.ms < 1000 for row in rows)


def test_what_is_learned_from_is_what_is_not_reported() -> None:
    """By the first bit of SHA-256 of the host, written here again."""
    hosts = {f"https://www.{n}.example.org/a?u=http": f"{n}.example.org" for n in range(200)}
    hosts |= {f"hard::{n}.org-A.html": f"{n}.org-a.html" for n in range(200)}
    hosts |= {f"https://web.archive.org/web/2018/http://{n}.org:80/": f"{n}.org" for n in range(200)}
    halves = {url: HALVES[hashlib.sha256(host.encode()).digest()[0] >> 7] for url, host in hosts.items()}
    assert {url: half_of(url) for url in hosts} == halves
    assert {url: is_development(url) for url in hosts} == {url: half == "dev" for url, half in halves.items()}


def test_gold_is_collapsed_and_in_nfc(tmp_path: Path) -> None:
    path = tmp_path / "gold.json"
    path.write_text(json.dumps({"http://a.org/ ": {"with": ["a\n b ", "e\u0301"], "without": []}}))
    assert load_gold(path) == {"http://a.org/": Gold(("a b", "\u00e9"), ())}


def test_gold_may_be_whole_texts(tmp_path: Path) -> None:
    path = tmp_path / "gold.json"
    one = GoldText("\u00e9")
    for entry in (
        {"http://a.org/ ": "e\u0301"},
        {"http://a.org/": {"articleBody": "e\u0301"}},
        {"7": {"articleBody": "\u00e9", "url": "http://a.org/"}},
    ):
        path.write_text(json.dumps(entry))
        assert load_gold(path) == {"http://a.org/": one}


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"u": {"with": []}}', '{"u": 1}', '{"u": {"with": [], "without": []}, "v": "text"}']
)
def test_gold_of_another_form_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gold.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is not JSON of the form"):
        load_gold(path)
    with pytest.raises(InputError, match="No such file"):
        load_gold(tmp_path / "absent.json")


def test_from_archive_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], write_warc: WriteWarc) -> None:
    sentences = [f"The river rose in the night, and by morning house {n} was under water." for n in range(9)]
    html = f"<html><body><article>{''.join(f'<p>{s}</p>' for s in sentences)}</article></body></html>"
    urls = [f"http://{name}.org/" for name in "ae"]  # one of each half
    write_warc(tmp_path / "x.warc.gz", dict.fromkeys(urls, html))
    gold, texts, rows = (tmp_path / name for name in ("gold.json", "texts.json", "rows.jsonl"))
    gold.write_text(json.dumps({url: {"with": sentences[:2], "without": ["nowhere"]} for url in urls}))
    texts.write_text(json.dumps({url: " ".join(sentences) for url in urls}))
    asked = ["--warc", str(tmp_path / "*.warc.gz"), "--repeats", "1", "--extractors", "trafilatura fast"]
    line = "| trafilatura fast | {} | 1.000 | 1.000 to 1.000 |  | 1.000 | 1.000 | 0 |"
    for half, pages in (("dev", 1), ("report", 1), ("all", 2)):
        assert main([*asked, "--gold", str(gold), "--half", half, "--rows", str(rows)]) == 0
        assert line.format(pages) in capsys.readouterr().out
        assert len(rows.read_text().splitlines()) == pages
    assert main([*asked, "--gold", str(gold), "--rows", str(rows)]) == 0
    assert [json.loads(row)["half"] for row in rows.read_text().splitlines()] == ["dev"]  # unless one asks
    assert main([*asked, "--gold", str(texts), "--half", "all"]) == 0
    assert line.format(2) in capsys.readouterr().out
    with pytest.raises(InputError, match="there is no such file"):
        main([*asked, "--gold", str(gold), "--warc", str(tmp_path / "*.arc")])
    gold.write_text(json.dumps({"http://other.org/": {"with": [], "without": []}}))
    with pytest.raises(InputError, match="none of the pages"):
        main([*asked, "--gold", str(gold)])


def test_what_more_or_fewer_pages_for_the_slow_extractor_would_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write_warc: WriteWarc
) -> None:
    sentences = [f"The river rose in the night, and by morning house {n} was under water." for n in range(9)]
    html = f"<html><body><nav><a href=/>Home</a></nav>{''.join(f'<p>{s}</p>' for s in sentences)}</body></html>"
    urls = [f"http://{name}.org/" for name in "eg"]
    write_warc(tmp_path / "x.warc.gz", dict.fromkeys(urls, html))
    (tmp_path / "gold.json").write_text(json.dumps({url: {"with": sentences[:2], "without": ["Home"]} for url in urls}))
    asked = ["--warc", str(tmp_path / "*.gz"), "--gold", str(tmp_path / "gold.json"), "--repeats", "1"]
    rows = tmp_path / "rows.jsonl"
    assert main([*asked, "--extractors", NEVER_SLOW, "trafilatura fast", "--rows", str(rows)]) == 0
    out = capsys.readouterr().out
    assert f"| {NEVER_SLOW} | 2 | 1.000 |" in out
    assert "| 0.0 % | " in out.partition(f"{NEVER_SLOW}, then trafilatura fast")[2]
    doubts = [json.loads(row)["doubt"] for row in rows.read_text().splitlines()]
    assert doubts[2:] == [None, None]
    assert 0 <= doubts[0] == doubts[1] <= 0.5


def test_what_is_never_sent_on_is_not_doubted(make_page: MakePage) -> None:
    texts = ["The river rose in the night, and by morning it stood in the house." * 3, "Log in", "Home", "More"] * 40
    prose = "".join(f"<p>{text}</p>" for text in texts)
    most = Winnow().max_slow_tags
    fits = "<br>" * (most - prose.count("<")) + prose
    assert doubt_of(make_page(fits), None) > 0
    assert doubt_of(make_page("<br>" + fits), None) == 0.0
    assert doubt_of(make_page("\0\1\2" * 99), None) == 0.0


def test_extractors_are_known_by_the_names_of_the_table() -> None:
    assert list(choose(["trafilatura default", "trafilatura fast"])) == ["trafilatura default", "trafilatura fast"]
    with pytest.raises(InputError, match="no extractor fast"):
        choose(["fast"])
