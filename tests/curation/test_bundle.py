from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given as samples
from hypothesis import settings
from hypothesis import strategies as st

from curation.bundle import Limits, Member, count, everything, members, safe_name, unpack
from curation.errors import DataError
from curation.records import Skip
from curation.sources.given import Given
from curation.unpacked import unpacked

FILES = {"a.txt": b"one", "b/c.txt": b"two" * 1000, "b/" + "d" * 200 + ".txt": b"", "e \u00e9.txt": b"x" * 1024}
PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def tar(files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return sink.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return sink.getvalue()


def of(data: bytes) -> Given:
    return Given("s", "f", lambda: io.BytesIO(data))


def folder(path: Path) -> Given:
    return Given("s", "f", lambda: io.BytesIO(), path, tuple(sorted(os.listdir(path))))


def told(member: Member) -> bytes | str:
    if isinstance(member.body, bytes):
        return member.body
    return member.body.type if isinstance(member.body, Skip) else member.body.reason


def read(given: Given, limits: Limits | None = None, wanted=everything) -> list[tuple[str, bytes | str]]:
    limits = limits or Limits()
    found = [(member.name, told(member)) for member in members(given, wanted, limits)]
    assert count(given, limits) == len(found)
    return found


@pytest.mark.parametrize("packed", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_however_packed_gives_its_files_in_stored_order(packed, format):
    files = {name: body for name, body in FILES.items() if format != tarfile.USTAR_FORMAT or len(name) < 100}
    assert read(of(packed(tar(files, format)))) == list(files.items())


def test_a_zip_and_a_folder_give_the_same(tmp_path):
    for name, body in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    assert read(of(zipped(FILES))) == list(FILES.items())
    assert read(folder(tmp_path)) == sorted(FILES.items())


@pytest.mark.parametrize("packed", PACKERS.values(), ids=PACKERS)
def test_a_file_that_is_no_bundle_is_one_member_and_wanted(packed):
    assert read(of(packed(b"text")), wanted=lambda name: name.endswith(".txt")) == [("", b"text")]
    assert read(of(packed(b""))) == [("", b"")]


def test_what_is_not_wanted_is_named_and_not_unpacked():
    for data in (tar(FILES), zipped(FILES)):
        assert read(of(data), wanted=lambda name: name == "a.txt") == [
            (name, body if name == "a.txt" else b"") for name, body in FILES.items()
        ]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a\0b", "", ".", "./"])
def test_names_that_leave_the_bundle(name):
    with pytest.raises(DataError, match="unsafe_path"):
        safe_name(name)


def test_safe_names():
    assert safe_name("./a//b/./c..d/...") == "a/b/c..d/..."


def test_unsafe_members_fail_and_the_others_are_read(tmp_path):
    assert read(of(tar({"../x": b"1", "y": b"2"}))) == [("", "unsafe_path"), ("y", b"2")]
    assert read(of(zipped({"../x": b"1", "y": b"2"}))) == [("", "unsafe_path"), ("y", b"2")]


def test_links_and_pipes_are_never_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"text")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "real" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    assert read(folder(tmp_path)) == [
        ("loop", "link"),
        ("pipe", "device"),
        ("real/file", b"text"),
        ("real/up", "link"),
    ]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name in ("loop", "pipe", "real"):
            archive.add(tmp_path / name, name)
    assert sorted(read(of(sink.getvalue()))) == read(folder(tmp_path))


def test_a_folder_name_that_is_not_unicode_is_spelled_out(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"text")
    assert read(folder(tmp_path)) == [("a/caf\\xe9.txt", b"text")]


@pytest.mark.parametrize("make", [tar, zipped])
def test_the_longest_member(make):
    data = make({"a": b"1" * 100, "b": b"2" * 101, "c": b"3"})
    assert read(of(data), Limits(member_bytes=100)) == [("a", b"1" * 100), ("b", "too_large"), ("c", b"3")]
    assert read(of(gzip.compress(b"1" * 100)), Limits(member_bytes=100)) == [("", b"1" * 100)]
    assert read(of(gzip.compress(b"1" * 101)), Limits(member_bytes=100)) == [("", "too_large")]


def test_a_damaged_header_is_told_and_reading_goes_on_behind_it():
    data = bytearray(tar({"a": b"1" * 600, "b": b"2", "c": b"3"}, tarfile.USTAR_FORMAT))
    assert read(of(bytes(data))) == [("a", b"1" * 600), ("b", b"2"), ("c", b"3")]
    data[3 * 512] ^= 1
    assert read(of(bytes(data))) == [("a", b"1" * 600), ("", "damaged_tar"), ("c", b"3")]


@pytest.mark.parametrize("packed", PACKERS.values(), ids=PACKERS)
def test_a_bundle_that_breaks_off_says_so_at_any_byte(packed):
    import random

    files = {f"{number}": random.Random(number).randbytes(3000) for number in range(5)}
    data = packed(tar(files, tarfile.USTAR_FORMAT)[: 5 * 3584 + 1024])
    for length in range(1, len(data) - 1024, 997):
        found = read(of(data[:length]))
        whole = [pair for pair in found if isinstance(pair[1], bytes)]
        assert whole == list(files.items())[: len(whole)] or length < 600
        assert len(whole) < 5 or isinstance(found[-1][1], str)
        if length >= 600:
            assert found[-1] in [("", "truncated"), ("", "damaged_zstd")]


@settings(max_examples=150, deadline=None)
@samples(st.sampled_from([*PACKERS]), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_flipped_byte_never_crashes_and_the_count_holds(packing, at, flip, as_zip):
    data = bytearray(zipped(FILES) if as_zip else PACKERS[packing](tar(FILES)))
    data[at % len(data)] ^= flip
    read(of(bytes(data)))


def test_the_checksum_behind_a_tar_is_looked_at():
    data = bytearray(gzip.compress(tar(FILES)))
    data[-6] ^= 1
    assert read(of(bytes(data)))[-1] == ("", "damaged_gzip")


def test_archives_that_are_none():
    assert read(of(b"PK\x03\x04" + b"no" * 50)) == [("", "damaged_zip")]
    assert read(of(b"\x1f\x8b\x08" + b"no" * 50)) == [("", "damaged_gzip")]
    assert read(of(b"BZh9" + b"no" * 50)) == [("", "damaged_bz2")]


def test_unpack_reads_an_archive_in_memory():
    assert [(m.name, m.body) for m in unpack(gzip.compress(tar(FILES)))] == list(FILES.items())
    assert [(m.name, m.body) for m in unpack(gzip.compress(b"\\documentclass"))] == [("", b"\\documentclass")]


@pytest.mark.parametrize("kind", ["bz2", "xz", "zstd"])
def test_a_bomb_ends_at_the_ratio(kind):
    bomb = PACKERS[kind](bytes(40 << 20))
    pieces = unpacked(io.BytesIO(bomb), ratio=100)
    given: list[int] = []
    with pytest.raises(DataError, match="bomb"):
        given.extend(map(len, pieces))
    assert sum(given) <= max(1 << 20, 100 * len(bomb))
    assert sum(map(len, unpacked(io.BytesIO(bomb), ratio=1 << 40))) == 40 << 20


@pytest.mark.parametrize("packed", [*PACKERS.values()][1:], ids=[*PACKERS][1:])
def test_members_in_a_row_are_one_content_and_zeros_are_padding(packed):
    one, two = packed(b"one "), packed(b"two")
    assert b"".join(unpacked(io.BytesIO(one + two + bytes(1000)))) == b"one two"
    with pytest.raises(DataError, match="damaged"):
        list(unpacked(io.BytesIO(one + b"rubbish that follows")))
