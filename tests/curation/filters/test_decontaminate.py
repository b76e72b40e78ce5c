from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from curation.document import Document, Drop
from curation.errors import ModelError, RecipeError
from curation.filters.decontaminate import Decontaminate
from models.artifact import open_artifact
from models.make_evals import make_evals

WORDS = [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "so", "ty") for b in ("rn", "st", "p", "ng", "x")]


def sentence(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def document(text: str) -> Document:
    return Document(id="web:f#0", url="", date="", digest="", text=text)


def made(folder: Path, sets: dict[str, list[str]], **options: Any) -> dict[str, Path]:
    (folder / "evals").mkdir(parents=True)
    for name, examples in sets.items():
        (folder / "evals" / f"{name}.txt").write_text("\n".join(examples) + "\n", encoding="utf-8")
    make_evals("all", folder / "evals", folder / "models", **options)
    return {"evals-all": open_artifact(folder / "models", "evals-all")}


def judged(artifacts: dict[str, Path], text: str, **options: Any) -> Drop | None:
    page = document(text)
    verdict = Decontaminate(**options).load(artifacts)(page)
    assert isinstance(verdict, Drop) or verdict is page
    return verdict if isinstance(verdict, Drop) else None


def oracle(text: str, examples: list[str], n: int = 13) -> dict[int, int]:
    """Matched n-grams by example, from strings of ASCII."""

    def words(one: str) -> list[str]:
        return re.findall("[a-z0-9]+", one.lower().replace("'", ""))

    def grams(one: list[str], length: int) -> set[tuple[str, ...]]:
        return {tuple(one[i : i + length]) for i in range(len(one) - length + 1)}

    found = {}
    for number, example in enumerate(examples):
        mine = words(example)
        length = min(n, len(mine))
        if length >= 8 and (common := grams(mine, length) & grams(words(text), length)):
            found[number] = len(common)
    return found


def parsed(drop: Drop | None) -> dict[int, int]:
    if drop is None:
        return {}
    return {int(n): int(m) for n, m in re.findall(r"/(\d+):(\d+)/", str(drop.measured))}


def test_as_strings_say(tmp_path: Path) -> None:
    rng = random.Random(3)
    examples = [sentence(rng, rng.randint(5, 40)) for _ in range(60)]
    judge = made(tmp_path, {"quiz": examples})
    hit = 0
    for _ in range(150):
        pieces = [sentence(rng, rng.randint(5, 60))]
        for _ in range(rng.randint(0, 3)):
            words = rng.choice(examples).split()
            first = rng.randint(0, len(words) - 1)
            planted = words[first : first + rng.randint(6, 20)]
            pieces.append(rng.choice([" ", "\n", ", ", " - "]).join(planted))
            pieces.append(sentence(rng, rng.randint(0, 8)))
        text = rng.choice([". ", "\n\n"]).join(pieces)
        expected = oracle(text, examples)
        assert parsed(judged(judge, text)) == expected
        hit += bool(expected)
    assert 30 < hit < 140


EXAMPLE = "The first of thirteen words that stand in this very example comes right here, doesn't it? Yes!"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The first of thirteen words that stand in this very example comes", False),  # 12 words
        ("The first of thirteen words that stand in this very example comes right", True),  # 13
        ("the FIRST of thirteen\nwords that\n\nstand, in (this) very - example: comes \u201cright\u201d", True),
        ("The first of thirteen wörds that stand in this very example comes right", False),
        ("x first of thirteen words that stand in this very example comes right here", True),
        ("first of thirteen words that stand in this very example comes right", False),
        ("very example comes right here, doesn\u2019t it? Yes!", False),
        ("stand in this very example comes right here doesnt it yes that stand in", False),
        ("words that stand in this very example comes right here, doesn\u2019t it? Ｙｅｓ", True),
        ("words that stand in this very example comes right here, doesnt it yes", True),
        ("words that stand in this very exam\u00adple comes right here, doesnt it yes", True),
    ],
)
def test_at_the_boundary(tmp_path: Path, text: str, found: bool) -> None:
    drop = judged(made(tmp_path, {"quiz": [EXAMPLE]}), f"Before. {text} After.")
    assert (drop is not None) == found
    if drop is not None:
        assert drop.rule == "quiz"
        assert drop.limit == 1


def test_scripts_without_spaces_count_characters(tmp_path: Path) -> None:
    question = "日本で一番高い山の名前は何ですか。"
    artifacts = made(tmp_path, {"quiz": [question]})
    assert judged(artifacts, f"問題：{question[:13]}あいう") is not None
    assert judged(artifacts, f"問題：{question[:12]}あいう") is None
    assert judged(artifacts, f"問題：{question[:6]} {question[6:13]}あいう") is not None


def test_thresholds(tmp_path: Path) -> None:
    rng = random.Random(5)
    long, short, other = sentence(rng, 32), sentence(rng, 9), sentence(rng, 30)  # 20 n-grams, 1, 18
    artifacts = made(tmp_path, {"a": [long, short], "b": [other]})
    five = " ".join(long.split()[:17])
    assert judged(artifacts, five) == Drop("a", "a/0:5/20", 1)
    assert judged(artifacts, five, min_matches=5) == Drop("a", "a/0:5/20", 5)
    assert judged(artifacts, five, min_matches=6) is None
    assert judged(artifacts, short, min_matches=6) == Drop("a", "a/1:1/1", 6)  # all that it has
    assert judged(artifacts, five, min_share=0.25) == Drop("a", "a/0:5/20", "1, 0.25")
    assert judged(artifacts, five, min_share=0.26) is None
    both = f"{five}. {other}. {short}"
    assert judged(artifacts, both) == Drop("b", "b/0:18/18 a/0:5/20 a/1:1/1", 1)


def test_sets_must_be_of_the_length_that_is_asked_for(tmp_path: Path) -> None:
    artifacts = made(tmp_path, {"a": [sentence(random.Random(1), 20)]}, ngram=8)
    for call in (Decontaminate().load, Decontaminate().check):
        with pytest.raises(ModelError, match=r"evals-all is of 8-grams.*--ngram 13"):
            call(artifacts)
    Decontaminate(ngram=8).check(artifacts)


@pytest.mark.parametrize("options", [{"min_matches": 0}, {"min_share": -0.1}, {"min_share": 1.1}])
def test_limits_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="decontaminate"):
        Decontaminate(**options)
