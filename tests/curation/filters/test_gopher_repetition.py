from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.gopher_repetition import GopherRepetition

Make = Callable[..., Document]
OFF = {
    "max_duplicate_lines": 0.0,
    "max_duplicate_paragraphs": 0.0,
    "max_duplicate_line_characters": 0.0,
    "max_duplicate_paragraph_characters": 0.0,
    "max_top_ngrams": (0.0,) * 3,
    "max_duplicate_ngrams": (0.0,) * 6,
}
DEFAULTS = (0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1)


def only(semantics: str = "datatrove", **limits: object) -> GopherRepetition:
    return GopherRepetition(**{**OFF, "semantics": semantics, **limits})  # type: ignore[arg-type]


def ngram_only(n: int, limit: float, semantics: str) -> GopherRepetition:
    limits = [0.0] * 9
    limits[n - 2] = limit
    return only(semantics, max_top_ngrams=tuple(limits[:3]), max_duplicate_ngrams=tuple(limits[3:]))


def judged(rule: GopherRepetition, page: Document) -> Drop | None:
    verdict = rule(page)
    assert verdict is page or isinstance(verdict, Drop)
    return verdict if isinstance(verdict, Drop) else None


# The oracle: the two readings of the paper, word by word and n-gram by n-gram.


def slow_share(text: str, n: int, semantics: str) -> float:
    words = text.split()
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    if not grams:
        return 0.0
    counts = Counter(grams)
    if semantics == "dclm":
        total = sum(map(len, words))
        most = max(counts.values())
        if n < 5:
            return most * max(len("".join(gram)) for gram in grams if counts[gram] == most) / total if most > 1 else 0.0
        inside = {at + k for at, gram in enumerate(grams) if counts[gram] > 1 for k in range(n)}
        return sum(len(words[at]) for at in inside) / total
    if n < 5:
        gram, most = counts.most_common(1)[0]
        return most * len(" ".join(gram)) / len(text)
    seen = set()
    characters = at = 0
    while at < len(grams):
        if grams[at] in seen:
            characters += len("".join(grams[at]))
            at += n
        else:
            seen.add(grams[at])
            at += 1
    return characters / len(text)


def slow_parts(text: str, pattern: str, semantics: str) -> tuple[float, float]:
    parts = [part.strip() for part in re.split(pattern, text) if part.strip()]
    again = [part for at, part in enumerate(parts) if part in parts[:at]]
    if semantics == "dclm":
        again = [part for part in parts if parts.count(part) > 1]
    if not again:
        return 0.0, 0.0
    total = sum(map(len, parts)) if semantics == "dclm" else len(text)
    return len(again) / len(parts), sum(map(len, again)) / total


@pytest.mark.parametrize("semantics", ["datatrove", "dclm"])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_ngrams_as_the_slow_way(semantics: str, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from(["a", "b", "cc", "ddd", "eeee", "ab"]), min_size=1, max_size=80))
    space = data.draw(st.sampled_from([" ", "\n", "  "]))
    text = space.join(words)
    page = Document(id="web:f#0", url="", date="", digest="", text=text)
    for n in range(2, 11):
        share = slow_share(text, n, semantics)
        drop = judged(ngram_only(n, 1e-9, semantics), page)
        assert (drop.measured if isinstance(drop, Drop) else 0.0) == round(share, 4)
        assert share == 0 or judged(ngram_only(n, share, semantics), page) is None  # the limit itself is kept


@pytest.mark.parametrize("semantics", ["datatrove", "dclm"])
@settings(max_examples=80, deadline=None)
@given(parts=st.lists(st.sampled_from(["a b", "cc", "ddd e", "ffff"]), min_size=1, max_size=20))
def test_lines_and_paragraphs_as_the_slow_way(semantics: str, parts: list[str]) -> None:
    for separator, kind, pattern in (("\n", "line", r"\n"), ("\n\n", "paragraph", r"\n\n+")):
        text = separator.join(parts)
        page = Document(id="web:f#0", url="", date="", digest="", text=text)
        for field, suffix, share in zip(
            ("s", "_characters"), ("s", "_characters"), slow_parts(text, pattern, semantics), strict=True
        ):
            option = f"max_duplicate_{kind}{field}"
            drop = judged(only(semantics, **{option: 1e-9}), page)
            assert drop == (Drop(f"duplicate_{kind}{suffix}", round(share, 4), 1e-9) if share else None)
            assert share == 0 or judged(only(semantics, **{option: share}), page) is None


@pytest.mark.parametrize("n", range(2, 11))
def test_last_kept_and_first_dropped_ngrams(document: Make, n: int) -> None:
    """The same n letters stand at both ends of a text, and one long word between them."""
    gram = " ".join("abcdefghij"[:n])
    limit = DEFAULTS[n - 2]
    covered = 2 * len(gram) if n < 5 else n  # the top n-gram: both copies, with spaces; else the second, without
    length = next(length for length in range(2 * len(gram) + 3, 1000) if covered / length <= limit)
    rule = ngram_only(n, limit, "datatrove")
    text = f"{gram} {'x' * (length - 2 * len(gram) - 2)} {gram}"
    assert len(text) == length
    assert judged(rule, document(text)) is None
    kind = "top" if n < 5 else "duplicate"
    shorter = document(text.replace("xx", "x", 1))
    assert judged(rule, shorter) == Drop(f"{kind}_{n}_grams", round(covered / (length - 1), 4), limit)


@pytest.mark.parametrize(("copies", "drop"), [(4, None), (5, 0.4)])
@pytest.mark.parametrize(("separator", "kind"), [("\n", "lines"), ("\n\n", "paragraphs")])
def test_last_kept_and_first_dropped_parts(
    document: Make, copies: int, drop: float | None, separator: str, kind: str
) -> None:
    """Of ten lines, three copies of another are kept, four are not."""
    text = separator.join([*(f"line number {n}" for n in range(10 - copies)), *["x"] * copies])
    expected = None if drop is None else Drop(f"duplicate_{kind}", drop, 0.3)
    assert judged(only(**{f"max_duplicate_{kind}": 0.3}), document(text)) == expected


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
def test_characters_of_copies(document: Make, separator: str) -> None:
    kind = "line" if separator == "\n" else "paragraph"
    rule = only(**{f"max_duplicate_{kind}_characters": 0.2})
    copy = "y" * 20
    text = separator.join([copy, copy, "z" * (60 - 2 * len(separator))])
    assert len(text) == 100
    assert judged(rule, document(text)) is None
    assert judged(rule, document(text[:-1])) == Drop(f"duplicate_{kind}_characters", 0.202, 0.2)


def test_a_jump_forgets_what_it_passes(document: Make) -> None:
    """Reading goes on behind a copy: what begins inside it is not remembered, so it is no duplicate later."""
    text = "a b c d e x a b c d e q b c d e q"  # "b c d e q" occurs twice, but first inside a copy
    page = document(text)
    assert judged(ngram_only(5, 1e-9, "datatrove"), page) == Drop("duplicate_5_grams", round(5 / len(text), 4), 1e-9)
    assert judged(ngram_only(5, 1e-9, "dclm"), page) == Drop("duplicate_5_grams", round(16 / 17, 4), 1e-9)


def test_the_first_copy_is_a_duplicate_for_dclm_alone(document: Make) -> None:
    page = document("one two\nthree\none two")
    assert judged(only("datatrove", max_duplicate_lines=0.34), page) is None
    assert judged(only("dclm", max_duplicate_lines=0.34), page) == Drop("duplicate_lines", 0.6667, 0.34)


def test_an_ngram_that_occurs_once_is_judged_as_datatrove_does(document: Make) -> None:
    page = document("five words make no repetition")
    assert judged(GopherRepetition(), page) == Drop("top_2_grams", 0.3448, 0.2)
    assert judged(GopherRepetition(semantics="dclm"), page) is None


def test_no_spaces_are_counted_where_there_are_none(document: Make) -> None:
    """The words are 人人 生 而 自由。人人 生 而, so 人人生 stands there twice."""
    drop = judged(ngram_only(2, 1e-9, "datatrove"), document("人人生而自由。人人生而"))
    assert drop == Drop("top_2_grams", round(6 / 11, 4), 1e-9)
    drop = judged(ngram_only(2, 1e-9, "datatrove"), document("ab c d ab c"))
    assert drop == Drop("top_2_grams", round(8 / 11, 4), 1e-9)


@pytest.mark.parametrize("semantics", ["datatrove", "dclm"])
def test_prose_is_kept(document: Make, prose: tuple[str, str], semantics: str) -> None:
    language, text = prose
    assert judged(GopherRepetition(semantics=semantics), document(text, language=language)) is None


@pytest.mark.parametrize("semantics", ["datatrove", "dclm"])
def test_repetition_in_any_script_is_dropped(document: Make, prose: tuple[str, str], semantics: str) -> None:
    language, text = prose
    line = text.split("\n")[0]
    page = document(f"{line} {line} {line}", language=language)
    assert isinstance(judged(GopherRepetition(semantics=semantics), page), Drop)


def test_long_repetition_takes_no_time(document: Make) -> None:
    draw = random.Random(1)
    text = " ".join(draw.choice("abc") for _ in range(100_000))
    assert judged(ngram_only(10, 0.1, "datatrove"), document(text)) is not None


def test_defaults_are_the_papers() -> None:
    """Rae et al. 2021, table A1, figure for figure."""
    assert GopherRepetition() == GopherRepetition(
        max_duplicate_lines=0.3,
        max_duplicate_paragraphs=0.3,
        max_duplicate_line_characters=0.2,
        max_duplicate_paragraph_characters=0.2,
        max_top_ngrams=(0.2, 0.18, 0.16),
        max_duplicate_ngrams=(0.15, 0.14, 0.13, 0.12, 0.11, 0.1),
        semantics="datatrove",
    )


def test_what_cannot_be_asked() -> None:
    with pytest.raises(RecipeError, match="semantics"):
        GopherRepetition(semantics="gopher")
    with pytest.raises(RecipeError, match="3 limits"):
        GopherRepetition(max_top_ngrams=(0.2,))
