"""What the extractor does to the speed of the whole pipeline: pages per CPU-second, by extractor.

    python -m benchmarks.extraction_pipeline --input 'sample/crawl-data/**/*.warc.gz' [--copies 4] [--until documents]

`python -m pipelines.run` over the same input with the same recipe, in which only the `extract` line differs: in-process
Beam, one worker. CPU time is that of the run and of every process that it started, by the kernel's account. What a run
over one page takes (imports of Beam and of the extractor, above all) is given as the start, and the second rate is
without it. The runs take turns, --repeats times, and each extractor's least times count. --copies puts every file in so
often, under other names, so that the start weighs less. Pages are all records that are not skipped by type.

With --recipe, --models and --until tokens, say, it is a recipe of one's own that is timed, as far as one likes.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from pipelines.sample_warc import Exchange, file_head, members

# What stands in the recipe for each.
EXTRACTORS = {
    "trafilatura fast": 'extract = "trafilatura", fast = true',
    "trafilatura default": 'extract = "trafilatura", fast = false',
    "resiliparse": 'extract = "resiliparse"',
    "winnow": 'extract = "winnow"',
}
REFERENCE = "trafilatura fast"
_LINE = re.compile(r'\{ *extract *= *"(?:trafilatura|resiliparse|winnow)"[^{}]*\}')
_PR_SET_CHILD_SUBREAPER = 36
_LAST_WORDS_S = 10.0  # for processes that outlive the run


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: its CPU seconds, with all its processes, and the books of its first stage."""

    seconds: float
    pages: int
    kept: int


def recipe_with(recipe: str, extractor: str) -> str:
    """The recipe's text with that extractor of web pages. Raises InputError for a recipe that has none."""
    path = Path(recipe)
    bundled = files("curation") / "recipes" / f"{recipe}.toml"
    if not path.is_file() and not bundled.is_file():
        raise InputError(f"there is no recipe {recipe}")
    text = path.read_text(encoding="utf-8") if path.is_file() else bundled.read_text(encoding="utf-8")
    changed, count = _LINE.subn(f"{{ {EXTRACTORS[extractor]} }}", text)
    if count != 1:
        raise InputError(f"{recipe} has {count} lines of the form {{ extract = ... }} for web pages, not one")
    return changed


def run(folder: Path, inputs: Path, recipe: str, extractor: str, models: str, until: str) -> Ran:
    """One run in `folder`, which is empty. Raises UserError when it fails."""
    (folder / "recipe.toml").write_text(recipe_with(recipe, extractor), encoding="utf-8")
    command = [sys.executable, "-m", "pipelines.run", "--runner=DirectRunner", "--workers=1", "--quiet"]
    command += [f"--recipe={folder}/recipe.toml", f"--input=commoncrawl={inputs}/*.gz", f"--output={folder}/run"]
    command += [f"--models={models}", *([f"--until={until}"] if until else [])]
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.extraction_pipeline", "--child", *command],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise UserError(f"the run with {extractor} failed: {done.stderr[-1000:]}")
    balances = [_records(path) for path in sorted((folder / "run/commoncrawl/documents/ledger").glob("*.json"))]
    pages = sum(balance["in"] - sum(balance["skipped"].values()) for balance in balances)
    return Ran(float(done.stdout), pages, sum(balance["kept"] for balance in balances))


def _records(ledger: Path) -> dict[str, Any]:
    balances: list[dict[str, Any]] = json.loads(ledger.read_text(encoding="utf-8"))["balances"]
    return next(balance for balance in balances if balance["unit"] == "records")


def copy_inputs(patterns: Sequence[str], copies: int, folder: Path) -> int:
    """Links to the files, each under so many names, in `folder`. Returns their bytes, all together."""
    names = sorted({name for pattern in patterns for name in glob(pattern, recursive=True) if Path(name).is_file()})
    if not names:
        raise InputError(f"{' '.join(patterns)}: there is no such file")
    folder.mkdir()
    for number, name in enumerate(names * copies):
        (folder / f"{number:05d}-{Path(name).name}").symlink_to(Path(name).resolve())
    return copies * sum(Path(name).stat().st_size for name in names)


def one_page(folder: Path) -> None:
    """An archive of one page, in `folder`."""
    folder.mkdir()
    html = f"<html><body><article>{'<p>The river rose in the night.</p>' * 20}</article></body></html>"
    exchange = Exchange(kind="page", url="http://example.org/", body=html.encode())
    (folder / "one.warc.gz").write_bytes(b"".join([file_head("one.warc.gz", 0), *members(exchange, 0, 1)]))


def table(ran: Mapping[str, Sequence[Ran]], starts: Mapping[str, Sequence[Ran]]) -> str:
    lines = [
        "| extractor | pages | kept | CPU s | of them the start | pages a CPU s | without the start | to trafilatura |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rates = {}
    for name, runs in ran.items():
        seconds, start = (min(r.seconds for r in some) for some in (runs, starts[name]))
        pages = runs[0].pages
        rates[name] = pages / max(seconds - start, 1e-9)
        ratio = f"{rates[name] / rates[REFERENCE]:.2f}" if REFERENCE in rates else ""
        cells = [f"{pages}", f"{runs[0].kept}", f"{seconds:.1f}", f"{start:.1f}", f"{pages / seconds:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {rates[name]:.1f} | {ratio} |")
    return "\n".join(lines)


def child(command: Sequence[str]) -> int:
    """Run it, wait for all that it leaves behind too, and print the CPU seconds of them all."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans become our children, to be waited for
    done = subprocess.run(command, stdout=sys.stderr)
    until = time.monotonic() + _LAST_WORDS_S
    with suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_utime + used.ru_stime)
    return done.returncode


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--child"]:
        return child(arguments[1:])
    parser = CommandLine(prog="python -m benchmarks.extraction_pipeline", description=__doc__.partition("\n")[0])
    parser.add_argument("--input", nargs="+", required=True, help="archives of web pages; globs are expanded")
    parser.add_argument("--recipe", default="tiny", help="a bundled recipe's name, or a .toml file")
    parser.add_argument("--until", default="documents", help="the last stage; '' for the whole way")
    parser.add_argument("--models", default="models-local", help="folder of model artifacts")
    parser.add_argument("--extractors", nargs="+", choices=list(EXTRACTORS), help="default: all that are there")
    parser.add_argument("--copies", type=int, default=1, help="how often each file is put in")
    parser.add_argument("--repeats", type=int, default=2, help="runs of which the fastest counts")
    asked = parser.parse_args(arguments)
    if min(asked.copies, asked.repeats) < 1:
        raise InputError("--copies and --repeats are at least 1")
    names = asked.extractors or [name for name in EXTRACTORS if _is_there(name)]
    for name in names:
        recipe_with(asked.recipe, name)
    ran: dict[str, list[Ran]] = {name: [] for name in names}
    starts: dict[str, list[Ran]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="winnow-") as temporary:
        folder = Path(temporary)
        one_page(folder / "one")
        size = copy_inputs(asked.input, asked.copies, folder / "all")
        print(f"{size / 1e6:.1f} MB of archives", file=sys.stderr)
        for turn in range(asked.repeats):
            for name in names:
                for kind, into in (("one", starts), ("all", ran)):
                    place = folder / f"{kind} {turn} {name}".replace(" ", "-")
                    place.mkdir()
                    until = asked.until if kind == "all" else "documents"
                    into[name].append(run(place, folder / kind, asked.recipe, name, asked.models, until))
                print(f"{name}: {ran[name][-1].seconds:.1f} CPU s", file=sys.stderr, flush=True)
    print(table(ran, starts))
    return 0


def _is_there(name: str) -> bool:
    word = name.partition(" ")[0]
    return find_spec(f"curation.extractors.{word}") is not None and (word == "winnow" or find_spec(word) is not None)


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
