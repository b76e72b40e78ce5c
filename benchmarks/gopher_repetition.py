"""What the repetition rules cost, beside datatrove's on the same texts, in one run: the ratio is the result.

    python -m benchmarks.gopher_repetition [--texts TEXTS.jsonl] [--repeats 3]

Run it with the Python of an environment that has datatrove (a throw-away one, with icu4py and numpy added); where there
is none, only ours is measured. TEXTS.jsonl: one {"text": ...} a line, the extracted text of real pages. Without it,
texts are drawn from a fixed seed: words by Zipf's law, 1,000 a page.

Each figure is the least process time of --repeats rounds over all texts. Two ratios: of the rules alone, both given the
words that our splitter found; and whole, each with its own splitter (datatrove's is spaCy's, where that is installed).
Verdicts are compared page by page with the words shared.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from curation.document import Document
from curation.errors import CommandLine, InputError, exit_on_user_error
from curation.filters.gopher_repetition import GopherRepetition
from curation.words import lines, paragraphs, split_words, words

_PEER = "datatrove.pipeline.filters.gopher_repetition_filter"


def synthetic(pages: int = 300, length: int = 1000) -> list[str]:
    """Texts of words by Zipf's law, fifteen a line."""
    draw = np.random.default_rng(1)
    vocabulary = ["".join(draw.choice(list("etaoinshrdlu"), draw.integers(2, 10))) for _ in range(20_000)]
    texts = []
    for _ in range(pages):
        ranks = np.minimum(draw.zipf(1.2, length), len(vocabulary)) - 1
        chosen = [vocabulary[rank] for rank in ranks]
        texts.append("\n".join(" ".join(chosen[start : start + 15]) for start in range(0, length, 15)))
    return texts


def read_texts(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as stream:
            return [str(json.loads(line)["text"]) for line in stream]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} does not hold one {{"text": ...}} a line: {error!r}') from None


def ours(texts: Sequence[str], *, split: bool) -> tuple[float, list[bool]]:
    """Seconds over all texts, and which of them are kept. Without `split`, the words are known beforehand."""
    rule = GopherRepetition()
    documents = [Document(id="web:f#0", url="", date="", digest="", text=text) for text in texts]
    spent, kept = 0.0, []
    for document in documents:
        for remembered in (words, lines, paragraphs):
            remembered.cache_clear()
        if not split:
            words(document.text)
        start = time.process_time()
        kept.append(rule(document) is document)
        spent += time.process_time() - start
    return spent, kept


def peers(texts: Sequence[str], *, split: bool) -> tuple[float, list[bool]]:
    """The same of datatrove's filter. Without `split`, it is handed the words that ours would have."""
    module: Any = importlib.import_module(_PEER)
    page: Any = importlib.import_module("datatrove.data").Document
    rule, own = module.GopherRepetitionFilter(), module.split_into_words
    known = {} if split else {text: split_words(text) for text in texts}
    spent, kept = 0.0, []
    try:
        if not split:
            module.split_into_words = lambda text, language: known[text]
        for text in texts:
            peer = page(text=text, id="0")
            start = time.process_time()
            kept.append(rule.filter(peer) is True)
            spent += time.process_time() - start
    finally:
        module.split_into_words = own
    return spent, kept


def best(run: Callable[[], tuple[float, list[bool]]], repeats: int) -> tuple[float, list[bool]]:
    rounds = [run() for _ in range(repeats)]
    return min(seconds for seconds, _ in rounds), rounds[0][1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.gopher_repetition", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=Path, help='JSONL with one {"text": ...} a line')
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args(argv)
    texts = read_texts(arguments.texts) if arguments.texts else synthetic()
    texts = [text for text in texts if split_words(text)]  # datatrove divides by the length of the text
    if not texts or arguments.repeats < 1:
        raise InputError("no text to measure on, or no round to measure in")
    print(f"{len(texts)} texts, {sum(map(len, texts)) / len(texts):,.0f} characters each")
    for label, split in (("rules alone", False), ("with splitting", True)):
        seconds, kept = best(lambda split=split: ours(texts, split=split), arguments.repeats)  # type: ignore[misc]
        print(f"{label}: ours {1e3 * seconds / len(texts):.3f} ms a page", end="")
        if find_spec("datatrove") is None or (split and find_spec("spacy") is None):
            print()
            continue
        theirs, peer_kept = best(lambda split=split: peers(texts, split=split), arguments.repeats)  # type: ignore[misc]
        print(f", datatrove {1e3 * theirs / len(texts):.3f} ms, ratio {theirs / seconds:.1f}", end="")
        same = sum(mine == other for mine, other in zip(kept, peer_kept, strict=True))
        print(f", verdicts equal {same}/{len(texts)}" if not split else "")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
