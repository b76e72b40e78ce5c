"""Pages that nobody writes but machines, broken ones and enemies: each is one way to be slow, to grow or to crash.

`KINDS` gives for each name what makes the page, from a size: 1 is the size of the benchmark, less is for a test.
The bytes are the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from curation.document import Page

_SENTENCE = b"The river rose in the night, and by morning the lower houses of the town stood in brown water. "


@dataclass(frozen=True, slots=True)
class Kind:
    """`make(times)` gives the body; `times` is `count` at size 1. `charset` is what the HTTP header says."""

    make: Callable[[int], bytes]
    count: int
    charset: str = ""


def page(name: str, size: float = 1.0) -> Page:
    kind = KINDS[name]
    body = kind.make(max(1, round(kind.count * size)))
    return Page(
        id="hostile:page#0",
        url="http://hostile.example/",
        date="",
        digest="",
        status=200,
        content_type="text/html",
        charset=kind.charset,
        body=body,
    )


def _repeat(unit: bytes, before: bytes = b"<body>", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda times: before + unit * times + after


def _both(opened: bytes, inside: bytes, closed: bytes) -> Callable[[int], bytes]:
    return lambda times: b"<body>" + opened * times + inside + closed * times


def _numbered(unit: bytes, before: bytes = b"<body>", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda times: before + b"".join(unit % number for number in range(times)) + after


def _random(times: int) -> bytes:
    return random.Random(0).randbytes(times)


def _random_markup(times: int) -> bytes:
    pieces = (
        *(b"< > </ <p> <td\ta=' \" ' = & &# ; <table> </table> <td> <div> </div> </p> </a> <b> </b> <select>").split(),
        *(b"<svg> </svg> <!-- --> <!--x--> <script>x</script> <title>x</title> &lt; word </select> ]]>").split(),
        *(b"<a href='x'>", b"\0", b" "),
    )
    return b"<body>" + b"".join(random.Random(0).choices(pieces, k=times))


def _deep_text(times: int) -> bytes:
    return b"<body>" + b"".join(b"<div><p>%d %s</p>" % (number, _SENTENCE) for number in range(times))


def _sentences(times: int) -> bytes:
    return b"<html><body><p>" + _SENTENCE * times + b"</p></body></html>"


KINDS: dict[str, Kind] = {
    # Depth and tags that are never closed.
    "nested div, 100 thousand": Kind(_both(b"<div>", _SENTENCE, b"</div>"), 100_000),
    "nested div, 100 MB": Kind(_both(b"<div>", _SENTENCE, b"</div>"), 9_000_000),
    "unclosed p, 200 thousand": Kind(_repeat(b"<p>a"), 200_000),
    "unclosed div with text": Kind(_deep_text, 30_000),
    "unclosed everything": Kind(_repeat(b"<ul><li><table><tr><td><dl><dd><p><a href=x><b><i>a"), 20_000),
    "unclosed b and p": Kind(_repeat(b"<b><p>a"), 50_000),
    "crossed b i a": Kind(_repeat(b"<b><i><a href=x>a</b></i></a>"), 50_000),
    "nested a": Kind(_repeat(b"<a href=x>a<div>"), 50_000),
    "nested tables": Kind(_repeat(b"<table><tr><td>a"), 50_000),
    "nested inline, with text": Kind(_both(b"<span>word ", _SENTENCE, b"</span> word"), 50_000),
    "nested svg and math": Kind(_repeat(b"<svg><foreignObject><math><mtext>a"), 30_000),
    "wrong end tags": Kind(_both(b"<div>", b"", b"</span></p></x>"), 100_000),
    # Many of a kind.
    "br and comments, 200 thousand": Kind(_repeat(b"<!-- c --><br>"), 200_000),
    "paragraphs, 50 thousand": Kind(_repeat(b"<p>" + _SENTENCE[:60] + b"</p>"), 50_000),
    "rows, 30 thousand": Kind(_repeat(b"<tr><td>a<td>b<td>c</tr>", b"<body><table>"), 30_000),
    "rows, a million": Kind(_repeat(b"<tr><td>a<td>b<td>c</tr>", b"<body><table>"), 1_000_000),
    "cells of one row, a million": Kind(_repeat(b"<td>a", b"<body><table><tr>"), 1_000_000),
    "options, a million": Kind(_repeat(b"<option>a", b"<body><select>"), 1_000_000),
    "list items, a million": Kind(_numbered(b"<li>item %d</li>", b"<body><ul>"), 1_000_000),
    "links, 200 thousand": Kind(_numbered(b"<a href=/%d>link</a> "), 200_000),
    "empty elements, a million": Kind(_repeat(b"<p></p>"), 1_000_000),
    "different tags": Kind(_numbered(b"<t%d>a</t0>"), 200_000),
    "one letter a block": Kind(_repeat(b"<p>a<br>"), 500_000),
    # Tags that are long.
    "one tag, 50 thousand attributes": Kind(_numbered(b" a%d=b", b"<body><p", b">text</p>"), 50_000),
    "one tag, a million attributes": Kind(_numbered(b" a%d='b'", b"<body><p", b">text</p>"), 1_000_000),
    "one class of a million words": Kind(_numbered(b"word%d ", b"<body><p class='", b"'>text</p>"), 1_000_000),
    "one attribute of 20 MB": Kind(_repeat(b"x", b"<body><p title='", b"'>text</p>"), 20_000_000),
    "many classes on many tags": Kind(_repeat(b"<p class='" + b"a-b_cD " * 50 + b"'>a</p>"), 20_000),
    # What does not end.
    "open quote, many tags": Kind(_repeat(b"<p title='x>a</p>"), 200_001),
    "open comment": Kind(_repeat(b"<!-- a "), 1_000_000),
    "open comments that nearly end": Kind(_repeat(b"<!-- a --!- "), 500_000),
    "open script": Kind(_repeat(b"<script>var a = '</scrip>';"), 500_000),
    "open title and textarea": Kind(_repeat(b"<title>a</titl>"), 500_000),
    "less-than signs": Kind(_repeat(b"<"), 5_000_000),
    "less-than and slash": Kind(_repeat(b"</"), 2_500_000),
    "declarations": Kind(_repeat(b"<!DOCTYPE html [<![CDATA[<?xml"), 200_000),
    "broken off in a tag": Kind(_repeat(b"<p>" + _SENTENCE + b"</p>", b"<body>", b"<a href='http://x"), 20_000),
    # Character references.
    "ampersands": Kind(_repeat(b"&"), 5_000_000),
    "references": Kind(_repeat(b"&amp;&lt;&#x1F600;&#65;&eacute;"), 200_000),
    "references that are none": Kind(_repeat(b"&unknown;&#;&#x;&#99999999999;&ampersand"), 120_000),
    "one long reference": Kind(_repeat(b"9", b"<body><p>&#", b";text</p>"), 5_000_000),
    "references to controls": Kind(_repeat(b"&#0;&#1;&#x80;&#xD800;&#xFFFF;a"), 160_000),
    "entities of entities": Kind(
        _numbered(b'<!ENTITY e%d "&a;&a;&a;">', b'<!DOCTYPE h [<!ENTITY a "aaaa">', b"]><p>&e9;&e99;</p>"), 100_000
    ),
    # Characters.
    "one line of 10 MB": Kind(_sentences, 105_000),
    "one word of 10 MB": Kind(_repeat(b"a", b"<body><p>", b"</p>"), 10_000_000),
    "white space, 10 MB": Kind(_repeat(b" \n\t", b"<body><p>a", b"b</p>"), 3_300_000),
    "NUL bytes": Kind(_repeat(b"\0<p>a\0b</p>"), 400_000),
    "NUL bytes alone": Kind(_repeat(b"\0"), 5_000_000),
    "random bytes, 2 MB": Kind(_random, 2_000_000),
    "random markup": Kind(_random_markup, 1_000_000),
    "combining marks, 20 thousand": Kind(_repeat("\u0301\u0316".encode(), b"<p>a"), 10_000),
    "combining marks, 4 MB": Kind(_repeat("\u0301\u0316".encode(), b"<p>a"), 1_000_000),
    "combining marks as references": Kind(_repeat(b"&#x301;&#x316;", b"<p>a"), 300_000),
    "letters that become longer": Kind(_repeat("\ufdfa\u0390\u1fe7 ".encode(), b"<p>"), 500_000),
    "direction marks": Kind(_repeat("\u202ea\u202c\u200f".encode(), b"<p>"), 400_000),
    # Encodings that are not what is said.
    "UTF-16 said to be UTF-8": Kind(lambda times: _sentences(times).decode().encode("utf-16"), 20_000, "utf-8"),
    "Latin-1 said to be UTF-8": Kind(lambda times: _sentences(times).replace(b"o", b"\xf6"), 40_000, "utf-8"),
    "UTF-8 said to be EUC-KR": Kind(lambda times: _sentences(times).replace(b"o", "ö".encode()), 40_000, "euc-kr"),
    "Latin-1 said to be GB18030": Kind(lambda times: _sentences(times).replace(b"o", b"\xf6"), 40_000, "gb18030"),
    "half of each, nothing said": Kind(
        lambda times: _sentences(times).replace(b"o", b"\xf6") + "дом ".encode("cp1251") * times, 20_000
    ),
    "ISO-2022-JP escapes": Kind(_repeat(b"\x1b$B<p>\x1b(B"), 500_000, "iso-2022-jp"),
    "a charset that there is not": Kind(_sentences, 20_000, "x-no-such-charset"),
}
