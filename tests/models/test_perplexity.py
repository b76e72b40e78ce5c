from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import kenlm
import pytest
from sentencepiece import SentencePieceProcessor

from curation.document import Document
from curation.errors import InputError, ModelError, UserError
from curation.normalize import normalize
from models.artifact import open_artifact, read_manifest
from models.perplexity import Perplexity, load_perplexity
from models.train_perplexity import main, train_perplexity

GERMAN = """Der alte Hafen liegt am Rand der Stadt, und im Sommer kommen viele Leute hierher, um den Schiffen zuzusehen.
Früher wurde hier Holz verladen, heute gibt es kleine Läden und ein Museum, das die Geschichte der Fischerei erzählt."""
RUSSIAN = """Старая гавань находится на окраине города, и летом сюда приходит много людей, чтобы посмотреть на корабли.
Раньше здесь грузили лес, а теперь тут маленькие магазины и музей, который рассказывает историю рыболовства."""


def shuffled(text: str) -> str:
    words = text.split()
    random.Random(1).shuffle(words)
    return " ".join(words)


@pytest.fixture(scope="module")
def corpus(english: list[str]) -> tuple[list[str], list[str]]:
    """(train, held out): no paragraph that is held out is trained on."""
    held_out = english[::4]
    unseen = {paragraph for text in held_out for paragraph in text.split("\n\n")}
    train = [text for number, text in enumerate(english) if number % 4]
    return ["\n".join(part for part in text.split("\n\n") if part not in unseen) for text in train], held_out


@pytest.fixture(scope="module")
def models(corpus: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    train_perplexity(corpus[0], directory, "en", origin="test", licence="none", vocabulary=2000)
    return directory


def test_held_out_prose_ranks_below_shuffled_prose_and_other_languages(models: Path, corpus) -> None:
    perplexity = load_perplexity(open_artifact(models, "perplexity-en"))
    foreign = [perplexity(normalize(text, newline=" ")) for text in (GERMAN, RUSSIAN)]
    assert len(corpus[1]) > 8
    for text in corpus[1]:
        prose, noise = (perplexity(normalize(one, newline=" ")) for one in (text, shuffled(text)))
        assert prose < 0.7 * noise
        assert prose < 0.5 * min(foreign)
    # A piece that was never seen costs what the model leaves to all unseen ones, not 10^-100.
    assert max(foreign) < 1e6


def test_on_wikipedia(wikipedia: list[tuple[str, str]], tmp_path: Path) -> None:
    texts = [text for title, text in wikipedia if len(text) > 1000 and not title.startswith("List of")]
    directory = train_perplexity(
        [text for number, text in enumerate(texts) if number % 5],
        *(tmp_path, "en"),
        origin="test",
        licence="none",
        vocabulary=8000,
    )
    perplexity = load_perplexity(directory)
    foreign = min(perplexity(normalize(text, newline=" ")) for text in (GERMAN, RUSSIAN))
    for text in texts[::5]:
        prose, noise = (perplexity(normalize(one, newline=" ")) for one in (text, shuffled(text)))
        assert prose < 0.8 * noise
        assert prose < foreign


def test_it_is_ccnets_formula(models: Path, document: Callable[..., Document]) -> None:
    directory = open_artifact(models, "perplexity-en")
    processor = SentencePieceProcessor(model_file=str(directory / "pieces.model"))
    model = kenlm.Model(str(directory / "model.arpa"))
    text = "The value of an assignment\nmust be a name."
    for glue, line in (
        (False, "the value of an assignment must be a name."),
        (True, "the value of an assignmentmust be a name."),
    ):
        pieces = processor.encode_as_pieces(line)
        scores = [score for score, _, _ in model.full_scores(" ".join(pieces))]
        assert len(scores) == len(pieces) + 1  # and the end
        (result,) = Perplexity(glue_lines=glue).load({"perplexity-en": directory})([document(text, language="en")])
        assert result.perplexity == round(10 ** (-sum(scores) / len(scores)), 1)


def test_only_documents_in_a_listed_language_with_text_are_scored(
    models: Path, document: Callable[..., Document]
) -> None:
    score = Perplexity().load({"perplexity-en": models / "perplexity-en"})
    text = "The value must be a name."
    texts = [
        ("en", text),
        ("de", text),
        (None, text),
        ("en", ""),
        ("en", " \n\x01\n"),
        ("en", "🙂"),
        ("en", "x" * 1_000_000),
    ]
    results = score([document(text, language=language) for language, text in texts])
    assert [result.perplexity is not None for result in results] == [True, False, False, False, False, True, True]
    assert [(result.language, result.text) for result in results] == texts
    again = score([document(text, language="en", perplexity=1.0)])  # an old score does not stay
    assert again[0].perplexity == results[0].perplexity
    assert Perplexity(languages=("en", "de")).artifacts() == ("perplexity-en", "perplexity-de")


def test_manifest(models: Path) -> None:
    manifest = read_manifest(models / "perplexity-en")
    assert manifest["kind"] == "perplexity"
    assert manifest["parameters"] == {"language": "en", "vocabulary": 2000, "order": 5, "prune": [0, 0, 1, 1, 1]}
    assert sorted(manifest["files"]) == ["model.arpa", "pieces.model"]


def test_training_again_in_another_process_gives_the_same_bytes(
    tmp_path: Path, english: list[str], in_new_process
) -> None:
    (tmp_path / "text").write_text("\n".join(english)[:150_000], encoding="utf-8")
    code = f"""
import sys
from models.train_perplexity import main
sys.exit(main(["--text", {str(tmp_path / "text")!r}, "--vocabulary", "800", "--out", sys.argv[1]]))
"""
    for seed in ("1", "2"):
        in_new_process(code, seed, tmp_path / seed)
    for name in ("pieces.model", "model.arpa", "manifest.json"):
        first, second = ((tmp_path / seed / "perplexity-en" / name).read_bytes() for seed in ("1", "2"))
        assert first == second


def test_command_line(tmp_path: Path, english: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("\n".join(english)[:200_000], encoding="utf-8")
    arguments = ["--text", str(tmp_path / "text"), "--out", str(tmp_path / "models"), "--vocabulary", "500"]
    assert main([*arguments, "--order", "3", "--language", "xx", "--max-bytes", "50000"]) == 0
    assert read_manifest(open_artifact(tmp_path / "models", "perplexity-xx"))["parameters"]["order"] == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 4  # one line for each phase, and nothing of SentencePiece's or KenLM's
    load_perplexity(tmp_path / "models" / "perplexity-xx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not shutil.which("lmplz") or not shutil.which("build_binary"), reason="needs KenLM's programs")
def test_lmplz_gives_the_same_perplexities(models: Path, corpus, tmp_path: Path) -> None:
    train_perplexity(corpus[0], tmp_path, "en", origin="test", licence="none", vocabulary=2000, lmplz=True)
    assert sorted(read_manifest(tmp_path / "perplexity-en")["files"]) == ["model.binary", "pieces.model"]
    ours, theirs = (load_perplexity(directory / "perplexity-en") for directory in (models, tmp_path))
    for text in corpus[1]:
        assert ours(normalize(text)) == pytest.approx(theirs(normalize(text)), abs=0.11)


def test_users_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ["--out", str(tmp_path / "models")]
    with pytest.raises(InputError, match="cannot read"):
        main(["--text", str(tmp_path / "missing"), *out])
    with pytest.raises(InputError):
        main(["--dump", str(tmp_path / "missing"), *out])
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(UserError, match="no text"):
        main(["--text", str(tmp_path / "empty"), *out])
    (tmp_path / "text").write_text("The quick brown fox.\n" * 10)
    with pytest.raises(UserError, match=r"cannot learn up to 5 pieces.* smaller than required"):
        main(["--text", str(tmp_path / "text"), *out, "--vocabulary", "5"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="lmplz is not on the PATH"):
        main(["--text", str(tmp_path / "text"), *out, "--lmplz"])
    assert not (tmp_path / "models").exists()


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not hold a perplexity model"):
        load_perplexity(tmp_path)
