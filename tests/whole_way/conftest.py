"""The real thing, once a session: the sample crawl, models trained on it, and a run of the bundled recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

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
vocabulary = 1000
sample_bytes = 300_000
[heldout]
fraction = 0.1
[mixture]
epochs = { commoncrawl = 1.6 }
[shards]
tokens = 60_000
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in one worker of pytest-xdist: the sample and its models are made once."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("whole way"))


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
def wet(made: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 WET files of the sample's texts, every fifth text again in another file; and `quick.toml`, a recipe for them.

    WET, so that a run takes seconds: the text is there already.
    """
    folder = tmp_path_factory.mktemp("wet")
    pages = list(export.documents(str(made.run / "commoncrawl" / "documents")))
    pages += [page for page in pages if len(page.text) % 5 == 0]
    for number in range(14):
        with (folder / f"{number:05d}.warc.wet.gz").open("wb") as stream:
            writer = WARCWriter(stream, gzip=True)
            for page in pages[number::14]:
                body = page.text.encode()
                headers = {"WARC-Date": "2026-01-01T00:00:00Z"}
                writer.write_record(
                    writer.create_warc_record(
                        page.url,
                        "conversion",
                        payload=BytesIO(body),
                        length=len(body),
                        warc_content_type="text/plain",
                        warc_headers_dict=headers,
                    )
                )
    (folder / "quick.toml").write_text(QUICK)
    return folder
