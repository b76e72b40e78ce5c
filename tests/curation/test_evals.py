from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from curation.errors import ModelError
from curation.evals import EXAMPLES, HASHES, SETS, STARTS, TOTALS, Evals, collect, read, to_json
from curation.word_hashes import ngram_hashes, word_hashes


def text(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def grams(words: str, n: int) -> set[int]:
    return set(ngram_hashes(word_hashes(words), n).tolist())


def test_ngrams_and_who_holds_them() -> None:
    evals = collect({"a": [[text(0, 15)], [text(1, 14), text(100, 13)]], "b": [[text(0, 15)]]})
    assert evals.totals.tolist() == [3, 3, 3]
    expected = grams(text(0, 15), 13) | grams(text(100, 13), 13)
    assert set(evals.hashes.tolist()) == expected
    assert evals.hashes.tolist() == sorted(expected)
    holders = {
        int(h): evals.examples[evals.starts[i] : evals.starts[i + 1]].tolist() for i, h in enumerate(evals.hashes)
    }
    (first,) = grams(text(0, 13), 13)
    (second,) = grams(text(1, 13), 13)
    (other,) = grams(text(100, 13), 13)
    assert (holders[first], holders[second], holders[other]) == ([0, 2], [0, 1, 2], [1])
    assert [(one.name, one.first, one.examples, one.compared, one.ngrams) for one in evals.sets] == [
        ("a", 0, 2, 2, 4),
        ("b", 2, 1, 1, 3),
    ]


@pytest.mark.parametrize(("words", "length"), [(7, None), (8, 8), (12, 12), (13, 13), (14, 13)])
def test_short_examples_are_one_ngram(words: int, length: int | None) -> None:
    evals = collect({"a": [[text(0, words)], [text(500, 20)]]})
    assert evals.lengths == tuple(sorted({13, length} - {None}))
    assert evals.sets[0].too_short == (length is None)
    around = "before " + text(0, words).upper().replace(" ", ",\n") + " after"
    hits = evals.hits(evals.found(around))
    assert hits.examples.tolist() == ([] if length is None else [0])
    if length and length < 13:
        assert hits.total.tolist() == [1]
        less = " ".join(text(0, words).split()[:-1])
        assert len(evals.found(f"before {less} after")) == 0


def test_hits_count_distinct_ngrams() -> None:
    evals = collect({"a": [[text(0, 20)]]})
    hits = evals.hits(evals.found(f"{text(0, 15)}. {text(1, 14)}"))
    assert (hits.examples.tolist(), hits.matched.tolist(), hits.total.tolist()) == ([0], [3], [8])
    assert len(evals.hits(evals.found("nothing of it"))) == 0
    assert len(evals.found("")) == 0


def test_ngrams_of_many_examples_are_left_out() -> None:
    shared = text(1000, 13)
    examples = [[text(100 * n, 13), shared] for n in range(3)] + [[shared]]
    evals = collect({"a": examples, "b": [[shared]]}, max_examples=3)
    assert (evals.sets[0].left_out, evals.sets[0].too_common, evals.sets[0].compared) == (1, 1, 3)
    assert evals.totals.tolist() == [1, 1, 1, 0, 1]  # set b keeps it
    assert collect({"a": examples}, max_examples=4).sets[0].left_out == 0
    assert collect({"a": examples}, max_examples=0).totals.tolist() == [2, 2, 2, 1]


def test_common_ngrams_are_left_out_of_all_sets() -> None:
    common = np.array(sorted(grams(text(0, 13), 13)), dtype=np.uint64)
    evals = collect({"a": [[text(0, 14)]], "b": [[text(0, 13)]]}, common=common)
    assert evals.totals.tolist() == [1, 0]
    assert (evals.sets[0].left_out, evals.sets[1].too_common) == (1, 1)


def test_a_set_without_examples_owns_none() -> None:
    evals = collect({"a": [], "b": [[text(0, 13)]], "c": [], "d": [[text(50, 13)]], "e": []})
    assert [evals.set_of(n).name for n in (0, 1)] == ["b", "d"]


def stored(evals: Evals, folder: Path) -> Path:
    for file, array in zip(
        (HASHES, STARTS, EXAMPLES, TOTALS), (evals.hashes, evals.starts, evals.examples, evals.totals), strict=True
    ):
        np.save(folder / file, array)
    (folder / SETS).write_text(json.dumps(to_json(evals)))
    return folder


def test_what_is_read_back(tmp_path: Path) -> None:
    evals = collect({"a": [[text(0, 15)], [text(30, 9)]]}, ngram=12)
    found = read(stored(evals, tmp_path))
    assert (found.ngram, found.lengths, found.sets) == (12, (9, 12), evals.sets)
    assert isinstance(found.hashes.base, np.memmap) or isinstance(found.hashes, np.memmap)
    assert found.found(text(0, 15)).tolist() == evals.found(text(0, 15)).tolist() != []


@pytest.mark.parametrize("spoiled", [HASHES, STARTS, EXAMPLES, TOTALS, SETS])
def test_what_is_no_artifact_of_sets(tmp_path: Path, spoiled: str) -> None:
    path = stored(collect({"a": [[text(0, 15)]]}), tmp_path) / spoiled
    whole = path.read_bytes()
    for content in (b"", b"{}", whole[:40]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="does not hold evaluation sets"):
            read(tmp_path)
    if spoiled != SETS:
        np.save(path, np.zeros(3))
        with pytest.raises(ModelError, match="does not hold evaluation sets"):
            read(tmp_path)
