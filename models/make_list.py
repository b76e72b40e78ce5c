"""Make a list that filters can use: python -m models.make_list --name adult --folder ut1/adult --out MODELS

Reads plain text, gzipped or not, one entry a line, as block lists are published: UT1's folders with their files
`domains` and `urls`, hosts files (`0.0.0.0 name`), domains of ad blockers (`||name^`). What follows "#", and lines that
begin with "!", are comments. `{ filter = "url_blocklist", lists = ["adult"] }` compares URLs with what is written, and
`{ filter = "dirty_words", lists = "dirty" }` texts with the words of `list-dirty-LANGUAGE`; there an entry may be of
several words.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.lists import DOMAINS, KINDS, URLS, WORDS, keys
from curation.url import canonical_url, host, is_ip
from models.artifact import npy, write_artifact

_HOSTS_FILE = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+(\S+)")
_PLAIN = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")  # a host that is in its canonical form but for the case
_LEFT_OUT = frozenset({"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost"})
_CHUNK = 500_000  # lines between two signs of life


def make_list(
    name: str,
    models_dir: Path,
    *,
    domains: Sequence[Path] = (),
    urls: Sequence[Path] = (),
    words: dict[str, Sequence[Path]] | None = None,
    licence: str,
) -> dict[str, int]:
    """Write the artifact `models_dir/list-NAME` from files of entries; `words` has files by kind (`KINDS`).

    Returns how many entries of each kind it holds, and how many were `left_out`: a bare top-level domain (unless it is
    written with a dot, ".xxx"), a word without letters. Equal files in any order give equal bytes. Raises UserError.
    """
    counts = dict.fromkeys(("domains", "urls", *KINDS, "left_out"), 0)
    domain_keys, url_keys = keys(_domains(domains, counts)), keys(_urls(urls, counts))
    entries = {kind: sorted(_words(kind, (words or {}).get(kind, ()), counts)) for kind in KINDS}
    counts.update(domains=len(domain_keys), urls=len(url_keys), **{kind: len(entries[kind]) for kind in KINDS})
    if not any(count for kind, count in counts.items() if kind != "left_out"):
        raise UserError("no file holds an entry, so there is nothing to make a list of")
    files = [*domains, *urls, *(path for kind in KINDS for path in (words or {}).get(kind, ()))]
    write_artifact(
        models_dir / f"list-{name}",
        {
            DOMAINS: npy(domain_keys),
            URLS: npy(url_keys),
            WORDS: (json.dumps(entries, ensure_ascii=False, indent=0, sort_keys=True) + "\n").encode(),
        },
        kind="list",
        format="sorted 64-bit BLAKE2b keys of domains and canonical URLs (numpy); words (JSON)",
        licence=licence,
        origin="entries of " + ", ".join(sorted({"/".join(path.parts[-2:]) for path in files})),
        parameters=counts,
    )
    return counts


def _domains(paths: Sequence[Path], counts: dict[str, int]) -> Iterator[str]:
    for entry in _entries(paths):
        entry = entry.removeprefix("||").partition("^")[0]
        if match := _HOSTS_FILE.fullmatch(entry):
            entry = match[1]
        top = entry.startswith((".", "*."))
        name = entry.removeprefix("*").lstrip(".")
        name = name.lower() if _PLAIN.fullmatch(name) else host(name)
        if name in _LEFT_OUT or (not top and "." not in name and not is_ip(name)) or not name:
            counts["left_out"] += 1
        else:
            yield name


def _urls(paths: Sequence[Path], counts: dict[str, int]) -> Iterator[str]:
    for entry in _entries(paths):
        if host(entry):
            yield canonical_url(entry)
        else:
            counts["left_out"] += 1


def _words(kind: str, paths: Sequence[Path], counts: dict[str, int]) -> set[str]:
    found = set()
    for entry in _entries(paths):
        entry = re.sub(r"[-._\s]", "", entry.lower()) if kind == "substrings" else " ".join(entry.lower().split())
        if any(map(str.isalnum, entry)):
            found.add(entry)
        else:
            counts["left_out"] += 1
    return found


def _entries(paths: Iterable[Path]) -> Iterator[str]:
    """The lines of the files, without comments. Raises InputError."""
    for path in paths:
        try:
            with open(path, "rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
                with io.TextIOWrapper(stream, encoding="utf-8", errors="replace") as lines:
                    for number, line in enumerate(lines, 1):
                        entry = line.partition("#")[0].strip() if not line.startswith("!") else ""
                        if entry:
                            yield entry
                        if number % _CHUNK == 0:
                            _say(f"{path}: {number:,} lines")
        except (OSError, EOFError) as error:
            raise InputError(f"cannot read {path}: {error}") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _in_folder(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.make_list", description=__doc__.partition("\n")[0])
    parser.add_argument("--name", required=True, help="the list's name; the artifact is list-NAME")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of the model artifacts")
    parser.add_argument(
        "--folder", type=Path, action="append", default=[], help="a folder with files domains and urls, as UT1's are"
    )
    for option, what in (
        ("domains", "hosts; what is below one counts as well"),
        ("urls", "addresses; what is below one counts as well"),
        ("substrings", "words that count anywhere in a URL"),
        ("words", "words that count when they stand by themselves"),
        ("soft-words", "words that count when several stand in a URL"),
    ):
        parser.add_argument(f"--{option}", type=Path, action="append", default=[], metavar="FILE", help=what)
    parser.add_argument("--licence", default="that of the files it was made of", help="written into the manifest")
    arguments = parser.parse_args(argv)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", arguments.name):
        raise UserError(f"--name is of a-z, 0-9, _ and -, not {arguments.name!r}")
    domains, urls = list(arguments.domains), list(arguments.urls)
    for folder in arguments.folder:
        found = _in_folder(folder, "domains"), _in_folder(folder, "urls")
        if not any(found):
            raise InputError(f"{folder} holds no file called domains or urls")
        domains += found[0]
        urls += found[1]
    counts = make_list(
        arguments.name,
        arguments.out,
        domains=domains,
        urls=urls,
        words={kind: getattr(arguments, kind) for kind in KINDS},
        licence=arguments.licence,
    )
    _say(", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items() if count))
    _say(f"wrote {arguments.out / ('list-' + arguments.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
