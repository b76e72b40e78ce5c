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
from curation.extractors.trafilatura import Trafilatura
from curation.records import read_range

EXTRACT = Trafilatura()


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
        f"<nav><ul><li><a href=/>Home</a><li><a href=/about>About us</a></ul></nav><article><h1>The flood</h1>{text}"
        "<table><tr><td>cell</td></tr></table></article>"
        "<div id=comments><p>A comment that says nothing at all but is long enough to be taken for text.</p></div>"
        "<footer><p>Copyright, all rights reserved, imprint</p></footer><script>var x = 1;</script></body></html>"
    )


def text_of(html: str, extract: Trafilatura = EXTRACT) -> str:
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
    for boilerplate in ("About us", "Copyright", "var x", "color", "A comment"):
        assert boilerplate not in document.text
    assert document.text == document.text.strip()
    assert all(line == line.rstrip() for line in lines)


def test_every_option_reaches_the_library() -> None:
    assert "cell" in text_of(article())
    assert "cell" not in text_of(article(), replace(EXTRACT, include_tables=False))
    assert "A comment" in text_of(article(), replace(EXTRACT, include_comments=True))


@pytest.mark.parametrize(
    "html", ["<html><body></body></html>", "<p></p>", "<html></html>", "   ", "<!-- x -->", "<script>x</script>"]
)
def test_no_text(html: str) -> None:
    assert EXTRACT(page(html)) == Drop("no_text", 0, 1)


def test_tag_limit() -> None:
    html = article()
    tags = html.count("<")
    assert isinstance(replace(EXTRACT, max_tags=tags)(page(html)), Document)
    assert replace(EXTRACT, max_tags=tags - 1)(page(html)) == Drop("too_many_tags", tags, tags - 1)


def nested(depth: int) -> str:
    """html and body are two levels, p is one."""
    inner = depth - 3
    return f"<html><body>{'<div>' * inner}<p>{'The river rose in the night. ' * 20}</p>{'</div>' * inner}</body></html>"


def test_depth_limit() -> None:
    assert isinstance(EXTRACT(page(nested(200))), Document)
    assert EXTRACT(page(nested(201))) == Drop("too_deep", 201, 200)
    assert EXTRACT(page(nested(5000))) == Drop("too_deep", 256, 200)
    assert isinstance(replace(EXTRACT, max_depth=20)(page(nested(20))), Document)
    assert replace(EXTRACT, max_depth=20)(page(nested(21))) == Drop("too_deep", 21, 20)


def test_attribute_limit() -> None:
    def tagged(count: int) -> str:
        attributes = " ".join(f"an-attribute-number-{i}=x" for i in range(count))
        return article().replace("<article>", f"<article {attributes}>")

    assert isinstance(EXTRACT(page(tagged(2000))), Document)
    assert EXTRACT(page(tagged(2001))) == Drop("too_many_attributes", 2001, 2000)
    drawing = f"<article><svg><path d='{'M 1 2 ' * 20_000}'/></svg><img src=\"data:image/png;base64,{'A' * 90_000}\">"
    assert isinstance(EXTRACT(page(article().replace("<article>", drawing))), Document)


@pytest.mark.parametrize(
    "html",
    [
        "<html><body>" + "<p>word word" * 30_000,
        "<html><body>" + "<table><tr><td>cell" * 2_000,
        "<html><body>" + "<!-- x --><br>" * 20_000,
        "<html><body>" + "<a " * 30_000,
        "<html><body><p " + "a " * 60_000 + ">x",
        "<html><body><p>" + "x" * 4_000_000,
        "<" * 99_999,
        "&#xD800;&#0;&#x110000;" * 1000,
    ],
)
def test_hostile_pages_end_soon(html: str) -> None:
    began = time.process_time()
    result = EXTRACT(page(html))
    assert time.process_time() - began < 15
    if isinstance(result, Document):
        result.text.encode("utf-8")


@pytest.mark.parametrize(
    "html",
    [
        "<p>&#xD800;&#0;&#55357;&#x110000;&#99999999999999999999;&#x1F600;&#233;",
        "<p>&#x1;&#31;&#0011;&#XFFFE;",
        "<p>a\0b&#x1;",
        "<p>\x0b\x1c\u2028",
    ],
)
def test_text_always_encodes(html: str) -> None:
    text = text_of(article().replace("<p>", html))
    assert "the river rose" in text
    assert "\0" not in text.encode("utf-8").decode()
    assert len(text.splitlines()) == len(text.split("\n"))


def test_binary_called_html() -> None:
    with pytest.raises(DataError, match="binary_body"):
        EXTRACT(replace(page(""), body=b"\xff\xd8\xff\xe0" + bytes(range(256)) * 10))


def test_nothing_remains_of_earlier_pages() -> None:
    """Trafilatura can leave out text that it saw before; here a page gives the same text alone and the 500th time."""
    pages = [page(article(number % 7, 3 + number % 4)) for number in range(12)]
    alone = [subprocess_text(p) for p in pages[:2]]
    first = [EXTRACT(p) for p in pages]
    for _ in range(40):
        assert [EXTRACT(p) for p in pages] == first
    for result, text in zip(first, alone, strict=False):
        assert isinstance(result, Document)
        assert result.text == text


def subprocess_text(p: Page, hash_seed: str = "random") -> str:
    program = (
        "import json, pickle, sys; from curation.extractors.trafilatura import Trafilatura; "
        "json.dump(Trafilatura()(pickle.load(sys.stdin.buffer)).text, sys.stdout)"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "TZ": "Asia/Tokyo",
        "LANG": "C",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(p), env=environment, stdout=subprocess.PIPE, check=True
    )
    return str(json.loads(done.stdout))


def test_same_in_other_processes_with_other_hash_seeds_and_environment() -> None:
    p = page(article(2, 9))
    assert {subprocess_text(p, seed) for seed in ("1", "2")} == {text_of(article(2, 9))}


WEB = Path(os.environ.get("WINNOW_EXTRA_DATA", "/nowhere")) / "web"


@pytest.mark.skipif(not WEB.exists(), reason="WINNOW_EXTRA_DATA is not set")
def test_real_pages_have_what_they_must_and_not_what_they_must_not() -> None:
    path = WEB / "pages-00000-of-00003.warc.gz"
    gold = json.loads((WEB / "pages-gold.json").read_text())
    size = path.stat().st_size
    found = unwanted = must = must_not = 0
    with path.open("rb") as stream:
        for record in read_range(stream, size, 0, size, "s", "f"):
            if isinstance(record.value, Page) and (strings := gold.get(record.value.url)):
                result = EXTRACT(record.value)
                text = result.text if isinstance(result, Document) else ""
                found += sum(s in text for s in strings["with"])
                unwanted += sum(s in text for s in strings["without"])
                must += len(strings["with"])
                must_not += len(strings["without"])
    assert found / must > 0.8
    assert unwanted / must_not < 0.2
