from __future__ import annotations

import html
import re
from html.entities import html5

import numpy as np
import pytest
from lxml.html import document_fromstring

from curation.main_text import layout
from curation.main_text.scan import Scan, scan
from curation.main_text.tags import KINDS, TAGS, hash_word


def texts(page: str | bytes) -> list[str]:
    found = scan(page)
    return [found.block_text(i) for i in range(len(found.kind))]


def tree(page: str) -> str:
    """The elements as `p(b) p`; `?` for names that are not in TAGS."""
    found = scan(page)

    def children(i: int) -> str:
        parts, child = [], i + 1
        while child < found.end[i]:
            inner = children(child)
            parts.append((TAGS[found.tag[child]] or "?") + (f"({inner})" if inner else ""))
            child = int(found.end[child])
        return " ".join(parts)

    return children(0)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("", []),
        ("a", ["a"]),
        (" \n a\t\r\n b ", ["a b"]),
        ("<p>a<p>b", ["a", "b"]),
        ("<p>a</p>b", ["a", "b"]),
        ("<p> </p><p>&nbsp;</p><p>&#x200B;\u00ad</p>", []),
        ("<b>a</b> <i>b</i>c", ["a bc"]),
        ("a<br>b<br/>c</br>d", ["a\nb\nc\nd"]),
        ("a <br> b", ["a\nb"]),
        ("a<br><br>b", ["a", "b"]),
        ("a<br> \n&nbsp;<BR>b", ["a", "b"]),
        ("a<br><b>b</b><br>c", ["a\nb\nc"]),
        ("<br>a<br>", ["a"]),
        ("a<hr>b", ["a", "b"]),
        ("a<wbr>b<span>c</span>d<img>e", ["abcde"]),
        ("a<!-- x -->b<!--->c<!---->d<!-- > -- --!>e<!-x>f<!DOCTYPE x>g<?php x ?>h", ["abcdefgh"]),
        ("a<!--[if IE]><p>b</p><![endif]-->c<![if !IE]>d<![endif]>", ["acd"]),
        ("a<!-- b", ["a"]),
        ("a<![CDATA[b]]>c", ["ac"]),
        ("<math><mi>a</mi><![CDATA[<b> > ]]c]]>d</math>", ["a<b> > ]]cd"]),
        ("a < b <3 c<", ["a < b <3 c<"]),
        ("a</>b</3>c</", ["abc</"]),
        ("a<b", ["a"]),
        ("a<b c='>", ["a"]),
        ('<p ="a>b">c', ['b">c']),
        ("<a href=1>a</a><a href=2>b</a>", ["a b"]),
        ("<a>a</a><a>b</a>", ["ab"]),
        ("<label>a</label><input><label>b</label>", ["a b"]),
        ("<button>a</button><button>b</button>", ["a", "b"]),
        ("<p>a <button>b</button>, c", ["a b , c"]),
        ("<x-y>a</x-y><x-y>b</x-y><p>c<x-y>d</x-y>e", ["a", "b", "cde"]),
        ("<table><tr><td>a<td>b<tr><th>c</table>d", ["a", "b", "c", "d"]),
        ("<select><option>a<option>b</select>", ["a", "b"]),
        ("<dl><dt>a<dd>b<dt>c</dl>", ["a", "b", "c"]),
        ("<div hidden>a</div><span style='Display : NONE'>b</span>c", ["a", "b", "c"]),
        ("<p>a <span style='visibility:hidden'>b</span>c", ["a c"]),
        ("<p>a <span aria-hidden=true>b</span>c", ["a bc"]),
        ("<script>a</script>b<style>c</style>d<title>e</title>f", ["bdf"]),
        ("<script>'</scripty>' </script >a", ["a"]),
        ("<script><!-- <script> </script> --></script>a", ["a"]),
        ("<script><!-- </script>a", ["a"]),
        ("<script><!-- <script> --></script>a", ["a"]),
        ("<SCRIPT>a", []),
        ("<svg><title>a</title><text>b</text></svg>c", ["c"]),
        ("<svg><path><p>a", ["a"]),
        ("<template>a</template><template shadowrootmode=open>b</template>c", ["bc"]),
        ("<noscript>a</noscript><iframe><p>b</iframe><noframes>c</noframes>", ["a"]),
        ("<ruby>a<rp>(</rp><rt>b</rt><rp>)</rp></ruby>c", ["ac"]),
        ("<textarea>\n a &lt; <b>\n</textarea>c", [" a < <b>", "c"]),
        ("<xmp><b>&amp;</xmp>c", ["<b>&amp;", "c"]),
        ("a<plaintext>b</plaintext>", ["a", "b</plaintext>"]),
        ("<pre>\n\n  a\tb \n\n c<br>d\n </pre>e", ["  a\tb \n\n c\nd", "e"]),
        ("<pre><div>a</div><div>b</div><p>c</pre>", ["a\nb\nc"]),
        ("<pre>a<h1>b</h1>c</pre>", ["a", "b", "c"]),
        ("<pre>\r\na\r\nb\rc</pre>", ["a\nb\nc"]),
        ("<pre> \n\t</pre>", []),
        ("a\0b\x01\x7f\x85c\ud800", ["ab c?"]),
        ("\ufeffa\u200bb\u2060\u00adc", ["abc"]),
        ("a\u00a0b\u3000c\u2003d\u2028e", ["a b c d e"]),
        ("שלום <b>עולם</b> 日本語。テキスト ไทย \U0001f600‍", ["שלום עולם 日本語。テキスト ไทย \U0001f600‍"]),
        (b"a\xffb", ["a\ufffdb"]),
    ],
)
def test_text(page: str | bytes, found: list[str]) -> None:
    assert texts(page) == found


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("<p>a<p>b<div>c", "p p div"),
        ("<p>a<b>b<p>c", "p(b) p"),
        ("<P>a<DIV>b</div>", "p div"),
        ("<div><p>a</div>b", "div(p)"),
        ("<p><table><tr><td><p>a</table>", "p table(tr(td(p)))"),
        ("<ul><li>a<li>b<ul><li>c</ul><li>d", "ul(li li(ul(li)) li)"),
        ("<li><div><p>a<li>b", "li(div(p)) li"),
        ("<dl><dt>a<dd><p>b<dt>c", "dl(dt dd(p) dt)"),
        ("<h1>a<h2>b</h3>c", "h1 h2"),
        ("<table><tr><td>a<td>b<tr><td>c<tbody><tr><td>d", "table(tr(td td) tr(td) tbody(tr(td)))"),
        ("<table><tr><td><table><tr><td>a</table>b</table>c", "table(tr(td(table(tr(td)))))"),
        ("<table><table>", "table table"),
        ("<table><tr><td></div></p></tr><tr>", "table(tr(td) tr)"),
        ("<div><table><tr><td></div>a</table>b</div>c<p>", "div(table(tr(td))) p"),
        ("<tr><td>a<td>b<tr>", "tr(td td) tr"),
        ("<select><optgroup><option>a<option>b<optgroup></select><p>", "select(optgroup(option option) optgroup) p"),
        ("<a>a<a>b", "a a"),
        ("<a href=x>a<div>b<a>c</a>", "a(div(a))"),
        ("<b>a<p>b</b>c</p>d", "b(p)"),
        ("<b><i>a</b>b</i>c<p>", "b(i) p"),
        ("<form>a<form>b</form><p>", "form p"),
        ("<table><form><tr><td>a</form>", "table(form tr(td))"),
        ("<br></br><img><image><hr></hr></img>", "br img img hr"),
        ("<div/>a<p/>b<svg><g/><g></g></svg><br />", "div p svg(? ?) br"),
        ("<html><head><title>a</title><p>b<body><html>", "html(head(title) p body)"),
        ("<head><noscript><div><body><p>", "head(noscript) div body(p)"),
        ("<td><p><body><p>", "td(p(body) p)"),
        ("<html><head><meta>a<div>", "html(head(meta) div)"),
        ("<button>a<button>b", "button button"),
        ("<p>a<button><p>b</button>c<p>", "p(button(p)) p"),
        ("<p>a<noscript><div>b</div></noscript>c", "p(noscript(div))"),
        ("<svg><foreignObject><p>a</p></foreignObject><p>b", "svg(foreignobject(p)) p"),
        ("<x-a><x-b>a</x-a><x-c>", "?(?) ?"),
        ("<span><div></span>a</div></span><p>", "span(div) p"),
        ("<ruby>a<rt>b<rp>c</ruby><p>", "ruby(rt rp) p"),
        ("<custom-é a=b>x</custom-é><p>", "? p"),
        ("<div a='>' b=\">\" c=d/>a<p>", "div(p)"),
        ("<p a", ""),
    ],
)  # fmt: skip
def test_tree(page: str, found: str) -> None:
    assert tree(page) == found


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("a", "other"),
        ("<div>a", "other"),
        ("<p>a", "paragraph"),
        ("<h3><b>a", "heading"),
        ("<ul><li><p>a", "list_item"),
        ("<dl><dt>a", "term"),
        ("<dl><dd>a", "list_item"),
        ("<li><pre>a", "code"),
        ("<xmp>a", "code"),
        ("<td><p>a", "cell"),
        ("<td><h2>a", "heading"),
        ("<blockquote><p>a", "quote"),
        ("<figure><figcaption>a", "caption"),
        ("<table><caption>a", "caption"),
        ("<button>a", "form"),
        ("<textarea>a", "form"),
        ("<select><option>a", "form"),
    ],
)
def test_kind(page: str, kind: str) -> None:
    assert [KINDS[k] for k in scan(page).kind] == [kind]


@pytest.mark.parametrize(
    ("page", "field", "found"),
    [
        ("<p>ab <a href=x>cd</a> e", "linked", [2 + 1]),  # the space before it
        ("<p>ab <a>cd</a> e", "linked", [0]),
        ("<a href=x><h3>ab</h3><p>cd</p></a><p>e", "linked", [2, 2, 0]),
        ("<a href=x><h3>ab</h3><p>cd</p></a><p>e", "links", [1, 1, 0]),
        ("<a href=x>ab<div>cd</a>ef</div>", "linked", [2, 2]),
        ("<a href=x>ab<a href=y>c</a> d</a>", "links", [2]),
        ("<a href=x>ab<p>c", "linked", [2, 1]),
        ("<p>a<b>b<i>c</i></b>d", "emphasised", [2]),
        ("<b>a<p>b</b>c", "emphasised", [1, 1]),
        ("<p><b>a<p>b", "emphasised", [1, 0]),
        ("<p>a<br>b<br>c<p>d", "breaks", [2, 0]),
        ("<p>a<img>b<img><p>c", "images", [2, 0]),
        ("<p>a<input><textarea></textarea><p>c<select>", "inputs", [1, 1]),
        ("<div style=' display : none;'><p>a</div><p>b", "shown", [False, True]),
        ("<div aria-hidden=True><p>a</div><p aria-hidden=false>b", "shown", [False, True]),
        ("<div hidden=''><p>a</div><p style='x:y'>b", "shown", [False, True]),
    ],
)
def test_counts(page: str, field: str, found: list[int]) -> None:
    result = scan(page)
    values = ~result.hidden[result.block_element] if field == "shown" else getattr(result, field)
    assert values.tolist() == found


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("class='Nav-item navItem2x'", ["nav", "item", "nav", "item", "x"]),
        ('ID="MainContent"', ["main", "content"]),
        ("class=a class=b role=main", ["a", "main"]),
        ("itemtype=https://schema.org/NewsArticle", ["https", "schema", "org", "news", "article"]),
        ("aria-label='Änderung HTML'", ["Änderung", "html"]),  # capitals of ASCII alone
        ("title=a alt=b data-x=c href=d", []),
        ("class", []),
        ("class='" + "x " * 100 + "'", ["x"] * layout.MAX_WORDS),
    ],
)
def test_words(attributes: str, words: list[str]) -> None:
    found = scan(f"<i class=before><p {attributes}>a<i class=after>")
    own = found.words[found.word_from[2] : found.word_to[2]]
    assert own.tolist() == [hash_word(word) for word in words]
    assert found.words[found.word_from[3] : found.word_to[3]].tolist() == [hash_word("after")]
    assert found.lost[2] == (36 if len(words) == layout.MAX_WORDS else 0)


def test_hash_word_is_fnv_1a() -> None:
    assert [hash_word(word) for word in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_every_named_reference_reads_as_in_the_standard() -> None:
    for name, characters in html5.items():
        assert texts(f"<p>x&{name}y") == texts(f"<p>x{html.escape(characters)}y"), name


@pytest.mark.parametrize(
    "text",
    [
        *(
            "&amp;lt;",
            "&notit;",
            "&notin;",
            "&ampfoo",
            "&AMP",
            "&copy2020",
            "&bogus;",
            "&;",
            "&",
            "& amp;",
            "&#",
            "&#;",
        ),
        *("&#x;", "&#xg", "&#65", "&#65;6", "&#x41", "&#X41;", "&#0065;", "&#150;", "&#x80;", "&#x9f;"),
        *("&#128512;",),
        *("&CounterClockwiseContourIntegral;", "&CounterClockwiseContourIntegralx;", "&CounterClockwiseContourIntegra"),
        *("&Amp;", "&lt", "&LT;b&gt", "&frac123", "&sup1", "&sup;", "&not", "&no", "a&b=c&d", "&amp&amp;&ampamp;"),
    ],
)
def test_references_read_as_in_the_library(text: str) -> None:
    assert texts(f"<p>x{text}") == [f"x{html.unescape(text)}"]


@pytest.mark.parametrize("number", ["0", "1", "x8", "x81", "xD800", "xFFFE", "x1FFFF", "x110000", "9" * 400, "xFDD0"])
def test_references_to_what_is_no_character_are_dropped(number: str) -> None:
    assert texts(f"<p>x&#{number};y") == ["xy"]


def test_page() -> None:
    found = scan(
        "<!DOCTYPE html><HTML LANG='de-AT'><title>\n A &amp; B </title><title>C</title><svg><title>D</title></svg>"
    )
    assert (found.title, found.language) == (b"A & B", "de-AT")
    assert scan("<html xml:lang=fr><html lang=en>").language == "fr"
    assert scan("").title == b""


RIGHTS = """<meta name=robots content="noai, &quot;x&quot;"><meta name=a><META NAME=b CONTENT=''>
<link rel=LICENSE href="?a=1&copy=2&amp;b"><a rel="nofollow dct:license" property=x href=/y>z</a><a rel=next href=z>
<a property=cc:license><area rel=license href=b><div rel=license href=c><p><noscript><a rel=license href=d></noscript>
<!-- <meta name=robots content=none> --><script>'<meta name=robots content=none>'</script>
<script type="Application/LD+json; x">{"license": "<p>"}</script><script type=text/x>{"license": ""}</script>"""


def test_rights_are_those_that_lxml_finds() -> None:
    found = scan(RIGHTS)
    parsed = document_fromstring(RIGHTS)
    metas = [(meta.get("name"), meta.get("content")) for meta in parsed.iter("meta") if meta.get("content") is not None]
    assert list(found.metas) == metas == [("robots", 'noai, "x"'), ("b", "")]
    links = [
        (e.get("rel") or "", e.get("property") or "", e.get("href"))
        for e in parsed.iter("link", "a", "area")
        if e.get("href") and "license" in f"{e.get('rel')} {e.get('property')}".lower()
    ]
    assert list(found.licence_links) == links
    assert len(links) == 4
    assert links[0][2] == "?a=1&copy=2&b"
    assert found.linked_data == ('{"license": "<p>"}',)


def test_text_is_that_of_lxml() -> None:
    names = ("p", "div", "b", "li", "td", "table", "tr", "h2", "span", "section", "blockquote", "em", "dd")
    generator = np.random.default_rng(1)
    for _ in range(60):
        parts = ["<body>"]
        for number in range(60):
            name = names[generator.integers(len(names))]
            slash = "/" if generator.random() < 0.4 else ""
            parts.append(
                f"<{slash}{name.upper() if number % 7 == 0 else name} class=x{number}> w{number} &eacute;&lt; "
            )
        page = "".join(parts)
        ours = " ".join(texts(page)).split()
        theirs = re.findall(r"\S+", document_fromstring(page).text_content())
        assert sorted(ours) == sorted(theirs)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_ELEMENTS", 4)
    monkeypatch.setattr(layout, "MAX_BLOCKS", 3)
    found = scan("<p>a<p>b</p><b>c</b><p>d<p>e<i>f")
    assert (len(found.tag), found.lost[:2]) == (4, (3, 2))
    assert [found.block_text(i) for i in range(len(found.kind))] == ["a", "b", "c"]
    monkeypatch.setattr(layout, "MAX_BYTES", 3)
    with pytest.raises(ValueError, match="4 bytes are more than 3"):
        scan("abcd")


def test_depth_is_bounded() -> None:
    found: Scan = scan("<div>" * 400 + "a" + "</div>" * 400 + "<p>b")
    assert found.depth.max() == layout.MAX_DEPTH
    assert found.lost == (0, 0, 0, 0, 400 - layout.MAX_DEPTH)
    assert [found.block_text(i) for i in (0, 1)] == ["a", "b"]
    assert found.depth[-1] == 1
