"""How well and how fast each extractor finds the main text of pages whose main text is known.

    python -m benchmarks.extraction --gold GOLD.json --warc 'pages-*.warc.gz' [--half report] [--rows ROWS.jsonl]

GOLD.json is one of

    {url: {"with": [strings of the main text], "without": [strings of what surrounds it]}}
    {url: text}    {url: {"articleBody": text}}    {name: {"articleBody": text, "url": url}}

and `benchmarks/extraction_scores.py` says what F1 is for either, and where its 95 % intervals come from. A page that an
extractor drops has the empty text. CPU ms a page: process time of the whole call (gates, character encoding, parsing,
extraction), each page's least of --repeats rounds, all extractors in turn on each page, after one round that only
warms up. The second table says what F1 and time would be if more or fewer pages went from winnow to trafilatura.

Pages are in two halves by a hash of their host. Settings are chosen on `dev`; figures that are published are those of
`report`, and nothing is ever tuned on it. Pages of the half that is not asked for are not extracted.
"""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks.extraction_scores import Gold, GoldText, Row, collapsed
from benchmarks.extraction_tables import REFERENCES, curve, table
from curation.decode import decode
from curation.document import Document, Drop, Page
from curation.errors import CommandLine, DataError, InputError, ModelError, exit_on_user_error
from curation.extractors.trafilatura import Trafilatura
from models.main_text_labels import is_development, site_of
from models.train_extractor import read_pages, text_of

Extract = Callable[[Page], Document | Drop]

HALVES = ("dev", "report")
NEVER_SLOW = "winnow, never slow"  # no page goes on to trafilatura, whatever the doubt


def extractors(model: Path | None = None, *, winnow: bool = True) -> dict[str, Extract]:
    """By name, all that are installed; winnow with that model of main text, or with the one that it comes with.

    Without `winnow` they are there sooner: it brings a compiler.
    """
    found: dict[str, Extract] = {
        **(winnows(model) if winnow else {}),
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


def winnows(model: Path | None) -> dict[str, Extract]:
    try:
        from curation.extractors.winnow import Winnow
        from curation.main_text.model import shipped

        if model is None:
            shipped()
    except (ImportError, OSError, ModelError) as error:
        print(f"the rows of winnow are left out: {error}", file=sys.stderr)
        return {}
    artifact = {"model": model} if model else {}
    usual = Winnow(model="model" if model else "")
    return {"winnow": usual.load(artifact), NEVER_SLOW: replace(usual, max_doubt=1.0).load(artifact)}


def doubt_of(page: Page, model: Path | None) -> float:
    """What winnow says about its own text of this page; 0 for one that it never sends on, having too many tags."""
    from curation.extractors.winnow import Winnow
    from curation.main_text.model import judge, read, shipped
    from curation.main_text.scan import scan

    try:
        html = decode(page.body, page.charset)
    except DataError:
        return 0.0
    if html.count("<") > Winnow().max_slow_tags:
        return 0.0
    return judge(read(model) if model else shipped(), scan(html)).doubt


def choose(names: Sequence[str] | None, model: Path | None = None) -> dict[str, Extract]:
    """These of the extractors, or all. Raises InputError for a name that none has."""
    offered = extractors(model, winnow=names is None or any(name.startswith("winnow") for name in names))
    if unknown := set(names or ()) - set(offered):
        raise InputError(f"there is no extractor {', '.join(sorted(unknown))}; there are {', '.join(offered)}")
    return {name: offered[name] for name in names or offered}


def half_of(url: str) -> str:
    """`dev` or `report`, by the first bit of SHA-256 of the host: pages of a site are on one side."""
    return HALVES[not is_development(url)]


def load_gold(path: Path) -> dict[str, Gold] | dict[str, GoldText]:
    """By URL. Raises InputError for a file of another form, or of both forms."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(entry, dict) and "with" in entry for entry in table.values()):
            return {url.strip(): _strings(entry) for url, entry in table.items()}
        return dict(_text(url, entry) for url, entry in table.items())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        forms = '{url: {"with": [...], "without": [...]}} or {url: text or {"articleBody": text}}'
        raise InputError(f"{path} is not JSON of the form {forms}") from None


def _strings(entry: dict[str, list[str]]) -> Gold:
    return Gold(tuple(map(collapsed, entry["with"])), tuple(map(collapsed, entry["without"])))


def _text(key: str, entry: str | dict[str, str]) -> tuple[str, GoldText]:
    url, text = (key, entry) if isinstance(entry, str) else (entry.get("url", key), entry["articleBody"])
    return url.strip(), GoldText(unicodedata.normalize("NFC", text))


def measure(
    extractors: Mapping[str, Extract], pages: Sequence[Page], gold: Mapping[str, Gold | GoldText], repeats: int
) -> list[Row]:
    """Rows by extractor, then by page."""
    texts = {name: [text_of(extract, page) for page in pages] for name, extract in extractors.items()}
    least = {name: [float("inf")] * len(pages) for name in extractors}
    for done in range(repeats):
        for number, page in enumerate(pages):
            for name, extract in extractors.items():
                began = time.process_time()
                text_of(extract, page)
                least[name][number] = min(least[name][number], time.process_time() - began)
        print(f"round {done + 1} of {repeats}", file=sys.stderr, flush=True)
    return [
        Row(
            extractor=name,
            url=page.url,
            host=site_of(page.url),
            half=half_of(page.url),
            counts=gold[page.url].counts(texts[name][number]),
            characters=len(texts[name][number]),
            ms=round(least[name][number] * 1000, 3),
        )
        for name in extractors
        for number, page in enumerate(pages)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.extraction", description=__doc__.partition("\n")[0])
    parser.add_argument("--gold", type=Path, required=True, help="JSON: strings, or texts, by URL")
    parser.add_argument("--warc", nargs="+", required=True, help="archives that have the pages; globs are expanded")
    parser.add_argument("--half", choices=(*HALVES, "all"), default="dev", help="of the pages, by their host")
    parser.add_argument("--extractors", nargs="+", metavar="NAME", help="measure only these, as the table names them")
    parser.add_argument("--model", type=Path, help="an artifact of main text for winnow, not the one it comes with")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of which each page's fastest counts")
    parser.add_argument("--rows", type=Path, help="write one JSON line for each extractor and page")
    arguments = parser.parse_args(argv)
    chosen = choose(arguments.extractors, arguments.model)
    gold = load_gold(arguments.gold)
    found = {page.url: page for page in read_pages(arguments.warc) if page.url in gold}
    print(f"{len(found)} of {len(gold)} gold pages are in the archives", file=sys.stderr)
    pages = [page for url, page in found.items() if arguments.half in (half_of(url), "all")]
    if not pages:
        raise InputError(f"none of the pages is in the gold file and in the half {arguments.half}")
    rows = measure(chosen, pages, gold, max(1, arguments.repeats))
    if NEVER_SLOW in chosen:
        doubts = {page.url: doubt_of(page, arguments.model) for page in pages}
        rows = [replace(row, doubt=doubts[row.url]) if row.extractor == NEVER_SLOW else row for row in rows]
    if arguments.rows:
        arguments.rows.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    print(table(rows, arguments.half))
    if {NEVER_SLOW, REFERENCES[0]} <= set(chosen):
        print(f"\n{curve(rows, NEVER_SLOW, REFERENCES[0], arguments.half)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
