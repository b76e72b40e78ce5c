from __future__ import annotations

import bz2
import os
from pathlib import Path

import pytest

from curation.errors import InputError
from curation.sources.citations import cited_urls, links

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
    ],
)
def test_links(wikitext: str, urls: list[str]) -> None:
    assert links(wikitext) == urls


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
