"""A stream with its compression undone (gzip, bzip2, xz, zstd), in bounded pieces, whatever it unpacks to."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import zstandard

from curation.errors import DataError

RATIO = 1100  # unpacked : packed; gzip cannot pass 1,032, and text stays below 20
_FREE = 1 << 20  # unpacked bytes before the ratio is looked at
_PIECE = 1 << 18
_SMALL_PIECE = 1 << 8  # zstd's decoder has no limit for what it gives: a block of a few bytes may be 128 KiB


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
    step: Callable[[Any, bytes], tuple[bytes, bytes]]  # (unpacked, what is left of the input)
    piece: int = _PIECE


def _zlib_step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
    out = decoder.decompress(data, _PIECE)
    return out, decoder.unused_data if decoder.eof else decoder.unconsumed_tail


def _std_step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
    """bz2's and lzma's decoders keep what they have not yet looked at themselves."""
    out = decoder.decompress(data, _PIECE)
    return out, decoder.unused_data if decoder.eof else b""


def _zstd_step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
    out = decoder.decompress(data)
    return out, decoder.unused_data if decoder.eof else b""


_FORMATS = (
    _Format("gzip", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31), _zlib_step),
    _Format("bz2", b"BZh", bz2.BZ2Decompressor, _std_step),
    _Format("xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28), _std_step),
    _Format(
        "zstd",
        b"\x28\xb5\x2f\xfd",
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(),
        _zstd_step,
        _SMALL_PIECE,
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
    packed, given = len(data), 0
    while data:
        decoder = kind.decoder()
        while not decoder.eof:
            if not data and getattr(decoder, "needs_input", True):
                if not (data := stream.read(_PIECE)):
                    raise DataError("truncated", f"the {kind.name} stream has no end")
                packed += len(data)
            try:
                out, rest = kind.step(decoder, data[: kind.piece])
            except _ERRORS as error:
                raise DataError(f"damaged_{kind.name}", str(error)) from None
            data = rest + data[kind.piece :]
            given += len(out)
            if given > _FREE and given > ratio * packed:
                raise DataError("bomb", f"{packed} bytes of {kind.name} unpack to more than {ratio} times as much")
            if out:
                yield out
        while not data.lstrip(b"\0") and (data := stream.read(_PIECE)):
            packed += len(data)
        data = data.lstrip(b"\0")
        if data and not kind.magic.startswith(data[: len(kind.magic)]) and not data.startswith(kind.magic):
            raise DataError(f"damaged_{kind.name}", "something else follows the last member")
