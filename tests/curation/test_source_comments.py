from __future__ import annotations

import re
import time

import pytest

from curation.source_comments import read_head
from tests.curation.licence_texts import body

NOTICE = "Copyright (c) 2020 Somebody\nLicensed under the MIT license."


def without(text: str, suffix: str) -> str:
    head = read_head(text, suffix)
    return head.without_licence + text[head.end :]


UNTOUCHED = {
    "directives of C": ("c", "#include <stdio.h>\n#define N 3\nint main(){}"),
    "a title of Markdown": ("md", "# Copyright 2020 Somebody\n\nLicensed under MIT.\n"),
    "a docstring": ("py", '"""Copyright 2020 Somebody. Licensed under MIT."""\nx = 1\n'),
    "shebang and encoding": ("py", "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\nx = 1\n"),
    "a comment on something else": ("py", "# Keeps the string as is.\n# It is available under /usr.\nx = 1\n"),
    "permission": ("py", "# A private module, which has the permission to use it.\nx = 1\n"),
    "a comment behind code": ("py", "x = 1\n# Copyright 2020 Somebody\n"),
    "what is no comment in C": ("c", "--copyright; # (c) 2020\n"),
    "what is no comment in SQL": ("sql", "// Copyright 2020 Somebody\n"),
    "pragmas": ("hs", "{-# LANGUAGE Copyright #-}\n{-# OPTIONS (c) 2020 #-}\nmodule M where\n"),
    "a build tag": ("go", "//go:build linux\n\n// Package x does y.\npackage x\n"),
    "an attribute": ("rs", "#![allow(copyright)]\nfn main() {}\n"),
    "PHP": ("php", "<?php\n# (c)\necho 1;\n"),
    "a language that is not known": ("xyz", "# Copyright 2020 Somebody\n"),
    "a block without end": ("c", "/* Copyright 2020 Somebody\nint x;\n"),
    "a rule of Julia": ("jl", "#=====\n# Title\n#=====\nx = [1 =# copyright 2020\n"),
    "comment of a megabyte": ("js", "// (c) 2020 " + "x" * (1 << 20)),
    "nothing": ("py", ""),
}


@pytest.mark.parametrize(("suffix", "text"), UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_stays(suffix: str, text: str) -> None:
    assert without(text, suffix) == text


def test_a_notice_goes_from_a_line_of_a_megabyte() -> None:
    assert without("/* (c) 2020 */" + "x" * (1 << 20), "js") == "x" * (1 << 20)


@pytest.mark.parametrize(
    ("suffix", "mark"),
    [
        *(
            ("py", "#"),
            ("c", "//"),
            ("sql", "--"),
            ("tex", "%"),
            ("el", ";;"),
            ("f90", "!"),
            ("f", "C"),
            ("bat", "REM"),
        ),
        *(
            ("lua", "--"),
            ("hs", "--"),
            ("rb", "#"),
            ("vb", "'"),
            ("vim", '"'),
            ("erl", "%%"),
            ("php", "//"),
            ("r", "#"),
        ),
    ],
)
def test_comments_to_the_end_of_the_line(suffix: str, mark: str) -> None:
    notice = re.sub("(?m)^", f"{mark} ", NOTICE)
    assert without(f"{notice}\n\nrest\n", suffix).lstrip("\n") == "rest\n"
    about = f"{mark} Computes the sum.\n"
    assert without(f"{notice}\n{mark} \n{about}rest\n", suffix) == f"{about}rest\n"
    assert without(f"{about}{mark} \n{notice}\nrest\n", suffix) == f"{about}rest\n"
    assert without(f"{about}{notice}\nrest\n", suffix) == f"{about}rest\n"


@pytest.mark.parametrize(
    ("suffix", "opening", "closing"),
    [
        *(("c", "/*", "*/"), ("java", "/**", "*/"), ("html", "<!--", "-->"), ("hs", "{-", "-}"), ("lua", "--[[", "]]")),
        *(("ml", "(*", "*)"), ("pas", "{", "}"), ("ps1", "<#", "#>"), ("rb", "=begin", "=end"), ("cmake", "#[[", "]]")),
    ],
)
def test_blocks(suffix: str, opening: str, closing: str) -> None:
    assert without(f"{opening}\n{NOTICE}\n{closing}\nrest\n", suffix) == "rest\n"
    assert without(f"{opening} {NOTICE} {closing}\nrest\n", suffix) == "rest\n"
    kept = without(f"{opening}\n{NOTICE}\n\nComputes the sum.\n{closing}\nrest\n", suffix)
    assert kept.split() == [opening, "Computes", "the", "sum.", *closing.split(), "rest"]
    kept = without(f"{opening} {NOTICE}\n\nComputes the sum.\n{closing}\nrest\n", suffix)
    assert kept.split() == [opening.replace("/**", "/*"), "Computes", "the", "sum.", *closing.split(), "rest"]


@pytest.mark.parametrize("id", ["MIT", "BSD-2-Clause", "BSD-3-Clause"])
@pytest.mark.parametrize("blank", ["\n", "#\n"])
def test_a_whole_licence(id: str, blank: str) -> None:
    """With its paragraphs in one comment, or in one each; set in columns, too."""
    for text in (body(id), body(id).replace(" ", "  ")):
        licence = "".join(blank if not line.strip() else f"# {line}\n" for line in text.split("\n"))
        start = f"#!/bin/sh\n# Copyright 2020 Somebody\n{blank}"
        assert (
            without(f"{start}{licence}\n# Does x.\nx=1\n", "sh").replace("\n\n", "\n") == "#!/bin/sh\n# Does x.\nx=1\n"
        )


def test_what_stands_before_a_licence_stays() -> None:
    text = "<?php\n/**\n * Does it.\n *\n * @license MIT\n */\nnamespace A;\n"
    assert without(text, "php") == "<?php\n/**\n * Does it.\n */\nnamespace A;\n"
    text = "#pragma once\n/* Copyright 2020 Somebody */\n#include <a>\n"
    assert without(text, "h") == "#pragma once\n#include <a>\n"
    text = "// Copyright 2020 The Authors. All rights reserved.\n\n//go:build linux\n\npackage x\n"
    assert without(text, "go") == "//go:build linux\n\npackage x\n"
    text = "# frozen_string_literal: true\n#\n# Copyright 2020 Somebody\n\nclass A\n"
    assert without(text, "rb") == "# frozen_string_literal: true\n\nclass A\n"


def test_what_programs_read_stays_inside_a_licence() -> None:
    text = "# Copyright 2020 Somebody\n# pylint: disable=all\n# Licensed under the MIT license.\nx = 1\n"
    assert without(text, "py") == "# pylint: disable=all\nx = 1\n"


def test_the_comments_of_a_head() -> None:
    head = read_head("#!/bin/sh\n# one\n\n# two\nx=1\n# three\n", "sh")
    assert head.comments.split() == ["#", "one", "#", "two"]
    assert head.end == len("#!/bin/sh\n# one\n\n# two\n")


HOSTILE = {  # and where the head ends, of which nothing goes
    "comments in one line": ("c", "/**/" * 16_000 + "x" * 950_000, 64_000),
    "comments and blanks": ("c", "/**/ " * 13_000 + " " * 900_000 + "x", 64_999),
    "comments that do not end": ("c", "/* " * 330_000, 0),
    "blank lines": ("c", "\n" * 1_000_000, 0),
    "empty comments": ("py", "#\n" * 500_000, 65_536),
    "one blank line": ("py", " " * 1_000_000 + "\n# (c) 2020 Somebody\n", 0),
}


@pytest.mark.parametrize(("suffix", "text", "end"), HOSTILE.values(), ids=HOSTILE)
def test_time_is_bounded(suffix: str, text: str, end: int) -> None:
    """What is read ends near the most that a head has, whatever follows; a tenth of the text takes as long."""
    before = time.process_time()
    head = read_head(text, suffix)
    assert time.process_time() - before < 5
    assert (head.end, head.without_licence) == (end, text[:end])


def test_a_head_ends() -> None:
    for suffix, line in (("py", "# a\n"), ("c", "/* a */\n"), ("c", "#pragma once\n")):
        head = read_head(line * 100_000, suffix)
        assert head.end == -(-65_536 // len(line)) * len(line)
    assert read_head("\n" * 65_535 + "# (c) 2020 Somebody\nx\n", "py").without_licence == ""
    late = "\n" * 65_536 + "# (c) 2020 Somebody\nx\n"
    assert without(late, "py") == late


@pytest.mark.parametrize(("length", "counts"), [(2000, True), (2001, False)])
def test_a_long_line_is_none_of_a_head(length: int, counts: bool) -> None:
    for ending, more in (("\n", "x\n"), ("", "")):
        line = "# (c) 2020 Somebody ".ljust(length - len(ending), "a") + ending
        assert read_head(line + more, "py").end == (length if counts else 0)
