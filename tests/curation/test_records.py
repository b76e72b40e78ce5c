from __future__ import annotations

import gzip
import io
import os
import random
import tracemalloc
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from curation.document import Page
from curation.errors import DataError
from curation.gzip_members import GZIP
from curation.members import Window, next_start
from curation.records import HEAD_BYTES, Record, Skip, read_range, splittable

MAX_BYTES = 20_000  # small, so that ranges begin in the middle of files of this size


def body_of(number: int) -> bytes:
    """Pages of many sizes; half of them do not compress, so that a gzip member holds their bytes as they are."""
    rng = random.Random(number)
    size = rng.choice([0, 1, 300, 3_000, 12_000])
    return rng.randbytes(size) if number % 2 == 0 else (f"<p>page {number} " * (1 + size // 10)).encode()


def write_warc(bodies: Iterable[bytes], gz: bool = True) -> bytes:
    """Request, response and metadata for each body, after a warcinfo, as warcio writes them."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=gz)

    def write(uri: str, kind: str, payload: bytes, http_headers: StatusAndHeaders | None = None) -> None:
        headers = {"WARC-Date": "2024-05-18T01:58:10Z", "WARC-Record-ID": f"<urn:test:{out.tell()}>"}
        record = writer.create_warc_record(
            uri, kind, io.BytesIO(payload), http_headers=http_headers, warc_headers_dict=headers
        )
        writer.write_record(record)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # warcio leaves its temporary files to the collector
        write("", "warcinfo", b"software: a test\r\n")
        for number, body in enumerate(bodies):
            uri = f"http://example.org/{number}"
            write(uri, "request", b"", StatusAndHeaders("GET / HTTP/1.1", [("Host", "a.org")], is_http_request=True))
            type_ = [("Content-Type", "Text/HTML; charset=UTF-8")]
            write(uri, "response", body, StatusAndHeaders("200 OK", type_, protocol="HTTP/1.1"))
            write(uri, "metadata", b"fetchTimeMs: 1")
    return out.getvalue()


def write_arc(bodies: Iterable[bytes], gz: bool = True) -> bytes:
    version = b"1 0 Crawler\nURL IP-address Archive-date Content-type Archive-length\n"
    records = [b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain %d\n%s\n" % (len(version), version)]
    for number, body in enumerate(bodies):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        line = b"http://example.org/a b%d 207.241.229.39 20080430204826 text/html %d\n" % (number, len(block))
        records.append(line + block + b"\n")
    return b"".join(map(gzip.compress, records) if gz else records)


def read(data: bytes, start: int = 0, end: int | None = None, max_bytes: int = MAX_BYTES) -> list[Record]:
    end = len(data) if end is None else end
    return list(read_range(io.BytesIO(data), len(data), start, end, "s", "f", max_bytes=max_bytes))


def outcome(record: Record) -> object:
    return record.value.reason if isinstance(record.value, DataError) else record.value


def outcomes(records: list[Record]) -> list[tuple[int, int, str, str, object]]:
    return [(r.start, r.end, r.locator, r.type, outcome(r)) for r in records]


def reasons(records: list[Record]) -> list[str]:
    return [r.value.reason for r in records if isinstance(r.value, DataError)]


def pages(records: list[Record]) -> list[Page]:
    return [r.value for r in records if isinstance(r.value, Page)]


def assert_tiles(records: list[Record], size: int) -> None:
    position = 0
    for record in records:
        assert record.start == position
        assert record.end >= position
        position = record.end
    assert position == size


def assert_same_in_ranges(data: bytes, steps: Iterable[int], max_bytes: int = MAX_BYTES) -> list[Record]:
    whole = read(data, max_bytes=max_bytes)
    assert_tiles(whole, len(data))
    for step in steps:
        parts = [record for at in range(0, len(data), step) for record in read(data, at, at + step, max_bytes)]
        assert outcomes(parts) == outcomes(whole), step
    return whole


BODIES = [body_of(number) for number in range(40)]
WARC = write_warc(BODIES)


def oracle(data: bytes) -> list[tuple[str, str, bytes]]:
    found = []
    for record in ArchiveIterator(io.BytesIO(data), arc2warc=data[:4] != b"WARC"):
        kind = record.rec_type
        if kind in ("response", "conversion"):
            url = record.rec_headers.get_header("WARC-Target-URI")
            found.append((kind, url, record.content_stream().read()))
        else:
            found.append((kind, "", b""))
    return found


def assert_as_warcio(data: bytes) -> None:
    mine = []
    for record in read(data, max_bytes=32 << 20):
        assert not isinstance(record.value, DataError), record
        if isinstance(record.value, Skip):
            assert record.value.type == record.type
            mine.append((record.type.replace("filedesc", "warcinfo"), "", b""))
        else:
            mine.append((record.type, record.value.url, record.value.body))
    theirs = oracle(data)
    for (kind, url, body), (their_kind, their_url, their_body) in zip(mine, theirs, strict=True):
        assert (kind, url) == (their_kind, their_url)
        # warcio takes a record for HTTP by its URL, we by its content type: some sample pages have made-up URLs.
        assert body == their_body or (not url.startswith("http") and their_body.endswith(body))


@pytest.mark.parametrize(
    "data",
    [WARC, write_warc(BODIES, gz=False), write_arc(BODIES), write_arc(BODIES, gz=False)],
    ids=["warc.gz", "warc", "arc.gz", "arc"],
)
def test_same_as_warcio(data: bytes) -> None:
    assert_as_warcio(data)
    assert [page.body for page in pages(read(data))] == BODIES


def real_files() -> list[Path]:
    folder = Path(os.environ.get("WINNOW_EXTRA_DATA", "/nowhere")) / "web"
    return sorted(folder.glob("*arc*.gz"))


@pytest.mark.skipif(not real_files(), reason="WINNOW_EXTRA_DATA is not set")
def test_real_files_same_as_warcio_and_in_ranges() -> None:
    for path in real_files():
        data = path.read_bytes()
        assert_as_warcio(data)
        whole = read(data, max_bytes=2 << 20)
        assert_tiles(whole, len(data))
        step = len(data) // 5 + 1
        parts = [record for at in range(0, len(data), step) for record in read(data, at, at + step, 2 << 20)]
        assert outcomes(parts) == outcomes(whole)


def test_page_fields() -> None:
    page = pages(read(WARC))[1]
    start = WARC_RECORDS[5].start
    assert page.id == f"s:f#{start}"
    assert (page.url, page.date, page.status) == ("http://example.org/1", "2024-05-18T01:58:10Z", 200)
    assert (page.content_type, page.charset) == ("text/html", "utf-8")
    assert page.digest.startswith("sha1:")
    arc_page = pages(read(write_arc(BODIES)))[1]
    assert (arc_page.url, arc_page.date) == ("http://example.org/a%20b1", "2008-04-30T20:48:26Z")


WARC_RECORDS = read(WARC)


def wet(text: bytes, extra: bytes = b"") -> bytes:
    return (
        b"WARC/1.0\r\nwarc-TYPE: conversion\r\nWARC-Target-URI: <http://example.org/>\r\n" + extra
        + b"WARC-Date: 2024-05-18T01:58:10Z\r\nWARC-Block-Digest: sha1:B\r\nContent-Type: text/plain\r\n"
        b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(text), text)
    )  # fmt: skip


def test_wet_conversion_is_a_page_and_headers_go_by_name() -> None:
    for extra in (b"", b"WARC-Identified-Content-Language: eng\r\n", b"X-Long: one\r\n two\r\n"):
        (page,) = pages(read(gzip.compress(wet("Title\nText é\n".encode(), extra))))
        assert (page.url, page.status, page.content_type, page.digest) == (
            "http://example.org/",
            0,
            "text/plain",
            "sha1:B",
        )
        assert page.body.decode() == "Title\nText é\n"


@pytest.mark.parametrize("kind", ["warcinfo", "request", "metadata", "revisit", "resource", "continuation"])
def test_other_types_are_skipped_by_type(kind: str) -> None:
    (record,) = read(gzip.compress(wet(b"x").replace(b"conversion", kind.encode())))
    assert (record.type, record.value) == (kind, Skip(kind))


def test_ranges_give_the_same_records_at_every_boundary() -> None:
    """Ranges that end just before, at, and just after the start of a record."""
    start = WARC_RECORDS[20].start
    for cut in (start - 1, start, start + 1):
        parts = read(WARC, 0, cut) + read(WARC, cut)
        assert outcomes(parts) == outcomes(WARC_RECORDS)
        assert (WARC_RECORDS[20].start in {r.start for r in read(WARC, 0, cut)}) == (start < cut)


DAMAGES: dict[str, Callable[[bytearray, int, random.Random], None]] = {
    "flip": lambda d, p, rng: d.__setitem__(p, d[p] ^ (1 << rng.randrange(8))),
    "zeros": lambda d, p, rng: d.__setitem__(slice(p, p + 500), bytes(len(d[p : p + 500]))),
    "delete": lambda d, p, rng: d.__delitem__(slice(p, p + rng.choice([1, 700, 30_000]))),
    "insert": lambda d, p, rng: d.__setitem__(slice(p, p), rng.randbytes(rng.choice([1, 3_000]))),
    "truncate": lambda d, p, rng: d.__delitem__(slice(p, None)),
    "noise": lambda d, p, rng: d.__setitem__(slice(p, p + 20_000), rng.randbytes(len(d[p : p + 20_000]))),
}


@settings(max_examples=60)
@given(st.sampled_from(sorted(DAMAGES)), st.integers(0, len(WARC) - 1), st.integers(5_000, 90_000))
def test_damaged_files_tile_and_are_the_same_in_ranges(kind: str, position: int, step: int) -> None:
    data = bytearray(WARC)
    DAMAGES[kind](data, position, random.Random(position))
    records = assert_same_in_ranges(bytes(data), [step])
    intact = {(page.url, page.body) for page in pages(WARC_RECORDS)}
    assert {(page.url, page.body) for page in pages(records)} <= intact


@pytest.mark.parametrize("kind", ["flip", "zeros", "insert", "noise"])
def test_damage_costs_only_the_records_it_touches(kind: str) -> None:
    for seed in range(20):
        rng = random.Random(seed)
        position = rng.randrange(len(WARC))
        data = bytearray(WARC)
        DAMAGES[kind](data, position, rng)
        reach = {"flip": 1, "zeros": 500, "insert": 0, "noise": 20_000}[kind]
        spared = [r for r in WARC_RECORDS if r.end <= position or r.start >= position + max(reach, 1)]
        spared_pages = {page.body for page in pages(spared)}
        # One more is lost if the damage hides where it begins; nothing more.
        assert spared_pages <= {page.body for page in pages(read(bytes(data)))}


def test_archive_inside_an_archive_is_no_record() -> None:
    """A page is a .warc.gz. Deflate stores what does not compress, so the members in it lie in the file as they are."""
    inner = write_warc([body_of(number) for number in range(12)])
    before = write_warc([body_of(number) for number in range(20)])
    data = before + gzip.compress(wet(inner), compresslevel=0) + gzip.compress(wet(b"after"))
    start = next_start(GZIP, Window(io.BytesIO(data), len(data)), len(before) + 1, len(data) - 200)
    assert start is not None  # the trap is there
    records = assert_same_in_ranges(data, range(1_000, 40_000, 5_777), max_bytes=len(inner) + 100)
    assert [page.body for page in pages(records)][-2:] == [inner, b"after"]
    assert len(pages(records)) == 22


def test_several_records_in_a_member() -> None:
    first = gzip.compress(wet(b"one"))
    group = gzip.compress(wet(b"two") + wet(b"three") + wet(b"four"))
    data = first + group + gzip.compress(wet(b"five"))
    records = assert_same_in_ranges(data, range(1, len(data), 11))
    at, end = len(first), len(first) + len(group)
    spans = [(r.locator, r.start, r.end) for r in records[1:4]]
    assert spans == [(f"{at}", at, end), (f"{at}.1", end, end), (f"{at}.2", end, end)]
    assert [page.body for page in pages(records)] == [b"one", b"two", b"three", b"four", b"five"]


def test_whole_file_as_one_member() -> None:
    plain = write_warc(BODIES, gz=False)
    data = gzip.compress(plain)
    assert not splittable(data[:HEAD_BYTES])
    records = assert_same_in_ranges(data, [len(data) // 3])
    assert [page.body for page in pages(records)] == BODIES
    assert [r.locator for r in records[:3]] == ["0", "0.1", "0.2"]
    assert len(records) == len(WARC_RECORDS)


def test_damaged_whole_file_member_keeps_what_is_proven() -> None:
    data = gzip.compress(write_warc(BODIES, gz=False))
    intact = {page.body for page in pages(WARC_RECORDS)}
    cut = read(data[: len(data) // 2])
    assert reasons(cut) == ["truncated"]
    assert len(pages(cut)) > 5
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    flipped[-6] ^= 1  # and the checksum: nothing vouches for the records but their own digests
    records = read(bytes(flipped))
    assert_tiles(records, len(flipped))
    assert set(reasons(records)) == {"damaged_gzip"}
    assert len(pages(records)) > 5
    assert {page.body for page in pages(records)} <= intact


def test_silent_damage_in_a_whole_file_member_costs_the_record_it_is_in() -> None:
    """Nothing is compressed, so only the checksum at the end and the digest of that record notice the flipped bit."""
    data = bytearray(gzip.compress(write_warc(BODIES, gz=False), compresslevel=0))
    damaged = next(number for number, body in enumerate(BODIES) if len(body) > 1000)
    data[data.index(BODIES[damaged][:900]) + 500] ^= 1
    records = read(bytes(data))
    assert_tiles(records, len(data))
    assert reasons(records) == ["damaged_gzip"]
    assert [page.body for page in pages(records)] == BODIES[:damaged] + BODIES[damaged + 1 :]


def test_no_flipped_bit_loses_a_record() -> None:
    """What compresses well is damaged in the first bytes that are inflated: the record must be there all the same."""
    first, second = gzip.compress(wet(b"first")), gzip.compress(wet(b"x" * 15_000))
    data = first + second + gzip.compress(wet(b"third"))
    for position in range(len(first), len(first) + len(second)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        records = read(bytes(damaged))
        assert_tiles(records, len(data))
        assert [r.start for r in records] == [0, len(first), len(first) + len(second)]
        assert {page.body for page in pages(records)} >= {b"first", b"third"}


def test_a_start_across_two_blocks_of_the_file_is_found() -> None:
    for offset in range(-4, 2):
        data = bytes((1 << 20) + offset) + gzip.compress(wet(b"page"))
        assert [r.start for r in read(data)] == [0, (1 << 20) + offset], offset


def test_memory_is_bounded_by_max_bytes() -> None:
    block = b"<p>" + bytes(1 << 20)
    data = gzip.compress(b"".join(wet(block) for _ in range(40)), compresslevel=1)
    tracemalloc.start()
    try:
        count = sum(1 for r in read_range(io.BytesIO(data), len(data), 0, len(data), "s", "f", max_bytes=2 << 20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 40
    assert peak < 12 << 20  # of 40 MiB


def test_too_large_costs_only_that_record() -> None:
    for gz in (True, False):
        data = write_warc([b"<p>a", bytes(MAX_BYTES), b"<p>b", random.Random(0).randbytes(3 * MAX_BYTES), b"<p>c"], gz)
        records = assert_same_in_ranges(data, [7_001, 50_000])
        assert reasons(records) == ["too_large", "too_large"]
        assert [page.body for page in pages(records)] == [b"<p>a", b"<p>b", b"<p>c"]
        assert [r.type for r in records if isinstance(r.value, DataError)] == ["response", "response"]
    exact = gzip.compress(wet(b"x" * MAX_BYTES))
    assert len(pages(read(exact, max_bytes=MAX_BYTES))) == 1
    assert reasons(read(exact, max_bytes=MAX_BYTES - 1)) == ["too_large"]


def test_large_record_of_a_skipped_type_is_skipped() -> None:
    data = gzip.compress(wet(random.Random(0).randbytes(3 * MAX_BYTES)).replace(b"conversion", b"resource")) * 2
    assert [r.value for r in assert_same_in_ranges(data, [100_000])] == [Skip("resource"), Skip("resource")]


@pytest.mark.parametrize("gz", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"Content-Length: 3\r\n", b"Content-Length: 4000\r\n", "short_body"),
        (b"Content-Length: 3\r\n", b"Content-Length: 1\r\n", "long_body"),
        (b"Content-Length: 3\r\n", b"Content-Length: 99999999999\r\n", "short_body"),
        (b"Content-Length: 3\r\n", b"Content-Length: three\r\n", "malformed_header"),
        (b"Content-Length: 3\r\n", b"", "malformed_header"),
        (b"warc-TYPE: conversion\r\n", b"", "malformed_header"),
        (b"WARC-Target-URI: <http://example.org/>\r\n", b"", "malformed_header"),
        (b"WARC/1.0\r\n", b"WARC\r\n", "malformed_header"),
    ],
)
def test_a_bad_header_costs_only_its_record(gz: bool, old: bytes, new: bytes, reason: str) -> None:
    good, bad = wet(b"good"), wet(b"bad").replace(old, new)
    parts = [good, bad, good, good]
    data = b"".join(map(gzip.compress, parts) if gz else parts)
    records = assert_same_in_ranges(data, [50, 300])
    assert [outcome(r) if isinstance(r.value, DataError) else "page" for r in records] == [
        "page",
        reason,
        "page",
        "page",
    ]


def test_truncated_file() -> None:
    for data in (write_warc(BODIES), write_arc(BODIES), write_warc(BODIES, gz=False), write_arc(BODIES, gz=False)):
        whole = read(data)
        last = next(r for r in reversed(whole) if isinstance(r.value, Page))
        for cut in (last.start + 5, (last.start + last.end) // 2):
            records = assert_same_in_ranges(data[:cut], [40_000])
            assert reasons(records) == ["truncated"], (data[:10], cut)
            assert pages(records) == [page for page in pages(whole) if page.id != last.locator][: len(pages(records))]
            assert len(pages(records)) == len(BODIES) - 1


def test_a_body_that_quotes_a_record_is_one_record() -> None:
    data = gzip.compress(wet(b"An example:\n\n" + wet(b"inner"))) + gzip.compress(wet(b"next"))
    assert len(pages(assert_same_in_ranges(data, [30]))) == 2
    # Nor when the length is wrong: the member says where the record ends.
    wrong = gzip.compress(
        wet(b"An example:\n\n" + wet(b"inner")).replace(b"Content-Length: 2", b"Content-Length: 1", 1)
    )
    assert reasons(read(wrong + gzip.compress(wet(b"next")))) == ["long_body"]


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\0" * 5000,
        b"<html>not an archive</html>",
        gzip.compress(b"a,b\n1,2\n"),
        b"\x1f\x8b\x08",
        random.Random(5).randbytes(90_000),
    ],
    ids=["byte", "zeros", "html", "csv.gz", "magic", "noise"],
)
def test_not_an_archive(data: bytes) -> None:
    (record,) = assert_same_in_ranges(data, [max(1, len(data) // 3)])
    assert (record.start, record.end, record.type) == (0, len(data), "")
    assert outcome(record) == ("truncated" if data == b"\x1f\x8b\x08" else "not_an_archive")


def test_empty_file_and_empty_ranges() -> None:
    assert read(b"") == []
    assert read(WARC, len(WARC), len(WARC) + 100) == []
    assert read(WARC, 5, 5) == []


def test_garbage_before_the_first_record_belongs_to_the_first_range() -> None:
    data = b"\0" * 3000 + WARC
    records = assert_same_in_ranges(data, [1_000, 50_000])
    assert (records[0].start, records[0].end, outcome(records[0])) == (0, 3000, "damaged_gzip")
    assert len(records) == len(WARC_RECORDS) + 1


def test_splittable() -> None:
    assert splittable(WARC[:HEAD_BYTES])
    assert splittable(write_arc(BODIES)[:HEAD_BYTES])
    assert splittable(gzip.compress(wet(b"only")))
    assert not splittable(write_warc(BODIES, gz=False)[:HEAD_BYTES])
    assert not splittable(write_arc(BODIES, gz=False)[:HEAD_BYTES])
    assert not splittable(gzip.compress(write_arc(BODIES, gz=False))[:HEAD_BYTES])
