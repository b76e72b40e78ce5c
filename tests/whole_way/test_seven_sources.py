"""All seven sources of LLaMA-1, each as it is published, through one run into one mixture; then the same, damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import random
import tarfile
from collections import Counter
from html import escape
from pathlib import Path

import py7zr
import pytest
from warcio.warcwriter import WARCWriter

from curation.token_shard import Dataset
from pipelines import overlap_report, run
from trainer.data import Loader, count_sources

RECIPE = """
format = 1
name = "seven"
[sources.commoncrawl]
steps = [{ extract = "plain" }, { dedup = "near" }]
[sources.c4]
steps = [{ extract = "c4_row" }]
[sources.github]
steps = [
  { extract = "source_code" },
  { filter = "one_of", field = "licence", values = ["MIT", "Apache-2.0"] },
  { filter = "code_shape" },
  { dedup = "exact", compare = "text" },
]
[sources.wikipedia]
steps = [{ extract = "wikitext" }, { filter = "length", min_characters = 100 }]
[sources.books]
steps = [{ extract = "gutenberg" }, { dedup = "overlap" }]
[sources.arxiv]
steps = [{ extract = "latex" }]
[sources.stackexchange]
steps = [{ extract = "question" }]

[tokenizer]
vocabulary = 500
[heldout]
fraction = 0.1
[mixture]
epochs.commoncrawl = 1.1
epochs.c4 = 1.06
epochs.github = 0.64
epochs.wikipedia = 2.45
epochs.books = 2.23
epochs.arxiv = 1.06
epochs.stackexchange = 1.03
[shards]
tokens = 20_000
"""
WORDS = ["the", "of", "river", "stone", "light", "under", "walked", "before", "house", "green", "seven", "letter"]


def prose(seed: int, sentences: int = 40) -> str:
    """English-looking, and no two seeds alike."""
    chance = random.Random(seed)
    lines = [" ".join(chance.choices(WORDS, k=chance.randint(6, 14))).capitalize() + "." for _ in range(sentences)]
    return "\n\n".join(" ".join(lines[at : at + 4]) for at in range(0, len(lines), 4))


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def commoncrawl(folder: Path) -> Path:
    path = write(folder / "a.warc.wet.gz", b"")
    with path.open("wb") as stream:
        writer = WARCWriter(stream, gzip=True)
        for number in range(30):
            body = prose(number).encode()
            record = writer.create_warc_record(
                f"https://example.org/{number}", "conversion", io.BytesIO(body), length=len(body),
                warc_content_type="text/plain", warc_headers_dict={"WARC-Date": "2026-01-01T00:00:00Z"},
            )  # fmt: skip
            writer.write_record(record)
    return path


def c4(folder: Path) -> Path:
    rows = [
        {"text": prose(100 + n if n else 5), "url": f"https://example.net/{n}", "timestamp": "2019-04-25T12:57:54Z"}
        for n in range(20)
    ]
    return write(
        folder / "c4-train.00000-of-01024.json.gz", gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())
    )


def github(folder: Path) -> Path:
    for number in range(12):
        licence = "Apache-2.0" if number % 4 else "GPL-3.0-only"
        lines = [f"def walk_{n}(house, stone):\n    return house + stone * {n + number}\n" for n in range(12)]
        source = f"# SPDX-License-Identifier: {licence}\n" + "\n\n".join(lines)
        write(folder / "checkouts" / f"repo-{number}" / "src" / "walk.py", source.encode())
        write(folder / "checkouts" / f"repo-{number}" / "table.csv", b"1,2,3\n" * 100)
    write(folder / "checkouts" / "repo-99" / "walk.py", (folder / "checkouts/repo-1/src/walk.py").read_bytes())
    return folder / "checkouts"


def wikipedia(folder: Path) -> Path:
    pages = []
    for number in range(15):
        text = (
            f"#REDIRECT [[{number - 1}]]"
            if number == 14
            else f"'''Article {number}''' is [[one|an]] article. {prose(200 + number)}"
        )
        pages.append(
            f"<page><title>{number}</title><ns>0</ns><id>{number + 1}</id>"
            + ('<redirect title="13" />' if number == 14 else "")
            + f"<revision><timestamp>2026-01-01T00:00:00Z</timestamp><text>{escape(text)}</text></revision></page>"
        )
    head = '<mediawiki xml:lang="en"><siteinfo><base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>'
    return write(folder / "enwiki-pages-articles.xml.bz2", bz2.compress(f"{head}{''.join(pages)}</mediawiki>".encode()))


def books(folder: Path) -> Path:
    for number in range(5):
        body = prose(300 + min(number, 3), 600) + ("\n\nThe end of a second edition." if number == 4 else "")
        start, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK THE WALK ***" for word in ("START", "END"))
        write(
            folder / "shelf" / f"{number}.txt",
            f"Title: The Walk\r\n\r\n{start}\r\n\r\n{body}\r\n\r\n{end}\r\n".encode(),
        )
    return folder / "shelf"


def arxiv(folder: Path) -> Path:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for number in range(6):
            paper = (
                "\\documentclass{article}\n\\newcommand{\\stone}{granite}\n\\begin{document}\nAbstract.\n"
                f"\\section{{One}}\n{prose(400 + number)} % a comment\n\\stone\\ is hard.\n"
                "\\begin{thebibliography}{9}\\bibitem{a} B.\\end{thebibliography}\n\\end{document}\n"
            )
            body = gzip.compress(paper.encode(), mtime=0) if number else b"%PDF-1.4 no source"
            info = tarfile.TarInfo(f"2601/2601.{number:05d}.{'gz' if number else 'pdf'}")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return write(folder / "arXiv_src_2601_001.tar", sink.getvalue())


def stackexchange(folder: Path) -> Path:
    rows = []
    for number in range(1, 21):
        rows.append(
            f'<row Id="{number}" PostTypeId="1" AcceptedAnswerId="{number + 200}" Score="3" Title="Why {number}?" '
            f'CreationDate="2020-01-01T00:00:00.000" Body="{escape(f"<p>{prose(500 + number, 6)}</p>")}" />'
        )
    for number in range(1, 21):
        for kind, score in ((100, 9), (200, 10)):
            rows.append(
                f'<row Id="{number + kind}" PostTypeId="2" ParentId="{number}" Score="{score}" '
                f'CreationDate="2020-01-02T00:00:00.000" Body="{escape(f"<p>{prose(600 + number + kind, 5)}</p>")}" />'
            )
    posts = '<?xml version="1.0" encoding="utf-8"?>\n<posts>\n  ' + "\n  ".join(rows) + "\n</posts>"
    sink = io.BytesIO()
    with py7zr.SevenZipFile(sink, "w") as archive:
        archive.writestr(posts, "Posts.xml")
    return write(folder / "walking.stackexchange.com.7z", sink.getvalue())


MAKERS = (arxiv, books, c4, commoncrawl, github, stackexchange, wikipedia)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recipe") / "seven.toml", RECIPE.encode())


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run over all seven, with parts as small as they can be."""
    folder = tmp_path_factory.mktemp("seven")
    declared = [option for make in MAKERS for option in ("--input", f"{make.__name__}={make(folder / make.__name__)}")]
    options = ["--recipe", str(recipe), "--output", str(folder / "run"), "--workers", "1", "--quiet"]
    command = [*options, *declared, "--range-size", "4KiB"]
    assert run.main([*command, "--until", "tokens"]) == 0
    assert not (folder / "run/shards").exists()
    report = [str(folder / "run"), "--workers", "1", "--quiet", "--json", str(folder / "run/overlap.json")]
    assert overlap_report.main(report) == 0
    assert run.main(command) == 0
    return folder / "run"


def books_of(output: Path) -> dict[str, dict]:
    stages = json.loads((output / "ledger.json").read_text())
    return {stage["name"]: {b["unit"]: b for b in stage["balances"]} for stage in stages}


def test_each_source_gives_what_was_put_in(finished):
    ledger = books_of(finished)
    first = {name: ledger[f"{name}/documents"]["records"] for name in Dataset.open(finished / "shards").sources}
    assert {name: (account["in"], account["kept"]) for name, account in first.items()} == {
        "arxiv": (6, 5), "books": (5, 5), "c4": (20, 20), "commoncrawl": (30, 30), "github": (25, 10),
        "stackexchange": (60, 20), "wikipedia": (15, 14),
    }  # fmt: skip
    assert first["stackexchange"]["merged"] == 40
    assert not any(sum(account["failed"].values()) for account in first.values())
    assert first["github"]["dropped"] == {"one_of.licence_other": 3, "source_code.not_source": 12}
    assert ledger["github/after-exact"]["documents"]["kept"] == 9
    assert ledger["books/after-overlap"]["documents"]["dropped"] == {"overlap.overlap": 1}


def test_before_mixing_it_is_known_what_the_sources_share(finished):
    told = json.loads((finished / "overlap.json").read_text())["documents"]["shares"]
    cells = {(cell["source"], cell["other"]): cell["share"] for cell in told if cell["source"] != cell["other"]}
    planted = {("c4", "commoncrawl"): 1 / 20, ("commoncrawl", "c4"): 1 / 30}
    assert len(cells) == 42
    assert {pair: share for pair, share in cells.items() if share} == pytest.approx(planted)


def test_the_loader_reads_back_what_the_manifest_says_of_each_source(finished):
    dataset = Dataset.open(finished / "shards")
    told = [source["mixed_tokens"] for source in dataset.manifest["sources"]]
    assert count_sources(Loader(dataset, seed=1, length=64)).tolist() == told
    assert sum(told) == sum(entry["tokens"] for entry in dataset.manifest["shards"])


def test_realised_epochs_are_those_of_the_table_but_for_a_document(finished):
    dataset = Dataset.open(finished / "shards")
    longest: Counter[int] = Counter()
    for shard in dataset.shards():
        for source, length in zip(shard.sources, shard.lengths, strict=True):
            longest[int(source)] = max(longest[int(source)], int(length))
    for source in dataset.manifest["sources"]:
        short = (source["epochs_asked"] - source["epochs"]) * source["tokens"]
        assert abs(short) <= longest[source["id"]], source


def test_every_document_says_where_it_is_from(finished):
    dataset = Dataset.open(finished / "shards")
    rows = [row for shard in dataset.shards() for row in shard.provenance().to_pylist()]
    by_source = {name: next(row for row in rows if row["id"].startswith(name + ":")) for name in dataset.sources}
    assert by_source["arxiv"]["url"].startswith("https://arxiv.org/abs/2601.0000")
    assert by_source["books"]["file"] == "shelf"
    assert by_source["books"]["locator"].endswith(".txt")
    assert by_source["c4"]["url"].startswith("https://example.net/")
    assert by_source["github"]["licence"] == "Apache-2.0"
    assert by_source["github"]["locator"].endswith("walk.py")
    assert by_source["stackexchange"]["url"].startswith("https://walking.stackexchange.com/questions/")
    assert by_source["wikipedia"]["url"].startswith("https://en.wikipedia.org/wiki/")


def test_the_same_bytes_however_the_inputs_are_cut(recipe, finished, tmp_path):
    folder = finished.parent
    declared = [
        option for path in sorted(folder.iterdir()) if path != finished
        for option in ("--input", f"{path.name}={next(path.iterdir())}")
    ]  # fmt: skip
    options = ["--recipe", str(recipe), "--output", str(tmp_path / "run"), "--workers", "2", "--quiet"]
    assert run.main([*options, *reversed_pairs(declared), "--tokenizer", str(finished / "shards/tokenizer.model")]) == 0
    parts = [len(list((output / "github/documents/kept").iterdir())) for output in (finished, tmp_path / "run")]
    assert parts[0] > 3 > parts[1]
    assert Dataset.open(tmp_path / "run/shards").id == Dataset.open(finished / "shards").id


def reversed_pairs(options: list[str]) -> list[str]:
    return [each for at in range(len(options) - 2, -1, -2) for each in options[at : at + 2]]


def damaged(make, folder: Path) -> Path:
    """The input with something in it that is none, or broken off."""
    path = make(folder)
    if make is github:
        rows = [
            {"repo_name": "a/b\ud800", "path": "c\ud800.py", "content": "x = 1\n", "license": "GPL-2.0 WITH"},
            {"repo_name": "a/b", "path": "d.py", "content": 7, "license": ["MIT", 3]},
        ]
        path = write(folder / "rows.json", "".join(json.dumps(row) + "\n" for row in rows).encode() + b"{\n")
    elif make is c4:
        odd = {"text": f"{prose(1)} \ud800", "url": "http://a/\ud800", "timestamp": "\udfff"}
        path.write_bytes(gzip.compress(json.dumps(odd).encode() + b"\n") + path.read_bytes()[:-100])
    elif path.is_dir():
        write(path / "0-broken.txt", b"\x00\xff\xfe\x00" * 100)
        write(path / "0-broken.py", "# SPDX-License-Identifier: MIT\nx = '\x00'\n".encode("utf-16"))
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def test_damage_is_booked_and_never_stops_a_run(recipe, finished, tmp_path):
    declared = [
        option
        for make in MAKERS
        for option in ("--input", f"{make.__name__}={damaged(make, tmp_path / make.__name__)}")
    ]
    options = ["--recipe", str(recipe), "--output", str(tmp_path / "run"), "--workers", "1", "--quiet"]
    given = ["--tokenizer", str(finished / "shards/tokenizer.model")]  # little text is left to train one on
    assert run.main([*options, *declared, *given, "--max-failed-fraction", "1"]) == 0
    ledger = books_of(tmp_path / "run")
    failed = {make.__name__: ledger[f"{make.__name__}/documents"]["records"]["failed"] for make in MAKERS}
    assert all(failed.values()), failed
