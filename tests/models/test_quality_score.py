from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import fasttext
import pytest

from curation.document import Document
from curation.errors import ModelError
from models.quality_score import MODEL, QualityScore

GOOD = "Why does ice float? Because water expands when it freezes, a given mass of ice takes more room than the water."
BAD = "buy now cheap shipping add to cart login sign up cookies accept all best price deal today only click here"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("quality")
    lines = []
    for label, text in (("hq", GOOD), ("cc", BAD)):
        words = text.split()
        lines += [f"__label__{label} {' '.join(words[start : start + 8])}" for start in range(len(words) - 7)] * 10
    (directory / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    model = fasttext.train_supervised(
        str(directory / "train.txt"), dim=8, epoch=20, lr=0.5, wordNgrams=2, bucket=2000, thread=1, verbose=0
    )
    model.save_model(str(directory / MODEL))
    return directory


def test_the_probability_of_the_label(trained: Path, document: Callable[..., Document]) -> None:
    good, bad, nothing = QualityScore().load({"quality": trained})([document(GOOD), document(BAD), document(" \n ")])
    assert good.quality_score is not None
    assert bad.quality_score is not None
    assert good.quality_score > 0.9
    assert bad.quality_score < 0.1
    assert nothing.quality_score is None
    assert good.text == GOOD


def test_agrees_with_the_library_on_the_text_as_one_line(trained: Path, document: Callable[..., Document]) -> None:
    text = "water expands\nwhen it freezes\nclick here"
    names, probabilities = fasttext.load_model(str(trained / MODEL)).predict(text.replace("\n", " "), k=2)
    expected = dict(zip(names, probabilities, strict=True))["__label__hq"]
    [scored] = QualityScore().load({"quality": trained})([document(text)])
    assert scored.quality_score == pytest.approx(expected, abs=5e-7)
    assert scored.quality_score == round(scored.quality_score or 0, 6)


def test_two_labels_share_one(trained: Path, document: Callable[..., Document]) -> None:
    text = document("water deal today")
    [hq] = QualityScore().load({"quality": trained})([text])
    [cc] = QualityScore(label="cc").load({"quality": trained})([text])
    assert (hq.quality_score or 0) + (cc.quality_score or 0) == pytest.approx(1, abs=1e-4)


def test_a_label_that_the_model_lacks(trained: Path) -> None:
    with pytest.raises(ModelError, match="no label 'wiki'; it has cc, hq"):
        QualityScore(label="wiki").load({"quality": trained})


def test_not_a_model(tmp_path: Path) -> None:
    (tmp_path / MODEL).write_bytes(b"no model")
    with pytest.raises(ModelError, match="not a fastText model"):
        QualityScore().load({"quality": tmp_path})


def test_another_artifact_can_be_named() -> None:
    step = QualityScore(model="quality-cited", label="wiki")
    assert step.artifacts() == ("quality-cited",)
    assert pickle.loads(pickle.dumps(step)) == step
