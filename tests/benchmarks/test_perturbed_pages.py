from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from lxml.html import document_fromstring, tostring

from benchmarks import perturbed_pages
from benchmarks.perturbed_pages import GROWTH, PERTURBATIONS, perturbed
from tests.benchmarks.conftest import MakePage

ITEMS = "".join(f"<li class='item n{n}' id=i{n}>item {n}</li>" for n in range(30))
HTML = (
    "<!DOCTYPE html><html><head><title>Title</title><script>var a = '<p>x</p>';</script></head><body class=top>"
    f"<div id=nav><ul>{ITEMS}</ul></div><div class=main><h1>Head</h1><p>One &amp; two</p><p>three</p></div></body>"
)


def words(html: str) -> Counter[str]:
    return Counter(" ".join(document_fromstring(html).find("body").itertext()).split())


def changed(name: str, seed: int) -> str:
    html: str = getattr(perturbed_pages, name)(HTML, random.Random(seed))
    return html


def test_what_each_perturbation_does() -> None:
    whole = words(HTML)
    enlarged = [Counter({word: times * count for word, count in whole.items()}) for times in range(2, GROWTH + 1)]
    for seed in range(20):
        assert words(changed("shuffled", seed)) == words(changed("renamed", seed)) == whole
        assert words(changed("unclosed", seed)) == whole
        assert words(changed("repeated", seed)) >= whole
        assert words(changed("removed", seed)) < whole
        assert words(changed("enlarged", seed)) in enlarged
        assert max(len(changed(name, seed)) for name in ("repeated", "enlarged")) < (GROWTH + 0.2) * len(HTML)
        assert HTML.startswith(changed("cut", seed))
    assert len({changed("shuffled", seed) for seed in range(20)}) > 10
    assert min(changed("unclosed", seed).count("</") for seed in range(20)) < 10
    assert max(len(changed("repeated", seed)) for seed in range(20)) > 2 * len(HTML)


def test_another_script_leaves_markup_alone() -> None:
    for seed in range(20):
        html = changed("rewritten", seed)
        markup = r"<script>.*?</script>|<[^>]*>|&\w+;"
        assert re.findall(markup, html) == re.findall(markup, HTML)
        assert not re.search("[A-Za-z]", re.sub(markup, "", html))
        assert len(html) == len(HTML)


def test_classes_and_ids_change_places() -> None:
    values = sorted(["top", "nav", "main", *(f"item n{n}" for n in range(30)), *(f"i{n}" for n in range(30))])
    for seed in range(6):
        found = re.findall(r'(?:class|id|data-c|name)="([^"]*)"', changed("renamed", seed))
        assert sorted(found) == values
        assert found != re.findall(r'(?:class|id)="([^"]*)"', tostring(document_fromstring(HTML), encoding="unicode"))
    assert {"data-c=" in changed("renamed", seed) for seed in range(20)} == {True, False}


def test_pages_depend_on_number_and_seed_alone(make_page: MakePage) -> None:
    pages = [make_page(HTML, "u0"), make_page(HTML.replace("item", "thing"), "u1", charset="utf-8")]
    assert [perturbed(pages, number, 7) for number in (0, 1)] == [(pages[0], ""), (pages[1], "")]
    row = [perturbed(pages, number, 7) for number in range(2, 60)]
    assert [perturbed(pages, number, 7) for number in reversed(range(2, 60))] == row[::-1]
    assert [page.url for page, _ in row[:4]] == ["u0", "u1", "u0", "u1"]
    assert {name for _, names in row for name in names.split("+")} == {change.__name__ for change in PERTURBATIONS}
    assert {len(names.split("+")) for _, names in row} == {1, 2, 3}
    assert perturbed(pages, 2, 8) != row[0]
    assert all(page.body.decode("utf-8") and page.charset == "utf-8" for page, _ in row)


@pytest.mark.parametrize(
    "html", ["x", "<p>", "<", "<?xml version='1.0' encoding='x'?><p>a", "<frameset>", "\0", "&#0;<b>", " "]
)
def test_any_page_can_be_perturbed(html: str) -> None:
    for change in PERTURBATIONS:
        for seed in range(5):
            assert isinstance(change(html, random.Random(seed)), str)
