from __future__ import annotations

import dataclasses
import io
import os
import tarfile
import zipfile
from functools import partial

import pytest
from hypothesis import given as samples
from hypothesis import settings
from hypothesis import strategies as st

from curation.bundle import Limits, Member, count, everything, members, safe_name, unpack
from curation.errors import DataError
from curation.records import Skip
from curation.sources.given import Given
from curation.unpacked import unpacked
from tests.curation.archives import PACKERS, given, given_folder, gz, tar, zipped

FILES = {"a.txt": b"one", "b/c.txt": b"two" * 1000, "b/" + "d" * 200 + ".txt": b"", "e \u00e9.txt": b"x" * 1024}
of = partial(given, "s", "f")
folder = partial(given_folder, "s")


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
    assert read(of(gz(b"1" * 100)), Limits(member_bytes=100)) == [("", b"1" * 100)]
    assert read(of(gz(b"1" * 101)), Limits(member_bytes=100)) == [("", "too_large")]


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


ARCHIVES = [
    *(packed(tar(FILES)) for packed in PACKERS.values()),
    tar(FILES, tarfile.GNU_FORMAT) + bytes(700) + tar({"z": b"z"}),
    *(
        zipped(FILES, method)
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ),
]


@settings(max_examples=400, deadline=None)
@samples(st.sampled_from(ARCHIVES), st.integers(0, 10**6), st.integers(1, 255), st.integers(0, 10**6) | st.none())
def test_a_flipped_byte_never_crashes_and_the_count_holds(archive, at, flip, length):
    data = bytearray(archive)
    data[at % len(data)] ^= flip
    read(of(bytes(data[: length and length % len(data)])))


def raw(name: bytes, body: bytes, kind: bytes = b"0", size: int | None = None) -> bytes:
    """A member of a tar as bytes."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = b"%011o\0" % (len(body) if size is None else size)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + body + bytes(-len(body) % 512)


PIECES = [
    *(bytes(512), bytes(1024), b"x" * 512, b"\0" * 100, b"x"),
    *(raw(b"a", b"1" * 600), raw(b"b", b""), raw(b"c/", b"", b"\0"), raw(b"d", b"", b"5"), raw(b"e", b"", b"2")),
    *(raw(b"f", b"12", size=3000), raw(b"g", b"long name\0", b"L"), raw(b"h", b"12 size=512\n", b"x")),
    *(
        raw(b"i", b"9 path=k\n", b"x"),
        raw(b"j", b"11 size=x1\n", b"x"),
        raw(b"k", b"8 size=\n", b"x"),
        raw(b"l", b"junk", b"g"),
    ),
]


@settings(max_examples=400, deadline=None)
@samples(st.lists(st.sampled_from(PIECES), max_size=9))
def test_the_count_holds_for_any_row_of_blocks(pieces):
    assert read(of(b"".join(pieces)))


def test_the_count_is_no_member_of_the_reader(monkeypatch):
    monkeypatch.setattr("curation.bundle.entries", lambda *_: iter(()))
    monkeypatch.setattr("curation.bundle._of_zip", lambda *_: iter(()))
    assert count(of(tar(FILES))) == count(of(zipped(FILES))) == len(FILES)
    assert [member.body.reason for member in members(of(tar(FILES)))] == ["empty_file"]


def test_an_archive_of_nothing_is_told():
    for data in (
        bytes(512),
        bytes(10240),
        tar({}),
        gz(tar({})),
        zipped({}),
        raw(b"d/", b"", b"5") + bytes(1024),
    ):
        assert read(of(data)) == [("", "empty_file")]
        assert [told(member) for member in unpack(data)] == ["empty_file"]
    assert read(of(bytes(512) + b"text" * 200)) == [("", "damaged_tar")]


def test_tars_in_a_row_and_what_is_behind_them():
    one, two = tar({"a": b"1"}), tar({"b": b"2"})
    assert read(of(one + two)) == [("a", b"1"), ("b", b"2")]
    assert read(of(raw(b"a", b"1") + bytes(512) + raw(b"b", b"2") + bytes(1024))) == [("a", b"1"), ("b", b"2")]
    assert read(of(bytes(512) + one)) == [("a", b"1")]
    assert read(of(one + b"rubbish" * 300)) == [("a", b"1")]
    folder, rubbish = raw(b"d/", b"", b"5"), bytes(512) + b"x" * 512
    assert read(of(rubbish + folder + rubbish)) == [("", "damaged_tar")]
    assert read(of(one + b"x" * 512 + two)) == [("a", b"1"), ("", "damaged_tar"), ("b", b"2")]


def test_sizes_of_pax():
    def sized(size: bytes) -> bytes:
        length = next(n for n in range(1, 10**4) if len(b"%d size=%s\n" % (n, size)) == n)
        return (
            raw(b"x", b"%d size=%s\n" % (length, size), b"x")
            + raw(b"a", b"hello", size=0)
            + raw(b"b", b"2")
            + bytes(1024)
        )

    assert read(of(sized(b"5"))) == [("a", b"hello"), ("b", b"2")]
    assert read(of(sized(b"0" * 18 + b"5"))) == [("a", b"hello"), ("b", b"2")]
    for size in (b"0" * 19 + b"5", b"9" * 5000, b"-1", "\u0665".encode(), b"5 "):
        assert read(of(sized(size))) == [("", "damaged_tar"), ("b", b"2")]
    assert read(of(sized(b"9" * 19)))[0] == ("a", "too_large")


def test_the_longest_names():
    assert len(safe_name("x" * 4096)) == 4096
    assert safe_name("/".join("x" * 256)).count("/") == 255
    for name in ("x" * 4097, "\u00e9" * 2049, "/".join("x" * 257)):
        with pytest.raises(DataError, match="unsafe_path"):
            safe_name(name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice():
    data = raw(b"a", b"1") + raw(b"./a", b"2") + raw(b"b", b"", b"2") + raw(b"b", b"3") + bytes(1024)
    assert read(of(data)) == [("a", b"1"), ("", "duplicate_path"), ("b", "link"), ("b", b"3")]
    assert read(of(data), wanted=lambda name: name == "b")[:2] == [("a", b""), ("a", b"")]
    assert [told(member) for member in unpack(data)] == [b"1", b"2", "link", b"3"]
    assert read(of(zipped({"a": b"1", "./a": b"2"}))) == [("a", b"1"), ("", "duplicate_path")]


def test_the_most_members():
    data = tar({"a": b"1", "b": b"2", "c": b"3"})
    assert read(of(data), Limits(members=3)) == [("a", b"1"), ("b", b"2"), ("c", b"3")]
    assert read(of(data), Limits(members=2)) == [("a", b"1"), ("b", b"2"), ("", "too_large")]
    assert len(read(of(zipped(FILES)), Limits(members=4))) == 4
    assert read(of(zipped(FILES)), Limits(members=3)) == [("", "too_large")]


def test_the_table_of_a_zip_is_bounded_before_it_is_read(monkeypatch):
    data = zipped(FILES)
    size = int.from_bytes(data[-10:-6], "little")
    monkeypatch.setattr("curation.bundle.MAX_DIRECTORY", size)
    assert len(read(of(data))) == 4
    monkeypatch.setattr("curation.bundle.MAX_DIRECTORY", size - 1)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert read(of(data)) == [("", "too_large")]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_in_a_zip(method):
    data = zipped({"a": bytes(1 << 20), "b": bytes((1 << 20) + 1), "c": b"3"}, method)
    assert read(of(data), Limits(ratio=100)) == [("a", bytes(1 << 20)), ("b", "bomb"), ("c", b"3")]
    assert [size for _, size in sized(of(data), Limits(ratio=10**6))] == [1 << 20, (1 << 20) + 1, 1]


def sized(given: Given, limits: Limits) -> list[tuple[str, int]]:
    return [(name, len(body)) for name, body in read(given, limits)]


def test_the_dictionary_of_lzma_in_a_zip_is_bounded():
    data = bytearray(zipped({"a": b"1" * 100}, zipfile.ZIP_LZMA))
    at = 30 + len("a") + 5
    data[at : at + 4] = (1 << 28).to_bytes(4, "little")
    assert read(of(bytes(data))) == [("a", b"1" * 100)]
    data[at : at + 4] = ((1 << 28) + 1).to_bytes(4, "little")
    assert read(of(bytes(data))) == [("a", "too_large")]
    data[at - 1] = 255
    data[at : at + 4] = bytes(4)
    assert read(of(bytes(data))) == [("a", "damaged_zip")]


def test_a_zip_with_folders_a_comment_and_wide_numbers():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.mkdir("folder")
        with archive.open("folder/a", "w", force_zip64=True) as stream:
            stream.write(b"1")
        archive.comment = b"PK\1\2 a comment"
    assert read(of(sink.getvalue())) == [("folder/a", b"1")]


def test_the_checksum_behind_a_tar_is_looked_at():
    data = bytearray(gz(tar(FILES)))
    data[-6] ^= 1
    assert read(of(bytes(data)))[-1] == ("", "damaged_gzip")


def test_archives_that_are_none():
    assert read(of(b"PK\x03\x04" + b"no" * 50)) == [("", "damaged_zip")]
    assert read(of(b"\x1f\x8b\x08" + b"no" * 50)) == [("", "damaged_gzip")]
    assert read(of(b"BZh9" + b"no" * 50)) == [("", "damaged_bz2")]


def test_unpack_reads_an_archive_in_memory():
    assert [(m.name, m.body) for m in unpack(gz(tar(FILES)))] == list(FILES.items())
    assert [(m.name, m.body) for m in unpack(gz(b"\\documentclass"))] == [("", b"\\documentclass")]


@pytest.mark.parametrize("kind", [".bz2", ".xz", ".zst"])
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


@pytest.mark.parametrize("packed", [*PACKERS.values()][1:], ids=[*PACKERS][1:])
@pytest.mark.parametrize("piece", [7, 64, 1 << 18])
def test_many_small_members_at_any_cut(packed, piece, monkeypatch):
    monkeypatch.setattr("curation.unpacked._PIECE", piece)
    row = [packed(b""), packed(b"one"), bytes(5), packed(b""), packed(b"two" * 1000), bytes(1)] * 20
    assert b"".join(unpacked(io.BytesIO(b"".join(row)), 10**6)) == (b"one" + b"two" * 1000) * 20


@pytest.mark.parametrize("packed", [*PACKERS.values()][1:], ids=[*PACKERS][1:])
def test_a_decoder_is_given_little_at_once(packed, monkeypatch):
    """What it has not used at a member's end it copies, which for many small members must not be the whole buffer."""
    from curation import unpacked as module

    given: list[int] = []

    def watched(kind):
        def step(decoder, data):
            given.append(len(data))
            return kind.step(decoder, data)

        return dataclasses.replace(kind, step=step)

    monkeypatch.setattr(module, "_FORMATS", tuple(map(watched, module._FORMATS)))
    data = packed(b"") * 3000
    assert list(unpacked(io.BytesIO(data))) == []
    assert max(given) <= 1 << 13
    assert len(given) >= 3000
