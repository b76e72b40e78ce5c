from __future__ import annotations

import codecs
import gzip
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.decode import codec_of, decode, decode_to_utf8, is_binary
from curation.errors import DataError

TEXTS = {
    "cp1252": "Die Größe der Bäume „über“ dem Fluss – schöne Mädchen grüßen außer Straßen",
    "cp1250": "Příliš žluťoučký kůň úpěl ďábelské ódy, zażółć gęślą jaźń",
    "cp1251": "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "koi8-r": "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "cp1253": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "cp1256": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "gb18030": "视野无限广,窗外有蓝天。今天天气很好,我们去公园玩。",
    "big5hkscs": "視野無限廣,窗外有藍天。今天天氣很好,我們去公園玩。",
    "cp932": "いろはにほへと ちりぬるを わかよたれそ つねならむ 漢字とカタカナ",
    "euc_jp": "いろはにほへと ちりぬるを わかよたれそ つねならむ 漢字とカタカナ",
    "iso2022_jp": "いろはにほへと ちりぬるを わかよたれそ つねならむ",
    "cp949": "다람쥐 헌 쳇바퀴에 타고파. 오늘은 날씨가 좋습니다.",
    "cp874": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "utf-8": "Ünïcödé ≠ 漢字 😀 — ok",
}


def page(text: str, meta: str = "") -> str:
    return f"<html><head>{meta}</head><body><p class=x>{text}</p>\n<p>{text}</p></body></html>"


@pytest.mark.parametrize("codec", TEXTS)
def test_declared_in_header_in_page_and_not_at_all(codec: str) -> None:
    html = page(TEXTS[codec])
    assert decode(html.encode(codec), codec) == html
    for meta in (
        f'<meta charset="{codec}">',
        f'<META http-equiv=Content-Type CONTENT="text/html; charset={codec}">',
        f"<!-- <meta charset=utf-16> --><meta name=a content=b><meta charset='{codec}'/>",
    ):
        html = page(TEXTS[codec], meta)
        assert decode(html.encode(codec)) == html
    xml = f'<?xml version="1.0" encoding="{codec}"?>' + page(TEXTS[codec])
    assert decode(xml.encode(codec)) == xml


@pytest.mark.parametrize(
    "codec",
    [
        "cp1252",
        "cp1250",
        "cp1251",
        "koi8-r",
        "cp1253",
        "cp1256",
        "cp874",
        "gb18030",
        "big5hkscs",
        "cp932",
        "euc_jp",
        "cp949",
    ],
)
def test_detected(codec: str) -> None:
    html = page(TEXTS[codec] * 3)
    assert decode(html.encode(codec)) == html


def test_one_letter_is_enough_for_the_commonest() -> None:
    assert decode("<p>Net Café Forum</p>".encode("cp1252"), "utf-8") == "<p>Net Café Forum</p>"


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("ISO-8859-1", "cp1252"),
        (" latin1 ", "cp1252"),
        ("us-ascii", "cp1252"),
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        ("x-sjis", "cp932"),
        ("Shift_JIS", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("euc-kr", "cp949"),
        ("big5", "big5hkscs"),
        ("iso-8859-9", "cp1254"),
        ("tis-620", "cp874"),
        ("utf8", "utf-8"),
        ("UTF-16", "utf-16-le"),
        ("windows-1251", "cp1251"),
        ("utf-7", None),
        ("rot13", None),
        ("idna", None),
        ("cp037", None),
        ("nonsense", None),
        ("a\0b", None),
        ("", None),
    ],
)
def test_labels_as_browsers_read_them(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


def test_every_label_leads_to_a_codec_that_is_there() -> None:
    for label in ("windows-31j", "x-mac-cyrillic", "macintosh", "ibm866", "koi8_r", "visual", "x-cp1252", "euc-jp"):
        name = codec_of(label)
        assert name is not None
        assert codecs.lookup(name)


def test_valid_utf8_wins_over_wrong_declarations() -> None:
    html = page("Größe 漢字", '<meta charset="iso-8859-1">')
    assert decode(html.encode(), "windows-1251") == html


def test_byte_order_marks() -> None:
    html = page("Größe 漢字 😀")
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        assert decode(mark + html.encode(codec), "iso-8859-1") == html
    assert decode(html.encode("utf-16-le"), "utf-16") == html


def test_a_few_bad_bytes_do_not_change_the_encoding() -> None:
    good = "Größe über Bäume " * 20
    assert decode(good.encode() + b"\xff." + good.encode(), "utf-8") == good + "\ufffd." + good


def test_what_is_no_text_goes() -> None:
    assert decode(b"a\0b\x08c\td\ne\x7f \xed\xa0\x80 \xef\xbf\xbe".ljust(200), "utf-8").startswith("abc\td\ne ")
    assert decode("a\x00".encode("utf-16-le") + b"\x00\xd8b\x00" * 3, "utf-16").count("\ud800") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(100), b"GIF89a\1\0", b"\xff\xd8\xff\xe0", b"%PDF-1.4\n1 0 obj", b"PK\x03\x04",
        b"\0\0\0\x18ftypmp42", random.Random(3).randbytes(5000), random.Random(4).randbytes(64),
        gzip.compress(b"x" * 500, mtime=0), bytes(1000), b"\x7fELF\2\1\1",
    ],
)  # fmt: skip
def test_binary_bodies(body: bytes) -> None:
    assert is_binary(body)
    with pytest.raises(DataError, match="binary_body"):
        decode(body, "utf-8")


@pytest.mark.parametrize(
    "body", [b"", b"<p>a", b"a\0b" + b"c" * 100, *[text.encode(codec) for codec, text in TEXTS.items()]]
)
def test_texts_are_not_binary(body: bytes) -> None:
    assert not is_binary(body)


def test_the_share_of_binary_bytes_that_is_still_text() -> None:
    assert not is_binary(b"\1" * 2 + b"x" * 98)
    assert is_binary(b"\1" * 3 + b"x" * 97)


@given(
    st.binary(max_size=400),
    st.sampled_from(["", "utf-8", "utf-16", "gb18030", "iso-2022-jp", "cp1252", "shift_jis", "bogus"]),
)
def test_any_bytes_give_text_that_encodes_or_binary_body(body: bytes, charset: str) -> None:
    try:
        text = decode(b"<p>" + body, charset)
    except DataError:
        assert is_binary(b"<p>" + body)
    else:
        assert text.encode("utf-8").decode() == text
        assert "\0" not in text


@given(
    st.text(max_size=40) | st.sampled_from(["\x0b", "\x7f", "\ufffe", "a\uffff", "\ufffd", "\r\n\t\f", "\x1f", "ｆ"])
)
def test_what_is_no_text_goes_from_text_and_from_utf8(text: str) -> None:
    body = ("<p>" + text * 20).encode("utf-8", "replace")
    kept = re.sub("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]", "", body.decode())
    try:
        assert decode(body) == kept
    except DataError:
        assert is_binary(body)
    else:
        assert decode_to_utf8(body) == kept.encode()


@pytest.mark.parametrize("codec", TEXTS)
def test_to_utf8_is_the_same_text(codec: str) -> None:
    for body in (page(TEXTS[codec]).encode(codec), page(TEXTS[codec]).encode("utf-16"), b"\xff\x80" * 40):
        assert decode_to_utf8(body, codec) == decode(body, codec).encode()
    with pytest.raises(DataError, match="%PDF"):
        decode_to_utf8(b"%PDF-1.4", codec)
