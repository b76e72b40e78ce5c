"""Real pages, and a dump that cites a third of them in every spelling: exactly those are found, however it runs."""

from __future__ import annotations

import bz2
import shutil
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from curation.url import canonical_url
from models.artifact import read_manifest
from pipelines import export, reference, run
from pipelines.part_files import StageFiles, read_documents
from pipelines.reference_sample import Pages
from tests.whole_way.conftest import write_wet

SPELLINGS = [
    "<ref>{url}</ref>",
    '<ref name="r{n}">[{url} A title]</ref>',
    "<ref name=r{n}\n>{{{{cite web\n| url = {url}\n| title=T}}}}</ref>",
    "* [{other} x]",
    "<ref>{{{{cite web|title=T|url=https://web.archive.org/web/20150101000000/{url}}}}}</ref>",
    "<ref>[https://archive.today/20150101/{url} T]</ref>",
    "[{url}#part x]",
]
IN_WIKITEXT = str.maketrans({character: f"%{ord(character):02X}" for character in "[]|{}<>\"' "})


@pytest.fixture(scope="module")
def cited(made) -> list[str]:
    """Every third address of the sample's pages; Wikipedia's own, which no citation is, left out."""
    urls = {document.url for document in export.documents(str(made.run / "commoncrawl" / "documents"))}
    return [url for url in sorted(urls)[::3] if "wikipedia.org" not in url and "(" not in url]


@pytest.fixture(scope="module")
def dump(cited: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pages = []
    for at in range(0, len(cited), 10):
        links = []
        for n, address in enumerate(cited[at : at + 10], at):
            url = address.translate(IN_WIKITEXT)
            scheme, _, bare = url.partition("://")
            other = f"{'https' if scheme == 'http' else 'http'}://{bare}"
            links.append(SPELLINGS[n % len(SPELLINGS)].format(url=url, other=other, n=n))
        text = escape("\n".join(links))
        pages.append(f"<page><title>A</title><ns>0</ns><id>{at}</id><revision><text>{text}</text></revision></page>")
    path = tmp_path_factory.mktemp("dump") / "plantwiki.xml.bz2"
    path.write_bytes(bz2.compress(f"<mediawiki>{''.join(pages)}</mediawiki>".encode()))
    return path


def find(made, dump: Path, stage: Path, work: Path, *more: str) -> tuple[set[str], dict]:
    """Ids of the documents that are found to be cited, and the parameters of the model."""
    models = work.with_name(f"{work.name}-models")
    shutil.copytree(made.models / "language_id", models / "language_id")
    options = ["--dump", str(dump), "--crawl-run", str(stage), "--out", str(models), "--work", str(work)]
    assert reference.main([*options, "--quiet", "--shortest", "100", *more]) == 0
    parameters = read_manifest(models / "reference")["parameters"]
    files, pages, found = StageFiles(str(stage)), Pages(str(work), 1), set()
    for number in range(len(list((stage / "kept").iterdir()))):
        flags = pages.cited(pages.rows(number), number)
        found |= {d.id for d, yes in zip(read_documents(files.kept(number)), flags, strict=True) if yes}
    names = ("weights.npy", "settings.json", "report.json", "report.svg")
    return found, {**parameters, "files": [(models / "reference" / name).read_bytes() for name in names]}


def test_exactly_the_cited_pages_are_found(made, cited, dump, tmp_path) -> None:
    stage = made.run / "commoncrawl" / "documents"
    documents = list(export.documents(str(stage)))
    keys = {canonical_url(url) for url in cited}
    want = {d.id for d in documents if canonical_url(d.url) in keys and len(d.text) >= 100}
    assert len(cited) >= 200
    assert len(want) >= 200
    found, parameters = find(made, dump, stage, tmp_path / "work")
    assert found == want
    books = parameters["books"]["documents"]
    assert books["in"] == len(documents)
    assert books["in"] == books["kept"] + sum(books["skipped"].values()) + sum(books["dropped"].values())
    assert parameters["languages"]  # identified here, since this stage comes before the recipe does it


def test_ranges_and_workers_change_no_byte(made, pages, dump, tmp_path, monkeypatch) -> None:
    """The same documents, read in ranges of two sizes; the smaller ones are searched by two processes."""
    results = []
    wet = write_wet(tmp_path / "wet", pages)
    monkeypatch.setattr(reference, "LIGHT_DOCUMENTS", 0)  # or one process would do for so few
    for name, size, workers in (("a", "20KiB", "2"), ("b", "128MiB", "1")):
        options = ["--recipe", str(wet / "quick.toml"), "--models", str(made.models), "--output", str(tmp_path / name)]
        inputs = [flag for path in sorted(wet.glob("*.wet.gz")) for flag in ("--input", str(path))]
        more = ["--until", "documents", "--range-size", size, "--workers", "1", "--quiet"]
        assert run.main([*options, *inputs, *more]) == 0
        stage = tmp_path / name / "commoncrawl" / "documents"
        found, parameters = find(made, dump, stage, tmp_path / name / "reference", "--workers", workers)
        assert found
        assert parameters["books"]["crawl"]
        results.append((len(list((stage / "kept").iterdir())), found, parameters))
    assert results[0][0] > results[1][0]
    assert results[0][1:] == results[1][1:]
