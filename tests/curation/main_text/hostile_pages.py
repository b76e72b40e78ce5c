"""Pages that would be slow in a parser that searches, repeats or nests."""

from __future__ import annotations

from collections.abc import Callable

Page = Callable[[int], bytes]


def _all(part: bytes) -> Page:
    return lambda size: (part * (size // len(part) + 1))[:size]


def _after(start: bytes, part: bytes) -> Page:
    return lambda size: start + _all(part)(size)


def _names(size: int) -> bytes:
    return b"".join(b"<x%d>" % number for number in range(size // 7))


PAGES: dict[str, Page] = {
    "nested elements": _all(b"<div>"),
    "nested formatting": _all(b"<b><i>"),
    "nested links": _all(b"<a href=x><div>"),
    "nested tables": _all(b"<table><tr><td>"),
    "nested names of its own": _names,
    "unclosed paragraphs": _all(b"<p>x"),
    "unclosed items": _all(b"<li>x<dd>"),
    "unclosed menus": _all(b"<option>x"),
    "items in depth": _after(b"<div>" * 200, b"<li>x"),
    "ends out of reach": _after(b"<p><table><td>" + b"<b>" * 200, b"</p>"),
    "ends over blocks": _after(b"<b>" + b"<div>" * 200, b"</b>"),
    "ends of nothing": _all(b"</div></p></b></x>"),
    "formatting over paragraphs": _all(b"<b><p></b>"),
    "rows": _all(b"<tr><td>1<td>2"),
    "one tag of attributes": _after(b"<a ", b"a=b "),
    "one class of words": _after(b'<a class="', b"aB c-"),
    "one style": _after(b'<a style="', b"display:non"),
    "one style of spaces": _after(b'<a style="d', b" "),
    "references": _all(b"&amp;&#1;"),
    "long references": _all(b"&CounterClockwiseContourIntegra"),
    "ampersands": _all(b"&"),
    "one number": _after(b"&#", b"1"),
    "comments": _all(b"<!----><br>"),
    "unclosed comments": _all(b"<!--"),
    "almost closed comment": _after(b"<!--", b"->"),
    "CDATA": _after(b"<math>", b"<![CDATA[x]]>"),
    "unclosed CDATA": _after(b"<math>", b"<![CDATA["),
    "less-than signs": _all(b"<"),
    "unclosed tags": _all(b"<a"),
    "scripts in a script": _after(b"<script><!--", b"<script>"),
    "almost closed script": _after(b"<script>", b"</scrip"),
    "almost closed title": _after(b"<title>", b"</titl"),
    "preformatted blanks": _after(b"<pre>", b" \n"),
    "preformatted lines": _after(b"<pre>", b"<div>x"),
    "breaks": _all(b"x<br>"),
    "zero bytes": _all(b"\0"),
    "spaces": _all(b" "),
    "licences": _all(b"<a rel=license href=b>"),
    "svg and paragraphs": _all(b"<svg><p>"),
}
