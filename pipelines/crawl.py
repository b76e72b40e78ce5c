"""A crawl by its name: its files and the files of its index, in the order of its own listings."""

from __future__ import annotations

import gzip
import re
import zlib

from curation.errors import InputError
from pipelines.pace import PROCESS_RATE, Patience, RequestRate
from pipelines.remote import HttpFile, RemoteMissingError

CRAWL_ROOT = "https://data.commoncrawl.org"
KINDS = ("warc", "wet")
LISTING_BYTES = 64 << 20  # a crawl's listing is below 1 MB compressed and about 15 MB plain
_INDEX = "/subset=warc/"  # the other subsets are robots.txt files, and what is no successful response


def crawl_files(
    crawl: str,
    kind: str,
    first: int,
    last: int | None,
    root: str = CRAWL_ROOT,
    *,
    patience: Patience | None = None,
    rate: RequestRate = PROCESS_RATE,
) -> list[str]:
    """URLs of files [first, last) of a crawl such as CC-MAIN-2024-10; None is the end.

    `kind` is "warc", "wet", or "index" for the Parquet files of the columnar index that are about WARC files.
    InputError when the crawl, the kind or the range does not exist.
    """
    if kind not in (*KINDS, "index"):
        raise InputError(f"a crawl has files of kind {' and '.join(KINDS)}, not {kind!r}")
    if not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", crawl):
        raise InputError(f"{crawl!r} is not the name of a crawl; one looks like CC-MAIN-2024-10")
    root = root.rstrip("/")
    span = f"files {first}:{'' if last is None else last}"
    if first < 0 or (last is not None and last <= first):
        raise InputError(f"{span} is empty; the first number counts from 0 and the second is not included")
    url = f"{root}/crawl-data/{crawl}/{'cc-index-table' if kind == 'index' else kind}.paths.gz"
    try:
        # A person is waiting for this one: fewer tries than a worker makes.
        with HttpFile(url, patience=patience or Patience(tries=5), rate=rate) as listing:
            paths = _listed_paths(listing)
    except RemoteMissingError as error:
        raise InputError(f"there is no crawl {crawl} with {kind} files: {error}") from None
    if kind == "index":
        paths = [path for path in paths if _INDEX in path]
    if first >= len(paths) or (last is not None and last > len(paths)):
        raise InputError(f"{span} of {crawl} do not exist: it has {len(paths)} {kind} files, 0:{len(paths)}")
    return [f"{root}/{path}" for path in paths[first:last]]


def file_range(text: str) -> tuple[int, int | None]:
    """(first, last) of `--files A:B`; None where B is left out."""
    match = re.fullmatch(r"(\d+):(\d*)", text)
    if not match:
        raise InputError(f"--files is A:B, such as 0:100, not {text!r}")
    return int(match[1]), int(match[2]) if match[2] else None


def _listed_paths(listing: HttpFile) -> list[str]:
    try:
        with gzip.open(listing) as plain:
            text = plain.read(LISTING_BYTES + 1)
        if len(text) > LISTING_BYTES:
            raise InputError(f"{listing.name} is longer than {LISTING_BYTES} bytes, which no listing is")
        paths = text.decode("ascii").split()
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{listing.name} is not a gzipped list of paths: {error}") from None
    for path in paths:
        if path.startswith("/") or ":" in path or ".." in path:
            raise InputError(f"{listing.name} lists {path!r}, which is not a path below the crawl's root")
    return paths
