from __future__ import annotations

import io
import json
import os
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import py7zr
import pytest

from curation.document import Page
from curation.errors import DataError
from curation.records import Skip
from curation.sources import stackexchange
from curation.sources.given import Given, Merged, Value
from curation.sources.stackexchange import count, read, site_name
from tests.curation.archives import given

FILE = "coffee.stackexchange.com/Posts.xml"
HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'


def row(id: int | str, type: int | str = 1, **fields: object) -> str:
    values = {
        "Id": id,
        "PostTypeId": type,
        "CreationDate": "2015-01-27T20:09:32.720",
        "Score": 1,
        "Body": f"<p>{id}</p>",
    }
    attributes = " ".join(f"{name}={quoteattr(str(value))}" for name, value in (values | fields).items())
    return f"  <row {attributes} />\n"


def question(id: int, **fields: object) -> str:
    return row(id, 1, Title=f"Question {id}", **fields)


def answer(id: int, parent: int, **fields: object) -> str:
    return row(id, 2, ParentId=parent, **fields)


ROWS = [
    answer(7, 10),  # before its question
    question(10, AcceptedAnswerId=12),
    question(3),
    row(4, 5),
    answer(12, 10, Score=-3),
    answer(11, 10, Score=20),
    answer(13, 99),
    question(2),
]
XML = (HEAD + "".join(ROWS) + "</posts>").encode()
# What is no part of a question comes first, in its place in the file; then questions by id, which are numbers.
WHOLE = ["4 tag_wiki", "2 page", "3 page", "10 page", "7 merged", "12 merged", "11 merged", "13 orphan_answer"]


def packed(data: bytes, name: str = "Posts.xml") -> bytes:
    with py7zr.SevenZipFile(out := io.BytesIO(), "w", filters=[{"id": py7zr.FILTER_BZIP2}]) as archive:
        archive.writestr(b"<badges/>", "Badges.xml")
        archive.writestr(data, name)
    return out.getvalue()


def name_of(value: Value) -> str:
    if isinstance(value, DataError):
        return value.reason
    return value.type if isinstance(value, Skip) else "merged" if isinstance(value, Merged) else "page"


def kinds(data: bytes, file: str = FILE) -> list[str]:
    """Each record; and there are as many as the count, which reads no XML, says."""
    records = list(read(given("stackexchange", file, data)))
    assert len(records) == count(given("stackexchange", file, data))
    return [f"{locator} {name_of(value)}" for locator, value in records]


def pages(data: bytes, file: str = FILE) -> dict[str, Page]:
    return {locator: value for locator, value in read(given("stackexchange", file, data)) if isinstance(value, Page)}


def test_records() -> None:
    assert kinds(XML) == WHOLE
    assert kinds(packed(XML), "coffee.stackexchange.com.7z") == WHOLE
    assert kinds(packed(XML, "coffee.stackexchange.com/Posts.xml"), "coffee.stackexchange.com.7z") == WHOLE
    assert [page.body for page in pages(packed(XML), FILE).values()] == [page.body for page in pages(XML).values()]


def test_page() -> None:
    xml = HEAD + question(10, Body="<p>ä &amp; &lt;</p>\n", AcceptedAnswerId=12, ContentLicense="CC BY-SA 3.0")
    xml += answer(12, 10, Score=-3, ContentLicense="CC BY-SA 4.0") + answer(11, 10, Score=20) + "</posts>"
    page = pages(xml.encode())["10"]
    body = json.loads(page.body)
    assert page == Page(
        id="stackexchange:coffee.stackexchange.com/Posts.xml#10",
        url="https://coffee.stackexchange.com/questions/10",
        date="2015-01-27T20:09:32.720Z",
        digest="",
        status=0,
        content_type=stackexchange.CONTENT_TYPE,
        charset="utf-8",
        body=page.body,
        title="Question 10",
        licence="https://creativecommons.org/licenses/by-sa/3.0/",
    )
    assert body["site"] == "coffee.stackexchange.com"
    assert body["question"]["body"] == "<p>ä &amp; &lt;</p>\n"
    assert [(a["id"], a["score"], a["licence"]) for a in body["answers"]] == [
        (12, -3, "https://creativecommons.org/licenses/by-sa/4.0/"),
        (11, 20, ""),
    ]


@pytest.mark.parametrize(
    ("file", "site"),
    [
        ("coffee.stackexchange.com.7z", "coffee.stackexchange.com"),
        ("2024/stackoverflow.com-Posts.7z", "stackoverflow.com"),
        ("dump/Math.StackExchange.com/Posts.xml", "math.stackexchange.com"),
        ("stackoverflow.com-Posts/Posts.xml", "stackoverflow.com"),
        ("ru.stackoverflow.com.7z", "ru.stackoverflow.com"),
        ("mathoverflow.net.7z", "mathoverflow.net"),
        ("Posts.xml", ""),
        ("dump/Posts.xml", ""),
    ],
)
def test_site_name(file: str, site: str) -> None:
    assert site_name(file) == site
    data = packed(XML) if file.endswith(".7z") else XML
    if site:
        assert pages(data, file)["2"].url == f"https://{site}/questions/2"
    else:
        one = given("stackexchange", file, data)
        assert [str(value.reason) for _, value in read(one)] == ["no_site"]
        assert count(one) == 1


@pytest.mark.parametrize(
    ("type", "skip"),
    [
        *((3, "wiki"), (4, "tag_wiki_excerpt"), (5, "tag_wiki"), (6, "moderator_nomination"), (7, "wiki_placeholder")),
        *((8, "privilege_wiki"), (17, "other_post")),
    ],
)
def test_other_posts_are_skipped_by_type(type: int, skip: str) -> None:
    assert kinds((HEAD + row(5, type) + "</posts>").encode()) == [f"5 {skip}"]


@pytest.mark.parametrize(
    "file", ["s.com/Users.xml", "s.com/PostHistory.xml", "stackoverflow.com-Badges.7z", "s.com/PostLinks.xml"]
)
def test_other_tables_are_one_skip(file: str) -> None:
    assert kinds(b"<users><row Id='1'/>", file) == ["0 other_table"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("<posts>", "<posts><!-- <row> --> "), ["0 malformed_xml", *WHOLE]),  # the count sees it too
        ((' Id="10"', ' Id="x"'), ["0 malformed_row", *WHOLE[:3], *(f"{n} orphan_answer" for n in (7, 12, 11, 13))]),
        ((' Id="4" PostTypeId="5"', ' Id="4"'), ["4 malformed_row", *WHOLE[1:]]),
        (('ParentId="99"', 'ParentId="-9"'), ["4 tag_wiki", "13 malformed_row", *WHOLE[1:7]]),
        (('ParentId="99"', ""), ["4 tag_wiki", "13 malformed_row", *WHOLE[1:7]]),
        (('Score="20"', 'Score="2e1"'), ["4 tag_wiki", "11 malformed_row", *WHOLE[1:6], WHOLE[7]]),
        (("&lt;p&gt;11", "<p>11"), ["4 tag_wiki", "11 malformed_xml", *WHOLE[1:6], WHOLE[7]]),
        (("&lt;p&gt;11", "&lol;"), ["4 tag_wiki", "11 malformed_xml", *WHOLE[1:6], WHOLE[7]]),
        (("&lt;p&gt;11", "&#0;"), ["4 tag_wiki", "11 malformed_xml", *WHOLE[1:6], WHOLE[7]]),
        (("&lt;p&gt;11", "&gt; / > />"), WHOLE),
        ((' Id="3"', ' Id="2"'), ["4 tag_wiki", "2 page", "2 duplicate_id", *WHOLE[3:]]),
        ((' Id="12"', ' Id="11"'), ["11 duplicate_id", *WHOLE[:5], *WHOLE[6:]]),
        (("</posts>", ""), ["4 tag_wiki", "0 truncated", *WHOLE[1:]]),
        (("</posts>", "</posts>\n\n"), WHOLE),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_costs_itself(change: tuple[str, str], expected: list[str]) -> None:
    text = XML.decode()
    assert change[0] in text
    assert sorted(kinds(text.replace(*change).encode())) == sorted(expected)


def test_invalid_utf8_costs_its_row() -> None:
    assert kinds(XML.replace(b"&lt;p&gt;11", b"\xff\xfe")) == ["4 tag_wiki", "11 malformed_xml", *WHOLE[1:6], WHOLE[7]]


def test_entities_are_never_expanded() -> None:
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE posts [<!ENTITY l0 "lol">{bomb}]><posts>' + question(1, Body="x") + "</posts>"
    )
    assert kinds(xml.replace('Body="x"', 'Body="&l29;"').encode()) == ["1 malformed_xml"]
    assert kinds(xml.encode()) == ["1 page"]


@pytest.mark.parametrize("data", [b"", b"no xml", b"<posts>", b"<", b"<row", b"<html></html>"])
def test_what_is_no_dump_is_one_error(data: bytes) -> None:
    assert kinds(data) == ["0 truncated"]
    assert kinds(b"<posts></posts>") == kinds(b"<posts />") == []


@pytest.mark.parametrize(
    ("make", "reason"),  # made in the test: a 7z has the time of day in it
    [
        (lambda: b"", "damaged_7z"),
        (lambda: XML, "damaged_7z"),
        (lambda: packed(XML)[:-5], "truncated"),
        (lambda: packed(XML, "Other.xml"), "no_member"),
        (lambda: b"7z\xbc\xaf\x27\x1c" + b"\0" * 100, "damaged_7z"),
    ],
    ids=["nothing", "XML", "cut", "another member", "zeros"],
)
def test_a_7z_that_is_none(make: Callable[[], bytes], reason: str) -> None:
    assert kinds(make(), "coffee.stackexchange.com.7z") == [f"0 {reason}"]


def test_no_post_of_a_damaged_7z_is_trusted() -> None:
    posts = (
        HEAD + "".join(question(n, Body=random.Random(n).randbytes(400).hex()) for n in range(900)) + "</posts>"
    ).encode()
    data = bytearray(packed(posts))
    for at in (40, len(data) // 2):
        data[at] ^= 1
        found = Counter(entry.partition(" ")[2] for entry in kinds(bytes(data), "s.com.7z"))
        assert found.keys() <= {"damaged_7z", "malformed_xml", "malformed_row", "too_large"}
        assert found["damaged_7z"] > 0


def test_a_text_that_is_not_what_the_checksum_says_is_in_no_page() -> None:
    with py7zr.SevenZipFile(out := io.BytesIO(), "w", filters=[{"id": py7zr.FILTER_COPY}]) as archive:
        archive.writestr(XML, "Posts.xml")
    data = out.getvalue()
    assert kinds(data, "s.com.7z") == WHOLE
    data = data.replace(b"Question 10", b"Question 1O")
    assert kinds(data, "s.com.7z")[:2] == ["4 tag_wiki", "0 damaged_7z"]
    assert {entry.partition(" ")[2] for entry in kinds(data, "s.com.7z")[2:]} == {"damaged_7z"}


def test_every_cut_and_many_flips_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in range(0, len(XML), 3):
        kinds(XML[:cut])
    chance = random.Random(1)
    for _ in range(200):
        damaged = bytearray(XML)
        for _ in range(chance.choice((1, 5))):
            damaged[chance.randrange(len(damaged))] = chance.choice(b'<>/ \n\0r"')
        expected = kinds(bytes(damaged))
        monkeypatch.setattr(stackexchange, "_CHUNK", chance.choice((1, 2, 7, 50)))
        assert kinds(bytes(damaged)) == expected
        monkeypatch.undo()


def test_rows_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackexchange, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(stackexchange, "_CHUNK", 64)
    large = question(5, Body="x" * 3000)
    for tail in ("</posts>", "", "   ", "  " * 300):
        end = [] if "</" in tail else ["0 truncated"]
        assert kinds((HEAD + question(1) + large + question(2) + tail).encode()) == [
            "5 too_large",
            *end,
            "1 page",
            "2 page",
        ]
        assert kinds((HEAD + question(1) + large + tail).encode()) == ["5 too_large", *end, "1 page"]
    assert kinds((HEAD + large[:2500]).encode()) == ["5 too_large"]


def test_a_row_of_200_megabytes_in_little_memory_and_time() -> None:
    class Large(io.RawIOBase):
        left = 200 << 20

        def read(self, size: int = -1) -> bytes:
            self.left -= size
            return b"x" * size if self.left > 0 else b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

    class Source(Large):
        started = False

        def read(self, size: int = -1) -> bytes:
            if self.started or size < 10:
                return super().read(size)
            self.started = True
            return b'<posts><row Id="5" Body="'

    start = time.process_time()
    tracemalloc.start()
    (record,) = read(Given("s", FILE, lambda: Source()))  # type: ignore[arg-type, return-value]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (record[0], name_of(record[1])) == ("5", "too_large")
    assert peak < 16 << 20
    assert time.process_time() - start < 10


def test_questions_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = question(1) + answer(3, 1, Body="x" * 500) + answer(4, 1, Body="x" * 500) + question(2)
    xml = (HEAD + rows + "</posts>").encode()
    size = sum(len(part) for part in _parts(pages(xml)["1"]))
    monkeypatch.setattr(stackexchange, "MAX_QUESTION_BYTES", size)
    assert kinds(xml) == ["1 page", "3 merged", "4 merged", "2 page"]
    monkeypatch.setattr(stackexchange, "MAX_QUESTION_BYTES", size - 1)
    assert kinds(xml) == ["1 too_large", "3 too_large", "4 too_large", "2 page"]


def _parts(page: Page) -> list[bytes]:
    body = json.loads(page.body)
    return [
        json.dumps(p, ensure_ascii=False, separators=(",", ":")).encode() for p in [body["question"], *body["answers"]]
    ]


def test_spilling_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(2)
    ids = list(range(1, 1500))
    chance.shuffle(ids)
    questions = ids[:500]
    rows = [question(id) if id in set(questions) else answer(id, chance.choice(questions)) for id in ids]
    xml = (HEAD + "".join(rows) + "</posts>").encode()
    expected = list(read(given("stackexchange", FILE, xml)))
    assert [int(locator) for locator, value in expected if isinstance(value, Page)] == sorted(questions)
    monkeypatch.setattr(stackexchange, "RUN_BYTES", 20_000)
    assert list(read(given("stackexchange", FILE, xml))) == expected


def test_a_reader_that_is_stopped_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackexchange, "RUN_BYTES", 100)
    opened = io.BytesIO(packed(XML))
    records = read(Given("s", "s.com.7z", lambda: opened))
    next(records)
    records.close()  # type: ignore[attr-defined]
    assert opened.closed


@pytest.mark.skipif("WINNOW_EXTRA_DATA" not in os.environ, reason="needs WINNOW_EXTRA_DATA")
def test_a_real_site() -> None:
    data = (Path(os.environ["WINNOW_EXTRA_DATA"]) / "stackexchange" / FILE).read_bytes()
    found = Counter(entry.partition(" ")[2] for entry in kinds(data))
    assert found == {"page": 225, "merged": 327, "tag_wiki": 20, "tag_wiki_excerpt": 20}
    assert pages(packed(data), FILE) == pages(data)
