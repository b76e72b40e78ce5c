"""What of a page is main text, for training: blocks aligned with the text that an extractor found, corrected by gold.

A reference text is nearly a subsequence of the page's blocks. Blocks that stand in it whole are chained in order, the
longest chain by tokens winning; of the others the share of their 4-grams that occur counts.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from curation.errors import InputError

# Words, and single characters of scripts that put no space between them.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]|[^\W_]+")
_NGRAM = 4
_FEW = 8  # tokens; blocks of fewer are there whole or not at all
_MOST_PLACES = 40  # of one string, that are looked at: work stays linear on pages that repeat themselves
_LEAST_SHARE = 0.3  # of a block's tokens; below it is chance

Labels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gold:
    """Strings that the main text of a page has, and that it has not; white space collapsed, NFC."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corrected:
    """`labels` float64[blocks]; `certain` bool[blocks], where gold decided; `trust` in what it did not, from 0 to 1."""

    labels: Labels
    certain: NDArray[np.bool_]
    trust: float


def tokens(text: str) -> list[str]:
    """Words of a text in NFC and lower case, without marks."""
    return _TOKEN.findall(unicodedata.normalize("NFC", text).lower())


def collapsed(text: str) -> str:
    """NFC, with each run of white space as one space and none at either end."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def align(blocks: Sequence[str], reference: str) -> Labels:
    """How much of each block is in a reference text: float64[blocks], from 0 to 1."""
    labels = np.zeros(len(blocks))
    found: list[str] = []
    bounds = {0}  # tokens at which a line or a cell begins or ends
    for line in reference.split("\n"):
        for cell in line.split("|"):
            found += tokens(cell)
            bounds.add(len(found))
    if not found:
        return labels
    of_block = [tokens(block) for block in blocks]
    for number in _chain(of_block, found, bounds):
        labels[number] = 1
    grams = {tuple(found[i : i + _NGRAM]) for i in range(len(found) - _NGRAM + 1)}
    for number, own in enumerate(of_block):
        if not own:  # marks alone go with what is around them
            before = labels[number - 1] if number else 0.0
            labels[number] = min(before, labels[number + 1] if number + 1 < len(blocks) else 0.0)
        elif labels[number] == 0 and len(own) >= _FEW:
            covered = [False] * len(own)
            for i in range(len(own) - _NGRAM + 1):
                if tuple(own[i : i + _NGRAM]) in grams:
                    covered[i : i + _NGRAM] = [True] * _NGRAM
            share = sum(covered) / len(own)
            labels[number] = share if share > _LEAST_SHARE else 0.0
    return labels


def _chain(of_block: Sequence[Sequence[str]], found: Sequence[str], bounds: set[int]) -> list[int]:
    """Blocks that stand in the reference whole and in order, of the greatest weight together.

    A short block must fill a line, or begin or end one: its words alone prove nothing.
    """
    joined = " " + " ".join(found) + " "
    place, at = {}, 0
    for number, token in enumerate(found):
        place[at] = number
        at += len(token) + 1
    best = [(0.0, -1)] * (len(found) + 2)  # Fenwick tree: the best chain that ends at or before a token
    nodes: list[tuple[int, int]] = []
    for number, own in enumerate(of_block):
        if not own:
            continue
        key = " " + " ".join(own) + " "
        at, tries, ends = joined.find(key), 0, []
        while at >= 0 and tries < _MOST_PLACES:
            first = place[at]
            last = first + len(own)
            edges = (first in bounds) + (last in bounds)
            if edges == 2 or len(own) >= 5 or (len(own) >= 2 and edges):
                weight = (len(own) + 0.5) * (0.6, 0.8, 1.0)[edges]
                before, node = _best_until(best, first)
                nodes.append((number, node))
                ends.append((last, (before + weight, len(nodes) - 1)))
            tries += 1
            at = joined.find(key, at + 1)
        for last, chain in ends:
            _improve(best, last, chain)
    chosen = []
    node = _best_until(best, len(found))[1]
    while node >= 0:
        number, node = nodes[node]
        chosen.append(number)
    return chosen


def _best_until(tree: list[tuple[float, int]], last: int) -> tuple[float, int]:
    best, at = (0.0, -1), last + 1
    while at > 0:
        best = max(best, tree[at])
        at -= at & -at
    return best


def _improve(tree: list[tuple[float, int]], last: int, chain: tuple[float, int]) -> None:
    at = last + 1
    while at < len(tree):
        tree[at] = max(tree[at], chain)
        at += at & -at


def correct(blocks: Sequence[str], labels: Labels, gold: Gold) -> Corrected:
    """Labels that gold corrects: a block with a string that must be there is kept, one with another kind is not.

    Of several places of a string that must be there, those count that the labels keep, else the likeliest alone. The
    square of the share of strings that the labels had right is the trust in the rest of them.
    """
    flat = [collapsed(block) for block in blocks]
    starts, at = [], 0
    for text in flat:
        starts.append(at)
        at += len(text) + 1
    joined = " ".join(flat)
    present, absent = np.zeros(len(blocks), np.bool_), np.zeros(len(blocks), np.bool_)
    right = found = 0
    for string in gold.absent:
        places = _places(joined, starts, string)
        for first, last in places:
            absent[first:last] = True
        found += bool(places)
        right += bool(places) and not any(labels[first:last].min() > 0.5 for first, last in places)
    for string in gold.present:
        places = _places(joined, starts, string)
        kept = [(first, last) for first, last in places if labels[first:last].min() > 0.5]
        found += bool(places)
        right += bool(kept)
        if places and not kept:
            kept = [
                max(
                    places,
                    key=lambda span: (labels[span[0] : span[1]].mean(), len(" ".join(blocks[span[0] : span[1]]))),
                )
            ]
        for first, last in kept:
            present[first:last] = True
    certain = present ^ absent
    mended = np.where(certain, present.astype(np.float64), labels)
    return Corrected(mended, certain, (right / found) ** 2 if found else 1.0)


def _places(joined: str, starts: Sequence[int], string: str) -> list[tuple[int, int]]:
    """The blocks [first, last) of each occurrence of a string."""
    found: list[tuple[int, int]] = []
    at = joined.find(string) if string else -1
    while at >= 0 and len(found) < _MOST_PLACES:
        found.append((bisect.bisect_right(starts, at) - 1, bisect.bisect_right(starts, at + len(string) - 1)))
        at = joined.find(string, at + 1)
    return found


def load_gold(path: Path) -> dict[str, Gold]:
    """{url: {"with": [...], "without": [...]}}. Raises InputError."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {url.strip(): Gold(_strings(each["with"]), _strings(each["without"])) for url, each in table.items()}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f'{path} is not JSON of the form {{url: {{"with": [...], "without": [...]}}}}') from None


def _strings(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):  # a string alone would be taken for its letters
        raise TypeError
    return tuple(map(collapsed, values))


def site_of(url: str) -> str:
    """The host, lower case and without `www.`; of an archived copy the site's own. Where there is none
    (`hard::x.org-a.html`) the whole name as it stands: each such page is a site of its own."""
    inner = max(url.rfind("http://"), url.rfind("https://"))
    try:
        host = urlsplit(url[max(inner, 0) :]).hostname or url.rpartition("::")[2]
    except ValueError:  # "http://[x"
        host = url
    return host.lower().removeprefix("www.")


def is_development(url: str) -> bool:
    """Whether a page is of the half that may be learned from: the first bit of SHA-256 of its host is 0."""
    return hashlib.sha256(site_of(url).encode("utf-8", "surrogatepass")).digest()[0] < 128


def mean_of(labels: Mapping[str, Labels]) -> Labels:
    """Where several reference texts agree, the label is sure."""
    return np.asarray(np.mean(list(labels.values()), axis=0))
