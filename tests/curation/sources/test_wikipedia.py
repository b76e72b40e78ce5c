from __future__ import annotations

import bz2
import hashlib
import io
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from curation import unpacked
from curation.document import Page
from curation.errors import DataError, InputError
from curation.records import Skip
from curation.sources import wikipedia
from curation.sources.wikipedia import DumpPage, articles, count_pages, pages, read_dump

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">
  <siteinfo><sitename>Wikipedia</sitename><base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base></siteinfo>
"""


def page(id: int, title: str, text: str, namespace: int = 0, extra: str = "", model: str = "wikitext") -> str:
    return (
        f"  <page><title>{title}</title><ns>{namespace}</ns><id>{id}</id>{extra}<revision><id>{id + 1000}</id>"
        f"<timestamp>2024-02-0{id % 9 + 1}T10:00:00Z</timestamp><model>{model}</model>"
        f'<text xml:space="preserve">{text}</text><sha1>phoiac9h4m842xq45sp7s6u21eteeq1</sha1></revision></page>\n'
    )


PAGES = [
    page(1, "Ä und B/C?", "Ein &lt;page&gt; im '''Text''' &lt;/mediawiki&gt;. 日本"),
    page(2, "Alt", "#WEITERLEITUNG [[Neu]]", extra='<redirect title="Neu" />'),
    page(3, "Diskussion:A", "Gerede", namespace=1),
    page(4, "Daten", "{}", model="json"),
    page(5, "Mehrdeutig", "* a\n{{Begriffsklärung}}"),
    page(6, "Zuletzt", "Ein [[Link]]."),
]
XML = (HEAD + "".join(PAGES) + "</mediawiki>\n").encode("utf-8")


def kinds(data: bytes) -> list[str]:
    """Of every record its kind; and the independent count agrees, which is the promise."""
    values = [value for _, value in read_dump(io.BytesIO(data), "wikipedia", "d.xml.bz2")]
    assert len(values) == count_pages(io.BytesIO(data))
    return [v.reason if isinstance(v, DataError) else v.type if isinstance(v, Skip) else v.title for v in values]


WHOLE = ["Ä und B/C?", "redirect", "namespace", "model", "Mehrdeutig", "Zuletzt"]


@pytest.mark.parametrize(
    "data",
    [
        XML,
        bz2.compress(XML),
        b"".join(bz2.compress(XML[at : at + 100]) for at in range(0, len(XML), 100)),  # multistream
        b"\xff\xfe" + XML.decode("utf-8").encode("utf-16-le"),
        bz2.compress(b"\xfe\xff" + XML.decode("utf-8").encode("utf-16-be")),
    ],
    ids=["plain", "bz2", "multistream", "utf16", "utf16-bz2"],
)
def test_all_forms_of_a_dump_read_alike(data: bytes) -> None:
    assert kinds(data) == WHOLE
    assert [p.text for p in pages(io.BytesIO(data)) if isinstance(p, DumpPage)][5] == "Ein [[Link]]."


def test_page() -> None:
    (locator, value), *_ = read_dump(io.BytesIO(bz2.compress(XML)), "wikipedia", "dewiki/d.xml.bz2")
    assert locator == "1"
    assert value == Page(
        id="wikipedia:dewiki/d.xml.bz2#1",
        url="https://de.wikipedia.org/wiki/%C3%84_und_B/C%3F",
        date="2024-02-02T10:00:00Z",
        digest="sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ",
        status=0,
        content_type="text/x-wiki",
        charset="utf-8",
        body="Ein <page> im '''Text''' </mediawiki>. 日本".encode(),
        title="Ä und B/C?",
    )
    # The same value, from base 36 to base 32: it is the SHA-1 of nothing.
    assert int("phoiac9h4m842xq45sp7s6u21eteeq1", 36) == int(hashlib.sha1(b"").hexdigest(), 16)


@pytest.mark.parametrize(
    ("head", "url"),
    [
        ('<mediawiki xml:lang="fr">', "https://fr.wikipedia.org/wiki/Alt"),
        ("<mediawiki>", "https://en.wikipedia.org/wiki/Alt"),
        ("<mediawiki><base>https://x.example/w/Main</base>", "https://x.example/w/Alt"),
    ],
)
def test_url_base(head: str, url: str) -> None:
    ((_, value),) = read_dump(io.BytesIO((head + page(1, "Alt", "x") + "</mediawiki>").encode()), "w", "f")
    assert isinstance(value, Page)
    assert value.url == url


def test_newest_revision_and_missing_text() -> None:
    xml = "<page><title>T</title><ns>0</ns><id>7</id><revision><text>old</text></revision>"
    xml += "<revision><text>new</text></revision></page><page><title>U</title><id>8</id>"
    xml += '<revision><text deleted="deleted" /></revision></page></mediawiki>'
    assert [p.text for p in pages(io.BytesIO(xml.encode())) if isinstance(p, DumpPage)] == ["new", ""]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ["truncated"]),
        (HEAD.encode(), ["truncated"]),
        (HEAD.encode() + b"</mediawiki>", []),
        (b"<html>no dump</html>", ["not_a_dump"]),
        (XML.replace(b"</mediawiki>\n", b""), [*WHOLE, "truncated"]),
        (XML[: XML.index(b"<page><title>Zuletzt") + 30], [*WHOLE[:5], "truncated"]),
        (XML.replace(b"</page>", b"", 1), ["malformed_xml", *WHOLE[1:]]),
        (XML.replace(b"<title>Alt", b"<title<Alt"), [WHOLE[0], "malformed_xml", *WHOLE[2:]]),
        (XML.replace(b"Gerede", b"Ger\xffede"), [*WHOLE[:2], "malformed_xml", *WHOLE[3:]]),
        (XML.replace(b"<id>5</id>", b"<id>five</id>"), [*WHOLE[:4], "malformed_xml", WHOLE[5]]),
        (bz2.compress(XML)[:-1], [*WHOLE, "truncated"]),
        (bz2.compress(XML) + b"junk", [*WHOLE, "damaged_bz2"]),
        (bz2.compress(XML) + bz2.compress(XML), [*WHOLE, *WHOLE]),
        (b"BZh9 is not bz2", ["damaged_bz2"]),
        (b"Call me Ishmael.", ["not_a_dump"]),
    ],
)
def test_damage_is_one_error_in_its_place(data: bytes, expected: list[str]) -> None:
    assert kinds(data) == expected


def test_an_error_keeps_the_id_of_its_page() -> None:
    records = list(read_dump(io.BytesIO(XML.replace(b"Gerede", b"Ger<ede")), "w", "f"))
    assert [locator for locator, _ in records] == ["1", "2", "3", "4", "5", "6"]


def test_every_cut_and_every_flip_balances() -> None:
    packed = b"".join(bz2.compress(XML[at : at + 400]) for at in range(0, len(XML), 400))
    for cut in range(len(XML)):
        assert kinds(XML[:cut])[-1] in ("truncated", "malformed_xml") or cut >= len(XML) - 1
    for cut in range(0, len(packed), 3):
        kinds(packed[:cut])
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(chance.choice((XML, packed)))
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        kinds(bytes(damaged))


def test_tags_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1, 7, 64):
        monkeypatch.setattr(unpacked, "_PIECE", chunk)
        assert kinds(bz2.compress(XML)) == WHOLE
        assert kinds(XML[:-14]) == [*WHOLE, "truncated"]


def test_a_page_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, "_PIECE", 512)
    monkeypatch.setattr(wikipedia, "MAX_PAGE_BYTES", 2000)
    large = HEAD + PAGES[0] + page(9, "Groß", "x" * 5000) + PAGES[5] + "</mediawiki>"
    assert kinds(large.encode()) == [WHOLE[0], "page_too_large", WHOLE[5]]


def test_articles(tmp_path: Path) -> None:
    dump = tmp_path / "d.xml.bz2"
    dump.write_bytes(bz2.compress(XML.replace(b"</mediawiki>", b"<page>")))
    assert list(articles(dump)) == [("Ä und B/C?", "Ein <page> im Text </mediawiki>. 日本"), ("Zuletzt", "Ein Link.")]


def test_articles_of_no_dump_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        list(articles(tmp_path / "absent.xml.bz2"))
    (tmp_path / "empty.xml.bz2").write_bytes(b"")
    with pytest.raises(InputError, match="no articles"):
        list(articles(tmp_path / "empty.xml.bz2"))


@pytest.mark.skipif("WINNOW_EXTRA_DATA" not in os.environ, reason="WINNOW_EXTRA_DATA is not set")
def test_real_shard() -> None:
    path = Path(os.environ["WINNOW_EXTRA_DATA"]) / "wikipedia" / "enwiki-pages-articles-shard.xml.bz2"
    with path.open("rb") as stream:
        assert count_pages(stream) == 206
    with path.open("rb") as stream:
        values = [value for _, value in read_dump(stream, "wikipedia", path.name)]
    assert Counter(type(value).__name__ for value in values) == {"Page": 106, "Skip": 100}
    found = dict(articles(path))
    assert len(found) == 98
    assert found["Anarchism"].startswith("Anarchism is a political philosophy that advocates self-governed societies")
    text = "\n".join(found.values())
    assert "[[" not in text.replace("[[H", "")  # Acid has a formula with [[H^+]]
    assert "'''" not in text
    assert "<ref" not in text
