"""Builds the sample: real web pages as a small crawl with known faults, and a piece of a Wikipedia dump.

    python -m pipelines.sample --out sample

The pages come from the wheel of formasaurus, the articles from the wheel of gensim (docs/sample.md). `crawl.json` says
what was put in, by kind and by fault, so that a run's funnel can be checked against it to the record.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.document import Page
from curation.errors import CommandLine, InputError, exit_on_user_error
from curation.sources.wikipedia import count_pages, read_dump
from models.fetch import wheel, wheel_member
from pipelines import sample_faults
from pipelines.sample_warc import CRAWL, Exchange, file_head, members, pick

VERSION = 1  # of what is put in; another version is built anew
FILES = 12  # that hold records; one more is empty
_SEGMENTS = 3

_PAGES = ("formasaurus", "0.10.0", "67296f19fe5cdb7c714795315a6a3cc010f61e803cb9ee8f8c61017f82af51bf")
_DUMP_MEMBER = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_DUMP = ("gensim", "4.4.0", _DUMP_MEMBER, "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d")
_DUMP_NAME = "wikipedia/enwiki-pages-articles-shard.xml.bz2"

_DECLARED = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_-]+)""", re.IGNORECASE)
# What browsers take these labels for (WHATWG Encoding Standard, section 4.2).
_CODECS = {"iso-8859-1": "cp1252", "euc-kr": "cp949", "gb2312": "gbk", "windows-31j": "cp932", "shift_jis": "cp932"}


def build(out: Path, pages_wheel: Path, dump: Path) -> dict[str, Any]:
    """Write the sample under `out` and return what crawl.json holds. Files of an earlier sample are replaced.

    Raises InputError when `out` cannot be written or the wheel holds no pages.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "crawl.json").unlink(missing_ok=True)
        shutil.rmtree(out / "crawl-data" / CRAWL, ignore_errors=True)
        pages = load_pages(pages_wheel)
        _say(f"{len(pages)} pages from {pages_wheel.name}")
        files, duplicates = plan(pages)
        report: dict[str, Any] = {"version": VERSION, "crawl": CRAWL, **_describe(files), "files": {}}
        names = [file_name(number) for number in range(len(files))]
        for number, (name, exchanges) in enumerate(zip(names, files, strict=True)):
            records = _write_file(out / name, name, number, exchanges)
            size = (out / name).stat().st_size
            report["files"][name] = {"bytes": size, "records": records}
            _say(f"file {number + 1} of {len(files)}: {records} records, {size / 1e6:.1f} MB")
        report["duplicates"] = [
            {"kind": kind, "url": url, "file": names[at], "of_url": of_url, "of_file": names[of_at]}
            for kind, url, at, of_url, of_at in duplicates
        ]
        report["wikipedia"] = _copy_dump(dump, out / _DUMP_NAME)
        _say(f"{report['wikipedia']['articles']} articles in {_DUMP_NAME}")
        _write(out / "crawl.json", (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot write the sample to {out}: {error.strerror or error}") from None
    return report


def is_built(out: Path) -> bool:
    """Is the whole sample of this version there?"""
    try:
        report = json.loads((out / "crawl.json").read_text(encoding="utf-8"))
        sizes = {name: file["bytes"] for name, file in report["files"].items()}
        sizes[_DUMP_NAME] = report["wikipedia"]["bytes"]
        return bool(report["version"] == VERSION) and all(
            (out / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def file_name(number: int) -> str:
    """Where a file lies, in the layout of Common Crawl."""
    segment = number * _SEGMENTS // (FILES + 1)
    return f"crawl-data/{CRAWL}/segments/1767225600.{segment}/warc/{CRAWL}-20260101000000-{number:05d}.warc.gz"


def load_pages(path: Path) -> list[Exchange]:
    """The pages of the formasaurus wheel in the order of their numbers, as their sites sent them."""
    folder = "formasaurus/data/"
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read(folder + "index.json").decode("utf-8"))
            order = sorted(index, key=lambda name: int(re.sub(r"\D", "", name)))
            return [_as_sent(index[name]["url"], archive.read(folder + name)) for name in order]
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} does not hold the pages of formasaurus ({error})") from None


def _as_sent(url: str, stored: bytes) -> Exchange:
    """The collectors stored most pages as UTF-8 and left the page's own declaration as it was.

    A page that declares another encoding, and can be written in it, is: so its bytes agree with it again. Otherwise it
    stays as it is, and the HTTP header tells the truth.
    """
    url = url.partition("#")[0]
    if url.count("/") == 2:
        url += "/"
    match = _DECLARED.search(stored, 0, 4096)
    label = match.group(1).decode("ascii").lower() if match else ""
    plain = ("text/html", "text/html; charset=utf-8", "text/html;charset=UTF-8", 'text/html; charset="utf-8"')
    content_type, body = plain[pick(len(plain), "type", url)], stored
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        content_type = "text/html"
    else:
        # A declaration that can be read byte by byte is not in UTF-16, whatever it says.
        if label not in ("", "utf-8", "utf8") and not stored.isascii():
            content_type = "text/html; charset=utf-8"
            try:
                body = stored if label.startswith("utf") else text.encode(_CODECS.get(label, label))
                if body is not stored:
                    content_type = "text/html" if pick(3, "silent", url) == 0 else f"text/html; charset={label}"
            except (LookupError, UnicodeEncodeError):
                pass
    encoding = ("", "", "", "gzip", "chunked", "gzip chunked", "stripped", "")[pick(8, "encoding", url)]
    return Exchange(kind="page", url=url, body=body, content_type=content_type, encoding=encoding)


Duplicate = tuple[str, str, int, str, int]  # kind, its url and file, url and file of what it repeats


def plan(pages: Sequence[Exchange]) -> tuple[list[list[Exchange]], list[Duplicate]]:
    """What goes into each file, in order, and which exchanges repeat another.

    Neighbours in the list of pages, often of one site, go to different files; a copy is always in another file.
    """
    files: list[list[Exchange]] = [list(pages[number::FILES]) for number in range(FILES)]
    copies = sample_faults.copies(pages)
    taken = {number for number, _ in copies}
    duplicates: list[Duplicate] = []
    inserts: list[tuple[int, Exchange]] = []
    for number, copy in copies:
        at, of_at = (number + 5) % FILES, number % FILES
        inserts.append((at, copy))
        if not copy.revisit:
            duplicates.append((copy.kind, copy.url, at, pages[number].url, of_at))
    inserts += [(pick(FILES, "file", extra.url), extra) for extra in sample_faults.extras()]
    _damage(files, taken, len(pages))
    for at, exchange in inserts:
        # Never last: where a file is truncated, the damaged record is.
        files[at].insert(pick(max(1, len(files[at])), "place", exchange.kind, exchange.url), exchange)
    return [*files, []], duplicates


def _damage(files: list[list[Exchange]], taken: set[int], count: int) -> None:
    """Mark the last page of one file truncated, and one in the middle of another; neither has a copy elsewhere."""
    for at, damage, part in ((FILES // 2 - 1, "truncated", 1.0), (FILES - 4, "flipped", 0.5)):
        free = [
            place for place in range(len(files[at])) if place * FILES + at not in taken and place * FILES + at < count
        ]
        if not free:
            continue
        place = free[min(len(free) - 1, int(len(free) * part))]
        exchange = replace(files[at].pop(place), damage=damage)
        files[at].insert(len(files[at]) if damage == "truncated" else place, exchange)


def _describe(files: list[list[Exchange]]) -> dict[str, Any]:
    exchanges = [exchange for file in files for exchange in file]
    heads = sum(1 for file in files if file)
    revisits = sum(exchange.revisit for exchange in exchanges)
    truncated = sum(exchange.damage == "truncated" for exchange in exchanges)
    records = {
        "warcinfo": heads,
        "request": len(exchanges),
        "response": len(exchanges) - revisits,
        "revisit": revisits,
        "metadata": len(exchanges) - truncated,
    }
    return {
        "records": {"total": sum(records.values()), **records},  # damaged ones too
        "exchanges": dict(sorted(Counter(exchange.kind for exchange in exchanges).items())),  # damaged ones too
        "urls_of_pages": len({exchange.url for exchange in exchanges if exchange.kind == "page"}),
        "bodies_of_pages": len({exchange.body for exchange in exchanges if exchange.kind == "page"}),
        "content_types": dict(sorted(Counter(exchange.content_type for exchange in exchanges).items())),
        "body_encodings": dict(sorted(Counter(exchange.encoding or "none" for exchange in exchanges).items())),
        "damages": {
            "empty_files": sum(1 for file in files if not file),
            "records": [
                {"damage": exchange.damage, "kind": exchange.kind, "url": exchange.url, "file": file_name(at)}
                for at, file in enumerate(files)
                for exchange in file
                if exchange.damage
            ],
        },
    }


def _write_file(path: Path, name: str, number: int, exchanges: Sequence[Exchange]) -> int:
    pieces = [file_head(name, number)] if exchanges else []
    for place, exchange in enumerate(exchanges, 1):
        pieces += members(exchange, number, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, b"".join(pieces))
    return len(pieces)


def _copy_dump(dump: Path, path: Path) -> dict[str, Any]:
    with dump.open("rb") as stream:
        pages = count_pages(stream)
    with dump.open("rb") as stream:
        articles = sum(isinstance(page, Page) for _, page in read_dump(stream, "wikipedia", _DUMP_NAME))
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, dump.read_bytes())
    return {"file": _DUMP_NAME, "bytes": path.stat().st_size, "pages": pages, "articles": articles}


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _say(line: str) -> None:
    print(f"sample: {line}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m pipelines.sample", description="Build the sample crawl of real pages.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write it to")
    parser.add_argument(
        "--cache", type=Path, help="folder for fetched files (default: $WINNOW_CACHE or ~/.cache/winnow)"
    )
    arguments = parser.parse_args(argv)
    if is_built(arguments.out):
        _say(f"{arguments.out} is complete; nothing to do")
        return 0
    pages = wheel(*_PAGES, cache=arguments.cache)
    dump = wheel_member(*_DUMP, cache=arguments.cache)
    report = build(arguments.out, pages, dump)
    total, kinds = report["records"]["total"], report["exchanges"]
    _say(f"{total} records in {len(report['files'])} files, {kinds['page']} pages; see {arguments.out / 'crawl.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
