"""zstd frames (RFC 8878) and lz4 frames of which any byte may be damaged.

Both are a header, blocks that tell their length, an end. So a frame is walked block by block, each block is given to
the library on its own, what it may swell to is bounded by the block, and the frame's end is known exactly. A file of
the WARC-zstd proposal may begin with a dictionary, in a skippable frame, which all of its frames need.
"""

from __future__ import annotations

from typing import Any

from curation.members import Packing, Unpacked, Window

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]
try:
    import lz4.frame as lz4_frame  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    lz4_frame = None

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
LZ4_MAGIC = b"\x04\x22\x4d\x18"
DICTIONARY_MAGIC = b"\x5d\x2a\x4d\x18"
_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5F: RFC 8878, section 3.1.2

_ZSTD_BLOCK = 128 << 10  # section 3.1.1.2.4: a block holds no more, compressed or not
_ZSTD_HEADER = 18
_ZSTD_WINDOW = 128 << 20  # what the zstd tool takes unless it is told otherwise
_LZ4_BLOCKS = {4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20}
_LZ4_HEADER = 19
# A zstd block of 4 bytes may stand for 128 KiB, so that 32 MiB would unpack to a terabyte. Pages shrink to a tenth.
_MOST_UNPACKED, _MOST_TIMES = 64 << 20, 100
_DICTIONARY_BYTES = 64 << 20  # unpacked; those in use have 1 MB or less


def skippable(window: Window, position: int) -> int:
    """The length of the skippable frame at `position`, 0 if there is none."""
    head = window.at(position, 8)
    if len(head) < 8 or head[1:4] != _SKIPPABLE or head[0] >> 4 != 5:
        return 0
    return 8 + int.from_bytes(head[4:8], "little")


def zstd_packing(window: Window) -> Packing | None:
    """Of the file in `window`, with the dictionary that it begins with, if it does. None without the library."""
    if zstandard is None:
        return None
    given = {"dict_data": dictionary} if (dictionary := _dictionary(window)) is not None else {}

    def unpack(window: Window, position: int, span: int, careful: bool = False) -> Unpacked:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW, **given)
        return _unpack_zstd(decompressor.decompressobj(), window, position, span)

    def is_checked(window: Window, position: int) -> bool:
        return bool(window.at(position + 4, 1)[0] & 4)  # Content_Checksum_flag

    return Packing("zstd", ZSTD_MAGIC, _ZSTD_HEADER + 2 * (_ZSTD_BLOCK + 3), unpack, is_checked, skippable)


def _dictionary(window: Window) -> Any:
    """The dictionary, itself perhaps compressed; None if there is none, or none that can be read."""
    length = skippable(window, 0)
    if window.at(0, 4) != DICTIONARY_MAGIC or length > _DICTIONARY_BYTES:
        return None
    content = window.at(8, length - 8)
    if content.startswith(ZSTD_MAGIC):
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(content)
        try:
            content = reader.read(_DICTIONARY_BYTES + 1)
        except zstandard.ZstdError:
            return None
    return zstandard.ZstdCompressionDict(content) if 0 < len(content) <= _DICTIONARY_BYTES else None


def lz4_packing() -> Packing | None:
    """None without the library."""
    if lz4_frame is None:
        return None
    return Packing("lz4", LZ4_MAGIC, _LZ4_HEADER + 2 * (_LZ4_BLOCKS[7] + 8), _unpack_lz4, _lz4_checked, skippable)


def _unpack_zstd(decompressor: Any, window: Window, position: int, span: int) -> Unpacked:
    header = window.at(position, _ZSTD_HEADER)
    if len(header) < 6:
        return position, "truncated"
    if not header.startswith(ZSTD_MAGIC):
        return position, "damaged_zstd"
    descriptor = header[4]
    single = descriptor >> 5 & 1
    fields = (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    block_at, checksum = position + 5 + fields, 4 * (descriptor >> 2 & 1)
    fed, unpacked, last = position, 0, False
    while not last:
        head = window.at(block_at, 3)
        if len(head) < 3:
            return fed, "truncated"
        word = int.from_bytes(head, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if kind == 3 or size > _ZSTD_BLOCK:
            return fed, "damaged_zstd"
        block_at += 3 + (1 if kind == 1 else size) + (checksum if last else 0)
        if block_at > position + span:
            return fed, "too_large"
        if block_at > window.size:
            return fed, "truncated"
        try:
            chunk = decompressor.decompress(window.at(fed, block_at - fed))
        except zstandard.ZstdError:
            return fed, "damaged_zstd"
        if chunk:
            yield chunk
        fed = block_at
        unpacked += len(chunk)
        if _swells(unpacked, fed - position):
            return fed, "too_large"
    return fed, "" if decompressor.eof else "damaged_zstd"


def _swells(unpacked: int, compressed: int) -> bool:
    return unpacked > _MOST_UNPACKED + _MOST_TIMES * compressed


def _unpack_lz4(window: Window, position: int, span: int, careful: bool = False) -> Unpacked:
    header = window.at(position, _LZ4_HEADER)
    if len(header) < 11:
        return position, "truncated"
    flags, largest = header[4], _LZ4_BLOCKS.get(header[5] >> 4)
    if not header.startswith(LZ4_MAGIC) or flags >> 6 != 1 or largest is None:
        return position, "damaged_lz4"
    fed, block_at = position, position + 7 + 8 * (flags >> 3 & 1) + 4 * (flags & 1)
    decompressor = lz4_frame.LZ4FrameDecompressor()
    unpacked, last = 0, False
    while not last:
        head = window.at(block_at, 4)
        if len(head) < 4:
            return fed, "truncated"
        size = int.from_bytes(head, "little") & 0x7FFFFFFF  # the highest bit says: not compressed
        last = head == bytes(4)
        if size > largest:
            return fed, "damaged_lz4"
        block_at += 4 + (4 * (flags >> 2 & 1) if last else size + 4 * (flags >> 4 & 1))
        if block_at > position + span:
            return fed, "too_large"
        if block_at > window.size:
            return fed, "truncated"
        try:
            chunk = decompressor.decompress(window.at(fed, block_at - fed))
        except RuntimeError:
            return fed, "damaged_lz4"
        if chunk:
            yield chunk
        fed = block_at
        unpacked += len(chunk)
        if _swells(unpacked, fed - position):
            return fed, "too_large"
    return fed, "" if decompressor.eof else "damaged_lz4"


def _lz4_checked(window: Window, position: int) -> bool:
    """A checksum over the whole content, or over each block."""
    return bool(window.at(position + 4, 1)[0] & 0b10100)
