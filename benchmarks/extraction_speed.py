"""CPU time a page of every extractor, over ten thousand real and perturbed pages, in one run.

    python -m benchmarks.extraction_speed --warc 'sample/crawl-data/**/*.warc.gz' 'pages-*.warc.gz'

The pages are the distinct HTML pages of the archives, then each of them again and again, perturbed
(`benchmarks/perturbed_pages.py`) from a seed. On each page the extractors run in turn, and the least process time of
--repeats calls counts: of the whole call, gates and character encoding included. All but those of --all-pages run on
every --every'th page only. "To trafilatura" is the ratio of sums over the pages on which both ran.

Pages of the half `report` (`benchmarks/extraction.py`) are left out by default, so that slow pages can be looked at.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extraction import HALVES, Extract, choose, half_of
from benchmarks.extraction_languages import distinct_html
from benchmarks.perturbed_pages import perturbed
from curation.decode import decode
from curation.document import Drop, Page
from curation.errors import CommandLine, DataError, InputError, exit_on_user_error
from models.train_extractor import read_pages

REFERENCE = "trafilatura fast"
EXTRACTORS = ("winnow", "winnow, never slow", "resiliparse", REFERENCE, "trafilatura default")
_WARM = 20  # pages on which every extractor runs first


@dataclass(frozen=True, slots=True)
class Time:
    """One extractor on one page. `verdict` is the rule of a Drop, the reason of a DataError, or "" for a document."""

    number: int
    changed: str
    bytes: int
    ms: float
    verdict: str


def measure(
    pages: Sequence[Page],
    extractors: Mapping[str, Extract],
    every: Mapping[str, int],
    count: int,
    seed: int,
    repeats: int,
) -> dict[str, list[Time]]:
    for number in range(min(_WARM, len(pages))):
        for extract in extractors.values():
            timed(extract, pages[number], 1)
    found: dict[str, list[Time]] = {name: [] for name in extractors}
    for number in range(count):
        page, changed = perturbed(pages, number, seed)
        for name, extract in extractors.items():
            if number % every.get(name, 1) == 0:
                ms, verdict = timed(extract, page, repeats)
                found[name].append(Time(number, changed, len(page.body), ms, verdict))
        if number % 1000 == 999:
            print(f"{number + 1} of {count} pages", file=sys.stderr, flush=True)
    return found


def is_text(page: Page) -> bool:
    try:
        return bool(decode(page.body, page.charset).strip())
    except DataError:
        return False


def timed(extract: Extract, page: Page, repeats: int) -> tuple[float, str]:
    """The least CPU milliseconds, and the verdict."""
    least = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        try:
            result = extract(page)
            verdict = result.rule if isinstance(result, Drop) else ""
        except DataError as error:
            verdict = error.reason
        least = min(least, time.process_time() - began)
    return least * 1000, verdict


def percentile(values: Sequence[float], per_mille: int) -> float:
    """The least value that so many of a thousand do not exceed."""
    return sorted(values)[max(0, -(-len(values) * per_mille // 1000) - 1)]


def table(times: Mapping[str, Sequence[Time]]) -> str:
    lines = [
        "| extractor | pages | mean ms | median | 99 % | 99.9 % | most | MB/s | to trafilatura | without text |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, some in times.items():
        ms = [t.ms for t in some]
        cells = [
            f"{len(some)}",
            f"{sum(ms) / len(ms):.2f}",
            *(f"{percentile(ms, p):.1f}" for p in (500, 990, 999, 1000)),
        ]
        cells.append(f"{sum(t.bytes for t in some) / sum(ms) / 1000:.1f}")
        cells.append(_ratio(some, times.get(REFERENCE, ())))
        verdicts = Counter(t.verdict for t in some if t.verdict).most_common()
        cells.append(", ".join(f"{count} {verdict}" for verdict, count in verdicts))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(times: Iterable[Time], reference: Iterable[Time]) -> str:
    of_reference = {t.number: t.ms for t in reference}
    mine = sum(t.ms for t in times if t.number in of_reference)
    numbers = {t.number for t in times}
    other = sum(ms for number, ms in of_reference.items() if number in numbers)
    return f"1 : {other / mine:.1f}" if other else ""


def sizes(times: Mapping[str, Sequence[Time]]) -> str:
    kib = [t.bytes / 1024 for t in max(times.values(), key=len)]
    shown = ", ".join(f"{percentile(kib, per_mille):.0f}" for per_mille in (500, 990, 999, 1000))
    return f"KiB a page: mean {sum(kib) / len(kib):.0f}; median, 99 %, 99.9 % and most {shown}"


def slowest(times: Mapping[str, Sequence[Time]], most: int) -> str:
    """For those who want to make it faster."""
    lines = ["| extractor | page | bytes | ms | ms a MB | perturbed | |", "|---|---|---|---|---|---|---|"]
    for name, some in times.items():
        for t in sorted(some, key=lambda t: (-t.ms, t.number))[:most]:
            rate = t.ms / max(1, t.bytes) * 1e6
            lines.append(f"| {name} | {t.number} | {t.bytes} | {t.ms:.1f} | {rate:.0f} | {t.changed} | {t.verdict} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.extraction_speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--warc", nargs="+", required=True, help="archives; globs are expanded")
    parser.add_argument("--half", choices=(*HALVES, "all"), default="dev", help="of the pages, by their host")
    parser.add_argument("--extractors", nargs="+", metavar="NAME", help=f"default: {', '.join(EXTRACTORS)}")
    parser.add_argument("--pages", type=int, default=10_000, help="real and perturbed ones together")
    parser.add_argument("--seed", type=int, default=0, help="of the perturbations")
    parser.add_argument("--repeats", type=int, default=2, help="calls of which the fastest counts")
    parser.add_argument("--all-pages", nargs="*", metavar="NAME", default=["winnow"], help="default: winnow")
    parser.add_argument("--every", type=int, default=10, help="the other extractors run on every so many'th page")
    parser.add_argument("--slowest", type=int, default=0, help="list so many pages of each extractor")
    parser.add_argument(
        "--save", type=int, nargs="+", default=[], metavar="PAGE", help="only write these, as PAGE.html"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="folder for --save")
    arguments = parser.parse_args(argv)
    if min(arguments.pages, arguments.repeats, arguments.every) < 1:
        raise InputError("--pages, --repeats and --every are at least 1")
    chosen = choose(arguments.extractors)
    if not arguments.extractors:
        chosen = {name: extract for name, extract in chosen.items() if name in EXTRACTORS}
    pages = [p for p in distinct_html(read_pages(arguments.warc)) if arguments.half in (half_of(p.url), "all")]
    pages = [page for page in pages if is_text(page)]
    if not pages:
        raise InputError(f"there is no HTML page of the half {arguments.half}")
    for number in arguments.save:
        path = arguments.out / f"{number}.html"
        path.write_bytes(perturbed(pages, number, arguments.seed)[0].body)
        print(path)
    if arguments.save:
        return 0
    print(f"{len(pages)} real pages", file=sys.stderr)
    every = {name: arguments.every for name in chosen if name not in arguments.all_pages}
    times = measure(pages, chosen, every, arguments.pages, arguments.seed, arguments.repeats)
    print(f"{table(times)}\n\n{sizes(times)}")
    if arguments.slowest:
        print(f"\n{slowest(times, arguments.slowest)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
