"""Train the extractor of main text on a crawl: trafilatura labels its pages, and gold strings correct the labels.

    python -m models.train_extractor --warc 'crawl/*.warc.gz' [--gold GOLD.json] --name NAME --out MODELS

writes the artifact NAME, which a recipe names: `{ extract = "winnow", model = "NAME" }`. Pages are labelled with three
settings of trafilatura, whose agreement is how sure a label is, and once more for comments (0.1 s a page). Two looks at
each block are trained, the second on what the first says about pages of hosts that it has not seen; figures are of such
hosts too.

GOLD.json: {url: {"with": [strings of the main text], "without": [strings of what surrounds it]}}. Only the development
half of its hosts is used, and all pages of its other hosts, gold or not, are left out (docs/benchmarks.md).
"""

from __future__ import annotations

import glob
import hashlib
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.decode import decode_to_utf8
from curation.document import Document, Drop, Page
from curation.errors import CommandLine, DataError, InputError, UserError, exit_on_user_error
from curation.extractors.gates import HTML_TYPES
from curation.extractors.trafilatura import Trafilatura
from curation.main_text.model import FILE, to_bytes
from curation.main_text.scan import scan
from curation.records import read_range
from curation.url import registered_domain
from models.artifact import write_artifact
from models.fit_extractor import FOLDS, Example, fit
from models.main_text_labels import Gold, align, collapsed, correct, is_development, load_gold, mean_of, site_of

TEACHERS = {
    "fast": Trafilatura(),
    "default": Trafilatura(fast=False),
    "precision": Trafilatura(fast=False, favor_precision=True),
}
WITH_COMMENTS = Trafilatura(include_comments=True)
THRESHOLD = -0.2  # where F1 is best on the development half


def read_pages(patterns: Iterable[str]) -> Iterator[Page]:
    """The pages of these archives, files in order of their names; records that cannot be read are left out. Raises
    InputError for a pattern without a file, or a file that cannot be opened."""
    for pattern in patterns:
        names = sorted(glob.glob(pattern, recursive=True))
        if not names:
            raise InputError(f"{pattern}: there is no such file")
        for name in names:
            path = Path(name)
            try:
                size = path.stat().st_size
                stream = path.open("rb")
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None
            with stream:
                for record in read_range(stream, size, 0, size, "web", path.name):
                    if isinstance(record.value, Page):
                        yield record.value


def example(page: Page, gold: Gold | None) -> Example | None:
    """A page with its labels; None for one that has no text, or that is no text."""
    try:
        scanned = scan(decode_to_utf8(page.body, page.charset))
    except DataError:
        return None
    blocks = [scanned.block_text(number) for number in range(len(scanned.block_element))]
    if not blocks:
        return None
    by_teacher = {name: align(blocks, text_of(teacher, page)) for name, teacher in TEACHERS.items()}
    comments = align(blocks, text_of(WITH_COMMENTS, page)) - by_teacher["fast"] > 0.5
    labels, certain, trust = mean_of(by_teacher), np.zeros(len(blocks), np.bool_), 1.0
    if gold is not None:
        corrected = correct(blocks, labels, gold)
        labels, certain, trust = corrected.labels, corrected.certain, corrected.trust
    return Example(
        url=page.url,
        site=registered_domain(site_of(page.url)) or site_of(page.url),
        page=scanned,
        labels=labels,
        certain=certain,
        trust=trust,
        comments=comments,
        is_gold=gold is not None,
    )


def text_of(extract: Callable[[Page], Document | Drop], page: Page) -> str:
    """What an extractor takes for the main text; "" for a page that it drops or cannot read."""
    try:
        verdict = extract(page)
    except DataError:
        return ""
    return verdict.text if isinstance(verdict, Document) else ""


@dataclass(frozen=True, slots=True)
class Achieved:
    """Of pages whose hosts the models had not seen. `agreement` is with the teachers: F1 over bytes, mean of pages; the
    others are over all gold strings, as in benchmarks/extraction.py, and 0 without gold."""

    pages: int
    agreement: float
    gold_pages: int
    precision: float
    recall: float
    f1: float


def achieved(
    examples: Sequence[Example],
    log_odds: Sequence[NDArray[np.float64]],
    gold: Mapping[str, Gold],
    threshold: float,
) -> Achieved:
    """What blocks kept above `threshold` are worth; `log_odds` float64[blocks] of each example, by models that did not
    see its host."""
    found = wanted = unwanted = gold_pages = 0
    agreements = []
    for each, odds in zip(examples, log_odds, strict=True):
        kept = odds > threshold
        weight = (each.page.text_to - each.page.text_from).astype(np.float64)
        taught = each.labels > 0.5
        both = weight[kept].sum() + weight[taught].sum()
        agreements.append(2 * weight[kept & taught].sum() / both if both else 1.0)
        if each.url in gold:
            text = " ".join(collapsed(each.page.block_text(number)) for number in np.flatnonzero(kept).tolist())
            strings = gold[each.url]
            gold_pages += 1
            wanted += len(strings.present)
            found += sum(string in text for string in strings.present)
            unwanted += sum(string in text for string in strings.absent)
    precision = found / (found + unwanted) if found + unwanted else 0.0
    recall = found / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Achieved(len(examples), float(np.mean(agreements)), gold_pages, precision, recall, f1)


def collect(pages: Iterable[Page], gold: Mapping[str, Gold], most: int) -> list[Example]:
    """Examples of the first `most` HTML pages whose hosts are not those of gold that is kept for the report."""
    reserved = {site_of(url) for url in gold if not is_development(url)}
    examples: dict[str, Example] = {}
    for page in pages:
        if len(examples) >= most:
            break
        if site_of(page.url) in reserved or page.url in examples:
            continue
        if page.status not in (0, 200) or page.content_type not in HTML_TYPES:
            continue
        one = example(page, gold.get(page.url))
        if one is not None:
            examples[page.url] = one
            if len(examples) % 200 == 0:
                print(f"{len(examples)} pages labelled", file=sys.stderr, flush=True)
    return list(examples.values())


def _check_writable(folder: Path) -> None:
    """Raise InputError now, not after the training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out {folder}: {error.strerror}") from None


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.train_extractor", description=__doc__.partition("\n")[0])
    parser.add_argument("--warc", nargs="+", required=True, help="archives to learn from; globs are expanded")
    parser.add_argument("--gold", type=Path, help="JSON: {url: {with: [...], without: [...]}} of some of their pages")
    parser.add_argument("--pages", type=int, default=3000, help="learn from the first so many pages")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="log-odds above which a block is kept")
    parser.add_argument("--name", default="extractor", help="name of the artifact, and of the model in a recipe")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of models")
    arguments = parser.parse_args(argv)
    if arguments.pages < 1:
        raise UserError("--pages is at least 1")
    if not math.isfinite(arguments.threshold):
        raise UserError("--threshold is a finite number")
    if not re.fullmatch("[a-z0-9_][a-z0-9_-]*", arguments.name):
        raise UserError(f"--name is of a-z, 0-9, _ and -, not {arguments.name!r}")
    _check_writable(arguments.out)
    gold = load_gold(arguments.gold) if arguments.gold else {}
    examples = collect(read_pages(arguments.warc), gold, arguments.pages)
    sites = len({each.site for each in examples})
    if len({each.fold for each in examples}) < FOLDS:
        raise InputError(
            f"pages: {len(examples)}, sites: {sites}; too few to learn from: a dozen sites, and better hundreds"
        )
    print(f"{len(examples)} pages of {sites} sites", file=sys.stderr, flush=True)
    fitted = fit(examples, arguments.threshold, lambda line: print(line, file=sys.stderr, flush=True))
    result = achieved(examples, fitted.log_odds, gold, arguments.threshold)
    data = to_bytes(fitted.model)
    figures = {name: round(float(getattr(result, name)), 4) for name in Achieved.__dataclass_fields__}
    write_artifact(
        arguments.out / arguments.name,
        {FILE: data},
        kind="extractor",
        format="npz of curation.main_text.model",
        licence="Apache-2.0",
        origin=f"trafilatura's text of {len(examples)} pages of {sites} sites, {result.gold_pages} corrected by gold",
        parameters=figures,
    )
    print(f"pages of unseen sites: {figures}")
    print(f"{arguments.out / arguments.name / FILE}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
