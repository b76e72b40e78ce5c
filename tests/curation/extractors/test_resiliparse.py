from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError

pytest.importorskip("resiliparse")

from curation.extractors.resiliparse import Resiliparse

EXTRACT = Resiliparse()


def page(body: str, content_type: str = "text/html") -> Page:
    return Page(
        id="s:f#0", url="http://a.org", date="", digest="", status=200, content_type=content_type, charset="utf-8",
        body=body.encode(),
    )  # fmt: skip


def article(number: int = 0, paragraphs: int = 5) -> str:
    text = "".join(
        f"<p>Paragraph {i} of article {number}: the river rose in the night, and by morning the lower town was under "
        f"water up to the window sills of house {number * i}.</p>\n"
        for i in range(paragraphs)
    )
    return (
        f"<!DOCTYPE html><html><head><title>Article {number}</title><style>p {{color: red}}</style></head><body>"
        f"<nav><ul><li><a href=/>Home</a><li><a href=/about>About us</a></ul></nav><main><article><h1>The flood</h1>"
        f"{text}"
        "<div class=byline>By A. Writer of this newspaper, on a day in May</div>"
        "<img src=x alt='A picture of the river, seen from above'>"
        "<ul><li>An item long enough to stay</ul></article></main>"
        "<div id=comments><p>A comment that says nothing at all but is long enough to be taken for text.</p></div>"
        "<footer><p>Copyright, all rights reserved, imprint</p></footer><script>var x = 1;</script></body></html>"
    )


def text_of(html: str, extract: Resiliparse = EXTRACT) -> str:
    document = extract(page(html))
    assert isinstance(document, Document), document
    return document.text


@pytest.mark.parametrize("content_type", ["text/html", "application/xhtml+xml"])
def test_main_text_without_boilerplate(content_type: str) -> None:
    html = '<?xml version="1.0" encoding="utf-8"?>' * (content_type != "text/html") + article(3)
    document = EXTRACT(page(html, content_type))
    assert isinstance(document, Document)
    lines = document.text.split("\n")
    assert [line[:22] for line in lines if line[:9] == "Paragraph"] == [f"Paragraph {i} of article" for i in range(5)]
    for boilerplate in ("About us", "Copyright", "var x", "color", "A comment", "A picture", "By A. Writer"):
        assert boilerplate not in document.text
    assert document.text == document.text.strip()
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("option", "value", "string", "is_there"),
    [
        ("main_content", False, "About us", True),
        ("alt_texts", True, "A picture", True),
        ("comments", True, "A comment", True),
        ("post_meta", True, "By A. Writer", True),
        ("list_bullets", False, "\u2022 An item", False),
        ("min_line_characters", 0, "The flood", True),
    ],
)
def test_every_option_reaches_the_library(option: str, value: bool | int, string: str, is_there: bool) -> None:
    short = replace(EXTRACT, min_line_characters=0) if option == "main_content" else EXTRACT
    if option == "list_bullets":  # the library takes a list by itself for no main content
        short = replace(EXTRACT, main_content=False)
    assert (string in text_of(article(), short)) is not is_there
    assert (string in text_of(article(), replace(short, **{option: value}))) is is_there


def test_short_lines_stay_where_a_sentence_ends() -> None:
    extract = replace(EXTRACT, min_line_characters=10)
    kept = [
        "ten letter",
        "Yes.",
        "No!",
        "Why?",
        "\u201cSo.\u201d",
        "\u662f\u3002",
        "\u0939\u093e\u0901\u0964",
        "\u12a0\u12ce\u1362",
        "(So.)",
        "So\u2026",
    ]
    html = article().replace("<p>Par", "".join(f"<p>{line}</p>" for line in [*kept, "nine lett"]) + "<p>Par", 1)
    lines = text_of(html, extract).split("\n")
    assert all(line in lines for line in kept)
    assert "nine lett" not in lines
    assert "nine lett" in text_of(html, replace(extract, min_line_characters=9))


@pytest.mark.parametrize(
    "html", ["<html><body></body></html>", "<p></p>", "<html></html>", "   ", "", "<!-- x -->", "<script>x</script>"]
)
def test_no_text(html: str) -> None:
    assert EXTRACT(page(html)) == Drop("no_text", 0, 1)


def test_gates() -> None:
    assert EXTRACT(replace(page(article()), status=404)) == Drop("http_status", 404, 200)
    assert EXTRACT(page("x", "image/png")) == Drop(
        "content_type", "image/png", "text/html application/xhtml+xml text/plain"
    )
    assert replace(EXTRACT, max_bytes=9)(page("<p>1234567")) == Drop("too_large", 10, 9)
    with pytest.raises(DataError, match="binary_body"):
        EXTRACT(replace(page(""), body=b"\xff\xd8\xff\xe0" + bytes(range(256)) * 10))


def test_plain_text_passes_through() -> None:
    document = EXTRACT(page("short\n<b>\n", "text/plain"))
    assert isinstance(document, Document)
    assert document.text == "short\n<b>"


def test_rights_are_recorded() -> None:
    head = '<meta name="robots" content="noai"><meta name="CCBot" content="noindex">'
    html = article().replace("<title>", f"{head}<title>").replace("<h1>", '<a rel="license" href="/free">Free</a><h1>')
    found = EXTRACT(replace(page(html), robots="noarchive"))
    assert isinstance(found, Document)
    assert (found.robots, found.licence) == ("noai, noarchive", "http://a.org/free")
    named = replace(EXTRACT, agents=("ccbot",))(page(html))
    assert isinstance(named, Document)
    assert named.robots == "noai, noindex"
    plain = EXTRACT(page(article()))
    assert isinstance(plain, Document)
    assert (plain.robots, plain.licence) == ("", "")


def test_tag_limit() -> None:
    html = article()
    tags = html.count("<")
    assert isinstance(replace(EXTRACT, max_tags=tags)(page(html)), Document)
    assert replace(EXTRACT, max_tags=tags - 1)(page(html)) == Drop("too_many_tags", tags, tags - 1)


def nested(depth: int) -> str:
    """html and body are two levels, p is one."""
    inner = depth - 3
    return f"<html><body>{'<div>' * inner}<p>{'The river rose in the night. ' * 20}</p>{'</div>' * inner}</body></html>"


@pytest.mark.parametrize("limit", [20, 200])
def test_depth_limit(limit: int) -> None:
    extract = replace(EXTRACT, max_depth=limit)
    assert isinstance(extract(page(nested(limit))), Document)
    assert extract(page(nested(limit + 1))) == Drop("too_deep", limit + 1, limit)
    assert extract(page(nested(5000))) == Drop("too_deep", limit + 1, limit)


def test_attribute_limit() -> None:
    def tagged(count: int) -> str:
        attributes = " ".join(f"an-attribute-number-{i}=x" for i in range(count))
        return article().replace("<article>", f"<article {attributes}>")

    assert isinstance(EXTRACT(page(tagged(2000))), Document)
    assert EXTRACT(page(tagged(2001))) == Drop("too_many_attributes", 2001, 2000)


def test_option_limit() -> None:
    def menu(count: int) -> str:
        return article().replace("<article>", f"<select>{'<option>x' * count}</select><article>")

    extract = replace(EXTRACT, max_options=100)
    assert isinstance(extract(page(menu(100))), Document)
    assert extract(page(menu(101))) == Drop("too_many_options", 101, 100)


def test_reopened_limit() -> None:
    """Unclosed formatting elements are opened again in every block that follows; closed ones are not."""

    def blocks(count: int, end: str) -> str:
        return "".join(f"<p><b id={i}>The river rose in the night.{end}" for i in range(count))

    extract = replace(EXTRACT, max_reopened=100 * 50)  # of 100 tags, half are of elements that stay open
    assert isinstance(extract(page(blocks(50, ""))), Document)
    assert extract(page(blocks(51, ""))) == Drop("too_much_reopened", 102 * 51, 5000)
    assert isinstance(extract(page(blocks(1000, "</b>"))), Document)
    assert extract(page("</i>" * 60 + blocks(51, ""))) == Drop("too_much_reopened", 162 * 51, 5000)
    assert isinstance(extract(page("</i>" * 400 + blocks(1000, "</B>"))), Document)


@pytest.mark.parametrize(
    "html",
    [
        "<html><body>" + "<p>word word" * 90_000,
        "<html><body>" + "<table><tr><td>cell" * 30_000,
        "<html><body>" + "<!-- x --><br>" * 20_000,
        "<html><body>" + "<a " * 90_000,
        "<html><body>" + "".join(f"<p><b id={i}>w" for i in range(700)),
        "<html><body><p " + "a " * 60_000 + ">x",
        "<html><body><p>" + "x" * 4_000_000,
        "<select>" + "<option>x" * 10_000,
        "<" * 99_999,
        "&#xD800;&#0;&#x110000;" * 1000,
        ("<div>" * 190 + "<p>word word word</p>" * 100 + "</div>" * 190) * 150,
    ],
)
def test_hostile_pages_end_soon(html: str) -> None:
    began = time.process_time()
    result = EXTRACT(page(html))
    assert time.process_time() - began < 10
    if isinstance(result, Document):
        result.text.encode("utf-8")


@pytest.mark.parametrize(
    "html",
    [
        "<p>&#xD800;&#0;&#55357;&#x110000;&#99999999999999999999;&#x1F600;&#233;",
        "<p>&#x1;&#31;&#0011;&#XFFFE;&#127;",
        "<p>a\0b&#x1;",
        "<p>\x0b\x1c\u2028&#x2028;",
    ],
)
def test_text_always_encodes(html: str) -> None:
    text = text_of(article().replace("<p>", html), replace(EXTRACT, min_line_characters=0))
    assert "the river rose" in text
    text.encode("utf-8")
    assert not {character for character in text if character < " "} - {"\n", "\t"}
    assert len(text.splitlines()) == len(text.split("\n"))


def test_nothing_remains_of_earlier_pages_and_other_processes_agree() -> None:
    pages = [page(article(number, 3 + number % 4)) for number in range(8)]
    first = [EXTRACT(p) for p in pages]
    assert [EXTRACT(p) for p in reversed(pages)] == first[::-1]
    assert isinstance(first[2], Document)
    assert {subprocess_text(pages[2], seed) for seed in ("1", "2")} == {first[2].text}


def subprocess_text(p: Page, hash_seed: str) -> str:
    program = (
        "import json, pickle, sys; from curation.extractors.resiliparse import Resiliparse; "
        "json.dump(Resiliparse()(pickle.load(sys.stdin.buffer)).text, sys.stdout)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LANG": "C", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(p), env=environment, stdout=subprocess.PIPE, check=True
    )
    return str(json.loads(done.stdout))


WEB = Path(os.environ.get("WINNOW_EXTRA_DATA", "/nowhere")) / "web"


@pytest.mark.skipif(not WEB.exists(), reason="WINNOW_EXTRA_DATA is not set")
def test_real_pages_pass_the_limits() -> None:
    from benchmarks.extraction import read_pages

    rules = {
        result.rule
        for p in read_pages([str(WEB / "*arc.gz")])
        if p.status == 200 and isinstance(result := EXTRACT(p), Drop)
    }
    assert rules == {"content_type", "no_text"}
