"""Source code: rows of a BigQuery export, or the files of checkouts, of an archive of one, of installed packages.

A page's title is the path of its file and its licence an SPDX identifier or expression, "" where that is not sure.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from curation import bundle, source_files, spdx
from curation.document import Page, Skip
from curation.errors import DataError
from curation.sources import distributions, licence_files, rows
from curation.sources.given import Given, Value

FOLDERS = True  # a folder is one input, cut between its entries

# A column by the names that exports give it, the first that there is: BigQuery's `contents` and `files` and `licenses`
# of `bigquery-public-data.github_repos`, joined; The Stack; and plain words.
_NAMES: dict[str, tuple[str, ...]] = {
    "content": ("content", "contents", "code", "text"),
    "path": ("path", "sample_path", "file_path", "max_stars_repo_path", "filepath", "filename"),
    "licence": ("license", "licence", "licenses", "licences", "max_stars_repo_licenses", "detected_licenses"),
    "repo": ("repo_name", "sample_repo_name", "repo", "repository", "repository_name", "max_stars_repo_name"),
    "id": ("id", "blob_id", "hexsha"),
    "binary": ("binary", "is_binary"),
    "link": ("symlink_target", "sample_symlink_target"),
}  # fmt: skip
_COLUMNS = tuple(name for names in _NAMES.values() for name in names)

_REPO = re.compile(r"(?:https?://github\.com/)?([\w.-]+/[\w.-]+?)(?:\.git)?/?")
_BLOB = re.compile(r"[0-9a-f]{40}")
_METADATA = re.compile(r"(?:^|/)[^/]+\.(?:dist-info|egg-info)/")
_DIST_INFO = re.compile(r"[^/]+\.dist-info/(?:METADATA$|(?:licenses/)?[^/]+$)")
_MOST_LICENCE_TEXT = 32 << 20  # characters of all licence files of one archive, which are held together
_MOST_LICENCE_NAMES = 64 << 20  # characters of their paths, with _EACH for what else one takes
_EACH = 300


def read(given: Given) -> Iterator[tuple[str, Value]]:
    """A page for each row, or for each file that may be text; row numbers from 0 or paths as locators.

    Skips: `binary`, `link`, `device`, `git` (what git keeps for itself), `package_metadata`, `blank_line`. DataErrors:
    those of `rows` or `bundle`, `no_content`, `no_path`, `duplicate_path`.
    """
    if given.folder is None and rows.is_table(given.file):
        for locator, row in rows.rows(given, _COLUMNS):
            yield locator, _of_row(given, locator, row) if isinstance(row, dict) else row
    else:
        yield from _files(given)


def count(given: Given) -> int:
    if given.folder is None and rows.is_table(given.file):
        return rows.count(given)
    return bundle.count(given)


# Rows


def _of_row(given: Given, locator: str, row: Mapping[str, Any]) -> Value:
    content, path = _first(row, "content"), _first(row, "path")
    if _first(row, "binary") in (True, "true", "True"):
        return Skip("binary")
    if _first(row, "link"):
        return Skip("link")
    if not isinstance(content, str | bytes):
        return DataError("no_content", "the row has no content")
    if not isinstance(path, str) or not path.strip("/ "):
        return DataError("no_path", "the row does not say which file it is")
    repo = _REPO.fullmatch(str(_first(row, "repo") or ""))
    blob = str(_first(row, "id") or "")
    return Page(
        id=given.id(locator),
        url=f"https://github.com/{repo[1]}/blob/HEAD/{urllib.parse.quote(path.lstrip('/'))}" if repo else "",
        date="",
        digest=f"gitoid:blob:sha1:{blob}" if _BLOB.fullmatch(blob) else "",
        status=0,
        content_type="text/x-source",
        charset="" if isinstance(content, bytes) else "utf-8",
        body=content if isinstance(content, bytes) else content.encode("utf-8"),
        title=path.lstrip("/"),
        licence=_licence(_first(row, "licence")),
    )


def _first(row: Mapping[str, Any], column: str) -> Any:
    return next((row[name] for name in _NAMES[column] if row.get(name) is not None), None)


def _licence(field: Any) -> str:
    """Several licences of one repository hold together, as nobody says which file has which."""
    if isinstance(field, str):
        return spdx.of_field(field)
    if isinstance(field, list) and field and all(isinstance(name, str) for name in field):
        return spdx.all_of([spdx.of_field(name) for name in field])
    return ""


# Files


def _files(given: Given) -> Iterator[tuple[str, Value]]:
    licence_of = _of_folder(given) if given.folder is not None else _of_archive(given)
    for number, member in enumerate(bundle.members(given, lambda name: _unread(name) is None)):
        if not member.name and not isinstance(member.body, bytes):
            yield str(number), member.body
            continue
        name = member.name or given.file.rpartition("/")[2]  # "": the input is one file and no bundle
        locator = member.name or str(number)
        unread = _unread(name)
        if not isinstance(member.body, bytes) or unread is not None:
            yield locator, unread or member.body  # type: ignore[misc]
            continue
        yield locator, _page(given, locator, name, member.body, licence_of(name))


def _page(given: Given, locator: str, name: str, body: bytes, licence: str) -> Page:
    return Page(
        id=given.id(locator),
        url="",
        date="",
        digest="",
        status=0,
        content_type="text/x-source",
        charset="",
        body=body,
        title=name,
        licence=licence,
    )


def _unread(name: str) -> Skip | None:
    """Why a file of this name is not read."""
    if name.startswith(".git/") or "/.git/" in name or name == ".git" or name.endswith("/.git"):
        return Skip("git")
    if _METADATA.search(name):
        return Skip("package_metadata")
    if source_files.suffix(name) in source_files.BINARY_SUFFIXES:
        return Skip("binary")
    return None


def _of_folder(given: Given) -> Callable[[str], str]:
    """Licence files of the folder first, then what the installed package that a file belongs to says."""
    assert given.folder is not None
    installed = bool(distributions.names(given.folder))
    by_path = distributions.by_path(given.folder, given.entries) if installed else {}
    nearest = licence_files.in_checkouts(given.folder, itself=not installed)

    def licence_of(name: str) -> str:
        found = nearest.of(name)
        return by_path.get(name, "") if found is None else found

    return licence_of


def _of_archive(given: Given) -> Callable[[str], str]:
    """From the archive's licence files, which are read beforehand since they may lie behind the files."""
    texts: dict[str, dict[str, str]] = {}  # by folder
    wheel: dict[str, str] = {}  # those of the metadata folder of a Python package
    tops: set[str] = set()
    held = named = 0
    for member in bundle.members(given, _tells_licence, bundle.Limits(member_bytes=licence_files.MAX_BYTES)):
        folder, _, name = member.name.rpartition("/")
        if named > _MOST_LICENCE_NAMES:
            return lambda name: ""
        if "/.git/" in f"/{member.name}" or name == ".git":
            top = f"/{member.name}".partition("/.git")[0].lstrip("/")
            named += len(top) + _EACH if top not in tops else 0
            tops.add(top)
        if isinstance(member.body, Skip) or not _tells_licence(member.name):
            continue
        text = member.body.decode("utf-8", "replace") if isinstance(member.body, bytes) else ""
        named += len(member.name) + _EACH
        held += len(text)
        if held > _MOST_LICENCE_TEXT:
            text = ""  # so that it cannot be told
        (wheel if _METADATA.search(member.name) else texts.setdefault(folder, {}))[name] = text
    known = {folder: licence_files.of_files(files) for folder, files in texts.items()}
    if "METADATA" in wheel and "" not in known:
        known[""] = distributions.of_metadata(wheel.pop("METADATA"), wheel)
    nearest = licence_files.Nearest(known.get, tops.__contains__)
    return lambda name: nearest.of(name) or ""


def _tells_licence(name: str) -> bool:
    if _METADATA.search(name):
        base = name.rpartition("/")[2]
        return bool(_DIST_INFO.fullmatch(name)) and (base == "METADATA" or licence_files.is_licence_file(base))
    return licence_files.is_licence_file(name.rpartition("/")[2])
