"""How well and how fast each extractor finds the main text: strings that must be in it, strings that must not be.

    python -m benchmarks.extraction --gold GOLD.json --warc 'pages-*.warc.gz' [--rows ROWS.jsonl]

GOLD.json: {url: {"with": [strings of the main text], "without": [strings of what surrounds it]}}. Over all strings of
all pages together, with white space collapsed in text and string:

    precision = "with" strings found / strings found         F1 = 2 P R / (P + R)
    recall    = "with" strings found / "with" strings

A page that an extractor drops has the empty text. CPU ms a page: process time of the whole call (gates, character
encoding, parsing, extraction), each page's least of --repeats rounds, after one round that only warms up.

Pages are in two halves by a hash of their host. Settings are chosen on `dev`; figures that are published are those of
`report`, and nothing is ever tuned on it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from curation.document import Document, Drop, Page
from curation.errors import CommandLine, DataError, InputError, exit_on_user_error
from curation.extractors.trafilatura import Trafilatura
from curation.records import read_range

Extract = Callable[[Page], Document | Drop]

HALVES = ("dev", "report")


@dataclass(frozen=True, slots=True)
class Gold:
    """What the main text of a page must have and must not have; white space collapsed, NFC."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One extractor on one page: strings found of those that must be there, and of those that must not."""

    extractor: str
    url: str
    half: str
    found: int
    must: int
    unwanted: int
    must_not: int
    characters: int
    ms: float


@dataclass(frozen=True, slots=True)
class Score:
    """Of many rows. `precision` is 1 where nothing was found, `recall` where there was nothing to find."""

    pages: int
    empty: int
    precision: float
    recall: float
    f1: float
    ms: float
    p99_ms: float


def extractors() -> dict[str, Extract]:
    """By name, all that are installed."""
    found: dict[str, Extract] = {
        "trafilatura fast": Trafilatura(),
        "trafilatura default": Trafilatura(fast=False),
        "trafilatura fast + precision": Trafilatura(favor_precision=True),
        "trafilatura precision": Trafilatura(fast=False, favor_precision=True),
    }
    if find_spec("resiliparse") is None:
        print("resiliparse is not installed: its rows are left out", file=sys.stderr)
        return found
    from curation.extractors.resiliparse import Resiliparse

    found["resiliparse"] = Resiliparse()
    found["resiliparse, every line"] = Resiliparse(min_line_characters=0)
    found["all text"] = Resiliparse(main_content=False, alt_texts=True, min_line_characters=0)
    return found


def host_of(url: str) -> str:
    """Lower case, without `www.`: of an archived copy the site's own. Where there is none (`hard::x.org-a.html`) the
    name as it stands."""
    inner = max(url.rfind("http://"), url.rfind("https://"))
    host = urlsplit(url[max(inner, 0) :]).hostname or url.rpartition("::")[2]
    return host.lower().removeprefix("www.")


def half_of(url: str) -> str:
    """`dev` or `report`, by the first bit of SHA-256 of the host: pages of a site are on one side."""
    return HALVES[hashlib.sha256(host_of(url).encode()).digest()[0] >> 7]


def load_gold(path: Path) -> dict[str, Gold]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            url.strip(): Gold(tuple(map(collapsed, strings["with"])), tuple(map(collapsed, strings["without"])))
            for url, strings in table.items()
        }
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f'{path} is not JSON of the form {{url: {{"with": [...], "without": [...]}}}}') from None


def collapsed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_pages(patterns: Iterable[str]) -> Iterator[Page]:
    """The pages of these archives, files in order of their names. Raises InputError for a pattern without a file."""
    for pattern in patterns:
        names = sorted(glob.glob(pattern, recursive=True))
        if not names:
            raise InputError(f"{pattern}: there is no such file")
        for name in names:
            path = Path(name)
            size = path.stat().st_size
            with path.open("rb") as stream:
                for record in read_range(stream, size, 0, size, "web", path.name):
                    if isinstance(record.value, Page):
                        yield record.value


def text_of(extract: Extract, page: Page) -> str:
    try:
        result = extract(page)
    except DataError:
        return ""
    return result.text if isinstance(result, Document) else ""


def measure(
    name: str, extract: Extract, pages: Sequence[Page], gold: Mapping[str, Gold], repeats: int
) -> Iterator[Row]:
    texts = [text_of(extract, page) for page in pages]
    least = [float("inf")] * len(pages)
    for _ in range(repeats):
        for number, page in enumerate(pages):
            began = time.process_time()
            text_of(extract, page)
            least[number] = min(least[number], time.process_time() - began)
    for page, text, seconds in zip(pages, texts, least, strict=True):
        wanted, flat = gold[page.url], collapsed(text)
        yield Row(
            extractor=name,
            url=page.url,
            half=half_of(page.url),
            found=sum(string in flat for string in wanted.present),
            must=len(wanted.present),
            unwanted=sum(string in flat for string in wanted.absent),
            must_not=len(wanted.absent),
            characters=len(text),
            ms=round(seconds * 1000, 3),
        )


def score(rows: Sequence[Row]) -> Score:
    found, unwanted = sum(row.found for row in rows), sum(row.unwanted for row in rows)
    must = sum(row.must for row in rows)
    precision = found / (found + unwanted) if found + unwanted else 1.0
    recall = found / must if must else 1.0
    times = sorted(row.ms for row in rows)
    return Score(
        pages=len(rows),
        empty=sum(not row.characters for row in rows),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        ms=sum(times) / len(times) if times else 0.0,
        p99_ms=times[-1 - len(times) // 100] if times else 0.0,
    )


def table(rows: Sequence[Row], half: str) -> str:
    """Markdown: one line an extractor, in the order in which they were measured."""
    lines = [
        f"| extractor ({half}) | pages | F1 | precision | recall | without text | CPU ms a page | 99th percentile |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.extractor for row in rows):
        s = score([row for row in rows if row.extractor == name and half in (row.half, "all")])
        lines.append(
            f"| {name} | {s.pages} | {s.f1:.3f} | {s.precision:.3f} | {s.recall:.3f} | {s.empty} "
            f"| {s.ms:.1f} | {s.p99_ms:.0f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.extraction", description=__doc__.partition("\n")[0])
    parser.add_argument("--gold", type=Path, required=True, help="JSON: {url: {with: [...], without: [...]}}")
    parser.add_argument("--warc", nargs="+", required=True, help="archives that have the pages; globs are expanded")
    parser.add_argument("--extractors", nargs="+", metavar="NAME", help="measure only these, as the table names them")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of which each page's fastest counts")
    parser.add_argument("--rows", type=Path, help="write one JSON line for each extractor and page")
    arguments = parser.parse_args(argv)
    offered = extractors()
    if unknown := set(arguments.extractors or ()) - set(offered):
        raise InputError(f"there is no extractor {', '.join(sorted(unknown))}; there are {', '.join(offered)}")
    gold = load_gold(arguments.gold)
    pages = list({page.url: page for page in read_pages(arguments.warc) if page.url in gold}.values())
    if not pages:
        raise InputError("none of the pages is in the gold file")
    print(f"{len(pages)} of {len(gold)} gold pages", file=sys.stderr)
    rows: list[Row] = []
    for name in arguments.extractors or offered:
        began = time.monotonic()
        rows += measure(name, offered[name], pages, gold, max(1, arguments.repeats))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if arguments.rows:
        arguments.rows.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    print("\n\n".join(table(rows, half) for half in (*HALVES, "all")))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
