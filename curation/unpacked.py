"""A stream with its compression undone (gzip, bzip2, xz, zstd), in bounded pieces, whatever it unpacks to."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import zstandard

from curation.errors import DataError

RATIO = 1100  # unpacked : packed; gzip cannot pass 1,032, and text stays below 20
_FREE = 1 << 20  # unpacked bytes before the ratio is looked at
_PIECE = 1 << 18
_INPUT = 1 << 13  # packed bytes given at once: at a member's end the decoder copies what it has not used
_SMALL_INPUT = 1 << 8  # zstd's decoder has no limit for what it gives: a block of a few bytes may be 128 KiB

Buffer = bytes | memoryview


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    magic: bytes
    decoder: Callable[[], Any]
    step: Callable[[Any, Buffer], tuple[bytes, int]]  # (unpacked, how many bytes at the input's end are left)
    piece: int = _INPUT


def _zlib_step(decoder: Any, data: Buffer) -> tuple[bytes, int]:
    out = decoder.decompress(data, _PIECE)
    return out, len(decoder.unused_data if decoder.eof else decoder.unconsumed_tail)


def _std_step(decoder: Any, data: Buffer) -> tuple[bytes, int]:
    """bz2's and lzma's decoders keep what they have not yet looked at themselves."""
    out = decoder.decompress(data, _PIECE)
    return out, len(decoder.unused_data) if decoder.eof else 0


def _zstd_step(decoder: Any, data: Buffer) -> tuple[bytes, int]:
    out = decoder.decompress(data)
    return out, len(decoder.unused_data) if decoder.eof else 0


_FORMATS = (
    _Format("gzip", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31), _zlib_step),
    _Format("bz2", b"BZh", bz2.BZ2Decompressor, _std_step),
    _Format("xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28), _std_step),
    _Format(
        "zstd",
        b"\x28\xb5\x2f\xfd",
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(),
        _zstd_step,
        _SMALL_INPUT,
    ),
)
_ERRORS = (zlib.error, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError, ValueError)
_LONGEST_MAGIC = 6


def unpacked(stream: BinaryIO, ratio: int = RATIO) -> Iterator[bytes]:
    """The content from where the stream stands, in pieces of at most 8 MiB; as it is, if it is not compressed.

    Members one after the other are one content, and zeros behind the last are padding, as gzip and tape have them.
    Raises DataError where it breaks off: `truncated`, `damaged_gzip` (`_bz2`, `_xz`, `_zstd`), or `bomb` for more than
    `ratio` bytes out of one.
    """
    data = b""
    while len(data) < _LONGEST_MAGIC and (more := stream.read(_PIECE)):
        data += more
    kind = next((kind for kind in _FORMATS if data.startswith(kind.magic)), None)
    if kind is None:
        while data:
            yield data
            data = stream.read(_PIECE)
        return
    packed, given, at = len(data), 0, 0
    while data:
        decoder = kind.decoder()
        while not decoder.eof:
            hungry = getattr(decoder, "needs_input", True)
            if hungry and at == len(data):
                if not (data := stream.read(_PIECE)):
                    raise DataError("truncated", f"the {kind.name} stream has no end")
                packed, at = packed + len(data), 0
            piece = memoryview(data)[at : at + kind.piece] if hungry else b""
            try:
                out, left = kind.step(decoder, piece)
            except _ERRORS as error:
                raise DataError(f"damaged_{kind.name}", str(error)) from None
            at += len(piece) - left
            given += len(out)
            if given > _FREE and given > ratio * packed:
                raise DataError("bomb", f"{packed} bytes of {kind.name} unpack to more than {ratio} times as much")
            if out:
                yield out
        while (at := _behind_zeros(data, at)) == len(data) and (data := stream.read(_PIECE)):
            packed, at = packed + len(data), 0
        if data and not kind.magic.startswith(follows := data[at : at + len(kind.magic)]) and follows != kind.magic:
            raise DataError(f"damaged_{kind.name}", "something else follows the last member")


_ZEROS = re.compile(rb"\0*")


def _behind_zeros(data: bytes, at: int) -> int:
    match = _ZEROS.match(data, at)
    return match.end() if match else at
