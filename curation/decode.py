"""Bytes of a page to text: which character encoding, and is it text at all?

Encodings go by the names of the WHATWG Encoding Standard, because pages are written for browsers: there a page that
says `iso-8859-1` is windows-1252 and `gb2312` is gb18030.
"""

from __future__ import annotations

import codecs
import re

import numpy as np

from curation.detect import detect
from curation.errors import DataError

# Python's codec for each encoding of the standard (https://encoding.spec.whatwg.org/#names-and-labels).
_CODECS = (
    *("utf-8", "utf-16-be", "utf-16-le", "gb18030", "big5hkscs", "euc_jp", "iso2022_jp", "cp932", "cp949"),
    *(f"iso8859-{i}" for i in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
    *(f"cp125{i}" for i in range(9)),
    *("cp866", "cp874", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"),
)
# What Python knows under a name that browsers read as a superset of it, and labels that Python does not know.
_LABELS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "euc_kr": "cp949",
    "windows-949": "cp949",
    "ks_c_5601-1989": "cp949",
    "windows-874": "cp874",
    "dos-874": "cp874",
    "utf-16": "utf-16-le",
    "unicode": "utf-16-le",
    "ucs-2": "utf-16-le",
    "unicode-1-1-utf-8": "utf-8",
    "x-unicode20utf8": "utf-8",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-ukrainian": "mac-cyrillic",
    "x-mac-roman": "mac-roman",
    "koi": "koi8-r",
    "koi8": "koi8-r",
    "koi8-ru": "koi8-u",
    "iso-8859-8-i": "iso8859-8",
    "logical": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "visual": "iso8859-8",
} | {f"x-cp125{i}": f"cp125{i}" for i in range(9)}

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

_MAGIC = (
    *(b"%PDF-", b"\x89PNG", b"GIF87a", b"GIF89a", b"\xff\xd8\xff", b"\0\0\1\0", b"II*\0", b"MM\0*"),
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!\x1a", b"\x28\xb5\x2f\xfd"),
    *(b"RIFF", b"OggS", b"ID3", b"fLaC", b"FLV\1", b"CWS", b"FWS", b"\x1aE\xdf\xa3", b"wOFF", b"wOF2", b"\0\1\0\0\0"),
    *(b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xd0\xcf\x11\xe0", b"OTTO\0"),
)
_SAMPLE = 1 << 14
# The bytes that the MIME Sniffing Standard (section 3) calls binary. Of random bytes they are 10.5 %; a text has none,
# or a few that slipped in, so 2 % stands between.
_BINARY_BYTES = bytes([*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])
_MAX_BINARY = 0.02

_META = re.compile(rb"<meta\s[^>]{0,400}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.\-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.\-]{2,40})")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META_WITHIN = 8192  # the standard looks at 1,024 bytes; scripts often stand before it

# What an encoding may fail to read and still be believed: one in 20 of the bytes that are not ASCII.
_MAX_UNREADABLE = 0.05

# Not characters of a text: controls (XML 1.0 allows only tab and line ends), surrogates, and U+FFFE, U+FFFF.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NO_CHARACTERS = ("\ufffe".encode(), "\uffff".encode())


def codec_of(label: str) -> str | None:
    """Python's codec for a declared encoding, by the WHATWG's labels; None for a label that no browser knows."""
    label = label.strip().lower()
    if label in _LABELS:
        return _LABELS[label]
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _LABELS.get(name, name)
    return name if name in _KNOWN else None


_KNOWN = frozenset(codecs.lookup(name).name for name in _CODECS)


def is_binary(body: bytes) -> bool:
    """Is this an image, a PDF, an archive, or anything else but text? UTF-16 needs its byte order mark to be text."""
    if body.startswith(_MAGIC) or body[4:8] == b"ftyp":
        return True
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    sample = body[:_SAMPLE]
    return len(sample) - len(sample.translate(None, _BINARY_BYTES)) > len(sample) * _MAX_BINARY


def decode(body: bytes, charset: str = "") -> str:
    """The text of a body. `charset` is what the HTTP header declared.

    In this order: a byte order mark, valid UTF-8 (nothing else happens to look like it), the HTTP header, a declaration
    in the page, detection. Unreadable bytes become U+FFFD; control characters go; the text always encodes to UTF-8.
    Raises DataError(`binary_body`).
    """
    text, as_utf8 = _decoded(body, charset)
    return text if _is_clean(as_utf8) else _clean(text)


def decode_to_utf8(body: bytes, charset: str = "") -> bytes:
    """The same text in UTF-8: most often the very bytes of the body. Raises DataError(`binary_body`)."""
    text, as_utf8 = _decoded(body, charset)
    return as_utf8 if _is_clean(as_utf8) else _clean(text).encode()


def _decoded(body: bytes, charset: str) -> tuple[str, bytes]:
    """The text before it is cleaned, and in UTF-8; of text with surrogates, a control character."""
    declared = codec_of(charset) if charset else None
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return _both(body[len(mark) :].decode(codec, "replace"))
    if declared in ("utf-16-le", "utf-16-be") and 4 * body[:_SAMPLE].count(0) > len(body[:_SAMPLE]):
        return _both(body.decode(declared, "replace"))
    if is_binary(body):
        raise DataError("binary_body", f"begins {body[:12]!r}")
    in_page = _declared_in(body)
    if declared != "iso2022_jp" and in_page != "iso2022_jp":  # all of its bytes are ASCII, so it is valid UTF-8 too
        try:
            return body.decode("utf-8"), body
        except UnicodeDecodeError:
            pass
    others = len(body) - len(body.translate(None, bytes(range(128, 256))))
    for label in (declared, in_page):
        if label is not None and (text := _try(body, label, others)) is not None:
            return _both(text)
    return _both(_detect(body, others))


def _both(text: str) -> tuple[str, bytes]:
    try:
        return text, text.encode()
    except UnicodeEncodeError:  # surrogates, which `_clean` drops
        return text, b"\0"


def _declared_in(body: bytes) -> str | None:
    head = body[:_META_WITHIN]
    match = _XML.match(head.lstrip()) or _META.search(_COMMENT.sub(b"", head))
    codec = codec_of(match[1].decode("ascii")) if match else None
    # A declaration that can be read as ASCII does not stand in UTF-16 (WHATWG HTML, "prescan a byte stream").
    return "utf-8" if codec in ("utf-16-le", "utf-16-be") else codec


def _try(body: bytes, codec: str, others: int) -> str | None:
    text = body.decode(codec, "replace")
    return text if text.count("\ufffd") <= max(1, others) * _MAX_UNREADABLE else None


def _detect(body: bytes, others: int) -> str:
    for codec in (detect(body), "utf-8"):
        if codec is not None and (text := _try(body, codec, others)) is not None:
            return text
    return body.decode("cp1252", "replace")  # the standard's fallback for most locales


def _clean(text: str) -> str:
    return _NO_TEXT.sub("", text)


def _is_clean(as_utf8: bytes) -> bool:
    """Would `_clean` leave it as it is? At a tenth of what it costs to search with its pattern."""
    codes = np.frombuffer(as_utf8, np.uint8)
    controls = np.count_nonzero(codes < 0x20) - np.count_nonzero(codes - np.uint8(9) <= 13 - 9)
    if controls or b"\x0b" in as_utf8 or b"\x7f" in as_utf8:
        return False
    if b"\xef" not in as_utf8 or b"\xef\xbf" not in as_utf8:
        return True
    return not any(bad in as_utf8 for bad in _NO_CHARACTERS)
