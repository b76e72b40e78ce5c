from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.url import canonical_url, host, is_ip, parents, readable_url, registered_domain


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://example.org", "example.org/"),
        ("https://example.org/", "example.org/"),
        ("HTTPS://WWW.Example.ORG:443/", "example.org/"),
        ("http://example.org:80/a/", "example.org/a"),
        ("http://example.org:080/a", "example.org/a"),
        ("http://example.org:8080/a", "example.org:8080/a"),
        ("http://user:pass@example.org/a", "example.org/a"),
        ("http://user@name@example.org/a", "example.org/a"),
        ("http://example.org./a", "example.org/a"),
        ("//example.org/a", "example.org/a"),
        ("example.org/a", "example.org/a"),
        ("example.org:8080/a", "example.org:8080/a"),
        (" http://example.org/a\n", "example.org/a"),
        ("http://exam\nple.org/a", "example.org/a"),
        ("http:\\\\example.org\\a", "example.org/a"),
        ("http://example.org/A/b", "example.org/A/b"),  # a path keeps its case
        ("http://example.org/a#b", "example.org/a"),
        ("http://example.org/a?#b", "example.org/a"),
        ("http://example.org/#!/a", "example.org/"),
        ("http://example.org/a//b", "example.org/a//b"),
        ("http://example.org/a///", "example.org/a"),
        ("http://example.org/a/./b/../c", "example.org/a/c"),
        ("http://example.org/../../a", "example.org/a"),
        ("http://example.org/%2e%2E/a", "example.org/a"),
        ("http://example.org/a;jsessionid=4F.x!1?b=1", "example.org/a?b=1"),
        ("http://example.org/%7Eme/%c3%a9", "example.org/~me/%C3%A9"),
        ("http://example.org/~me/é", "example.org/~me/%C3%A9"),
        ("http://example.org/a%2Fb", "example.org/a%2Fb"),  # an escaped slash is another page
        ("http://example.org/100%", "example.org/100%25"),
        ("http://example.org/a b", "example.org/a%20b"),
        ("http://example.org/a%3Fb", "example.org/a%3Fb"),
        ("http://example.org/?b=2&a=1", "example.org/?a=1&b=2"),
        ("http://example.org/?a=2&a=1&&", "example.org/?a=2&a=1"),  # the order of one name's values may matter
        ("http://example.org/?a", "example.org/?a"),
        ("http://example.org/?a=b=c?d", "example.org/?a=b=c?d"),
        ("http://example.org/?UTM_source=x&id=1&fbclid=2&gclid=3", "example.org/?id=1"),
        ("http://example.org/?utm_source=x", "example.org/"),
        ("http://example.org/?utmost=x", "example.org/?utmost=x"),
        ("http://bücher.example/", "xn--bcher-kva.example/"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example/"),
        ("http://xn--BCHER-kva.example/", "xn--bcher-kva.example/"),
        ("http://b%C3%BCcher.example/", "xn--bcher-kva.example/"),
        ("http://例え。テスト/", "xn--r8jz45g.xn--zckzah/"),
        ("http://пример.рф/ж", "xn--e1afmkfd.xn--p1ai/%D0%B6"),
        ("http://www.www.example.org/", "example.org/"),
        ("http://www.org/", "www.org/"),
        ("http://192.0.2.1:80/a", "192.0.2.1/a"),
        ("http://[2001:DB8::0001]:80/a", "[2001:db8::1]/a"),
        ("http://[2001:db8::1]:8080/a", "[2001:db8::1]:8080/a"),
        ("http://[nonsense]/a", "http://[nonsense]/a"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("urn:isbn:1", "urn:isbn:1"),
        ("http://", "http://"),
        ("http:///a", "http:///a"),
        ("", ""),
    ],
)
def test_canonical(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


PIECES = st.sampled_from(
    [
        *("http://", "//", "www.", "example", ".", "org", ":80", ":8080", "/", "..", "%2e", "%", "%C3", "?", "&", "="),
        *("utm_", "#", "@", "[", "]", "::1", "é", "例", "\\", " ", "A", "ß", "\ud800", "xn--", "İ", ";jsessionid="),
        *("\u200d", "1.2"),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
def test_anything_has_a_form_that_stays(url: str) -> None:
    form = canonical_url(url)
    assert canonical_url(form) == form
    assert host(form) in (host(url), host(url).removeprefix("www."), *parents(host(url)))
    assert registered_domain(url) in ("", *parents(host(url)))
    readable_url(url)


@pytest.mark.parametrize(
    ("url", "name", "registered"),
    [
        ("http://a.b.example.co.uk/x", "a.b.example.co.uk", "example.co.uk"),
        ("http://www.example.com", "www.example.com", "example.com"),
        ("http://me.blogspot.com", "me.blogspot.com", "me.blogspot.com"),
        ("http://a.me.github.io", "a.me.github.io", "me.github.io"),
        ("http://blogspot.com", "blogspot.com", "blogspot.com"),
        ("http://co.uk", "co.uk", "co.uk"),
        ("http://a.b.unlisted-suffix", "a.b.unlisted-suffix", "b.unlisted-suffix"),
        ("http://a.bücher.de", "a.xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("http://localhost:8000/", "localhost", "localhost"),
        ("http://192.0.2.1/", "192.0.2.1", "192.0.2.1"),
        ("http://[::1]/", "::1", "::1"),
        ("a@b", "b", "b"),
        ("mailto:a@b.example", "", ""),
        ("", "", ""),
    ],
)
def test_host_and_registered_domain(url: str, name: str, registered: str) -> None:
    assert host(url) == name
    assert registered_domain(url) == registered


def test_parents() -> None:
    assert parents("a.b.example") == ("a.b.example", "b.example", "example")
    assert parents("192.0.2.1") == ("192.0.2.1",)
    assert parents("::1") == ("::1",)
    assert parents("") == ()


@pytest.mark.parametrize(("name", "expected"), [("1.2.3.4", True), ("1.2.3.4.5", False), ("a::1", True), ("a1", False)])
def test_is_ip(name: str, expected: bool) -> None:
    assert is_ip(name) is expected


def test_readable() -> None:
    assert readable_url("http://u@XN--bcher-kva.example:80/%C3%89t%C3%A9?q=A+b#c") == "bücher.example/été?q=a+b"
    assert readable_url("mailto:x") == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://" + "a." * 500_000,
        "http://" + "é" * 1_000_000,
        "http://x/" + "../" * 300_000,
        "http://x/" + "%zz" * 300_000,
        "http://x/?" + "&" * 1_000_000,
        "http://" + "@" * 1_000_000,
        "http://x/" + ";jsessionid=" * 80_000,
        "http://" + "www." * 250_000,
        "[" * 1_000_000,
    ],
)
def test_a_long_url_takes_linear_time(url: str) -> None:
    began = time.process_time()
    canonical_url(url)
    assert time.process_time() - began < 5
