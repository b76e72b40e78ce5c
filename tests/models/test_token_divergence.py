from __future__ import annotations

import json
import math
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.document import Document
from curation.errors import InputError, ModelError, UserError, exit_on_user_error
from models.artifact import open_artifact, read_manifest
from models.token_divergence import COUNTS, EXPECTED, LENGTHS, TokenDivergence, divergence, log_shares
from models.tokenizer import Tokenizer
from models.train_token_distribution import main, read_texts, train_token_distribution
from models.train_tokenizer import train_tokenizer

NAME = "token_distribution-en"
MakeDocument = Callable[..., Document]


@pytest.fixture(scope="module")
def texts(english: list[str]) -> list[str]:
    """Several hundred stretches of prose, of different lengths."""
    shuffled = random.Random(1)
    return [text[at : at + shuffled.choice((300, 1000, 4000))] for text in english for at in range(0, len(text), 500)]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(texts, path, 1000)
    return path


@pytest.fixture(scope="module")
def models(texts: list[str], tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models")
    train_token_distribution(texts, tokenizer, out, language="en", origin="docs", licence="none")
    return out


def scores(models: Path, *documents: Document, **options: tuple[str, ...]) -> list[float | None]:
    step = TokenDivergence(**options)
    found = step.load({name: open_artifact(models, name) for name in step.artifacts()})(documents)
    assert [document.id for document in found] == [document.id for document in documents]
    return [document.token_divergence for document in found]


def test_divergence_by_hand() -> None:
    logs = np.log([0.5, 0.25, 0.125, 0.125])
    assert divergence(np.array([0, 0, 1, 2]), logs) == pytest.approx(0.5 * 0 + 0 + 0.25 * math.log(2))
    assert divergence(np.array([3]), logs) == pytest.approx(math.log(8))
    assert divergence(np.array([0, 0, 0, 0, 1, 1, 2, 3]), logs) == pytest.approx(0)


def test_divergence_agrees_with_scipy() -> None:
    from scipy.stats import entropy

    random = np.random.default_rng(1)
    counts = random.integers(0, 50, 200)
    ids = random.choice(200, 5000).astype(np.int32)
    shares = np.bincount(ids, minlength=200) / len(ids)
    logs = log_shares(counts)
    assert np.exp(logs).sum() == pytest.approx(1)
    assert divergence(ids, logs) == pytest.approx(entropy(shares, (counts + 1) / (counts.sum() + 200)))


def test_the_score_by_its_definition(models: Path, tokenizer: Path, texts: list[str], document: MakeDocument) -> None:
    counts, expected = np.load(models / NAME / COUNTS), np.load(models / NAME / EXPECTED)
    ids = Tokenizer.load(tokenizer).encode(texts[0])[:64]
    text = Tokenizer.load(tokenizer).decode(ids)
    assert len(Tokenizer.load(tokenizer).encode(text)) == 64
    value = divergence(ids, log_shares(counts)) - expected[LENGTHS.index(64)]
    assert scores(models, document(text, language="en")) == [round(float(value), 4)]


def test_junk_is_further_off_than_prose(models: Path, texts: list[str], document: MakeDocument) -> None:
    prose = [document(text, language="en") for text in texts]
    shuffled = random.Random(2)
    junk = [
        document("0x" + " ".join(f"{shuffled.getrandbits(64):016x}" for _ in range(80)), language="en"),
        document("buy " * 400, language="en"),
        document("Ж語☃" * 100, language="en"),
    ]
    found = sorted(score for score in scores(models, *prose) if score is not None)
    assert abs(found[len(found) // 2]) < 0.15  # 0 is what is usual
    assert all(score is not None and score > found[-1] for score in scores(models, *junk))


def test_usual_is_usual_at_any_length(models: Path, texts: list[str], document: MakeDocument) -> None:
    longest = [text for text in texts if len(text) == 4000]
    for characters in (300, 1000, 4000):
        found = scores(models, *(document(text[:characters], language="en") for text in longest))
        assert abs(float(np.mean([score for score in found if score is not None]))) < 0.15


def test_what_is_not_scored(models: Path, texts: list[str], document: MakeDocument) -> None:
    tokens = Tokenizer.load(models / NAME / "tokenizer.model")
    ids = tokens.encode(texts[0])
    short, enough = tokens.decode(ids[: LENGTHS[0] - 1]), tokens.decode(ids[: LENGTHS[0]])
    assert scores(models, document(short, language="en")) == [None]
    assert scores(models, document("", language="en")) == [None]
    assert scores(models, document(enough, language="en")) != [None]
    assert scores(models, document(texts[0], language="de"), document(texts[0])) == [None, None]


def test_a_score_depends_on_no_other_document(models: Path, texts: list[str], document: MakeDocument) -> None:
    documents = [document(text, language="en") for text in texts[:5]]
    assert scores(models, *documents) == [scores(models, one)[0] for one in documents]


def test_a_long_text_is_read_to_its_limit(models: Path, document: MakeDocument) -> None:
    start = "the words of a long text that goes on and on " * 1500
    [one], [other] = (scores(models, document(start + end, language="en")) for end in ("", "Ж語☃" * 10_000))
    assert one == other


def test_order_does_not_matter_and_equal_texts_give_equal_bytes(
    texts: list[str], tokenizer: Path, models: Path, tmp_path: Path
) -> None:
    train_token_distribution(texts[::-1], tokenizer, tmp_path, language="en", origin="docs", licence="none")
    for file in sorted((models / NAME).iterdir()):
        assert (tmp_path / NAME / file.name).read_bytes() == file.read_bytes()


def test_the_manifest_says_what_a_threshold_drops(models: Path, texts: list[str]) -> None:
    manifest = read_manifest(models / NAME)
    parameters = manifest["parameters"]
    assert set(manifest["files"]) == {COUNTS, EXPECTED, "tokenizer.model"}
    assert parameters["tokens"] == int(np.load(models / NAME / COUNTS).sum())
    assert parameters["texts"] + parameters["held_out"] <= len(texts)
    assert 0.05 * len(texts) < parameters["held_out"] < 0.2 * len(texts)
    percentiles = list(parameters["percentiles"].values())
    assert list(parameters["percentiles"]) == ["50", "90", "95", "99", "99.9"]
    assert percentiles == sorted(percentiles)


def test_from_the_command_line(texts: list[str], tokenizer: Path, tmp_path: Path, models: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    half = len(texts) // 2
    table = pa.table({"text": [*texts[:half], "auf Deutsch"], "language": ["en"] * half + ["de"]})
    pq.write_table(table, kept / "part-0000000.parquet")
    lines = [json.dumps({"text": text}) for text in texts[half:]]
    (tmp_path / "more.jsonl").write_text("\n".join([*lines, json.dumps({"text": "deutsch", "language": "de"})]))
    arguments = [str(kept), str(tmp_path / "more.jsonl"), "--tokenizer", str(tokenizer), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert (tmp_path / "out" / NAME / COUNTS).read_bytes() == (models / NAME / COUNTS).read_bytes()
    assert sorted(read_texts(kept)) == sorted([*texts[:half], "auf Deutsch"])
    assert list(read_texts(kept, "de")) == ["auf Deutsch"]


def test_too_few_texts(tokenizer: Path, tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(UserError, match="at least 200 texts"):
        train_token_distribution(texts[:50], tokenizer, tmp_path, language="en", origin="", licence="")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ['{"no": "text"}', "[]", "1", "{"])
def test_no_texts(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(InputError, match="line 1"):
        list(read_texts(tmp_path / "x.jsonl"))
    with pytest.raises(InputError, match="cannot read"):
        list(read_texts(tmp_path / "y.jsonl"))
    with pytest.raises(InputError, match="holds no"):
        list(read_texts(tmp_path))


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["x", "--tokenizer", str(tmp_path / "t"), "--out", str(tmp_path), "--language", "English"]
    assert exit_on_user_error(lambda: main(arguments)) == 2
    assert "--language is a code" in capsys.readouterr().err


def test_what_is_no_distribution(models: Path, tmp_path: Path) -> None:
    for file in (models / NAME).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / EXPECTED, np.zeros(3))
    document = Document(id="web:f#0", url="", date="", digest="", text="x", language="en")
    with pytest.raises(ModelError, match="not of one piece"):
        TokenDivergence().load({NAME: tmp_path})([document])
    (tmp_path / COUNTS).write_bytes(b"")
    with pytest.raises(ModelError, match="does not hold"):
        TokenDivergence().load({NAME: tmp_path})([document])


def test_a_model_that_was_trained_again_is_read_again(models: Path, texts: list[str], tmp_path: Path) -> None:
    directory = tmp_path / NAME
    shutil.copytree(models / NAME, directory)
    document = Document(id="web:f#0", url="", date="", digest="", text=texts[0], language="en")
    first = TokenDivergence().load({NAME: directory})([document])[0].token_divergence
    counts = np.load(directory / COUNTS)
    np.save(directory / COUNTS, counts[::-1])
    assert TokenDivergence().load({NAME: directory})([document])[0].token_divergence != first


def test_the_step(document: MakeDocument) -> None:
    step = TokenDivergence(languages=("en", "de"))
    assert step.artifacts() == ("token_distribution-en", "token_distribution-de")
    assert (step.reads, step.writes) == (("language",), ("token_divergence",))
    assert pickle.loads(pickle.dumps(step)) == step
