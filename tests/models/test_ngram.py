from __future__ import annotations

import math
import random
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import kenlm
import pytest

from models.ngram import write_arpa

CORPUS = [
    line.split() for line in ("a b c a b d", "a b", "c", "b a b c d a b c", "d d d a", "e a b c a", "a b c d e f", "")
]


def read_arpa(path: Path) -> dict[str, tuple[float, float]]:
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").split("\n"))
    return {row[1]: (float(row[0]), float(row[2]) if len(row) > 2 else 0.0) for row in rows if len(row) > 1}


def words_of(text: str, words: int) -> list[list[str]]:
    tokens = text.lower().split()[:words]
    return [tokens[start : start + 17] for start in range(0, len(tokens), 17)]


def plain_kneser_ney(corpus: list[list[str]], order: int) -> dict[tuple[str, ...], float]:
    """Probability of each n-gram: interpolated modified Kneser-Ney as the paper says it, one dictionary at a time."""
    raw: list[dict[tuple[str, ...], int]] = [defaultdict(int) for _ in range(order + 1)]
    for sentence in corpus:
        words = ["<s>", *sentence, "</s>"]
        for n in range(1, order + 1):
            for start in range(len(words) - n + 1):
                raw[n][tuple(words[start : start + n])] += 1
    counts = [dict(table) for table in raw]
    for n in range(1, order):
        for gram in counts[n]:
            if gram[0] != "<s>":
                counts[n][gram] = sum(1 for longer in raw[n + 1] if longer[1:] == gram)
    del counts[1][("<s>",)]
    vocabulary = len(counts[1]) + 1  # and <unk>
    probability: dict[tuple[str, ...], float] = {("<unk>",): 0.0}
    for n in range(1, order + 1):
        of = [sum(1 for count in counts[n].values() if count == number) for number in range(5)]
        discount = [0.0, 0.5, 1.0, 1.5]
        if of[1] and of[2] and of[3]:
            y = of[1] / (of[1] + 2 * of[2])
            formula = [0.0, 1 - 2 * y * of[2] / of[1], 2 - 3 * y * of[3] / of[2], 3 - 4 * y * of[4] / of[3]]
            if all(0 <= value <= number for number, value in enumerate(formula)):
                discount = formula
        total: dict[tuple[str, ...], float] = defaultdict(float)
        left: dict[tuple[str, ...], float] = defaultdict(float)
        for gram, count in counts[n].items():
            total[gram[:-1]] += count
            left[gram[:-1]] += discount[min(count, 3)]
        for gram, count in counts[n].items():
            context = gram[:-1]
            lower = probability[gram[1:]] if n > 1 else 1 / vocabulary
            probability[gram] = (count - discount[min(count, 3)] + left[context] * lower) / total[context]
        if n == 1:
            probability[("<unk>",)] = left[()] / total[()] / vocabulary
    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_kneser_neys(tmp_path: Path, english: list[str], order: int) -> None:
    for corpus in (CORPUS, words_of(english[0], 700)):
        write_arpa(corpus, tmp_path / "m.arpa", order, [0] * order)
        arpa = read_arpa(tmp_path / "m.arpa")
        expected = plain_kneser_ney(corpus, order)
        assert arpa.pop("<s>")[0] == -99
        assert arpa.keys() == {" ".join(gram) for gram in expected}
        for gram, probability in expected.items():
            assert arpa[" ".join(gram)][0] == pytest.approx(math.log10(probability), abs=2e-6)


@pytest.mark.parametrize("prune", [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 2]])
def test_each_context_shares_out_exactly_one(tmp_path: Path, english: list[str], prune: list[int]) -> None:
    corpus = words_of(english[1], 2000)
    counts = write_arpa(corpus, tmp_path / "m.arpa", 4, prune)
    arpa = read_arpa(tmp_path / "m.arpa")
    assert [sum(gram.count(" ") == n for gram in arpa) for n in range(4)] == counts
    model = kenlm.Model(str(tmp_path / "m.arpa"))
    words = [gram for gram in arpa if " " not in gram and gram != "<s>"]
    contexts = random.Random(1).sample(
        [gram for gram in sorted(arpa) if gram.count(" ") < 3 and "</s>" not in gram], 60
    )
    for context in [*contexts, "never seen", "<s>"]:
        before = kenlm.State()
        model.NullContextWrite(before)
        for word in context.split():
            if word == "<s>":
                model.BeginSentenceWrite(before)
            else:
                after = kenlm.State()
                model.BaseScore(before, word, after)
                before = after
        total = sum(10 ** model.BaseScore(before, word, kenlm.State()) for word in words)
        assert total == pytest.approx(1, abs=2e-4), context


def test_pruning_leaves_out_what_occurs_so_often_or_less(tmp_path: Path) -> None:
    write_arpa(CORPUS, tmp_path / "m.arpa", 3, [0, 1, 1])
    arpa = read_arpa(tmp_path / "m.arpa")
    assert "a b c" in arpa  # 4 times
    assert "b c a" in arpa  # twice
    assert "b c" in arpa
    assert "e a" not in arpa  # once
    assert "e" in arpa


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not on the PATH")
@pytest.mark.parametrize("prune", [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 1, 2, 3, 3]])
def test_the_model_is_lmplzs(tmp_path: Path, english: list[str], prune: list[int]) -> None:
    corpus = [line for text in english[:20] for line in words_of(text, 10_000)]
    write_arpa(corpus, tmp_path / "ours.arpa", 5, prune)
    (tmp_path / "text").write_text("".join(" ".join(line) + "\n" for line in corpus), encoding="utf-8")
    command = [
        "lmplz",
        "-o",
        "5",
        "-S",
        "200M",
        "-T",
        str(tmp_path),
        "--discount_fallback",
        "--prune",
        *map(str, prune),
    ]
    command += ["--text", str(tmp_path / "text"), "--arpa", str(tmp_path / "theirs.arpa")]
    subprocess.run(command, check=True, capture_output=True)
    ours, theirs = read_arpa(tmp_path / "ours.arpa"), read_arpa(tmp_path / "theirs.arpa")
    del ours["<s>"], theirs["<s>"]  # never predicted: they write 0, we -99
    assert ours.keys() == theirs.keys()
    for gram, values in ours.items():
        assert values == pytest.approx(theirs[gram], abs=5e-6)


@pytest.mark.parametrize("prune", [[0, 0], [1, 1, 1], [0, 2, 1]])
def test_bad_pruning(tmp_path: Path, prune: list[int]) -> None:
    with pytest.raises(ValueError, match="prune must be"):
        write_arpa(CORPUS, tmp_path / "m.arpa", 3, prune)


@pytest.mark.parametrize("corpus", [[], [[]], [["a", "<unk>"]], [["</s>"]]])
def test_bad_corpus(tmp_path: Path, corpus: list[list[str]]) -> None:
    with pytest.raises(ValueError, match=r"no word|may not hold"):
        write_arpa(corpus, tmp_path / "m.arpa", 3, [0, 0, 0])
    assert list(tmp_path.iterdir()) == []
