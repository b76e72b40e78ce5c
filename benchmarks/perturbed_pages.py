"""More pages than one has: real ones, changed by chance in the ways in which pages differ, the same for a seed.

A perturbation takes the HTML of a page and gives other HTML. Some work on the tree (lxml writes it out again, every tag
closed), some on the characters. Up to three of them are put on a page, one after the other.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from lxml.etree import LxmlError
from lxml.html import HtmlElement, document_fromstring, tostring

from curation.decode import decode
from curation.document import Page

LONGEST = 4 << 20  # characters: near the limit of what extractors take, and not beyond
GROWTH = 3  # times as long, at most: the longest pages of a crawl are long enough as they are
_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml[^>]*>")  # lxml takes no text that names an encoding
_END_TAG = re.compile(r"</(?!script|style|title|textarea|noscript|iframe)[a-z][^>]*>", re.IGNORECASE)
_MARKUP = re.compile(r"(<!--.*?-->|<(script|style)\b.*?</\2\s*>|<[^>]*>|&[#\w]+;)", re.DOTALL | re.IGNORECASE)
# First letters of alphabets, and of scripts without spaces, long enough for 26 letters to have one each.
_SCRIPTS = (0x03B1, 0x0430, 0x05D0, 0x0627, 0x0905, 0x0E01, 0x3041, 0x4E00, 0xAC00, 0x10D0, 0x1F600)


def shuffled(html: str, chance: random.Random) -> str:
    """The children of a few elements change places."""

    def change(tree: HtmlElement) -> None:
        for parent in _some(_elements(tree, children=3), chance, 8):
            children = list(parent)
            chance.shuffle(children)
            parent[:] = children

    return _on_tree(html, change)


def repeated(html: str, chance: random.Random) -> str:
    """A few elements stand there many times over, with all that is in them."""

    def change(tree: HtmlElement) -> None:
        room = min(LONGEST, GROWTH * len(html)) - len(html)
        for element in _some(_elements(tree), chance, 4):
            size = len(tostring(element, encoding="unicode"))
            for _ in range(min(chance.randint(1, 30), room // size)):
                element.addnext(copy.deepcopy(element))
                room -= size

    return _on_tree(html, change)


def removed(html: str, chance: random.Random) -> str:
    """A few elements are gone, with all that is in them."""

    def change(tree: HtmlElement) -> None:
        for element in _some(_elements(tree), chance, 12):
            if element.getparent() is not None:
                element.drop_tree()

    return _on_tree(html, change)


def renamed(html: str, chance: random.Random) -> str:
    """Values of class and id change places, all over the page at once; half the time the attributes' names too."""

    def change(tree: HtmlElement) -> None:
        elements = [element for element in tree.iter("*") if element.get("class") or element.get("id")]
        values = sorted({element.get(name) for element in elements for name in ("class", "id")} - {None})
        other = dict(zip(values, chance.sample(values, len(values)), strict=True))
        names = {"class": "data-c", "id": "name"} if chance.random() < 0.5 else {"class": "class", "id": "id"}
        for element in elements:
            for name in ("class", "id"):
                if (value := element.attrib.pop(name, None)) is not None:
                    element.set(names[name], other[value])

    return _on_tree(html, change)


def unclosed(html: str, chance: random.Random) -> str:
    """A share of the end tags is missing, but none without which all that follows is no markup."""
    share = chance.random()
    return _END_TAG.sub(lambda tag: "" if chance.random() < share else tag[0], html)


def rewritten(html: str, chance: random.Random) -> str:
    """Latin letters are those of another script. The words are none, but as long and as many."""
    first = chance.choice(_SCRIPTS)
    letters = {ord(start) + n: first + n for start in "aA" for n in range(26)}
    parts = _MARKUP.split(html)  # text, markup, name of a raw element, text ...
    parts[::3] = [text.translate(letters) for text in parts[::3]]
    return "".join(part for n, part in enumerate(parts) if n % 3 != 2)


def enlarged(html: str, chance: random.Random) -> str:
    """All that is in the body stands there two or three times."""

    def change(tree: HtmlElement) -> None:
        body = tree.find("body")
        if body is None:
            return
        children = list(body)
        for _ in range(min(chance.randint(1, GROWTH - 1), LONGEST // len(html) - 1)):
            body.extend(copy.deepcopy(children))

    return _on_tree(html, change)


def cut(html: str, chance: random.Random) -> str:
    """It ends early, perhaps within a tag."""
    return html[: chance.randrange(len(html)) + 1]


PERTURBATIONS: tuple[Callable[[str, random.Random], str], ...] = (
    *(shuffled, repeated, removed, renamed),
    *(unclosed, rewritten, enlarged, cut),
)


def perturbed(pages: Sequence[Page], number: int, seed: int) -> tuple[Page, str]:
    """Page `number` of an endless row, and what was done to it ("" for the first, which are `pages` as they are).

    `pages` are HTML that `decode` takes.
    """
    page = pages[number % len(pages)]
    if number < len(pages):
        return page, ""
    chance = random.Random(f"{seed}:{number}")
    chosen = chance.sample(PERTURBATIONS, chance.choice((1, 1, 2, 3)))
    html = decode(page.body, page.charset)
    for change in chosen:
        if html:
            html = change(html, chance)
    body = html.encode("utf-8", "surrogatepass")
    return replace(page, body=body, charset="utf-8"), "+".join(change.__name__ for change in chosen)


def _on_tree(html: str, change: Callable[[HtmlElement], None]) -> str:
    try:
        tree = document_fromstring(_DECLARATION.sub("", html))
    except (LxmlError, ValueError):  # no element, or characters that XML forbids
        return html
    change(tree)
    return str(tostring(tree, encoding="unicode"))


def _elements(tree: HtmlElement, children: int = 0) -> list[HtmlElement]:
    """Those below the body that have so many children or more."""
    body = tree.find("body")
    if body is None:
        return []
    return [element for element in body.iter("*") if len(element) >= children and element is not body]


def _some(elements: list[HtmlElement], chance: random.Random, most: int) -> list[HtmlElement]:
    return chance.sample(elements, min(len(elements), chance.randint(1, most)))
