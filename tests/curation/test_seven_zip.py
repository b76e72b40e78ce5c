from __future__ import annotations

import io
import random
import stat
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import py7zr
import pytest

from curation.bundle import Limits, Member
from curation.errors import DataError
from curation.records import Skip
from curation.seven_zip import MAX_DICTIONARY, members, open_member

POSTS = b"".join(b"<row Id='%d'/>\n" % number for number in range(5000))
FILES = {"Badges.xml": b"b" * 3000, "a/Posts.xml": POSTS, "Empty.xml": b"", "Users.xml": b"u" * 10}
LIMITS = Limits()
LZMA2 = [{"id": py7zr.FILTER_LZMA2, "preset": 1}]


def pack(files: Iterable[tuple[str, bytes]], filters: list[dict[str, int]] | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=filters, **options) as archive:
        for name, data in files:
            archive.writestr(data, name)
    return out.getvalue()


def read(data: bytes, wanted: str = "", limits: Limits = LIMITS) -> list[Member]:
    return list(members(io.BytesIO(data), lambda name: wanted in name, limits))


def reasons(data: bytes, limits: Limits = LIMITS) -> list[str]:
    return [m.body.reason if isinstance(m.body, DataError) else m.name for m in read(data, limits=limits)]


def posts(data: bytes, limits: Limits = LIMITS) -> bytes:
    with open_member(io.BytesIO(data), lambda name: name.endswith("Posts.xml"), limits) as pieces:
        return b"".join(pieces)


@pytest.mark.parametrize(
    "filters",
    [
        LZMA2,
        [{"id": py7zr.FILTER_LZMA, "preset": 1}],
        [{"id": py7zr.FILTER_BZIP2}],
        [{"id": py7zr.FILTER_DEFLATE}],
        [{"id": py7zr.FILTER_COPY}],
        [{"id": py7zr.FILTER_X86}, *LZMA2],
        [{"id": py7zr.FILTER_DELTA, "dist": 4}, *LZMA2],
    ],
    ids=["lzma2", "lzma", "bzip2", "deflate", "copy", "bcj", "delta"],
)
def test_members(filters: list[dict[str, int]]) -> None:
    data = pack(FILES.items(), filters)
    assert read(data) == [Member(name, body) for name, body in FILES.items()]
    assert read(data, "Users") == [Member(name, body if "Users" in name else b"") for name, body in FILES.items()]
    assert posts(data) == POSTS
    for cut in range(32, len(data), len(data) // 20):
        assert reasons(data[:cut]) == ["truncated"]


def test_several_streams_and_folders(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    out = io.BytesIO(pack([("first", b"1" * 500), ("second", b"2")]))
    with py7zr.SevenZipFile(out, "a") as archive:  # a second compressed stream
        archive.write(tmp_path / "d", "d")
        archive.writestr(POSTS, "d/Posts.xml")
    assert read(out.getvalue()) == [Member("first", b"1" * 500), Member("second", b"2"), Member("d/Posts.xml", POSTS)]
    assert read(out.getvalue(), "Posts")[2].body == POSTS
    assert posts(out.getvalue()) == POSTS
    assert read(pack([])) == []


def test_members_may_be_read_in_turns_with_another_reader() -> None:
    stream = io.BytesIO(pack(FILES.items()))
    found = []
    for member in members(stream, lambda name: True, Limits()):
        found.append(member)
        stream.seek(3)
    assert found == [Member(name, body) for name, body in FILES.items()]


def test_a_consumer_may_stop() -> None:
    reader = members(io.BytesIO(pack(FILES.items())), lambda name: True, Limits())
    next(reader)
    reader.close()  # there is no thread to be waited for
    with open_member(io.BytesIO(pack(FILES.items())), lambda name: "Posts" in name, Limits()) as pieces:
        next(pieces)


def test_a_huge_member_in_little_memory() -> None:
    chance = random.Random(1)
    line = b"".join(b"%d " % chance.randrange(10**9) for _ in range(20_000))
    data = pack([("Posts.xml", line * 300)], LZMA2)  # 60 MB
    tracemalloc.start()
    with open_member(io.BytesIO(data), lambda name: True, Limits(ratio=10**6)) as pieces:
        crc, size = 0, 0
        for piece in pieces:
            crc, size = zlib.crc32(piece, crc), size + len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (size, crc) == (len(line) * 300, zlib.crc32(line * 300))
    assert peak < 24 << 20  # the dictionaries: 16 MiB for the table of contents, 1 MiB for the member


def test_limits() -> None:
    data = pack(FILES.items())
    small = Limits(member_bytes=2999)
    assert reasons(data, small) == ["too_large", "too_large", "Empty.xml", "Users.xml"]
    assert read(data, limits=small)[3].body == b"u" * 10
    assert reasons(data, Limits(member_bytes=3000))[0] == "Badges.xml"
    assert posts(data, small) == POSTS
    assert reasons(data, Limits(members=3)) == ["Badges.xml", "a/Posts.xml", "Empty.xml", "too_large"]
    assert reasons(data, Limits(members=4)) == list(FILES)

    bomb = pack([("zeros", b"\0" * (3 << 20)), ("behind", b"x")])
    assert reasons(bomb, Limits(ratio=1000)) == ["bomb", "bomb"]
    assert reasons(bomb, Limits(ratio=10**5)) == ["zeros", "behind"]
    assert reasons(pack([("zeros", b"\0" * (1 << 20))]), Limits(ratio=1)) == ["zeros"]  # the first MiB is free


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\..\\b"])
def test_names_that_leave_the_archive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = _with_contents(
        pack([("q", b"body"), ("good", b"good")], [{"id": py7zr.FILTER_COPY}]),
        lambda header: header.files_info.files[0].update(filename=name),
    )
    first, second = read(data)
    assert (first.name, second) == ("", Member("good", b"good"))
    assert isinstance(first.body, DataError)
    assert first.body.reason == "unsafe_path"
    assert list(tmp_path.iterdir()) == []


def _with_contents(data: bytes, change: Callable[[Any], object]) -> bytes:
    """The archive with another table of contents, which is not packed."""
    archive = py7zr.SevenZipFile(io.BytesIO(data))
    change(archive.header)
    header = io.BytesIO()
    archive.header.write(header, 0, encoded=False)
    contents = header.getvalue()
    end = 32 + archive.header.main_streams.packinfo.packpositions[-1]
    start = struct.pack("<QQL", end - 32, len(contents), zlib.crc32(contents))
    return data[:8] + struct.pack("<L", zlib.crc32(start)) + start + data[32:end] + contents


def test_links_and_devices() -> None:
    def with_mode(mode: int) -> Member:
        archive = py7zr.SevenZipFile(out := io.BytesIO(), "w", filters=[{"id": py7zr.FILTER_COPY}])
        archive.writestr(b"/etc/passwd", "l")
        archive.header.files_info.files[0]["attributes"] = 0x8000 | mode << 16
        archive.close()
        (member,) = read(out.getvalue())
        return member

    assert with_mode(stat.S_IFREG | 0o644) == Member("l", b"/etc/passwd")
    assert with_mode(stat.S_IFLNK | 0o777) == Member("l", Skip("link"))
    assert with_mode(stat.S_IFIFO) == Member("l", Skip("device"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged_7z"),
        (b"PK\x03\x04 is no 7z at all, but long enough to be", "damaged_7z"),
        (pack(FILES.items())[:20], "truncated"),
        (pack(FILES.items())[:-1], "truncated"),
        (pack(FILES.items(), password="x"), "encrypted"),
        (pack(FILES.items(), password="x", header_encryption=True), "encrypted"),
        (pack(FILES.items(), [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 16}]), "unsupported_compression"),
        (pack(FILES.items(), [{"id": py7zr.FILTER_ZSTD, "level": 1}]), "unsupported_compression"),
    ],
    ids=["nothing", "zip", "cut", "cut-contents", "encrypted", "encrypted-contents", "ppmd", "zstd"],
)
def test_what_cannot_be_read(data: bytes, reason: str) -> None:
    assert [m.body.reason for m in read(data) if isinstance(m.body, DataError)][:1] == [reason]
    with pytest.raises(DataError, match=reason):
        posts(data)


def test_a_dictionary_that_asks_for_too_much() -> None:
    data = pack([("x", b"x" * 100)], [{"id": py7zr.FILTER_LZMA, "preset": 1, "dict_size": MAX_DICTIONARY}])
    assert read(data) == [Member("x", b"x" * 100)]

    def ask_for_more(header: Any) -> None:
        coder = header.main_streams.unpackinfo.folders[0].coders[0]
        coder["properties"] = coder["properties"][:1] + struct.pack("<L", MAX_DICTIONARY + 1)

    assert reasons(_with_contents(data, ask_for_more)) == ["too_large"]


def test_no_such_member() -> None:
    with pytest.raises(DataError, match="no_member"):
        posts(pack([("Users.xml", b"u")]))


def test_a_wrong_byte_costs_its_member_alone() -> None:
    data = bytearray(pack(FILES.items(), [{"id": py7zr.FILTER_COPY}]))
    data[32 + 5] ^= 1
    assert reasons(bytes(data)) == ["damaged_7z", "a/Posts.xml", "Empty.xml", "Users.xml"]
    data[32 + 3005] ^= 1
    with (
        pytest.raises(DataError, match="damaged_7z"),
        open_member(io.BytesIO(data), lambda name: "Posts" in name, Limits()) as pieces,
    ):
        assert len(b"".join(pieces)) == len(POSTS)


def test_flipped_bits_end_in_errors() -> None:
    """Whatever is in the file: members or DataErrors, and no member that is another."""
    chance = random.Random(7)
    for filters in (LZMA2, [{"id": py7zr.FILTER_BZIP2}], [{"id": py7zr.FILTER_DEFLATE}], [{"id": py7zr.FILTER_COPY}]):
        whole = pack(FILES.items(), filters)
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 1, 8))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            for member in read(bytes(data)):
                assert not isinstance(member.body, bytes) or member.body == FILES.get(member.name, member.body)


def test_a_stream_that_fails_is_no_damage() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 32:
                raise OSError("the network is gone")
            return super().read(size)

    with pytest.raises(OSError, match="network"):
        list(members(Failing(pack(FILES.items())), lambda name: True, Limits()))
