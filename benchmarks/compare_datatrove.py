"""Do our filters drop the pages that datatrove's drop? Verdict per filter, rule and page, and the time of both.

    python -m venv /tmp/datatrove && /tmp/datatrove/bin/pip install datatrove==0.10.0 regex icu4py
    python -m benchmarks.compare_datatrove --peer /tmp/datatrove/bin/python --warc 'web/*.gz'

The pages are extracted here, once; both sides then run in one process of the other environment on the same texts, with
equal limits and all pages taken for English. One splitter of words serves both: `folded` gives words in lower case with
the marks around them cut off as words of their own, as datatrove's filters expect; `marks` keeps capitals, and `words`
is ours as it is. The last two show what our filters do about capitals and marks, and datatrove's do not.

Each rule is also compared alone: where fewer than 20 pages are dropped at the paper's limit, the limit is moved on both
sides until 20 are. What a side measured on a page is found by moving its limit until the verdict turns, so it is the
filter itself that says it. Times are least process times of 3 rounds over the main texts.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

from benchmarks.datatrove_rules import PAIRS, SPLITTERS, Limits, Pair, Run, Verdict, share_splitter
from curation.document import Drop
from curation.errors import CommandLine, InputError, UserError, exit_on_user_error

ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Text:
    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Verdicts of both sides on every text, and which of the texts that both keep they leave different."""

    name: str
    ours: tuple[Verdict, ...]
    theirs: tuple[Verdict, ...]
    edited_apart: tuple[int, ...]

    @property
    def dropped(self) -> tuple[int, int]:
        return sum(v is not None for v in self.ours), sum(v is not None for v in self.theirs)

    @property
    def disagreements(self) -> list[int]:
        pairs = zip(self.ours, self.theirs, strict=True)
        return [number for number, (mine, other) in enumerate(pairs) if (mine is None) != (other is None)]

    def row(self) -> str:
        wrong = len(self.disagreements)
        agreement = 100 * (1 - wrong / len(self.ours))
        return f"| {self.name} | {len(self.ours)} | {self.dropped[0]} | {self.dropped[1]} | {agreement:.2f} | {wrong} |"


def compare(name: str, pair: Pair, limits: Limits, texts: Sequence[Text]) -> Comparison:
    ours, theirs = pair.ours(limits), pair.theirs(limits)
    both = [(ours(text.text), theirs(text.text)) for text in texts]
    return Comparison(
        name,
        tuple(mine for (mine, _), _ in both),
        tuple(other for _, (other, _) in both),
        tuple(
            number
            for number, ((mine, left), (other, right)) in enumerate(both)
            if mine is None and other is None and left != right
        ),
    )


def tightened(pair: Pair, rule: str, texts: Sequence[Text]) -> float:
    """The limit nearest to the paper's (to 5 %) at which both sides drop at least ENOUGH; nan if none does it."""

    def enough(limit: float) -> bool:
        return all(_drops(run, texts) >= ENOUGH for run in (pair.ours({rule: limit}), pair.theirs({rule: limit})))

    loose = float(pair.limits[rule])
    tight = 1e7 if rule in pair.least else 1e-7
    if not loose or enough(loose):
        return loose
    if not enough(tight):
        return math.nan
    while abs(math.log(tight / loose)) > 0.05:
        middle = math.sqrt(loose * tight)
        loose, tight = (loose, middle) if enough(middle) else (middle, tight)
    return tight


def _drops(run: Run, texts: Sequence[Text]) -> int:
    found = 0
    for text in texts:
        found += run(text.text)[0] is not None
        if found >= ENOUGH:
            break
    return found


def measured(pair: Pair, rule: str, text: str) -> tuple[float, float]:
    """What each side measures: the limit at which its verdict turns, by bisection."""
    found = []
    for make in (pair.ours, pair.theirs):
        low, high = 1e-7, 1e7
        for _ in range(48):
            middle = math.sqrt(low * high)
            dropped = make({rule: middle})(text)[0] is not None
            low, high = (middle, high) if dropped != (rule in pair.least) else (low, middle)
        found.append(low)
    return found[0], found[1]


def report(name: str, kind: str, texts: Sequence[Text]) -> Iterator[str]:
    pair = PAIRS[name]
    whole = compare(name, pair, pair.limits, texts)
    comparisons, limits = {"": whole}, {"": pair.limits}
    for rule, paper in pair.limits.items():
        limit = tightened(pair, rule, texts)
        label = f"{rule} {limit:.4g}" if paper else rule
        if math.isnan(limit):
            label, limit = f"{rule} {paper:g} (no limit drops {ENOUGH})", paper
        elif limit != paper:
            label += f" (paper: {paper:g})"
        limits[rule] = {rule: limit}
        comparisons[rule] = compare(label, pair, limits[rule], texts)
    yield f"| {name}, {kind} | pages | dropped by ours | by datatrove | agreement % | differ |"
    yield "|---|---|---|---|---|---|"
    yield from (comparison.row() for comparison in comparisons.values())
    yield ""
    yield from _first_rules(whole)
    for rule, comparison in comparisons.items():
        for number in comparison.disagreements:
            values = ""
            if pair.limits.get(rule):
                mine, other = measured(pair, rule, texts[number].text)
                values = f"; measured {mine:.6g} by ours, {other:.6g} by datatrove"
            said = f"{_said(comparison.ours[number])}, datatrove {_said(comparison.theirs[number])}"
            yield f"- {comparison.name}: {texts[number].url}: {said}{values}"
        if pair.edits:
            kept = [*zip(comparison.ours, comparison.theirs, strict=True)].count((None, None))
            apart = len(comparison.edited_apart)
            yield f"- {comparison.name}: of {kept} pages that both keep, {apart} have another text"
            for number in comparison.edited_apart[:ENOUGH]:
                yield f"  - {texts[number].url}: {_first_difference(pair, limits[rule], texts[number].text)}"
    yield ""


def _first_difference(pair: Pair, limits: Limits, text: str) -> str:
    sides = [make(limits)(text)[1].split("\n") for make in (pair.ours, pair.theirs)]
    mine, other = next(lines for lines in zip_longest(*sides, fillvalue="") if lines[0] != lines[1])
    return f"ours {mine[:60]!r}, datatrove {other[:60]!r}"


def _first_rules(whole: Comparison) -> Iterator[str]:
    """Both dropped: by which rule first? The order of the rules differs, so this is information, no fault."""
    seen: dict[tuple[str, str], int] = {}
    for mine, other in zip(whole.ours, whole.theirs, strict=True):
        if isinstance(mine, Drop) and isinstance(other, str):
            seen[mine.rule, other] = seen.get((mine.rule, other), 0) + 1
    if seen:
        pairs = ", ".join(f"{mine}/{other} {count}" for (mine, other), count in sorted(seen.items()))
        yield f"First rule where both drop (ours/datatrove): {pairs}.\n"


def _said(verdict: Verdict) -> str:
    if isinstance(verdict, Drop):
        return f"drops by {verdict.rule} ({verdict.measured})"
    return "keeps" if verdict is None else f"drops by {verdict}"


def seconds(run: Run, texts: Sequence[Text], repeats: int = 3) -> float:
    least = math.inf
    for _ in range(repeats):
        began = time.process_time()
        for text in texts:
            run(text.text)
        least = min(least, time.process_time() - began)
    return least


def here(kinds: dict[str, list[Text]], filters: Sequence[str], splitter: str) -> None:
    """In the environment that has datatrove: print the whole report."""
    times = ["| filter | ours, CPU ms a page | datatrove | datatrove / ours |", "|---|---|---|---|"]
    for name in filters:
        share_splitter(splitter, remembered=None)
        for kind in PAIRS[name].kinds:
            texts = kinds[kind]
            print("\n".join(report(name, kind, texts)), flush=True)
        share_splitter(splitter)
        pair, texts = PAIRS[name], kinds["main text"]
        mine, other = (seconds(make(pair.limits), texts) / len(texts) * 1000 for make in (pair.ours, pair.theirs))
        times.append(f"| {name} | {mine:.3f} | {other:.3f} | {other / mine:.1f} |")
    print("\n".join(times))


def stripped(text: str) -> str:
    """Lines without white space at either end, and never two blank ones in a row."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in text.split("\n"))).strip()


def extract_texts(patterns: Sequence[str]) -> dict[str, list[Text]]:
    """Main text, and all text: there the rules about repetition and lists find what main text seldom has."""
    if find_spec("resiliparse") is None:
        raise UserError("pages are extracted with resiliparse too, which is not installed: pip install resiliparse")
    from benchmarks.extraction import Extract
    from curation.extractors.resiliparse import Resiliparse
    from curation.extractors.trafilatura import Trafilatura
    from models.train_extractor import read_pages, text_of

    pages = list(read_pages(patterns))
    everything = Resiliparse(main_content=False, alt_texts=True, min_line_characters=0)
    extractors: dict[str, Extract] = {"main text": Trafilatura(), "all text": everything}
    kinds = {}
    for kind, extract in extractors.items():
        by_text: dict[str, Text] = {}
        for page in pages:
            if text := text_of(extract, page):
                by_text.setdefault(text, Text(page.url, text))
        kinds[kind] = list(by_text.values())
        print(f"{kind}: {len(kinds[kind])} texts of {len(pages)} pages", file=sys.stderr, flush=True)
    return kinds


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.compare_datatrove", description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=Path, help="the Python of an environment with datatrove 0.10.0")
    parser.add_argument("--warc", nargs="+", default=[], help="archives; globs are expanded")
    parser.add_argument("--texts", type=Path, help="JSON of the extracted texts: written, or read if it is there")
    parser.add_argument("--filters", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--splitter", choices=list(SPLITTERS), default="folded", help="how both sides cut words")
    parser.add_argument("--strip", action="store_true", help="strip every line first: only ours do so by themselves")
    parser.add_argument("--here", action="store_true", help="compare in this process, which has datatrove")
    arguments = parser.parse_args(argv)
    if arguments.here:
        change = stripped if arguments.strip else str
        loaded = json.load(sys.stdin)
        kinds = {kind: [Text(url, change(text)) for url, text in pairs] for kind, pairs in loaded.items()}
        here(kinds, arguments.filters, arguments.splitter)
        return 0
    if arguments.peer is None or not arguments.peer.exists():
        raise InputError("--peer names the Python of an environment that has datatrove")
    if arguments.texts is not None and arguments.texts.exists():
        texts = arguments.texts.read_text(encoding="utf-8")
    else:
        if not arguments.warc:
            raise InputError("--warc names the archives to take pages from")
        kinds = extract_texts(arguments.warc)
        texts = json.dumps({kind: [(text.url, text.text) for text in found] for kind, found in kinds.items()})
        if arguments.texts is not None:
            arguments.texts.write_text(texts, encoding="utf-8")
    root = Path(__file__).parents[1]
    command = [str(arguments.peer), "-m", "benchmarks.compare_datatrove", "--here", "--splitter", arguments.splitter]
    command += ["--strip"] if arguments.strip else []
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, "--filters", *arguments.filters], input=texts, encoding="utf-8", cwd=root, env=environment
    )
    if done.returncode:
        raise UserError(f"the comparison ended with status {done.returncode}: {arguments.peer} needs datatrove 0.10.0")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
