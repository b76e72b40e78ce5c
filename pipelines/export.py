"""Kept documents of one stage as JSON lines, for eyes and for other tools:

python -m pipelines.export RUN/commoncrawl/after-near --out pages.jsonl

What a whole run kept, in files for those who train elsewhere: `python -m pipelines.shards export`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from curation.document import Document
from curation.errors import CommandLine, exit_on_user_error
from pipelines.shard_export import kept_documents


def documents(stage: str) -> Iterator[Document]:
    """The kept documents of a finished stage, in order. Raises InputError if it is none."""
    return kept_documents(stage, show=lambda line: print(line, file=sys.stderr))


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m pipelines.export", description="Kept documents of a stage as JSON lines.")
    parser.add_argument("stage", help="folder of a finished stage, such as RUN/commoncrawl/after-near")
    parser.add_argument("--out", type=Path, help="the file to write (default: standard output)")
    arguments = parser.parse_args(argv)
    rows = documents(arguments.stage.rstrip("/"))
    if arguments.out is None:
        _write(rows, sys.stdout)
        return 0
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.out.with_name(arguments.out.name + ".partial")
    with partial.open("w", encoding="utf-8") as stream:
        _write(rows, stream)
    partial.replace(arguments.out)
    return 0


def _write(rows: Iterator[Document], stream: TextIO) -> None:
    for row in rows:
        values = {name: getattr(row, name) for name in Document.__dataclass_fields__}
        print(json.dumps(values, ensure_ascii=False), file=stream)


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
