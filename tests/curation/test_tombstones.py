from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.tombstones import Tombstones

URL = ("url", "example.org/a")


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://example.org/a", True),
        ("http://www.example.org:80/a/?utm_source=x#part", True),
        ("EXAMPLE.org/a", True),
        ("https://example.org/A", False),
        ("https://example.org/a/b", False),
        ("https://example.org/a?x=1", False),
        ("https://sub.example.org/a", False),
        ("", False),
    ],
)
def test_an_address_covers_every_way_of_writing_it(url: str, covered: bool) -> None:
    tombstones = Tombstones.of(urls=["https://Example.org/a/"])
    assert tombstones.covering("x", url) == ([URL] if covered else [])


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://example.org/", True),
        ("http://a.b.example.org/x?y", True),
        ("http://user@EXAMPLE.ORG.:8080/x", True),
        ("https://notexample.org/", False),
        ("https://example.org.evil.com/", False),
        ("https://org/", False),
        ("https://other.net/example.org", False),
    ],
)
def test_a_host_covers_itself_and_what_is_below(url: str, covered: bool) -> None:
    for name in ("example.org", "https://example.org/", "EXAMPLE.org."):
        assert Tombstones.of(hosts=[name]).covering("x", url) == ([("host", "example.org")] if covered else [])


def test_an_id_covers_itself_alone() -> None:
    tombstones = Tombstones.of(ids=["web:a#1"])
    assert tombstones.covering("web:a#1", "") == [("id", "web:a#1")]
    assert tombstones.covering("web:a#11", "web:a#1") == []


@pytest.mark.parametrize("kind", ["urls", "ids", "hosts"])
def test_what_names_nothing_is_refused(kind: str) -> None:
    with pytest.raises(InputError):
        Tombstones.of(**{kind: [""]})


@pytest.mark.parametrize("name", ["com", "example.org/path", "http://example.org/path", "a b.org", "x@example.org"])
def test_what_is_no_host_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"host|domain"):
        Tombstones.of(hosts=[name])


def test_a_list_of_addresses_and_tombstones() -> None:
    content = b'\xef\xbb\xbf# asked for in May\nhttps://example.org/b\n\n{"id": "web:a b#1"}\r\n{"host": "x.org"}\n'
    found = Tombstones.parse(content, "list")
    assert list(found) == [("host", "x.org"), ("id", "web:a b#1"), ("url", "example.org/b")]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"{}",
        b'{"url": 3}',
        b'{"page": "x"}',
        b'{"url": "a.org/", "id": "x"}',
        b"mailto:x",
        b"/etc/passwd",
        b"\xff",
    ],
)
def test_a_broken_list_is_one_line(line: bytes) -> None:
    with pytest.raises(InputError, match=r"\Alist"):
        Tombstones.parse(b"https://example.org/\n" + line, "list")


@given(st.lists(st.text(st.characters(exclude_categories=()), min_size=1)), st.lists(st.integers(0, 30)))
def test_a_list_comes_back_as_it_was(ids: list[str], pages: list[int]) -> None:
    tombstones = Tombstones.of([f"https://h{n}.org/{n}" for n in pages], ids, [f"h{n}.net" for n in pages])
    assert Tombstones.parse(tombstones.to_bytes(), "list") == tombstones
    again = Tombstones.of(reversed([f"https://h{n}.org/{n}" for n in pages]), ids[::-1], [f"h{n}.net" for n in pages])
    assert again.to_bytes() == tombstones.to_bytes()


def test_lists_are_joined_and_compared() -> None:
    a, b = Tombstones.of(["a.org/1"], ["x"]), Tombstones.of(["a.org/1"], [], ["c.org"])
    assert list(a | b) == [("host", "c.org"), ("id", "x"), ("url", "a.org/1")]
    assert list(a - b) == [("id", "x")]
    assert (len(a | b), bool(a - a)) == (3, False)


def test_a_lone_word_is_no_address() -> None:
    with pytest.raises(InputError, match="no address of a page"):
        Tombstones.of(urls=["notaurl"])
    assert len(Tombstones.of(urls=["example.org", "http://localhost/x", "//[::1]/A"])) == 3
