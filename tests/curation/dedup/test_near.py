from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dedup.near import Near, band_hashes, minhash, permutations, shingles, tokens
from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.hashing import splitmix64

Deduplicate = Callable[..., list[Any]]
HASHES = st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=30, unique=True)
MASK = (1 << 64) - 1


def documents(*texts: str) -> list[Document]:
    return [Document(id=f"web:f#{i}", url="", date="", digest="", text=text) for i, text in enumerate(texts)]


def before_murmur(value: int) -> int:
    """The number whose MurmurHash3 finaliser, which datasketch applies first, is `value`."""
    for multiplier in (0xC4CEB9FE1A85EC53, 0xFF51AFD7ED558CCD):
        value ^= value >> 33
        value = value * pow(multiplier, -1, 1 << 64) & MASK
    return value ^ value >> 33


def by_datasketch(hashes: Sequence[int], count: int) -> list[int]:
    """datasketch's signature of the same mixed hashes under the same maps."""
    sketch = datasketch.MinHash(
        num_perm=count, scheme="affine64", permutations=permutations(count), hashfunc=before_murmur
    )
    sketch.update_batch(splitmix64(np.array(hashes, dtype=np.uint64)).tolist())
    return [int(value) for value in sketch.hashvalues]


def pair(generator: np.random.Generator, size: int, shared: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of `size` random hashes that share `shared` of them."""
    drawn = generator.integers(0, MASK, 2 * size - shared, dtype=np.uint64)
    return drawn[:size], drawn[size - shared :]


@given(HASHES, st.sampled_from([1, 8, 63, 64, 65, 112, 128]))
def test_signatures_are_datasketchs(hashes: list[int], count: int) -> None:
    assert minhash(np.array(hashes, dtype=np.uint64), count).tolist() == by_datasketch(hashes, count)


def test_long_documents_are_hashed_in_pieces_with_the_same_result() -> None:
    hashes = np.random.default_rng(1).integers(0, MASK, 9000, dtype=np.uint64)
    whole = minhash(hashes, 16)
    assert whole.tolist() == by_datasketch(hashes.tolist(), 16)
    multipliers, offsets = permutations(1)
    smallest = int((splitmix64(hashes) * multipliers + offsets).argmin())
    for place in (0, 1023, 1024, 4095, 4096, 8191, 8192, 8999):  # no hash is passed over, wherever a piece may end
        moved = np.roll(hashes, place - smallest)
        assert minhash(moved, 1).tolist() == minhash(hashes[smallest : smallest + 1], 1).tolist()


def test_the_maps_are_one_to_one_and_all_different() -> None:
    multipliers, offsets = permutations(112)
    assert (multipliers % 2 == 1).all()
    assert len(set(multipliers.tolist())) == len(set(offsets.tolist())) == 112


@pytest.mark.parametrize(("shared", "size"), [(0, 300), (100, 300), (200, 300), (270, 300), (300, 300)])
def test_the_share_of_equal_rows_estimates_jaccard(shared: int, size: int) -> None:
    """Within 5 standard errors of the exact similarity."""
    rows = 2000
    generator = np.random.default_rng(shared)
    similarity = shared / (2 * size - shared)
    a, b = pair(generator, size, shared)
    equal = float((minhash(a, rows) == minhash(b, rows)).mean())
    assert abs(equal - similarity) <= 5 * math.sqrt(similarity * (1 - similarity) / rows)


@pytest.mark.parametrize(("shared", "published"), [(140, 0.565), (146, 0.772), (151, 0.924), (156, 0.988)])
def test_pairs_meet_as_often_as_the_formula_says(shared: int, published: float) -> None:
    """FineWeb's 14 bands of 8 at similarities of about 0.7, 0.75, 0.8 and 0.85, within 5 standard errors."""
    size, pairs, near = 170, 400, Near()
    similarity = shared / (2 * size - shared)
    expected = 1 - (1 - similarity**near.rows) ** near.bands
    assert expected == pytest.approx(published, abs=0.02)  # the similarity is not quite round
    generator = np.random.default_rng(shared)
    met = 0
    for _ in range(pairs):
        a, b = (band_hashes(minhash(h, near.bands * near.rows), near.bands) for h in pair(generator, size, shared))
        met += bool((a == b).any())
    assert abs(met / pairs - expected) <= 5 * math.sqrt(expected * (1 - expected) / pairs)


def test_a_band_is_its_rows_and_its_number() -> None:
    signature = np.arange(12, dtype=np.uint64)
    bands = band_hashes(signature, 3)
    for row in range(12):
        changed = signature.copy()
        changed[row] += np.uint64(1)
        assert (band_hashes(changed, 3) != bands).tolist() == [band == row // 4 for band in range(3)]
    assert len(set(band_hashes(np.zeros(12, dtype=np.uint64), 3).tolist())) == 3  # no band meets another band
    assert band_hashes(signature[[1, 0, 2, 3, *range(4, 12)]], 3)[0] != bands[0]  # the order of rows counts


@given(st.lists(st.sampled_from(["a", "B", "b", "é", "É", "語"]), max_size=12), st.integers(1, 5))
def test_shingles_are_the_distinct_word_ngrams(words: list[str], ngram: int) -> None:
    lowered = [word.lower() for word in words]
    length = min(ngram, len(lowered))
    expected = {tuple(lowered[i : i + length]) for i in range(len(lowered) - length + 1)} if lowered else set()
    found = shingles(" \n".join(words), ngram)
    assert found.dtype == np.uint64
    assert len(found) == len(expected) == len(np.unique(found))
    assert shingles("\t" + "  ".join(lowered), ngram).tolist() == found.tolist()


def test_the_order_of_words_counts_and_shared_shingles_meet() -> None:
    assert shingles("a b c", 3).tolist() != shingles("c b a", 3).tolist()
    left, right = shingles("a b c d e f", 3), shingles("x c d e f y", 3)
    assert len(np.intersect1d(left, right)) == 2  # c d e, d e f
    assert len(np.intersect1d(shingles("a b", 5), shingles("a b c", 5))) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two words", ["two", "words"]),
        ("Zwei  Wörter,\n한국어 낱말", ["Zwei", "Wörter,", "한국어", "낱말"]),  # Korean has spaces
        ("日本のテキスト", list("日本のテキスト")),
        ("中文。 end", ["中", "文", "。", "end"]),
        ("x1中文y2", ["x1", "中", "文", "y2"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),  # a character has its marks with it
        ("\u0e31ก", ["\u0e31", "ก"]),  # and a mark without one is one
        ("𠀀𠀁", ["𠀀", "𠀁"]),
        ("བོད་སྐད", ["བོ", "ད", "་", "སྐ", "ད"]),
        ("", []),
        (" \u3000\n", []),
    ],
)
def test_words_or_characters_by_the_script(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text(st.sampled_from("ab 中。ส\u0e31\u3000\n\x85\x1c"), max_size=20))
def test_tokens_are_all_of_the_text_but_its_blanks(text: str) -> None:
    assert "".join(tokens(text)) == "".join(text.split())
    assert Near().units(documents(text)[0]) == len(Near().hashes(documents(text)[0]))


def test_a_text_without_spaces_is_not_one_word() -> None:
    """One character in 400 is another: 5 of 396 shingles differ, and the copy is found."""
    generator = random.Random(1)
    text = "".join(chr(0x4E00 + generator.randrange(3000)) for _ in range(400))
    changed = text[:200] + "龍" + text[201:]
    a, b = shingles(text, 5), shingles(changed, 5)
    assert len(np.intersect1d(a, b)) == len(a) - 5 == 391
    first, second = (Near().hashes(page) for page in documents(text, changed))
    assert (first == second).any()


def test_a_text_without_words_has_no_bands(deduplicate: Deduplicate) -> None:
    pages = documents("", " \n ", "word", "")
    near = Near()
    assert [len(near.hashes(page)) for page in pages] == [0, 0, 14, 0]
    verdicts = deduplicate(near, pages[:1], pages[1:])
    assert all(verdict is page for verdict, page in zip(verdicts, pages, strict=True))


def test_copies_go_and_the_smallest_stays(deduplicate: Deduplicate) -> None:
    copy = " ".join(f"word{i}" for i in range(100))
    pages = documents("another page altogether", copy, copy.upper(), "  " + copy.replace(" ", "\n"), copy + " end")
    for cut in range(6):
        verdicts = deduplicate(Near(), pages[:cut], pages[cut:])
        assert verdicts[0] is pages[0]
        assert verdicts[1] is pages[1]
        assert verdicts[2] == verdicts[3] == Drop("near_duplicate", 14, 0)
        assert isinstance(verdicts[4], Drop)  # of 97 shingles it has 96


def family(seed: int) -> list[str]:
    """Texts of a few families, whose members differ by some words: similarities from 0 to 1."""
    generator = random.Random(seed)
    bases = [[generator.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(60)] for _ in range(3)]
    texts = []
    for _ in range(generator.randrange(12)):
        words = list(generator.choice(bases))
        for _ in range(generator.randrange(20)):
            words[generator.randrange(60)] = generator.choice("0123456789")
        texts.append(" ".join(words))
    return texts


@settings(max_examples=40)
@given(st.integers(0, 10**6).map(family), st.integers(0, 12), st.sampled_from([(14, 8), (5, 2), (1, 1)]))
def test_no_two_survivors_share_a_bucket(
    deduplicate: Deduplicate, contents: list[str], cut: int, banding: tuple[int, int]
) -> None:
    near = Near(bands=banding[0], rows=banding[1])
    pages = documents(*contents)
    hashes = [near.hashes(page) for page in pages]
    verdicts = deduplicate(near, pages[:cut], pages[cut:])
    survivors: list[np.ndarray] = []
    for number, (page, verdict) in enumerate(zip(pages, verdicts, strict=True)):
        shared = sum(
            any(other[band] == hashes[number][band] for other in hashes[:number]) for band in range(near.bands)
        )
        if shared:  # with any smaller document, also with one that goes itself
            assert verdict == Drop("near_duplicate", shared, 0)
        else:
            assert verdict is page
            assert not any((hashes[number] == other).any() for other in survivors)
            survivors.append(hashes[number])


def test_the_newest_of_a_bucket_stays(deduplicate: Deduplicate) -> None:
    copy = " ".join(f"word{i}" for i in range(100))
    pages = documents(copy, copy + " more", copy)
    pages = [replace(page, date=f"202{n % 2}-01-01T00:00:00Z") for n, page in enumerate(pages)]
    for cut in range(4):
        verdicts = deduplicate(Near(keep="newest"), pages[:cut], pages[cut:])
        assert [isinstance(verdict, Drop) for verdict in verdicts] == [True, False, True]


def test_one_copy_stays_or_there_is_no_such_rule() -> None:
    with pytest.raises(RecipeError, match="smallest, newest, not 'none'"):
        Near(keep="none")


@pytest.mark.parametrize(
    ("bands", "rows", "similarity", "probability"),
    [
        (14, 8, 0.75, 0.772),  # FineWeb
        (14, 8, 0.5, 0.053),
        (450, 20, 0.75, 0.761),  # RefinedWeb, and Lee et al. before it
        (450, 20, 0.8, 0.995),
        (450, 20, 0.5, 0.000),
        (9, 13, 0.8, 0.399),  # RedPajama 2
    ],
)
def test_published_settings_find_what_the_documentation_says(
    bands: int, rows: int, similarity: float, probability: float
) -> None:
    assert 1 - (1 - similarity**rows) ** bands == pytest.approx(probability, abs=5e-4)
    page = (Path(__file__).parents[3] / "docs/dedup.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("|") and f"| {bands} × {rows} |" in line]
    columns = dict(zip((0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9), row.split("|")[4:], strict=False))
    assert float(columns[similarity]) == pytest.approx(probability, abs=5e-4)


@pytest.mark.parametrize("option", ["ngram", "bands", "rows"])
def test_sizes_are_at_least_1(option: str) -> None:
    with pytest.raises(RecipeError, match="at least 1"):
        Near(**{option: 0})
    assert len(Near(**{option: 1}).hashes(documents("a b c")[0])) == Near(**{option: 1}).bands


def test_defaults_are_finewebs() -> None:
    assert Near() == Near(ngram=5, bands=14, rows=8)
    for similarity, probability in ((0.7, 0.565), (0.75, 0.772), (0.8, 0.924), (0.85, 0.988)):
        assert 1 - (1 - similarity**8) ** 14 == pytest.approx(probability, abs=5e-4)
