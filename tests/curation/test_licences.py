from __future__ import annotations

import re
import time
from importlib import metadata

import hypothesis
import pytest
from hypothesis import strategies as st

from curation import spdx
from curation.licences import of_comment, of_text
from tests.curation.licence_texts import body, text

KNOWN = ("MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0")


@pytest.mark.parametrize("id", KNOWN)
def test_a_licence_by_its_text(id: str) -> None:
    assert of_text(text(id)) == id
    assert of_text(text(id).upper()) == id
    assert of_text(" ".join(text(id).split())) == id
    assert of_text(re.sub("(?m)^", " *  ", text(id))) == id
    assert of_text(f"Somebody's project\n\n{text(id)}\n\nhttps://example.org\n") == id


@pytest.mark.parametrize("id", KNOWN)
def test_any_part_of_a_licence_is_none(id: str) -> None:
    words = text(id).split()
    for start, end in ((0, len(words) // 2), (len(words) // 2, len(words)), (0, len(words) * 4 // 5)):
        assert of_text(" ".join(words[start:end])) == ""
    assert of_text(f"The {id} licence") == ""
    assert of_text("") == ""


@pytest.mark.parametrize(
    ("id", "after", "condition"),
    [
        ("MIT", "subject to the following conditions:", "The Software shall be used for Good, not Evil."),
        ("MIT", "the following conditions:", "It may not be sold as a service to third parties without our consent."),
        ("MIT", "free of charge", "for internal evaluation only"),
        ("BSD-2-Clause", "with the distribution.", "Redistributions must be free of any charge."),
        (
            "BSD-3-Clause",
            "prior written permission.",
            "No express or implied licenses to any party's patents are granted.",
        ),
        (
            "Apache-2.0",
            "6. Trademarks.",
            "You may not sell the Work. You may not offer the Work to others over a network.",
        ),
    ],
)
def test_a_further_condition_makes_it_another_licence(id: str, after: str, condition: str) -> None:
    pattern = r"\s+".join(map(re.escape, after.split()))
    changed, count = re.subn(pattern, f"{after} {condition}", text(id), count=1, flags=re.IGNORECASE)
    assert count == 1
    assert of_text(changed) == ""


@pytest.mark.parametrize("id", KNOWN)
@pytest.mark.parametrize(
    "beside",
    [
        "Parts of it are under the GNU General Public License.",
        "This project is dual licensed; for commercial use, contact us.",
        "Except the files in ee/, which are under another licence.",
        "Commons Clause: the grant of rights does not include the right to sell.",
        "The documentation is licensed under Creative Commons BY-NC.",
        "It bundles libfoo.",
        "word " * 200,
    ],
)
def test_what_stands_beside_a_licence(id: str, beside: str) -> None:
    assert of_text(f"{beside}\n\n{text(id)}") == ""
    assert of_text(f"{text(id)}\n\n{beside}") == ""


def test_holders_do_not_count() -> None:
    holders = "".join(f"Copyright (c) {2000 + n} Somebody of the Commercial Enterprise {n}\n" for n in range(100))
    assert of_text(f"{holders}All rights reserved.\n\n{body('MIT')}") == "MIT"


def test_two_licences_hold_together() -> None:
    assert of_text(f"{text('MIT')}\n\n{text('BSD-3-Clause')}") == "BSD-3-Clause AND MIT"
    assert of_text(f"{text('MIT')}\n\n{text('MIT')}") == "MIT"
    assert of_text(f"Choose either of these.\n{text('MIT')}\n\n{text('BSD-3-Clause')}") == ""


@pytest.mark.parametrize(
    ("title", "id"),
    [
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "GPL-3.0"),
        ("GNU General Public License\nVersion 2, June 1991", "GPL-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE Version 2.1", "LGPL-2.1"),
        ("Mozilla Public License Version 2.0", "MPL-2.0"),
        ("A program under a license of ours", ""),
        ("word " * 40 + "Mozilla Public License Version 2.0", ""),
    ],
)
def test_others_are_known_by_their_titles(title: str, id: str) -> None:
    assert of_text(f"{title}\n\nand its terms, which end here") == id


def test_mit_that_only_mentions_itself_in_the_gpl() -> None:
    gpl = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n" + "terms " * 300
    assert of_text(f"{gpl}\nSome files are under the MIT license:\n{text('MIT')}") == ""


def test_installed_packages_are_an_oracle() -> None:
    """Where metadata names one of our licences, the text of its only licence file is that one or not sure."""
    found: dict[str, list[str]] = {}
    for package in metadata.distributions():
        expression = package.metadata.get("License-Expression") or ""
        licences = [file for file in package.files or () if re.search(r"\.dist-info/.*LICEN[SC]E", str(file))]
        if expression in KNOWN and len(licences) == 1:
            found.setdefault(expression, []).append(of_text(licences[0].read_text(encoding="utf-8")))
    for expression, ids in found.items():
        assert set(ids) <= {expression, ""}
    everything = [id for ids in found.values() for id in ids]
    if len(everything) < 20:
        pytest.skip(f"too few to say how many are known: {len(everything)} packages with one licence file of ours")
    assert everything.count("") <= len(everything) // 8


@pytest.mark.parametrize(
    ("comment", "id"),
    [
        ("# Utilities for parsing\n", None),
        ("", None),
        ("// Copyright 2009 The Go Authors. Governed by a BSD-style\n// license that is found in LICENSE\n", None),
        ("# SPDX-License-Identifier: MIT\n", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */", "GPL-2.0-only WITH Linux-syscall-note"),
        ("<!-- SPDX-License-Identifier: Apache-2.0 -->", "Apache-2.0"),
        ("// SPDX-License-Identifier: (MIT OR GPL-2.0+)\n", "MIT"),
        ("// SPDX-License-Identifier: MIT AND Zlib\n", "MIT AND Zlib"),
        ("// SPDX-License-Identifier: MIT\n// SPDX-License-Identifier: GPL-2.0\n", "GPL-2.0 AND MIT"),
        ("// SPDX-License-Identifier: Proprietary\n", ""),
        ("# Licensed under the Apache License, Version 2.0", "Apache-2.0"),
        ("# Released under the MIT license.", "MIT"),
        ("# Distributed under the terms of the 3-clause BSD license", "BSD-3-Clause"),
        ("# Use of this source code is governed by the BSD 2-clause license found in LICENSE", "BSD-2-Clause"),
        ("# This is free software under the GNU General Public License, version 2", ""),
        ("# Dual licensed under the MIT and GPL licenses.", ""),
        ("# Licensed under the MIT license; parts are under the Apache License, Version 2.0", ""),
        ("# Proprietary and confidential.", ""),
        ("# A summit of limits and permits", None),
    ],
)  # fmt: skip
def test_comments(comment: str, id: str | None) -> None:
    assert of_comment(comment) == id


@pytest.mark.parametrize("id", ["MIT", "BSD-2-Clause", "BSD-3-Clause"])
def test_a_comment_with_the_whole_text(id: str) -> None:
    assert of_comment(re.sub("(?m)^", " * ", f"x.c: it computes x\n\n{text(id)}")) == id


def test_time_is_bounded() -> None:
    phrase = "permission is hereby granted free of charge to any person obtaining a copy "
    before = time.process_time()
    for hostile in (
        phrase * 5000,
        text("MIT")[:-200] * 300,
        "copyright " * 50_000,
        "licensed " * 50_000,
        "mit " * 90_000,
    ):
        of_text(hostile[:200_000])
        of_comment(hostile[:200_000])
    assert time.process_time() - before < 4


@pytest.mark.parametrize(
    ("field", "id"),
    [
        ("mit", "MIT"),
        ("apache-2.0", "Apache-2.0"),
        ("bsd-2-clause", "BSD-2-Clause"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("gpl-2.0", "GPL-2.0"),
        ("MIT License", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("new BSD", "BSD-3-Clause"),
        ("BSD", ""),
        ("Apache", ""),
        ("BSD-like", ""),
        ("GPL", ""),
        ("", ""),
        ("other", ""),
        ("see LICENSE", ""),
        ("https://opensource.org/licenses/MIT", ""),
        ("MIT OR Apache-2.0", "MIT"),
        ("Apache-2.0 OR BSD-3-Clause", "BSD-3-Clause"),
        ("Apache-2.0 or mit", "MIT"),
        ("MIT/Apache-2.0", "MIT"),
        ("GPL-3.0-only OR LGPL-2.1+", "GPL-3.0-only OR LGPL-2.1-or-later"),
        ("Zlib AND MIT", "MIT AND Zlib"),
        ("MIT AND MIT", "MIT"),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "MIT AND MPL-2.0"),
        ("Apache-2.0 WITH LLVM-exception", "Apache-2.0 WITH LLVM-exception"),
        ("GPL-2.0-only AND (MPL-2.0 OR EPL-2.0)", "(EPL-2.0 OR MPL-2.0) AND GPL-2.0-only"),
        ("MIT AND", ""),
        ("(MIT OR ISC", ""),
        ("MIT OR ISC)", ""),
        ("MIT Apache-2.0", ""),
        ("MIT AND Unknown-1.0", ""),
        ("MIT OR Unknown-1.0", ""),
        ("(" * 150 + "MIT OR ISC" + ")" * 150, ""),
        ("MIT " * 200, ""),
    ],
)
def test_fields(field: str, id: str) -> None:
    assert spdx.of_field(field) == id


def test_all_of_and_any_of() -> None:
    assert spdx.all_of([]) == ""
    assert spdx.all_of(["MIT", ""]) == ""
    assert spdx.all_of(["MIT", "BSD-3-Clause AND MIT"]) == "BSD-3-Clause AND MIT"
    assert spdx.any_of(["Apache-2.0", "MIT"]) == "MIT"
    assert spdx.any_of(["MPL-2.0", ""]) == ""
    assert spdx.any_of(["MPL-2.0"]) == "MPL-2.0"


_ID = r"\b(?!(?:AND|OR|WITH)\b)[A-Za-z0-9][A-Za-z0-9.+-]*"
_ATOM = re.compile(f"{_ID}(?: WITH {_ID})?")
_TOKENS = ("MIT", "GPL-2.0+", "Zlib", "ISC", "LLVM-exception", "and", *("AND", "OR", "WITH", "(", ")") * 2)


def is_expression(written: str) -> bool:
    """By taking away: an atom is a dot, a bracket around dots is a dot, and so are dots with operators between them."""
    left = _ATOM.sub(".", written)
    while (less := re.sub(r"\(\.\)|\. (?:AND|OR) \.", ".", left)) != left:
        left = less
    return left == "."


@hypothesis.example(["GPL-2.0", "WITH"])
@hypothesis.example(["(", "MIT", "WITH", ")", ")"])
@hypothesis.example(["MIT", "WITH", "AND", "ISC"])
@hypothesis.given(st.lists(st.sampled_from(_TOKENS), max_size=12))
def test_nothing_but_expressions_comes_out(tokens: list[str]) -> None:
    found = spdx.of_field(" ".join(tokens))
    assert found == "" or is_expression(found)


def test_what_an_expression_is() -> None:
    assert is_expression("((MIT OR ISC) AND Zlib) OR GPL-2.0 WITH x")
    for other in ("", "MIT WITH", "MIT ISC", "(MIT", "MIT AND", "OR", "MIT WITH AND ISC"):
        assert not is_expression(other)
