"""Names of licences: SPDX identifiers and expressions, and what fields of tables and packages write in their place."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

# What LLaMA-1 takes (Touvron et al. 2023, section 2.1: "MIT, BSD and Apache"), in the order of preference where a work
# offers a choice.
PERMISSIVE = ("MIT", "BSD-3-Clause", "BSD-2-Clause", "Apache-2.0")

_LONGEST_FIELD = 400  # characters; longer ones are texts

_IDS = """
    0BSD AFL-3.0 AGPL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-2.0 BSD-1-Clause
    BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 BUSL-1.1 CC-BY-3.0 CC-BY-4.0
    CC-BY-NC-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CECILL-2.1 CNRI-Python ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1
    EUPL-1.2 GPL-1.0 GPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0-only GPL-3.0-or-later HPND ICU ISC LGPL-2.0
    LGPL-2.1 LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only LGPL-3.0-or-later LPPL-1.3c MIT MIT-0 MIT-CMU
    MPL-1.1 MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NCSA OFL-1.1 OpenSSL PHP-3.01 PSF-2.0 PostgreSQL Python-2.0 Ruby SSPL-1.0
    Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 Vim W3C WTFPL X11 ZPL-2.1 Zlib
"""
_KNOWN = {id.lower(): id for id in _IDS.split()}

# Names that mean one licence only, by their words. "BSD" and "Apache" alone leave open which.
_NAMES = {
    "MIT": ("mit", "expat", "mit license", "the mit license", "mit license mit", "the mit license mit", "mit expat"),
    "Apache-2.0": (
        *("apache 2", "apache 2 0", "apache license 2", "apache license 2 0", "apache license version 2"),
        *("apache license version 2 0", "apache software license 2 0", "apache software license version 2 0"),
        *("asl 2 0", "al2", "apache license v2 0", "apache v2", "apache 2 0 license", "the apache license version 2 0"),
        "apache license v2",
    ),
    "BSD-3-Clause": (
        *("bsd 3", "bsd 3 clause", "3 clause bsd", "bsd 3 clause license", "3 clause bsd license", "new bsd"),
        *("new bsd license", "modified bsd", "modified bsd license", "the bsd 3 clause license", "bsd new"),
        *("bsd license 3 clause", "revised bsd", "bsd three clause license"),
    ),
    "BSD-2-Clause": (
        *("bsd 2", "bsd 2 clause", "2 clause bsd", "bsd 2 clause license", "2 clause bsd license", "simplified bsd"),
        *("simplified bsd license", "freebsd", "the bsd 2 clause license"),
    ),
    "ISC": ("isc", "isc license", "isc license iscl", "the isc license"),
    "MPL-2.0": ("mpl 2", "mpl 2 0", "mozilla public license 2 0", "mozilla public license 2 0 mpl 2 0"),
    "GPL-3.0-only": ("gnu general public license v3 gplv3", "gplv3"),
    "GPL-3.0-or-later": ("gnu general public license v3 or later gplv3", "gplv3"),
    "GPL-2.0-only": ("gnu general public license v2 gplv2", "gplv2"),
    "LGPL-2.1-or-later": ("gnu lesser general public license v2 or later lgplv2", "lgpl 2 1"),
    "PSF-2.0": ("psf 2 0", "python software foundation license"),
    "Unlicense": ("unlicense", "the unlicense", "the unlicense unlicense"),
    "Zlib": ("zlib", "zlib libpng license"),
}
_BY_NAME = {name: id for id, names in _NAMES.items() for name in names}

_WORD = re.compile(r"\w+")


@functools.lru_cache(maxsize=4096)
def of_field(field: str) -> str:
    """The licence that a field of a table or of a package's metadata names: an identifier, an expression, a name.

    Of a choice (`MIT OR GPL-2.0`) the permissive part is taken, since that is whoever takes the text to choose; of what
    holds together (`MIT AND Zlib`) nothing can be left out.
    """
    if len(field) > _LONGEST_FIELD:
        return ""
    field = re.sub(r"(?<=[\w.])/(?=[A-Za-z])", " OR ", field)  # Cargo's old way to write a choice
    name = " ".join(_WORD.findall(field.lower()))
    if name in _BY_NAME:
        return _BY_NAME[name]
    name = re.sub(r"^the | licen[sc]e$", "", name)
    if name in _BY_NAME:
        return _BY_NAME[name]
    try:
        return _expression(field)
    except ValueError:
        return ""


def all_of(licences: Sequence[str]) -> str:
    """What holds where each of these does: `A AND B`, sorted. "" if one of them is not known, or there are none."""
    terms = {term for licence in licences for term in (licence.split(" AND ") if " OR " not in licence else [licence])}
    return "" if "" in terms else " AND ".join(f"({term})" if " OR " in term else term for term in sorted(terms))


def any_of(licences: Sequence[str]) -> str:
    """What is chosen of these: the permissive one, the first in the order of `PERMISSIVE`, else `A OR B`."""
    chosen = next((id for id in PERMISSIVE if id in licences), "")
    if chosen or len(set(licences)) < 2:
        return chosen or "".join(set(licences))
    return "" if "" in licences else " OR ".join(f"({id})" if " AND " in id else id for id in sorted(set(licences)))


_TOKEN = re.compile(r"[()]|[A-Za-z0-9][A-Za-z0-9.+-]*")
_NO_EXCEPTION = ("", "(", ")", "AND", "OR", "WITH")  # "" is behind the last token


def _expression(text: str) -> str:
    """An SPDX licence expression in a form of its own. Raises ValueError if it is none, or has unknown identifiers."""
    if _TOKEN.sub("", text).strip():
        raise ValueError(text)
    tokens = iter([*_TOKEN.findall(text), ""])
    value, last = _alternatives(next(tokens), tokens, 0)
    if last:
        raise ValueError(text)
    return value


def _alternatives(token: str, tokens: Iterator[str], depth: int) -> tuple[str, str]:
    """(value, the token behind it)."""
    parts = []
    while True:
        value, token = _conjunction(token, tokens, depth)
        parts.append(value)
        if token.upper() != "OR":
            return any_of(parts), token
        token = next(tokens)


def _conjunction(token: str, tokens: Iterator[str], depth: int) -> tuple[str, str]:
    parts = []
    while True:
        if token == "(" and depth < 10:
            value, token = _alternatives(next(tokens), tokens, depth + 1)
            if token != ")":
                raise ValueError("a bracket is open")
            token = next(tokens)
        else:
            value = _identifier(token)
            token = next(tokens)
            if token.upper() == "WITH":
                exception = next(tokens)
                if exception.upper() in _NO_EXCEPTION:
                    raise ValueError(f"no exception: {exception!r}")
                value, token = f"{value} WITH {exception}", next(tokens)
        parts.append(value)
        if token.upper() != "AND":
            return all_of(parts), token
        token = next(tokens)


def _identifier(token: str) -> str:
    name = token.lower()
    if name.endswith("+"):
        name = f"{name[:-1]}-or-later"
    if name not in _KNOWN:
        raise ValueError(token)
    return _KNOWN[name]
