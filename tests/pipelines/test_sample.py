"""The sample crawl, built from a wheel of pages and a dump made here, and read back."""

from __future__ import annotations

import bz2
import io
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from curation.document import Page
from curation.errors import DataError, InputError
from curation.records import Record, Skip, read_range
from pipelines import sample
from pipelines.sample import build, file_name, is_built, load_pages

ROOT = Path(__file__).parents[2]
PAGES = 240
_WORDS = [
    "river",
    "stone",
    "light",
    "winter",
    "paper",
    "engine",
    "garden",
    "letter",
    "signal",
    "harbour",
    "metal",
    "cloud",
    "forest",
    "number",
    "window",
    "story",
]
_RUSSIAN = "Река течёт через старый город, и по её берегам стоят дома."


def _page(number: int) -> bytes:
    paragraphs = "".join(
        f"<p>{' '.join(_WORDS[(number * 7 + p * 3 + w * (p + 1)) % 16] for w in range(30))} {number}.{p}</p>\n"
        for p in range(12 if number % 2 else 3)
    )
    meta = {0: "windows-1251", 1: "utf-8", 2: "utf-16", 3: "iso-8859-1"}.get(number % 5, "")
    text = _RUSSIAN if number % 5 in (0, 2, 3) else "plain"
    head = f'<meta http-equiv="Content-Type" content="text/html; charset={meta}">' if meta else ""
    return f"<html><head>{head}</head><body class=x>\n<h1>{text}</h1>{paragraphs}</body></html>".encode()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("parts")
    index = {f"html/{n}.html": {"url": f"http://site{n // 4}.example/p/{n}#top", "forms": []} for n in range(PAGES)}
    index["html/7.html"]["url"] = "http://bare.example"
    with zipfile.ZipFile(folder / "pages.whl", "w") as archive:
        archive.writestr("formasaurus/data/index.json", json.dumps(index))
        for number in range(PAGES):
            body = b"<html>\xff\xfe not UTF-8</html>" if number == 9 else _page(number)
            archive.writestr(f"formasaurus/data/html/{number}.html", body)
    pages = "".join(
        f"<page><title>T{n}</title><ns>{n % 2}</ns><id>{n}</id><revision><text>x</text></revision></page>"
        for n in range(9)
    )
    (folder / "dump.bz2").write_bytes(bz2.compress(f"<mediawiki>{pages}</mediawiki>".encode()))
    return folder / "pages.whl", folder / "dump.bz2"


@pytest.fixture(scope="module")
def built(parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("built") / "sample"
    build(out, *parts)
    return out, json.loads((out / "crawl.json").read_text())


def read(out: Path, report: dict[str, Any]) -> Iterator[tuple[str, Record]]:
    for name in report["files"]:
        data = (out / name).read_bytes()
        for record in read_range(io.BytesIO(data), len(data), 0, len(data), "commoncrawl", name):
            yield name, record


def test_same_bytes_again(parts: tuple[Path, Path], built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from pipelines.sample import build; build(*map(Path, sys.argv[1:]))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, tmp_path / "again", *parts], env=environment, check=True, timeout=120)
    first = {p.relative_to(built[0]): p.read_bytes() for p in built[0].rglob("*") if p.is_file()}
    again = {p.relative_to(tmp_path / "again"): p.read_bytes() for p in (tmp_path / "again").rglob("*") if p.is_file()}
    assert first == again
    assert len(first) == sample.FILES + 3  # an empty file, the dump and crawl.json


def test_the_account_is_what_is_there(built: tuple[Path, dict[str, Any]]) -> None:
    out, report = built
    found: Counter[str] = Counter()
    failed: list[tuple[str, str]] = []
    per_file: Counter[str] = Counter()
    for name, record in read(out, report):
        per_file[name] += 1
        if isinstance(record.value, DataError):
            failed.append((record.value.reason, name))
        else:
            found[record.value.type if isinstance(record.value, Skip) else "response"] += 1
    assert {name: file["records"] for name, file in report["files"].items() if file["records"]} == dict(per_file)
    records = report["records"]
    assert records.pop("total") == sum(records.values())
    assert found == {**records, "response": records["response"] - 2}
    damaged = report["damages"]["records"]
    assert [damage["damage"] for damage in damaged] == ["truncated", "flipped"]
    assert failed == [("truncated", damaged[0]["file"]), ("damaged_gzip", damaged[1]["file"])]
    assert report["damages"]["empty_files"] == 1
    assert (out / file_name(sample.FILES)).read_bytes() == b""


def test_kinds(built: tuple[Path, dict[str, Any]]) -> None:
    out, report = built
    kinds = report["exchanges"]
    copies = {"duplicate_url": 12, "duplicate_body": 12, "near_duplicate": 12, "revisit": 8}
    media = dict.fromkeys(("json", "css", "javascript", "png", "pdf"), 6)
    errors = {"redirect": 8, "not_found": 8, "server_error": 4}
    assert kinds == {"page": PAGES, **copies, **media, **errors, "binary_as_html": 4, "empty_body": 2}
    pages = [record.value for _, record in read(out, report) if isinstance(record.value, Page)]
    status = Counter(page.status for page in pages)
    assert (status[301], status[404], status[500]) == (8, 8, 4)
    types = Counter(page.content_type for page in pages)
    assert types["application/json"] == types["image/png"] == types["application/pdf"] == types["text/css"] == 6
    assert sum(page.status == 200 and not page.body for page in pages) == 2


def test_duplicates_are_in_other_files_and_are_what_they_say(built: tuple[Path, dict[str, Any]]) -> None:
    out, report = built
    pages = {
        (name, record.value.url): record.value for name, record in read(out, report) if isinstance(record.value, Page)
    }
    assert len(report["duplicates"]) == 36
    for copy in report["duplicates"]:
        twin, of = pages[copy["file"], copy["url"]], pages[copy["of_file"], copy["of_url"]]
        assert copy["file"] != copy["of_file"]
        assert (twin.url == of.url) == (copy["kind"] == "duplicate_url")
        if copy["kind"] == "near_duplicate":
            ours, theirs = (set(page.body.split(b"\n")) for page in (twin, of))
            assert twin.body != of.body
            assert len(ours & theirs) / len(ours | theirs) > 0.8
        else:
            assert (twin.body, twin.digest) == (of.body, of.digest)


def test_revisits_refer_to_what_is_there(built: tuple[Path, dict[str, Any]]) -> None:
    out, report = built
    digests: dict[str, set[tuple[str, str]]] = {"response": set(), "revisit": set()}
    for name, file in report["files"].items():
        if file["records"] and name not in [damage["file"] for damage in report["damages"]["records"]]:
            with (out / name).open("rb") as stream:
                for record in ArchiveIterator(stream, check_digests="raise"):
                    record.content_stream().read()
                    if record.rec_type in digests:
                        field = record.rec_headers.get_header
                        digests[record.rec_type].add((field("WARC-Target-URI"), field("WARC-Payload-Digest")))
    everything = {(page.url, page.digest) for _, record in read(out, report) if isinstance(page := record.value, Page)}
    assert len(digests["response"]) > PAGES // 2
    assert digests["revisit"]
    assert digests["revisit"] <= everything


def test_every_member_carries_no_time(built: tuple[Path, dict[str, Any]]) -> None:
    data, members = (built[0] / file_name(0)).read_bytes(), 0
    while data:
        assert data[:4] == b"\x1f\x8b\x08\x00"
        assert data[4:8] == b"\0\0\0\0"
        member = zlib.decompressobj(31)
        assert member.decompress(data).startswith(b"WARC/1.0\r\n")
        assert member.eof
        data, members = member.unused_data, members + 1
    assert members == built[1]["files"][file_name(0)]["records"]


def test_pages_as_they_were_sent(parts: tuple[Path, Path]) -> None:
    pages = load_pages(parts[0])
    assert [page.url for page in pages[:2]] == ["http://site0.example/p/0", "http://site0.example/p/1"]
    assert pages[7].url == "http://bare.example/"
    for number, page in enumerate(pages):
        declared = page.content_type.partition("charset=")[2].strip('"').lower()
        if number == 9:
            assert (page.body, declared) == (b"<html>\xff\xfe not UTF-8</html>", "")
        elif number % 5 == 0:
            assert page.body.decode("cp1251") == _page(number).decode()
            assert declared in ("", "windows-1251")
        elif number % 5 in (2, 3):  # cannot be in UTF-16, cannot be written in Latin-1
            assert (page.body, declared) == (_page(number), "utf-8")
        else:
            assert page.body == _page(number)
            assert declared in ("", "utf-8")


def test_the_bodies_arrive_whole(parts: tuple[Path, Path], built: tuple[Path, dict[str, Any]]) -> None:
    sent = {page.url: page.body for page in load_pages(parts[0])}
    got = {p.url: p.body for _, record in read(*built) if isinstance(p := record.value, Page) and p.url in sent}
    lost = {damage["url"] for damage in built[1]["damages"]["records"]}
    assert got == {url: body for url, body in sent.items() if url not in lost}
    assert set(built[1]["body_encodings"]) == {"none", "gzip", "chunked", "gzip chunked", "stripped"}


def test_dump(parts: tuple[Path, Path], built: tuple[Path, dict[str, Any]]) -> None:
    out, report = built
    name = "wikipedia/enwiki-pages-articles-shard.xml.bz2"
    assert (out / name).read_bytes() == parts[1].read_bytes()
    assert report["wikipedia"] == {"file": name, "bytes": parts[1].stat().st_size, "pages": 9, "articles": 5}


def test_built_or_not(parts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_built(tmp_path)
    build(tmp_path, *parts)
    assert is_built(tmp_path)
    assert sample.main(["--out", str(tmp_path), "--cache", str(tmp_path / "absent")]) == 0
    assert "nothing to do" in capsys.readouterr().err
    (tmp_path / file_name(3)).unlink()
    (tmp_path / "crawl-data" / "SAMPLE-2026" / "stale.warc.gz").write_bytes(b"")
    assert not is_built(tmp_path)
    build(tmp_path, *parts)
    assert is_built(tmp_path)
    assert not (tmp_path / "crawl-data" / "SAMPLE-2026" / "stale.warc.gz").exists()


def test_what_cannot_be_done_is_said(parts: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write the sample"):
        build(tmp_path / "file", *parts)
    with pytest.raises(InputError, match="does not hold the pages"):
        build(tmp_path / "out", parts[1], parts[1])
    assert not is_built(tmp_path / "out")
