"""gzip members (RFC 1952) of which any byte may be damaged."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from typing import Any

from curation.archive import LONGEST_LINE, begins_record
from curation.members import Member, Packing, Unpacked, Window, is_start

MAGIC = b"\x1f\x8b\x08"  # RFC 1952, section 2.3: ID1, ID2, and CM = deflate
_OPTIONAL_FIELDS = 0x1C  # FEXTRA, FNAME, FCOMMENT: fields of any length before the data

_PIECE = 1 << 16
_OUTPUT = 1 << 20
_SIP = 512
_HEAD_INPUT = 1 << 17


def inflated(window: Window, position: int, span: int, careful: bool = False) -> Unpacked:
    """The inflated bytes of the member at `position`, in chunks of at most 1 MiB; returns its end and its flaw.

    A call of zlib that meets an error gives nothing; `careful` gets out all that there is before the error.
    """
    piece_size, output = (_SIP, _SIP) if careful else (_PIECE, _OUTPUT)
    inflate = zlib.decompressobj(wbits=31)
    at, stop = position, position + span
    while not inflate.eof:
        piece = window.at(at, min(piece_size, stop - at))
        if not piece:
            return at, "truncated" if at >= window.size else "too_large"
        at += len(piece)
        try:
            while True:
                before = inflate.copy() if careful else None
                chunk = inflate.decompress(piece, output)
                if chunk:
                    yield chunk
                piece = inflate.unconsumed_tail
                if inflate.eof or (not piece and len(chunk) < output):
                    break
        except zlib.error:
            if before is not None:
                yield from _byte_by_byte(before, piece)
            return at, "damaged_gzip"
    return at - len(inflate.unused_data), ""


def _byte_by_byte(inflate: Any, piece: bytes) -> Generator[bytes, None, None]:
    for byte in piece:
        try:
            chunk = inflate.decompress(bytes([byte]))
        except zlib.error:
            return
        if chunk:
            yield chunk


GZIP = Packing("gzip", MAGIC, _HEAD_INPUT, inflated)


def is_whole_start(window: Window, position: int, member: Member) -> bool:
    """The answer of `is_start` for a member that was inflated already, without inflating it again if possible."""
    if member.flaw or not member.data or window.at(position + 3, 1)[0] & _OPTIONAL_FIELDS:
        return is_start(GZIP, window, position)
    return begins_record(member.data[:LONGEST_LINE])
