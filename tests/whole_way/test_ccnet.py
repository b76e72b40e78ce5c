"""The recipe `ccnet` on WET files, against its rules said once more, and against an example worked out by hand.

Nothing of the pipeline's code decides what is expected here: the rules are written down plainly, with sets and loops.
"""

from __future__ import annotations

import pydoc_data.topics
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import fasttext
import kenlm
import numpy as np
import pyarrow.parquet as pq
import pytest
from sentencepiece import SentencePieceProcessor
from warcio.warcwriter import WARCWriter

from curation import recipe
from curation.errors import ModelError
from models import fetch
from models.train_perplexity import train_perplexity
from pipelines import export, run

GROUP = 3  # files

# ---------------------------------------------------------------------------------------------------------------------
# The rules

READ_AS = {
    **dict.fromkeys("„”“«»１」「《》", '"'),
    **dict.fromkeys("´’", "'"),
    **dict.fromkeys("∶：", ":"),
    **dict.fromkeys("，、", ","),
    **dict.fromkeys("–━►", "-"),
    **dict(zip("。？！（）；～〈〉【】％", ".?!();~<>[]%", strict=True)),
    **dict(zip("—…．", (" - ", "...", ". "), strict=True)),
}


@dataclass(frozen=True)
class Expected:
    text: str
    language: str
    score: float
    perplexity: float | None
    bucket: str


def rule_text(block: str) -> str | None:
    """2.1: stripped lines; the first is the title; where the record's end shows as two blank lines, they go."""
    lines = [line.strip() for line in (block + "\r\n\r\n").replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]]
    if "WARC/1.0" in lines:
        lines = lines[: lines.index("WARC/1.0")]
    if len(lines) >= 2 and lines[-1] == "" and lines[-2] == "":
        lines = lines[:-2]
    return "\n".join(lines[1:])


def rule_key(line: str) -> str:
    """2.4: accents and ASCII punctuation stay."""
    line = re.sub(r"\d", "0", line.strip().lower())
    return "".join(c for c in line if c not in READ_AS and unicodedata.category(c) != "Cc")


def rule_normalize(text: str) -> str:
    """2.8: one line, newlines deleted with the other controls."""
    text = unicodedata.normalize("NFD", text.strip().lower())
    text = re.sub(r"\d", "0", "".join(c for c in text if unicodedata.category(c) != "Mn"))
    text = "".join(READ_AS.get(c, c) for c in text)
    return "".join(c for c in text if unicodedata.category(c) != "Cc")


class Models:
    """The models' files, opened with their libraries alone."""

    def __init__(self, folder: Path) -> None:
        config = kenlm.Config()
        config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
        self._lid = fasttext.load_model(str(folder / "language_id" / "lid.176.ftz"))
        self._pieces = SentencePieceProcessor(model_file=str(folder / "perplexity-en" / "pieces.model"))
        self._lm = kenlm.Model(str(folder / "perplexity-en" / "model.arpa"), config)

    def language(self, text: str) -> tuple[str, float]:
        """2.7: the text with its newlines deleted; rounded before it is compared."""
        labels, scores = self._lid.predict(text.replace("\n", ""))
        return labels[0].removeprefix("__label__"), float(np.round(scores, 2)[0])

    def perplexity(self, line: str) -> float:
        """2.8: of a normalised document, one sentence of pieces, with its end."""
        pieces = self._pieces.encode_as_pieces(line)
        # Not the sum of full_scores: `score` adds up in single precision, and so did CCNet's perplexities.
        return round(10 ** (-self._lm.score(" ".join(pieces), bos=True, eos=True) / (len(pieces) + 1)), 1)


def rules(files: list[list[tuple[str, str]]], models: Models) -> dict[str, Expected]:
    """What is left of the records (url, block) of each file, by URL."""
    left: dict[str, Expected] = {}
    for start in range(0, len(files), GROUP):
        group = [(url, rule_text(block)) for file in files[start : start + GROUP] for url, block in file]
        group = [(url, text) for url, text in group if text is not None and len(text) >= 300]
        holders = Counter(key for _, text in group for key in {rule_key(line) for line in text.split("\n")})
        for url, text in group:
            lines: list[str] = []
            seen: set[str] = set()
            for line in text.split("\n"):
                key = rule_key(line)
                if holders[key] == 1 and key not in seen:
                    lines.append(line)
                seen.add(key)
            if not lines or not "\n".join(lines):
                continue
            kept = "\n".join(lines)
            language, score = models.language(kept)
            if score < 0.5:
                continue
            value = models.perplexity(rule_normalize(kept)) if language == "en" else None
            bucket = "all" if value is None else "head" if value < 340 else "middle" if value < 520 else "tail"
            left[url] = Expected(kept, language, score, value, bucket)
    return left


# ---------------------------------------------------------------------------------------------------------------------
# Running it


def write_wet(path: Path, records: Iterable[tuple[str, str]]) -> None:
    """As Common Crawl has written WET since 2020: one more header, before Content-Type."""
    with path.open("wb") as stream:
        writer = WARCWriter(stream, gzip=True)
        for url, block in records:
            body = block.encode()
            headers = {"WARC-Date": "2026-01-01T00:00:00Z", "WARC-Identified-Content-Language": "eng"}
            record = writer.create_warc_record(
                url, "conversion", payload=BytesIO(body), length=len(body), warc_content_type="text/plain",
                warc_headers_dict=headers,
            )  # fmt: skip
            writer.write_record(record)


def local_recipe(path: Path) -> Path:
    """The bundled recipe for groups of three files and one small model that is not CCNet's."""
    text = (Path(recipe.__file__).parent / "recipes" / "ccnet.toml").read_text(encoding="utf-8")
    text, one = re.subn(r"file_groups = 32", f"group_files = {GROUP}", text)
    text, two = re.subn(r"languages = \[.*?\n  \]", 'languages = ["en"], any_model = true', text, flags=re.DOTALL)
    assert (one, two) == (1, 1)
    path.write_text(text, encoding="utf-8")
    return path


def run_ccnet(folder: Path, files: list[list[tuple[str, str]]], models: Path) -> dict[str, Expected]:
    """What the pipeline leaves, by URL."""
    (folder / "wet").mkdir(parents=True)
    for number, records in enumerate(files):
        write_wet(folder / "wet" / f"{number:05d}.warc.wet.gz", records)
    arguments = ["--recipe", str(local_recipe(folder / "mine.toml")), "--models", str(models), "--quiet"]
    arguments += ["--input", str(folder / "wet" / "*.gz"), "--output", str(folder / "run")]
    assert run.main([*arguments, "--until", "after-lines", "--workers", "1"]) == 0
    return {
        page.url: Expected(
            page.text, page.language or "", page.language_score or 0, page.perplexity, page.perplexity_bucket or ""
        )
        for page in export.documents(str(folder / "run" / "commoncrawl" / "after-lines"))
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lid.176.ftz, and a language model that has seen PROSE often enough to find it likely."""
    folder = tmp_path_factory.mktemp("models")
    assert fetch.main(["language_id", "--out", str(folder)]) == 0
    topics = [str(text) for _, text in sorted(pydoc_data.topics.topics.items())][:40]
    train_perplexity([*topics, *[PROSE] * 9], folder, "en", origin="test", licence="none", vocabulary=1500, order=3)
    return folder


# ---------------------------------------------------------------------------------------------------------------------
# By hand

PROSE = """The old harbour lies at the edge of the town, and in summer many people come here to watch the ships.
In earlier times timber was loaded here; today there are small shops, and a museum that tells of the fishermen.
From the lighthouse one can see the whole bay, with its islands and the boats that sail between them every hour."""
LESS_LIKELY = "Whoever walks along the pier in the morning meets the baker, the postman, and two dogs."
GERMAN = """Der alte Hafen liegt am Rand der Stadt, und im Sommer kommen viele Leute hierher, um den Schiffen zuzusehen.
Früher wurde hier Holz verladen, heute gibt es kleine Läden und ein Museum, das von der Fischerei erzählt.
Vom Leuchtturm aus sieht man die ganze Bucht mit ihren Inseln und den Booten, die dazwischen fahren."""
FIRST, SECOND, THIRD = PROSE.split("\n")


def test_worked_by_hand(models: Path, tmp_path: Path) -> None:
    """Six files, so two groups. What is left of each page is written out, and why.

    A: its title goes, though it is prose. "Home | 17 pages" stands on D with other digits, in capitals: it goes. So
       does the blank line, as D has one too. SECOND is there twice: the first stays.
    B: has 300 characters only with its title, so it is not read, and its THIRD does not count against A's.
    C: the same lines as A, in the other group, where none repeats; its one blank line stays.
    D: its block ends without a newline, so the record's end leaves one blank line on it. German has no model here.
    E, F: other titles, the same lines, in one group: both lose everything.
    """
    a = f"{THIRD}\nHome | 17 pages\n\n{FIRST}\n  {SECOND}\t\n{SECOND}\n{THIRD}\n"
    b = f"Title\n{THIRD}\n{'x' * (299 - len(THIRD) - 1)}\n"
    c = f"Title\nHome | 17 pages\n\n{FIRST}\n{SECOND}\n{THIRD}\n"
    d = f"Title\nHOME | 04 PAGES\n{GERMAN}"
    e = f"One\n{LESS_LIKELY}\n{GERMAN.upper()}\n"
    f = f"Two\n{LESS_LIKELY}\n{GERMAN.upper()}\n"
    first = [[("http://a/", a)], [("http://b/", b)], [("http://d/", d)]]
    second = [[("http://c/", c)], [("http://e/", e)], [("http://f/", f)]]
    found = run_ccnet(tmp_path, [*first, *second], models)
    assert {url: page.text for url, page in found.items()} == {
        "http://a/": f"{FIRST}\n{SECOND}\n{THIRD}",
        "http://c/": f"Home | 17 pages\n\n{FIRST}\n{SECOND}\n{THIRD}",
        "http://d/": GERMAN,
    }
    # The language model reads one line, in which the end of FIRST and the beginning of SECOND are one word.
    glued = "the ships.in earlier times timber was loaded here; today there are small shops"
    assert glued in rule_normalize(found["http://a/"].text)
    libraries = Models(models)
    for url in ("http://a/", "http://c/"):
        page = found[url]
        assert page.perplexity == libraries.perplexity(page.text.lower().replace("17", "00").replace("\n", ""))
        assert (page.language, page.bucket) == ("en", "head")
        assert page.perplexity < 340
    german = found["http://d/"]
    assert (german.language, german.perplexity, german.bucket) == ("de", None, "all")
    dropped = [row for path in (tmp_path / "run/commoncrawl").glob("*/dropped/*.parquet") for row in rows(path)]
    assert {(row["url"], row["rule"], row["measured"]) for row in dropped} == {
        ("http://b/", "too_short", "299"),
        ("http://e/", "all_lines_repeat", "4"),
        ("http://f/", "all_lines_repeat", "4"),
    }


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


# ---------------------------------------------------------------------------------------------------------------------
# On real pages


@pytest.fixture(scope="module")
def wet_pages(pages: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Nine files of real pages, three hash groups; neighbours, often of one site, are spread over one group."""
    pages = pages[:640]
    files: list[list[tuple[str, str]]] = [[] for _ in range(9)]
    for number, (url, text) in enumerate(pages):
        files[number * 3 // len(pages) * 3 + number % 3].append((url, odd(number, text)))
    assert sum(map(len, files)) >= 500
    return files


def odd(number: int, text: str) -> str:
    """What pages also do, to every few of them."""
    lines = text.split("\n")
    if number % 7 == 0:
        lines.insert(len(lines) // 2, "")
    if number % 11 == 0:
        lines += lines[-3:]  # repeats in a page
    if number % 13 == 0:
        lines.append(f"  «All rights reserved» – {number}  ")  # the same to the digit
    if number % 17 == 0:
        lines = ["", *lines]
    if number % 97 == 0:
        lines.insert(len(lines) - 2, "WARC/1.0")
    return ("\r\n" if number % 5 == 0 else "\n").join(lines) + ("\n" if number % 4 else "")


def test_real_pages_give_what_the_rules_imply(
    models: Path, wet_pages: list[list[tuple[str, str]]], tmp_path: Path
) -> None:
    found = run_ccnet(tmp_path, wet_pages, models)
    expected = rules(wet_pages, Models(models))
    assert list(found) == list(expected)
    for url, page in found.items():
        assert page == expected[url], url
    # and the rules had something to do
    assert len(found) > 250
    assert {page.bucket for page in found.values()} == {"head", "middle", "tail", "all"}
    lines = sum(text.count("\n") + 1 for file in wet_pages for _, text in file)
    assert sum(page.text.count("\n") + 1 for page in found.values()) < 0.8 * lines


def test_ccnets_cutoffs_are_refused_for_another_model(models: Path, tmp_path: Path) -> None:
    """Said in one line, by the command itself."""
    write_wet(tmp_path / "a.warc.wet.gz", [("http://a/", f"Title\n{PROSE}\n")])
    text = local_recipe(tmp_path / "mine.toml").read_text().replace(", any_model = true", "")
    (tmp_path / "mine.toml").write_text(text)
    arguments = ["--recipe", str(tmp_path / "mine.toml"), "--models", str(models), "--quiet", "--workers", "1"]
    with pytest.raises(ModelError, match="valid with CCNet's own models"):
        run.main([*arguments, "--input", str(tmp_path / "*.gz"), "--output", str(tmp_path / "run")])
