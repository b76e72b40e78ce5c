"""Does an extractor lag behind in some language? Its text against trafilatura's, by the language of the page.

    python -m benchmarks.extraction_languages --warc 'sample/crawl-data/**/*.warc.gz' [--models sample/models]

There is no gold here: the reference is the text of trafilatura (fast), whatever it is worth. F1 is that of shingles
(`benchmarks/extraction_scores.py`), where a character of a script without spaces (Chinese, Japanese, Thai and so on:
`curation/scripts.py`) is a token of its own. It is of the pages on which both have text; beside it, on how many pages
the extractor alone has none ("empty alone"), and on how many it alone has some. Distinct bodies only.

A page's language is that of the reference text, by the model `language_id` under --models; without --models, or of a
page without reference text, what the page says (`<html lang>`), else "und". Languages of few pages are one row.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extraction import HALVES, Extract, choose, half_of
from benchmarks.extraction_scores import Row, score, shingle_counts, shingles
from curation.document import Document, Page
from curation.errors import CommandLine, InputError, exit_on_user_error
from curation.extractors.gates import HTML_TYPES
from curation.scripts import UNSPACED_CLASS
from models.language_id import UNDETERMINED, LanguageId
from models.main_text_labels import site_of
from models.train_extractor import read_pages, text_of

REFERENCE = "trafilatura fast"
EXTRACTORS = ("winnow", "winnow, never slow", "trafilatura default", "resiliparse")

_TOKEN = re.compile(rf"[{UNSPACED_CLASS}]|[^\W{UNSPACED_CLASS}]+")
_DECLARED = re.compile(rb"""<html\b[^>]{0,2000}?\s(?:xml:)?lang\s*=\s*["']?\s*([A-Za-z]{2,3})\b""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Compared:
    """The texts of one page. `reference` is the one that the others are held against."""

    page: Page
    language: str
    reference: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one extractor with the reference, over many pages."""

    both: int  # pages on which both have text
    f1: float  # over those; nan where there are none
    missing: int  # pages on which the reference alone has text
    extra: int  # pages on which the reference alone has none


def declared_language(page: Page) -> str:
    match = _DECLARED.search(page.body[:20_000].replace(b"\0", b""))
    return match[1].decode("ascii").lower() if match else UNDETERMINED


def distinct_html(pages: Iterable[Page]) -> list[Page]:
    """Those that an extractor looks at, the first of each body."""
    found: dict[bytes, Page] = {}
    for page in pages:
        if page.status in (0, 200) and page.content_type in HTML_TYPES:
            found.setdefault(page.body, page)
    return list(found.values())


def compare(pages: Sequence[Page], reference: Extract, extractors: Mapping[str, Extract]) -> list[Compared]:
    found = []
    for number, page in enumerate(pages):
        texts = {name: text_of(extract, page) for name, extract in extractors.items()}
        found.append(Compared(page, declared_language(page), text_of(reference, page), texts))
        if number % 200 == 199 or number + 1 == len(pages):
            print(f"{number + 1} of {len(pages)} pages", file=sys.stderr, flush=True)
    return found


def identified(compared: Sequence[Compared], models: Path) -> list[Compared]:
    """With the language of the reference text, where there is one."""
    identify = LanguageId().load({"language_id": models / "language_id"})
    documents = [Document(id="", url=c.page.url, date="", digest="", text=c.reference) for c in compared]
    return [
        c if not c.reference else Compared(c.page, document.language or UNDETERMINED, c.reference, c.texts)
        for c, document in zip(compared, identify(documents), strict=True)
    ]


def agreement(compared: Iterable[Compared], name: str) -> Agreement:
    rows, missing, extra = [], 0, 0
    for c in compared:
        text = c.texts[name]
        if text and c.reference:
            counts = shingle_counts(shingles(text, _TOKEN), shingles(c.reference, _TOKEN))
            rows.append(Row(name, c.page.url, site_of(c.page.url), half_of(c.page.url), counts, len(text), 0.0))
        elif c.reference:
            missing += 1
        elif text:
            extra += 1
    return Agreement(len(rows), score(rows).f1 if rows else float("nan"), missing, extra)


def table(compared: Sequence[Compared], least: int) -> str:
    names = list(compared[0].texts)
    by_count = Counter(c.language for c in compared).most_common()
    groups = [([language], language) for language, count in sorted(by_count, key=_rank) if count >= least]
    rest = sorted(language for language, count in by_count if count < least)
    if rest:
        groups.append((rest, f"others: {' '.join(rest)}"))
    groups.append(([language for language, _ in by_count], "all"))
    heads = "".join(f" {name}, F1 | empty alone | text alone |" for name in names)
    lines = [f"| language | pages | no reference |{heads}", "|---" * (3 + 3 * len(names)) + "|"]
    for languages, label in groups:
        some = [c for c in compared if c.language in languages]
        cells = [label, f"{len(some)}", f"{sum(not c.reference for c in some)}"]
        for name in names:
            a = agreement(some, name)
            cells += [f"{a.f1:.3f}" if a.both else "", f"{a.missing or ''}", f"{a.extra or ''}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rank(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.extraction_languages", description=__doc__.partition("\n")[0])
    parser.add_argument("--warc", nargs="+", required=True, help="archives; globs are expanded")
    parser.add_argument("--models", type=Path, help="folder of model artifacts that holds language_id")
    parser.add_argument("--half", choices=(*HALVES, "all"), default="all", help="of the pages, by their host")
    parser.add_argument("--extractors", nargs="+", metavar="NAME", help=f"default: {', '.join(EXTRACTORS)}")
    parser.add_argument("--least", type=int, default=8, help="pages that a language needs for a row of its own")
    arguments = parser.parse_args(argv)
    reference = choose([REFERENCE])[REFERENCE]
    chosen = choose(arguments.extractors) if arguments.extractors else choose(None)
    if not arguments.extractors:
        chosen = {name: extract for name, extract in chosen.items() if name in EXTRACTORS}
    pages = distinct_html(read_pages(arguments.warc))
    pages = [page for page in pages if arguments.half in (half_of(page.url), "all")]
    if not pages:
        raise InputError(f"there is no HTML page of the half {arguments.half}")
    compared = compare(pages, reference, chosen)
    if arguments.models:
        compared = identified(compared, arguments.models)
    print(table(compared, arguments.least))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
