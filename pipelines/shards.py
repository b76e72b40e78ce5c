"""Look at token shards, check them, take pages out of them, and hand out the text that they were made from.

python -m pipelines.shards verify RUN/shards
python -m pipelines.shards describe RUN/shards --at shard-00000:12345
python -m pipelines.shards takedown RUN --url https://example.org/page
python -m pipelines.shards export RUN --format parquet --out DIR
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from curation.errors import CommandLine, InputError, exit_on_user_error
from curation.shard_check import problems
from curation.token_shard import MANIFEST, Dataset
from curation.tombstones import Tombstones
from pipelines import shard_describe, shard_export, takedown
from pipelines.runner import parse_size

EVERY_S = 5.0


def parser() -> CommandLine:
    result = CommandLine(prog="python -m pipelines.shards", description="Token shards: docs/shards.md.")
    commands = result.add_subparsers(dest="command", required=True, parser_class=CommandLine, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="re-hash all of it, and check how it is put together",
        description="Read every byte of a dataset and say all that is wrong with it. Exit 0 if it is sound, 1 if it is"
        " damaged, 2 if there is no dataset.",
    )
    verify.add_argument("dataset", metavar="DIR", help="a dataset, or the run around it")
    verify.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="shards read at once")
    describe = commands.add_parser(
        "describe",
        help="what is in it; from a token to its page, from a page to its tokens",
        description="Say what is in a dataset. With --at, which document a token belongs to; with --url, --id or"
        " --host, every span of a document. Exit 1 if there is none.",
    )
    describe.add_argument("dataset", metavar="DIR", help="a dataset, or the run around it")
    describe.add_argument("--at", metavar="SHARD:OFFSET", help="a token, by its number in the shard")
    describe.add_argument("--json", action="store_true", help="as JSON")
    down = commands.add_parser(
        "takedown",
        help="take pages out of a run and its shards, for good",
        description="Lay tombstones: text is purged from the run's parts, spans in the shards are overwritten in place"
        " and masked from the loss, and no later run of this output keeps the pages. Given again, or without pages, it"
        " ends what was cut off. Exit 0 also where a page is nowhere to be found, which is said.",
    )
    down.add_argument("run", metavar="DIR", help="a run's output; or a dataset that has none around it")
    down.add_argument("--list", action="append", default=[], metavar="FILE", help="addresses, or a tombstones.jsonl")
    for command in (describe, down):
        command.add_argument("--url", action="append", default=[], help="address of a page, however it is written")
        command.add_argument("--id", action="append", default=[], help="a document's id")
        command.add_argument("--host", action="append", default=[], help="all of a host, and of those below it")
    export = commands.add_parser(
        "export",
        help="the kept text, with scores and where it came from",
        description="Write the text of a run's mixture, each document once, or of one stage.",
    )
    export.add_argument("run", metavar="DIR", help="a finished run, its dataset, or the folder of one stage")
    export.add_argument("--format", choices=shard_export.FORMATS, default=shard_export.FORMATS[0])
    export.add_argument("--out", type=Path, required=True, help="a folder, not there yet")
    export.add_argument(
        "--file-size", type=parse_size, default=shard_export.FILE_BYTES, help="text in a file, such as 512MiB"
    )
    export.add_argument("--mixture", action="store_true", help="with the epochs and the share of each row's source")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    return {"verify": _verify, "describe": _describe, "takedown": _take_down, "export": _export}[arguments.command](
        arguments
    )


def _verify(arguments: argparse.Namespace) -> int:
    directory, done, said = _dataset(arguments.dataset), 0, time.monotonic()

    def checked(name: str) -> None:
        nonlocal done, said
        done += 1
        if time.monotonic() - said > EVERY_S:
            said = time.monotonic()
            print(f"  {done} shards checked, {name} last", file=sys.stderr, flush=True)

    found = 0
    for problem in problems(directory, max(1, arguments.workers), checked):
        found += 1
        print(problem, flush=True)
    if found:
        print(f"{directory} is damaged: {found} problem{'s' * (found > 1)}", file=sys.stderr)
        return 1
    print(f"{directory} is sound: {done} shards, dataset {Dataset.open(directory).id}")
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    dataset = Dataset.open(_dataset(arguments.dataset))
    wanted = Tombstones.of(arguments.url, arguments.id, arguments.host)
    if arguments.at:
        place = shard_describe.at(dataset, arguments.at)
        print(_json(shard_describe.plain(place)) if arguments.json else shard_describe.show_place(place))
        return 0
    if not wanted:
        print(_json(shard_describe.summary(dataset)) if arguments.json else shard_describe.table(dataset))
        return 0
    spans = shard_describe.spans(dataset, wanted)
    if arguments.json:
        print(_json([shard_describe.plain(span) for span in spans]))
    for span in spans if not arguments.json else ():
        print(f"{shard_describe.show_span(span)}\n  {span.id}  {span.url}".rstrip())
    if not spans:
        print(f"no document of {dataset.directory} is any of these", file=sys.stderr)
    return 0 if spans else 1


def _take_down(arguments: argparse.Namespace) -> int:
    asked = Tombstones.of(arguments.url, arguments.id, arguments.host) | takedown.gather(arguments.list)
    print(takedown.take_down(arguments.run, asked, show=lambda line: print(f"  {line}", file=sys.stderr, flush=True)))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    options = shard_export.Options(arguments.format, arguments.file_size, arguments.mixture)
    about = shard_export.export(
        arguments.run, arguments.out, options, show=lambda line: print(f"  {line}", file=sys.stderr, flush=True)
    )
    print(f"{about['documents']:,} documents in {len(about['files'])} files under {arguments.out}")
    return 0


def _dataset(place: str) -> Path:
    """The dataset in a folder: that folder, or its `shards` if it is a run."""
    for directory in (Path(place), Path(place) / "shards"):
        if (directory / MANIFEST).is_file():
            return directory
    raise InputError(f"{place} holds no {MANIFEST}: not a dataset, or the pipeline that writes it has not finished")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
