"""Licences of installed Python packages: from their METADATA and licence files, for the files that RECORD lists."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from curation import licences, spdx
from curation.sources.licence_files import is_licence_file, of_files, read_text

_SUFFIX = ".dist-info"
_MAX_RECORD = 64 << 20  # bytes of a RECORD; PyTorch's has 2 MB
_MAX_HEADER = 1 << 20  # characters of a METADATA's fields
_FIELD = re.compile(r"^(License-Expression|License|Classifier|License-File):[ \t]*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)

_EXPRESSION = re.compile(r" (?:OR|AND) ")

# Classifiers that mean one licence. "BSD License" is two, "Apache Software License" has no version.
_CLASSIFIERS = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
}
# Classifiers that leave open which of these it is.
_FAMILIES = {
    "BSD License": ("0BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause"),
    "Apache Software License": ("Apache-1.1", "Apache-2.0"),
}


def names(folder: Path) -> list[str]:
    """The *.dist-info folders directly in `folder`, sorted."""
    return sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX) and (folder / name).is_dir())


def by_path(folder: Path, entries: Collection[str]) -> dict[str, str]:
    """Path to licence, of the installed files below these entries of a site-packages folder.

    A path that two distributions claim has a licence only where both have the same.
    """
    wanted = frozenset(entries)
    found: dict[str, str] = {}
    for name in names(folder):
        paths = [path for path in _recorded(folder / name) if path.partition("/")[0] in wanted]
        if paths:
            licence = of_distribution(folder / name)
            for path in paths:
                found[path] = licence if found.get(path, licence) == licence else ""
    return found


def of_distribution(info: Path) -> str:
    """The licence of the distribution that a *.dist-info folder describes; "" if it is not sure."""
    try:
        metadata = read_text(info / "METADATA")
        texts = {name: read_text(path) for name, path in _licence_files(info)}
    except OSError:
        return ""
    return of_metadata(metadata, texts)


def of_metadata(metadata: str, texts: dict[str, str]) -> str:
    """The same from the METADATA and the licence files beside it.

    `License-Expression` (PEP 639) decides. Else the licence's text, if nothing that is said beside it differs; else the
    field `License`, or a classifier that is clear.
    """
    header = metadata[:_MAX_HEADER].replace("\r\n", "\n").partition("\n\n")[0]
    fields = [(name, value.strip()) for name, value in _FIELD.findall(f"{header}\n")]
    for name, value in fields:
        if name == "License-Expression" or (name == "License" and _EXPRESSION.search(value) and len(value) < 200):
            return spdx.of_field(value)
    said = {spdx.of_field(value) or licences.of_text(value) for name, value in fields if name == "License"}
    classified = [
        value.rpartition(" :: ")[2] for name, value in fields if name == "Classifier" and "License ::" in value
    ]
    said |= {_CLASSIFIERS[value] for value in classified if value in _CLASSIFIERS}
    said.discard("")
    text = of_files(texts)
    if text and not _contradicts(text, said, classified):
        return text
    if len(said) == 1 and not text and not _contradicts(next(iter(said)), said, classified):
        return said.pop()
    return ""


def _contradicts(licence: str, said: Iterable[str], classified: Iterable[str]) -> bool:
    """Whether a field or a classifier means another licence, or one that we do not know."""
    terms = licence.split(" AND ")
    bases = {_base(term) for term in terms} | {_base(licence)}
    if any(_base(other) not in bases for other in said):
        return True
    for name in classified:
        if name not in _CLASSIFIERS and name != "OSI Approved" and not set(terms) & set(_FAMILIES.get(name, ())):
            return True
    return False


def _base(licence: str) -> str:
    """Without what a licence's text does not tell: which later versions hold too."""
    return re.sub(r"-(?:only|or-later)\b", "", licence)


def _licence_files(info: Path) -> list[tuple[str, Path]]:
    """(name, path), of those directly in `licenses` (PEP 639; those of vendored code lie below), or in the folder."""
    places = [info / "licenses", info]
    for place in places:
        if place.is_dir():
            found = [(name, place / name) for name in sorted(os.listdir(place)) if is_licence_file(name)]
            found = [(name, path) for name, path in found if path.is_file() and not path.is_symlink()]
            if found:
                return found
    return []


def _recorded(info: Path) -> list[str]:
    """The paths that a distribution's RECORD lists; none if it has none that can be read."""
    try:
        lines = read_text(info / "RECORD", _MAX_RECORD).splitlines()
        return [row[0] for row in csv.reader(lines) if row]
    except (OSError, csv.Error):
        return []
