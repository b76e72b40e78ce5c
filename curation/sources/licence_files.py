"""The licence of a file in a folder of source code: that of the nearest licence file, from its own folder upwards."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from curation import licences, spdx

MAX_BYTES = 1 << 20  # of a licence file that is read
_MOST_REMEMBERED = 16 << 20  # characters of the folders' paths, with _EACH for what else one takes
_EACH = 100
_DEEPEST = 64  # folders in one another; below, no licence is sure

_NAME = re.compile(r"(?:mit[-_]|un|bsd[-_])?licen[sc]es?(?:[-._ ].*)?|copying(?:[-._ ].*)?", re.IGNORECASE)
_TEXT_SUFFIX = re.compile(r"\.(?:txt|md|markdown|rst|html?)$", re.IGNORECASE)
_CODE_SUFFIX = re.compile(r"\.(?:[chrs]|cc|cpp|cs|css|go|java|js|json|jsx|kt|php|pl|py|pyi|rb|sh|ts|tsx|xml|ya?ml)$")
_MAIN = re.compile(r"(?:un)?licen[sc]e|copying", re.IGNORECASE)
_ONE_OF_SEVERAL = re.compile(
    r"(?:(?:licen[sc]e|copying)[-._ ](?:mit|apache|bsd|isc|zlib|[al]?gpl|mpl|cc0|unlicense|boost)[\w.-]*"
    r"|(?:mit|bsd)[-_]licen[sc]e)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\b(?:either|dual|your option|your choice|choose)\b", re.IGNORECASE)
_SHORT = 2_000  # characters of a file LICENSE that only says where the texts are


def is_licence_file(name: str) -> bool:
    """Does a file of this name (without folders) hold a licence?"""
    return bool(_NAME.fullmatch(name)) and not _CODE_SUFFIX.search(name)


def of_files(files: Mapping[str, str]) -> str:
    """What the licence files of one folder say together: name to text. "" if that is not sure.

    LICENSE and COPYING hold both. LICENSE-MIT beside LICENSE-APACHE is a choice, unless there is a LICENSE that says
    otherwise; other files, such as LICENSE-3RD-PARTY, count only where there is none of these.
    """
    main: list[str] = []  # texts
    choice: list[str] = []
    others: list[str] = []
    for name, text in sorted(files.items()):
        stem = _TEXT_SUFFIX.sub("", name)
        if _MAIN.fullmatch(stem):
            main.append(text)
        else:
            (choice if _ONE_OF_SEVERAL.fullmatch(stem) else others).append(licences.of_text(text))
    if main and not (choice and all(len(text) < _SHORT and _CHOICE.search(text) for text in main)):
        return spdx.all_of([licences.of_text(text) for text in main])
    if choice:
        return "" if "" in choice else spdx.any_of(choice)
    return spdx.all_of(others)


class Nearest:
    """Licences by folder, each asked for once.

    `in_folder` gives the licence that a folder's own files say, "" if that is not sure, or None if it has none; a
    repository ends at a folder for which `is_top` holds, or at the input's, which is "".
    """

    def __init__(self, in_folder: Callable[[str], str | None], is_top: Callable[[str], bool]) -> None:
        self._in_folder = in_folder
        self._is_top = is_top
        self._known: dict[str, str | None] = {}
        self._remembered = 0

    def of(self, path: str) -> str | None:
        """The licence of the file at a path. None: there is no licence file in its repository."""
        if path.count("/") > _DEEPEST:
            return ""
        return self._of_folder(path.rpartition("/")[0])

    def _of_folder(self, folder: str) -> str | None:
        climbed = []
        licence = None
        while True:
            if folder in self._known:
                licence = self._known[folder]
                break
            climbed.append(folder)
            licence = self._in_folder(folder)
            if licence is not None or not folder or self._is_top(folder):
                break
            folder = folder.rpartition("/")[0]
        size = sum(len(name) + _EACH for name in climbed)
        if self._remembered + size > _MOST_REMEMBERED:
            self._known.clear()
            self._remembered = 0
        self._remembered += size
        self._known.update(dict.fromkeys(climbed, licence))
        return licence


def in_checkouts(folder: Path, *, itself: bool = True) -> Nearest:
    """Of the files below a folder on disk; a repository's top holds `.git`. Links are not followed.

    `itself` is whether the licence files directly in `folder` hold for all that is below it.
    """

    def in_folder(name: str) -> str | None:
        if not name and not itself:
            return None
        texts = {}
        try:
            for entry in sorted(os.scandir(folder / name), key=lambda entry: entry.name):
                if is_licence_file(entry.name) and entry.is_file(follow_symlinks=False):
                    texts[entry.name] = read_text(Path(entry.path))
        except OSError:
            return ""  # it may hold one
        return of_files(texts) if texts else None

    return Nearest(in_folder, lambda name: os.path.lexists(folder / name / ".git"))


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """The text of a file's first `most` bytes; what of it is no UTF-8 is replaced.

    Raises OSError, also for what is no plain file: a link, a pipe.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):  # a pipe would never end
        raise OSError(f"no plain file: {path}")
    with open(path, "rb") as stream:
        return stream.read(most).decode("utf-8", "replace")
