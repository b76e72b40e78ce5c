from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.document import Document
from curation.edits.pii import Pii

EMAIL, IPV4, IPV6 = "email@example.com", "192.0.2.1", "2001:db8::1"


def edited(text: str, **options: object) -> str:
    page = Document(id="web:f#0", url="", date="", digest="", text=text)
    verdict = Pii(**options)(page)  # type: ignore[arg-type]
    assert isinstance(verdict, Document)
    assert (verdict is page) == (verdict.text == text)
    return verdict.text


@pytest.mark.parametrize(
    "address",
    [
        "a@b.de",
        "First.Last@Example.CO.UK",
        "first+tag_x%y@sub-domain.example.museum",
        "o'brien&sons@example.ie",
        "a@xn--bcher-kva.xn--p1ai",
        "müller@bücher.de",
        "ÖDÖN@ØÜÖ.AT",
        "иван@пример.рф",
        "-a-@b.de",
        "a@1.2.3.de",
        "x" * 64 + "@b.de",
    ],
)
@pytest.mark.parametrize("around", ["{}", "Mail {}.", "<{}>", "({}),", "mailto:{}?subject=x", '"{}"', "{}\n{}", "a/{}"])
def test_emails(address: str, around: str) -> None:
    start = "-" if address.startswith("-") else ""  # an address begins with a letter or a digit here
    assert edited(around.replace("{}", address)) == around.replace("{}", start + EMAIL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("联系邮箱test@example.net谢谢", f"联系邮箱{EMAIL}谢谢"),
        ("อีเมลtest@example.netครับ", f"อีเมล{EMAIL}ครับ"),
        ("メールはtest@example.netまで", f"メールは{EMAIL}まで"),
        ("a@b.de,c@d.de;e@f.de", f"{EMAIL},{EMAIL};{EMAIL}"),
        ("a@b@c.de", f"a@{EMAIL}"),
        ("x" * 65 + "@b.de", "x" + EMAIL),
        ("'a@b.de'", f"'{EMAIL}'"),
        ("a@b.de...", f"{EMAIL}..."),
    ],
)
def test_emails_in_their_surroundings(text: str, expected: str) -> None:
    assert edited(text) == expected


@pytest.mark.parametrize(
    "text",
    ["@name", "a @ b.de", "@b.de", "a@b", "a@b..de", "a@.de", "npm i pack@1.2.3", "a@b.c", "a@b.d3", "...@b.de", "a@"],
)
def test_what_is_no_email(text: str) -> None:
    assert edited(text) == text


@pytest.mark.parametrize("address", ["8.8.8.8", "1.0.0.0", "223.255.255.255", "172.32.0.0", "100.128.0.0", "11.0.0.1"])
@pytest.mark.parametrize("around", ["{}", "at {}.", "http://{}:80/", "({})", "在{}上", "{}, {}", "{}-{}"])
def test_public_ipv4(address: str, around: str) -> None:
    assert edited(around.replace("{}", address)) == around.replace("{}", IPV4)


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "10.255.255.255", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.0", "172.31.255.255"),
        *("192.0.0.8", "192.0.2.77", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "256.8.8.8", "8.8.8.256", "8.8.8", "8.8.8.8.8", "1.8.8.8.8", "v8.8.8.8"),
        *("8.8.8.8a", "8.8.8.8.tar", "8.8.8.8888", "0008.8.8.8", "8,8,8,8", "8.8.8.8_x", "x_8.8.8.8"),
    ],
)
def test_ipv4_that_stays(text: str) -> None:
    assert edited(text) == text


@pytest.mark.parametrize("address", ["2001:4860:4860::8888", "2A00:1450:4001:81B::200E", "2606:4700::", "3ffe:1::1"])
@pytest.mark.parametrize("around", ["{}", "[{}]:80", "at {}, then", "at {}.", "在{}上", "({})"])
def test_public_ipv6(address: str, around: str) -> None:
    assert edited(around.replace("{}", address)) == around.replace("{}", IPV6)


def test_a_colon_after_an_address_is_the_sentences() -> None:
    assert edited("2001:4860:4860::8888: it answers") == f"{IPV6}: it answers"


@pytest.mark.parametrize(
    "text",
    [
        *("::1", "::", "fe80::1", "fc00::1", "2001:db8::1", "2001:0:1::", "3fff:1::", "ff02::1", "std::vector", "a::b"),
        *("12:30:45", "2001:4860", "12:34:56:78:9a:bc", "1:2:3:4:5:6:7:8:9", "2001:4860:::1", "x2606:4700::1"),
    ],
)
def test_ipv6_that_stays(text: str) -> None:
    assert edited(text) == text


def test_ipv4_inside_ipv6() -> None:
    assert edited("::ffff:8.8.8.8") == f"::ffff:{IPV4}"


def test_options() -> None:
    text = "a@b.de 8.8.8.8 2606:4700::1"
    assert edited(text, emails=False) == f"a@b.de {IPV4} {IPV6}"
    assert edited(text, ips=False) == f"{EMAIL} 8.8.8.8 2606:4700::1"
    assert edited(text, email="<email>", ipv4="<4>", ipv6="<6>") == "<email> <4> <6>"


@given(st.text(alphabet="a.1@:-é語 ", max_size=60))
def test_twice_is_once(text: str) -> None:
    once = edited(text)
    assert edited(once) == once


def test_placeholders_are_what_they_should_be() -> None:
    """FineWeb's e-mail address; of the addresses for documentation, one each (RFC 5737, RFC 3849)."""
    assert (Pii().email, Pii().ipv4, Pii().ipv6) == (EMAIL, IPV4, IPV6)


HOSTILE = [
    "a",
    "@",
    "a@",
    "a@b.",
    "a.",
    "@a.b",
    "1.",
    "1:",
    ":",
    "1.1.1.1",
    "a@a-",
    "a@b.cc",
    "é",
    "f" * 39 + ":",
    "-'",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_text_takes_linear_time(piece: str) -> None:
    text = piece * ((1 << 20) // len(piece))
    began = time.process_time()
    edited(f"a@{text}@b.cc")
    assert time.process_time() - began < 10
