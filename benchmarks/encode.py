"""How fast is each encoder, and are its ids the same?

    python -m benchmarks.encode --tokenizer tokenizer.model FILE...

FILE is text, or the Parquet of a stage's kept documents (a row is a document). The library that defines the tokenizer's
format runs over all of them, then the fast encoder; their ids are compared, document by document, and decoded. Exit
status 1 if any differ, or do not come back as the text.

MB are 10^6 bytes of UTF-8, and seconds are of CPU, in all threads. The first pass meets each word for the first time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation.errors import CommandLine, InputError, exit_on_user_error
from models.tokenizer import Tokenizer

PASSES = 2
DOCUMENT = 20_000  # characters of a text file that are taken for one document


def read(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        try:
            if path.suffix == ".parquet":
                yield from pq.read_table(path, columns=["text"])["text"].to_pylist()
            else:
                text = path.read_text(encoding="utf-8", errors="replace")
                yield from (text[at : at + DOCUMENT] for at in range(0, len(text), DOCUMENT))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from None


def resident() -> float:
    """MB of memory that this process holds now. Only Linux tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return float("nan")


def measure(encode: Callable[[str], np.ndarray], texts: Sequence[str]) -> tuple[float, int]:
    """CPU seconds, and tokens, of one pass."""
    started, tokens = time.process_time(), 0
    for text in texts:
        tokens += len(encode(text))
    return time.process_time() - started, tokens


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.encode", description="MB/s of each encoder, ids compared.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--tokenizer", type=Path, required=True, help="any file that pipelines.run --tokenizer takes")
    arguments = parser.parse_args(argv)
    texts = list(read(arguments.files))
    size = sum(len(text.encode()) for text in texts) / 1e6
    if not size:
        raise InputError("the files hold no text")
    tokenizers = [Tokenizer.load(arguments.tokenizer)]
    fast = Tokenizer.load(arguments.tokenizer, fast=True)
    if fast.encoder != tokenizers[0].encoder:
        tokenizers.append(fast)
    print(f"{arguments.tokenizer}: {fast.format}, {fast.vocabulary} ids; {len(texts)} documents, {size:.1f} MB")
    print(
        f"{'encoder':<22}{'first MB/s':>11}{'then MB/s':>11}{'tokens':>13}{'MB added':>10}{'documents that differ':>23}"
    )
    differing = 0
    for tokenizer in tokenizers:
        before = resident()
        seconds, tokens = zip(*(measure(tokenizer.encode, texts) for _ in range(PASSES)), strict=True)
        added = resident() - before
        wrong = sum(not np.array_equal(tokenizer.encode(text), tokenizers[0].encode(text)) for text in texts)
        differing += wrong
        rates = "".join(f"{size / max(second, 1e-9):>11.1f}" for second in (seconds[0], seconds[-1]))
        print(f"{tokenizer.encoder:<22}{rates}{tokens[0]:>13,}{added:>10.0f}{wrong:>23}", flush=True)
    lost = sum(fast.decode(fast.encode(text)) != text for text in texts)
    print(f"{lost} documents do not come back as they were")
    return 1 if differing or lost else 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
