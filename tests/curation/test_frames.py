"""WARCs in zstd and lz4: the same records, the same books, whatever is damaged; and none of the ways to swell."""

from __future__ import annotations

import gzip
import hashlib
import random
import time
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard

from curation import frames
from curation.errors import DataError
from curation.records import HEAD_BYTES, Skip, splittable
from tests.curation.test_records import (
    BODIES,
    DAMAGES,
    WARC,
    WARC_RECORDS,
    assert_same_in_ranges,
    assert_tiles,
    pages,
    read,
    reasons,
    wet,
)

RECORDS = [gzip.decompress(WARC[record.start : record.end]) for record in WARC_RECORDS]
INTACT = {(page.url, page.body) for page in pages(WARC_RECORDS)}
# A bit in a frame without a checksum may change a page, and only the record's digest notices.
PACKINGS = ("zstd", "zstd without checksums", "lz4", "lz4 without checksums")


def packer(packing: str) -> Callable[[bytes], bytes]:
    checked = "without" not in packing
    if packing.startswith("zstd"):
        return zstandard.ZstdCompressor(write_checksum=checked).compress
    lz4_frame = pytest.importorskip("lz4.frame")
    return lambda data: lz4_frame.compress(data, content_checksum=checked)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_frame_a_record_reads_like_gzip(packing: str) -> None:
    data = b"".join(map(packer(packing), RECORDS))
    assert splittable(data[:HEAD_BYTES])
    records = assert_same_in_ranges(data, [3_001, 50_000])
    assert [(page.url, page.body) for page in pages(records)] == [(p.url, p.body) for p in pages(WARC_RECORDS)]
    assert [record.type for record in records] == [record.type for record in WARC_RECORDS]


@pytest.mark.parametrize("packing", PACKINGS)
def test_whole_file_as_one_frame(packing: str) -> None:
    data = packer(packing)(b"".join(RECORDS))
    assert not splittable(data[:HEAD_BYTES])
    records = assert_same_in_ranges(data, [len(data) // 3])
    assert [page.body for page in pages(records)] == BODIES
    assert [record.locator for record in records[:3]] == ["0", "0.1", "0.2"]


@pytest.mark.parametrize("packing", ["zstd", "lz4"])
def test_what_is_lost_of_a_member_is_not_said_to_be_of_gzip(packing: str) -> None:
    data = bytearray(packer(packing)(b"".join(RECORDS)))
    data[len(data) // 2] ^= 1
    lost = {str(record.value) for record in read(bytes(data)) if isinstance(record.value, DataError)}
    assert lost == {f"damaged_{packing}: in a member that is not whole"}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_large_first_block_that_does_not_compress_is_still_known_for_one_member(packing: str) -> None:
    large = [wet(b"small"), wet(random.Random(1).randbytes(300_000)), wet(b"last")]
    data = packer(packing)(b"".join(large))
    assert not splittable(data[:HEAD_BYTES])
    assert len(pages(read(data, max_bytes=1 << 20))) == 3


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_damage_costs_what_it_touches_and_alters_nothing(packing: str, kind: str) -> None:
    data = b"".join(map(packer(packing), RECORDS))
    whole = read(data)
    for seed in range(6):
        rng = random.Random(f"{kind} {seed}")
        position = rng.randrange(len(data))
        damaged = bytearray(data)
        DAMAGES[kind](damaged, position, rng)
        records = assert_same_in_ranges(bytes(damaged), [rng.randrange(5_000, 90_000)])
        found = {(page.url, page.body) for page in pages(records)}
        assert found <= INTACT
        reach = {"flip": 1, "zeros": 500, "insert": 0, "noise": 20_000}.get(kind, len(data))
        spared = [r for r in whole if r.end <= position or r.start >= position + max(reach, 1)]
        assert {(page.url, page.body) for page in pages(spared)} <= found


@pytest.mark.parametrize("packing", PACKINGS)
def test_no_flipped_bit_loses_a_record(packing: str) -> None:
    digest = hashlib.sha1(b"x" * 3000).hexdigest().encode()
    second = wet(b"x" * 3000).replace(b"sha1:B", b"sha1:" + digest)
    first, middle, last = map(packer(packing), (wet(b"first"), second, wet(b"third")))
    data = first + middle + last
    for position in range(len(first), len(first) + len(middle)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        records = read(bytes(damaged))
        assert_tiles(records, len(data))
        assert [r.start for r in records] == [0, len(first), len(first) + len(middle)], position
        bodies = [page.body for page in pages(records)]
        assert (bodies[0], bodies[-1]) == (b"first", b"third")
        # What is unused, like reserved bits, may flip and change nothing; the digest does not cover the header.
        assert all(body == b"x" * 3000 for body in bodies[1:-1])


def test_without_a_checksum_the_digest_is_asked() -> None:
    pack = packer("zstd without checksums")
    good = RECORDS[2]
    at = good.index(b"WARC-Block-Digest: sha1:") + 24
    wrong = good[:at] + (b"A" if good[at : at + 1] != b"A" else b"B") + good[at + 1 :]
    other = RECORDS[2].replace(b"WARC-Block-Digest: sha1:", b"WARC-Block-Digest: md5:")
    records = read(pack(good) + pack(wrong) + pack(other))
    assert [type(record.value).__name__ for record in records] == ["Page", "DataError", "Page"]
    assert reasons(records) == ["wrong_digest"]
    assert reasons(read(wrong)) == ["wrong_digest"]
    assert reasons(read(packer("zstd")(wrong))) == []  # the frame's own checksum says that it is what was written


def skippable(content: bytes, number: int) -> bytes:
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


@pytest.fixture(scope="module")
def dictionary() -> zstandard.ZstdCompressionDict:
    return zstandard.train_dictionary(16_384, [record[:2000] for record in RECORDS] * 20)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_dictionary_at_the_beginning(dictionary: zstandard.ZstdCompressionDict, compressed: bool) -> None:
    content = dictionary.as_bytes()
    content = zstandard.compress(content) if compressed else content
    pack = zstandard.ZstdCompressor(dict_data=dictionary).compress
    head = skippable(content, 0xD)
    data = head + b"".join(map(pack, RECORDS))
    assert splittable(data[:HEAD_BYTES])
    records = assert_same_in_ranges(data, [9_001, 60_000])
    assert (records[0].start, records[0].end, records[0].value) == (0, len(head), Skip("skippable"))
    assert [(page.url, page.body) for page in pages(records)] == [(p.url, p.body) for p in pages(WARC_RECORDS)]


def test_a_damaged_dictionary_is_told_and_accounted_for(dictionary: zstandard.ZstdCompressionDict) -> None:
    pack = zstandard.ZstdCompressor(dict_data=dictionary).compress
    content = bytearray(zstandard.compress(dictionary.as_bytes()))
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    data = skippable(bytes(content), 0xD) + b"".join(map(pack, RECORDS))
    records = assert_same_in_ranges(data, [40_000])
    assert reasons(records) == ["damaged_zstd"]
    assert pages(records) == []


def test_skippable_frames_are_skipped_but_swallow_nothing() -> None:
    pack = packer("zstd")
    members = [pack(wet(b"one")), skippable(b"x" * 300, 1) + skippable(b"", 2), pack(wet(b"two")), pack(wet(b"three"))]
    data = b"".join(members)
    records = assert_same_in_ranges(data, [50, 301])
    assert [r.value for r in records if isinstance(r.value, Skip)] == [Skip("skippable")]
    assert [page.body for page in pages(records)] == [b"one", b"two", b"three"]
    at = len(members[0]) + 4
    for wrong in (13, 100, 0xFFFFFFFF):  # a length that reaches into the record behind, or is too short
        damaged = bytearray(data)
        damaged[at : at + 4] = ((300 + wrong) & 0xFFFFFFFF).to_bytes(4, "little")
        records = assert_same_in_ranges(bytes(damaged), [50])
        assert [page.body for page in pages(records)] == [b"one", b"two", b"three"], wrong


@pytest.mark.parametrize("packing", PACKINGS)
def test_too_large_costs_only_that_record(packing: str) -> None:
    pack = packer(packing)
    data = b"".join(pack(wet(body)) for body in (b"a", bytes(100_000), b"b"))
    records = assert_same_in_ranges(data, [77])
    assert reasons(records) == ["too_large"]
    assert [page.body for page in pages(records)] == [b"a", b"b"]


def test_a_frame_that_swells_without_end_costs_little_time_and_memory() -> None:
    """17 MB of blocks of four bytes, each of which stands for 128 KiB of zeros: half a terabyte."""
    size = 4 << 40
    header = b"\x28\xb5\x2f\xfd\x00\x38"
    line = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: %d\r\n\r\n" % size
    first = (len(line) << 3).to_bytes(3, "little") + line
    block = (2 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    bomb = header + first + block * (1 << 22)
    assert len(bomb) > 16 << 20
    data = packer("zstd")(wet(b"before")) + bomb + packer("zstd")(wet(b"after"))
    began = time.process_time()
    tracemalloc.start()
    try:
        records = read(data, max_bytes=32 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_tiles(records, len(data))
    assert [page.body for page in pages(records)] == [b"before", b"after"]
    assert time.process_time() - began < 20
    assert peak < 200 << 20


def test_without_the_library_the_file_is_one_failed_record(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(map(packer("zstd"), RECORDS))
    monkeypatch.setattr(frames, "zstandard", None)
    (record,) = assert_same_in_ranges(data, [len(data) // 2])
    assert isinstance(record.value, DataError)
    assert (record.value.reason, record.start, record.end) == ("unsupported_compression", 0, len(data))
    assert "zstd" in record.value.message


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_first_frame_may_be_damaged(packing: str) -> None:
    data = bytearray(b"".join(map(packer(packing), RECORDS)))
    data[0] ^= 1
    records = assert_same_in_ranges(bytes(data), [30_000])
    assert len(records) == len(RECORDS)
    assert {(page.url, page.body) for page in pages(records)} == INTACT
