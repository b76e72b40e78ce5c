from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml.html import document_fromstring

from curation.rights import DIRECTIVES, directives, find_rights, licence

URL = "https://example.org/a/b"
CC = "https://creativecommons.org/licenses"


@pytest.mark.parametrize(
    ("header", "found", "for_ccbot"),
    [
        ("", "", ""),
        ("noindex", "noindex", "noindex"),
        ("NoIndex, NOFOLLOW", "nofollow, noindex", "nofollow, noindex"),
        ("noindex; nofollow", "nofollow, noindex", "nofollow, noindex"),
        ("noindex nofollow", "nofollow, noindex", "nofollow, noindex"),
        ("noindex, noindex", "noindex", "noindex"),
        ("none", "nofollow, noindex", "nofollow, noindex"),
        ("all", "", ""),
        ("index, follow", "", ""),
        ("noai, noimageai", "noai, noimageai", "noai, noimageai"),
        ("max-snippet:-1, max-image-preview: large", "max-image-preview:large, max-snippet:-1", None),
        ("max-snippet:<b>", "", ""),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noarchive", "noarchive, unavailable_after", None),
        ("unavailable_after: Friday, 25-Jun-10 15:00:00 UTC", "unavailable_after", None),
        ("googlebot: noindex, nofollow", "", ""),
        ("googlebot: noindex, ccbot: nofollow", "", "nofollow"),
        ("noarchive, CCBot: none", "noarchive", "noarchive, nofollow, noindex"),
        ("googlebot: max-snippet:0, noindex", "", ""),
        ("ccbot: max-snippet:0, noindex", "", "max-snippet:0, noindex"),
        ("*: noindex", "noindex", "noindex"),
        ("googlebot: noai, noindex", "noai", "noai"),  # who refuses one refuses all
        ("noodp, noydir, nosnippet", "nosnippet", "nosnippet"),
        ("nonsense-of-their-own", "nonsense-of-their-own", "nonsense-of-their-own"),
        ("<script>, no way", "", ""),
    ],
)
def test_header(header: str, found: str, for_ccbot: str | None) -> None:
    assert directives(header) == found
    assert directives(header, agents=("ccbot",)) == (found if for_ccbot is None else for_ccbot)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("robots", "noai, noimageai", "noai, noimageai"),
        ("ROBOTS ", "NOINDEX,FOLLOW", "noindex"),
        ("googlebot", "noindex", ""),
        ("googlebot", "noai", "noai"),
        ("ccbot", "nofollow", ""),
        ("tdm-reservation", "1", "tdm-reservation"),
        ("tdm-reservation", "0", ""),
        ("description", "noindex", ""),
        ("keywords", "noai", ""),
    ],
)
def test_metas(name: str, content: str, found: str) -> None:
    assert directives("", [(name, content)]) == found
    assert directives("noarchive", [(name, content)]) == ", ".join(
        sorted(filter(None, ["noarchive", *found.split(", ")]))
    )


def test_a_robot_that_is_named_as_ours() -> None:
    metas = [("CCBot", "nofollow"), ("googlebot", "noindex")]
    assert directives("", metas, agents=("ccbot",)) == "nofollow"


@pytest.mark.parametrize("name", DIRECTIVES)
def test_every_directive_is_read_in_header_and_meta(name: str) -> None:
    meant = "nofollow, noindex" if name == "none" else name
    assert directives(name) == directives(name.upper()) == directives("", [("robots", name)]) == meant
    assert directives(meant) == meant  # what is stored says the same again
    for_all = meant if name in ("noai", "noimageai", "noml") else ""
    assert directives(f"googlebot: {name}") == directives("", [("googlebot", name)]) == for_all


def test_directives_that_no_rule_of_spelling_would_find() -> None:
    assert {"none", "tdm-reservation", "indexifembedded", "unavailable_after"} <= set(DIRECTIVES)


@pytest.mark.parametrize("before", ["", "\ufeff", "\n"])
@pytest.mark.parametrize("declared", ['version="1.0" encoding="UTF-8"?', "version='1.0' encoding='x'", ""])
def test_an_xml_declaration_hides_nothing(before: str, declared: str) -> None:
    html = f"{before}<?xml {declared}>" + page(
        f'<meta name="robots" content="noai"><link rel="license" href="{CC}/by/4.0/">'
    )
    assert find_rights(html, header="", url=URL) == ("noai", f"{CC}/by/4.0/")


def page(head: str = "", body: str = "") -> str:
    return f"<!DOCTYPE html><html><head><title>t</title>{head}</head><body><p>text</p>{body}</body></html>"


@pytest.mark.parametrize(
    ("html", "found"),
    [
        (page(), ""),
        (page(f'<link rel="license" href="{CC}/by/4.0/">'), f"{CC}/by/4.0/"),
        (page("", f'<a rel="nofollow LICENSE" href="{CC}/by/4.0/">'), f"{CC}/by/4.0/"),
        (page("", f'<a property="cc:license" href="{CC}/by/4.0/">'), f"{CC}/by/4.0/"),
        (page("", f'<a href="{CC}/by/4.0/">a picture by somebody</a>'), ""),
        (page("", '<a rel="license">'), ""),
        (page("", '<a rel="license" href="">'), ""),
        (page("", '<a rel="license" href="#top">'), ""),
        (page("", '<a rel="license" href="javascript:x()">'), ""),
        (page("", '<a rel="license" href="http://[">'), ""),
        (page("", '<a rel="license" href="../terms#x">'), "https://example.org/terms#x"),
        (page('<link rel="license" href="/one"><link rel="license" href="/two">'), "https://example.org/one"),
        (
            page("", '<a rel="license" href="//www.CreativeCommons.org/licenses/BY-SA/3.0/de/deed.en">'),
            f"{CC}/by-sa/3.0/de/",
        ),
        (page("", '<a rel="license" href="http://creativecommons.org/licenses/by/4.0/deed.fr">'), f"{CC}/by/4.0/"),
        (page("", f'<a rel="license" href="{CC}/by/4.0/legalcode">'), f"{CC}/by/4.0/"),
        (page("", f'<a rel="license" href="{CC}/by-nc-nd/2.0">'), f"{CC}/by-nc-nd/2.0/"),
        (
            page("", '<a rel="license" href="https://creativecommons.org/publicdomain/zero/1.0/?ref=x">'),
            "https://creativecommons.org/publicdomain/zero/1.0/",
        ),
        (page("", '<a rel="license" href="https://creativecommons.org/about">'), "https://creativecommons.org/about"),
    ],
)
def test_licence(html: str, found: str) -> None:
    assert licence(document_fromstring(html), URL) == found
    assert find_rights(html, header="", url=URL) == ("", found)


def script(content: str) -> str:
    return page(f'<script type="application/ld+json">{content}</script>')


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"@type": "Article", "license": "/terms"}', "https://example.org/terms"),
        ('{"license": {"@id": "/terms"}}', "https://example.org/terms"),
        ('{"license": {"@type": "CreativeWork", "url": "/terms"}}', "https://example.org/terms"),
        ('{"license": ["/terms", "/other"]}', "https://example.org/terms"),
        ('[{"@type": "Person"}, {"license": "/terms"}]', "https://example.org/terms"),
        ('{"@graph": [{"@type": "WebPage", "license": "/terms"}]}', "https://example.org/terms"),
        ('{"@type": "ImageObject", "license": "/terms"}', ""),
        ('{"@type": ["Thing", "VideoObject"], "license": "/terms"}', ""),
        ('{"image": {"license": "/terms"}}', ""),
        ('{"license": 4}', ""),
        ('{"license": null}', ""),
        ('{"license": {"name": "MIT"}}', ""),
        ('{"license": "MIT License"}', ""),
        ("license", ""),
        ('{"license"', ""),
        ('"license"', ""),
        ("[" * 100_000 + '"license"', ""),
        ('{"@graph":' * 100_000 + '"license"', ""),
    ],
)
def test_licence_in_json(content: str, found: str) -> None:
    assert licence(document_fromstring(script(content)), URL) == found


def test_what_the_document_links_goes_before_what_json_says() -> None:
    html = script('{"license": "/json"}').replace("</body>", '<a rel="license" href="/link">x</a></body>')
    assert licence(document_fromstring(html), URL) == "https://example.org/link"


def test_header_and_page_are_one() -> None:
    html = page('<META NAME=robots CONTENT="noai"><meta name="tdm-reservation" content="1">')
    assert find_rights(html, header="noarchive", url=URL) == ("noai, noarchive, tdm-reservation", "")
    assert find_rights(html, document_fromstring(html), header="", url=URL) == ("noai, tdm-reservation", "")


def test_a_page_without_the_words_is_not_searched() -> None:
    assert find_rights(page(), "no tree at all", header="noindex", url=URL) == ("noindex", "")  # type: ignore[arg-type]


def test_an_agent_is_a_word_that_matters() -> None:
    html = page('<meta name="ccbot" content="nofollow">')
    assert find_rights(html, header="", url=URL, agents=("ccbot",)) == ("nofollow", "")
    assert find_rights(html, header="", url=URL) == ("", "")


@pytest.mark.parametrize(
    "html", ["", " robots ", "<", '<?xml version="1.0" encoding="utf-8"?><p>license</p>', "robots\0"]
)
def test_odd_pages(html: str) -> None:
    assert find_rights(html, header="", url=URL) == ("", "")


@given(st.text(max_size=60), st.text(max_size=60))
def test_anything_goes(header: str, content: str) -> None:
    found = directives(header, [("robots", content)])
    assert found == ", ".join(sorted(set(filter(None, found.split(", ")))))
    assert directives(found) == found


def test_a_long_header_takes_linear_time() -> None:
    began = time.process_time()
    for piece in ("noai,", "a:", ":", "no", ", ", "max-snippet:"):
        directives(piece * (1 << 18))
    assert time.process_time() - began < 10
