from __future__ import annotations

import bz2
import os
from pathlib import Path

import numpy as np
import pytest

from curation.errors import InputError
from curation.sources.citations import cited_urls, links, page_keys

WAYBACK = "https://web.archive.org/web/"


@pytest.mark.parametrize(
    ("wikitext", "urls"),
    [
        ("", []),
        ("No link, only a colon: and // slashes.", []),
        ("<ref>http://a.org/x</ref>", ["http://a.org/x"]),
        ('<ref name="n">[https://a.org/x A title]</ref>', ["https://a.org/x"]),
        ("<ref name=n group=m>{{cite web|url=http://a.org/x?y=1&z=2 |title=T}}</ref>", ["http://a.org/x?y=1&z=2"]),
        ("{{cite web|title=T|url=http://a.org/x}}", ["http://a.org/x"]),
        ("{{cite web|url=http://a.org/{{PAGENAME}}|title=T}}", ["http://a.org/"]),
        ("==External links==\n* [http://a.org Official site]\n* [//b.org/y Other]", ["http://a.org", "http://b.org/y"]),
        ("A bare http://a.org/x, and (http://b.org/y).", ["http://a.org/x", "http://b.org/y"]),
        ("See http://a.org/Foo_(bar) and (see http://a.org/Foo_(bar)).", ["http://a.org/Foo_(bar)"]),
        ("HTTP://A.ORG/X", ["HTTP://A.ORG/X"]),
        ("''http://a.org/x''", ["http://a.org/x"]),
        ("http://a.org/x&amp;y=1", ["http://a.org/x&y=1"]),
        ("http://a.org/1 http://b.org http://a.org/1", ["http://a.org/1", "http://b.org"]),
        ("http://пример.рф/путь", ["http://пример.рф/путь"]),
        (f"{WAYBACK}20080101000000/http://a.org/x", ["http://a.org/x"]),
        (f"{WAYBACK}20080101000000/http://a.org/x and http://a.org/x", ["http://a.org/x"]),
        (f"{WAYBACK}20080101000000id_/a.org/x", ["http://a.org/x"]),
        (f"{WAYBACK}20080101000000/http:/a.org/x", ["http://a.org/x"]),
        ("http://archive.org/web/20080101000000/http://a.org/x", ["http://a.org/x"]),
        ("http://ARCHIVE.PH./2008/http://a.org/x http://de.wikipedia.org./wiki/X", ["http://a.org/x"]),
        ("http://ａｒｃｈｉｖｅ.ph/2008/http://a.org/x http://ｗikipedia.org/X", ["http://a.org/x"]),
        ("[//web.archive.org/web/2008/http://a.org/x T]", ["http://a.org/x"]),
        ("https://archive.today/20130101/http://a.org/x", ["http://a.org/x"]),
        ("http://www.webcitation.org/query?url=http%3A%2F%2Fa.org%2Fx&date=2008", ["http://a.org/x"]),
        ("http://www.webcitation.org/5xyz", []),
        ("https://archive.org/details/abook", ["https://archive.org/details/abook"]),
        (
            "http://de.wikipedia.org/wiki/X https://commons.wikimedia.org/y http://notwikipedia.org/z",
            ["http://notwikipedia.org/z"],
        ),
        ("<!-- http://a.org --> <nowiki>http://b.org</nowiki> http://c.org", ["http://c.org"]),
        ("http:// https://x http://localhost/a http://[::1 ftp://a.org mailto:a@b.org", []),
        ("xhttp://a.org", []),
        (f"{WAYBACK}http://a.org/x", ["http://a.org/x"]),
        (f"{WAYBACK}2008*/http://a.org/x", ["http://a.org/x"]),
        (f"{WAYBACK}2008/http%3A//a.org/x", ["http://a.org/x"]),
        (f"{WAYBACK}2008/http://archive.is/2009/http://a.org/x", ["http://a.org/x"]),
        (WAYBACK, []),
        (
            "http://a.org/?u=http://web.archive.org/web/2008/http://b.org",
            ["http://a.org/?u=http://web.archive.org/web/2008/http://b.org"],
        ),
        ("https://archive.today/2013.01.01-120000/http://a.org/x", ["http://a.org/x"]),
        ("https://archive.ph/AbCd https://perma.cc/AB-CD", []),
        ("https://www.webarchive.org.uk/wayback/archive/20080101/http://a.org/x", ["http://a.org/x"]),
        ("http://wayback.archive-it.org/123/20080101/http://a.org/x", ["http://a.org/x"]),
        ("https://arquivo.pt/wayback/2008/http://a.org/x", ["http://a.org/x"]),
        ("http://www.collectionscanada.gc.ca/webarchives/20060101/http://a.org/x", ["http://a.org/x"]),
        ("https://megalodon.jp/2008-0101-1200-00/a.org/x", ["http://a.org/x"]),
        ("http://webcache.googleusercontent.com/search?q=cache:abcD:http://a.org/x", ["http://a.org/x"]),
        ("http://www.webcitation.org/query?id=1&url=a.org%2Fx", ["http://a.org/x"]),
        ("{{cite web|url= www.a.org/x |title=T}}", ["http://www.a.org/x"]),
        (
            "{{Internetquelle |url=http://a.org/x |archiv-url=https://web.archive.org/web/2008/http://a.org/x}}",
            ["http://a.org/x"],
        ),
        ("{{cite web\n| url\n = http://a.org/x?a{{=}}1\n}}", ["http://a.org/x?a=1"]),
        ("{{cite web|url=http://a.org/?a{{!}}b|title=T}}", ["http://a.org/?a%7Cb"]),
        ("<ref name=x />http://a.org<ref name=y\n>\nhttp://b.org\n</ref>", ["http://a.org", "http://b.org"]),
        (
            "<pre>http://a.org</pre> <syntaxhighlight lang=sh>http://b.org</syntaxhighlight> http://c.org",
            ["http://c.org"],
        ),
        ("<ref>{{Lien web|langue=fr|url=http://a.org/été|titre=T}}</ref>", ["http://a.org/été"]),
        ("{{Cite web|和書|url=http://a.org/日本|title=題}}", ["http://a.org/日本"]),
        ("http://a.org <!-- never closed http://b.org", ["http://a.org"]),
    ],
)
def test_links(wikitext: str, urls: list[str]) -> None:
    assert links(wikitext) == urls


def test_a_page_has_one_key_however_it_is_written() -> None:
    spellings = [
        "http://a.org/x",
        "https://www.a.org/x/",
        "HTTP://A.ORG:80/x#top",
        "http://a.org/x?utm_source=w",
        "a.org/x",
    ]
    keys = page_keys(spellings)
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == 1
    others = page_keys(["http://a.org/X", "http://a.org/x?y", "http://b.org/x", "http://shop.a.org/x"])
    assert len({*keys.tolist(), *others.tolist()}) == 5
    assert page_keys([]).shape == (0,)
    assert page_keys(["http://a.org/\ud800", ""]).shape == (2,)


def page(title: str, text: str, namespace: int = 0, extra: str = "") -> str:
    return (
        f"<page><title>{title}</title><ns>{namespace}</ns><id>1</id>{extra}"
        f"<revision><model>wikitext</model><text>{text}</text></revision></page>"
    )


def test_cited_urls_of_a_dump(tmp_path: Path) -> None:
    dump = tmp_path / "dump.xml.bz2"
    xml = "".join(
        [
            "<mediawiki>",
            page("A", "&lt;ref name=n&gt;http://a.org/x&lt;/ref&gt; http://a.org/x?1&amp;amp;2"),
            page("Talk:A", "http://talk.org", namespace=1),
            page("B", "#REDIRECT [[A]] http://redirect.org", extra='<redirect title="A" />'),
            page("C", "http://a.org/x"),
            "</mediawiki>",
        ]
    )
    dump.write_bytes(bz2.compress(xml.encode()))
    assert list(cited_urls(dump)) == ["http://a.org/x", "http://a.org/x?1&2", "http://a.org/x"]
    with pytest.raises(InputError, match="No such file"):
        list(cited_urls(tmp_path / "missing"))


@pytest.mark.skipif("WINNOW_EXTRA_DATA" not in os.environ, reason="WINNOW_EXTRA_DATA is not set")
def test_a_real_dump() -> None:
    dump = next(Path(os.environ["WINNOW_EXTRA_DATA"], "wikipedia").glob("*.xml.bz2"))
    urls = list(cited_urls(dump))
    assert len(urls) > 4000
    assert all(url.lower().startswith(("http://", "https://")) for url in urls)
    assert not any("archive.org/web/" in url for url in urls)
