from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.document import Document
from curation.errors import InputError, ModelError, RecipeError, UserError
from curation.normalize import normalize
from models.artifact import open_artifact, read_manifest, write_artifact
from models.cutoffs import CCNET, Cutoffs, Percentiles, bucket
from models.perplexity import Perplexity, load_perplexity
from models.train_perplexity import main, train_perplexity

# As the reference has them, written out once more.
PUBLISHED = (
    "en 340/520 de 370/590 fr 180/330 es 180/290 it 220/360 pt 170/270 nl 430/650 pl 160/260 ru 210/310 uk 140/220 "
    "cs 820/1140 ro 180/270 hu 80/140 el 450/670 bg 450/680 hr 720/910 da 380/600 no 430/680 fi 1110/1500 et 1270/1620 "
    "lv 1130/1480 lt 190/270 is 850/1190 ca 210/330 mk 530/740 be 670/910 ja 1110/1450 zh 1460/1950 ko 920/2130 "
    "ar 490/790 fa 370/700 he 1280/1710 hi 480/790 bn 190/300 id 600/970 az 600/950 ka 910/1310 hy 750/1080 kk 610/930 "
    "km 1040/2180 kn 2210/2800 gu 1110/1570 ml 2430/3220 mn 680/1010 mr 1380/1870 my 2530/3040 ne 860/1130 af 540/770"
)


def test_the_table_is_ccnets() -> None:
    words = PUBLISHED.split()
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        language: f"{head:.0f}/{middle:.0f}" for language, (head, middle) in CCNET.items()
    }
    assert len(CCNET) == 48


@pytest.mark.parametrize("language", ["en", "hu", "my"])
def test_a_bucket_begins_at_its_cutoff(language: str) -> None:
    head, middle = CCNET[language]
    values = [0.0, head - 0.1, head, middle - 0.1, middle, 1e9]
    assert [bucket(value, CCNET[language]) for value in values] == ["head", "head", "middle", "middle", "tail", "tail"]
    assert bucket(None, CCNET[language]) == bucket(head, None) == "all"


@given(st.lists(st.integers(1, 3000).map(lambda n: n / 10), min_size=1, max_size=300))
def test_percentiles_are_by_nearest_rank(values: list[float]) -> None:
    percentiles = Percentiles()
    for value in values:
        percentiles.add(np.array([value]))
    ordered = sorted(values)
    expected = [ordered[max(1, math.ceil(p * len(values) / 100)) - 1] for p in range(100)]
    assert percentiles.values() == expected
    assert percentiles.count == len(values)


def test_percentiles_do_not_depend_on_batches_nor_order_and_stay_small() -> None:
    values = np.random.default_rng(0).lognormal(6, 2, 20_000).round(1)
    one, many = Percentiles(), Percentiles()
    one.add(values)
    for start in range(0, 20_000, 777):
        many.add(values[::-1][start : start + 777])
    assert one.values() == many.values()
    one.add(np.array([1e300] * 20_000_00))
    assert one.values()[99] == Percentiles.LIMIT
    with pytest.raises(ValueError, match="nothing"):
        Percentiles().values()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, english: list[str]) -> Path:
    directory = tmp_path_factory.mktemp("models")
    train_perplexity(english[:20], directory, "en", origin="test", licence="none", vocabulary=500, order=3)
    return directory


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """A fresh copy, without cutoffs."""
    source = trained / "perplexity-en"
    manifest = read_manifest(source)
    fields = ("kind", "format", "licence", "origin", "parameters")
    files = {name: source / name for name in manifest["files"]}
    write_artifact(tmp_path / "models" / "perplexity-en", files, **{name: manifest[name] for name in fields})
    return tmp_path / "models"


def scores_of(models: Path, texts: list[str], newline: str = " ") -> list[float]:
    model = load_perplexity(models / "perplexity-en")
    return [model(normalize(text, newline=newline)) for text in texts]


def read_table(models: Path) -> dict[str, Any]:
    return json.loads((open_artifact(models, "perplexity-en") / "cutoffs.json").read_text())


def pieces_of(english: list[str]) -> list[str]:
    return [paragraph for text in english for paragraph in text.split("\n\n") if len(paragraph) > 200][:300]


@pytest.mark.parametrize("flags", [[], ["--glue-lines"]])
def test_cutoffs_of_json_lines(
    models: Path, english: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    texts = pieces_of(english)
    rows = [{"text": text, "language": "en"} for text in texts]
    rows += [{"text": "Der alte Hafen liegt am Rand.", "language": "de"}] * 500 + [{"text": ""}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    before = read_manifest(models / "perplexity-en")
    assert main(["--cutoffs", str(tmp_path / "mine.jsonl"), "--out", str(models), *flags]) == 0
    expected = sorted(scores_of(models, texts, "" if flags else " "))
    table = read_table(models)
    assert table["documents"] == len(texts) == 300
    assert table["source"] == "mine.jsonl"
    assert table["percentiles"][30] == expected[math.ceil(0.30 * 300) - 1]
    assert table["percentiles"][60] == expected[math.ceil(0.60 * 300) - 1]
    assert len(table["percentiles"]) == 100
    printed = capfd.readouterr().err
    assert "only 300 documents: cutoffs are rough below 1000" in printed
    assert f"head below {table['percentiles'][30]}, middle below {table['percentiles'][60]}" in printed
    after = read_manifest(models / "perplexity-en")
    assert {**after, "files": 0} == {**before, "files": 0}
    assert {name: after["files"][name] for name in before["files"]} == before["files"]


def test_cutoffs_twice_are_the_same_bytes(models: Path, english: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in pieces_of(english)))
    contents = set()
    for _ in range(2):
        main(["--cutoffs", str(tmp_path / "mine.jsonl"), "--out", str(models)])
        contents.add((models / "perplexity-en" / "cutoffs.json").read_bytes())
    assert len(contents) == 1


def write_stage(folder: Path, kept: list[tuple[str, float, str]], dropped: list[tuple[str, float | None]]) -> Path:
    """A finished stage with the columns that matter: text, perplexity and language of what was kept and dropped."""
    for kind in ("kept", "dropped"):
        (folder / kind).mkdir(parents=True)
    for number in range(2):
        rows = kept[number::2]
        texts, scores, languages = zip(*rows, strict=True) if rows else ((), (), ())
        table = {"language": pa.array(languages, pa.string()), "perplexity": pa.array(scores, pa.float64())}
        pq.write_table(
            pa.table({**table, "text": pa.array(texts, pa.string())}), folder / f"kept/part-{number}.parquet"
        )
        gone = dropped[number::2]
        table = {
            "language": pa.array([language for language, _ in gone], pa.string()),
            "perplexity": pa.array([score for _, score in gone], pa.float64()),
        }
        pq.write_table(pa.table(table), folder / f"dropped/part-{number}.parquet")
    (folder / "manifest.json").write_text("{}")
    return folder


def test_cutoffs_of_a_run_count_the_dropped_too(models: Path, english: list[str], tmp_path: Path) -> None:
    """Percentiles of what a threshold left would be percentiles of something else."""
    texts = pieces_of(english)
    scores = scores_of(models, texts)
    middle = sorted(scores)[150]
    kept = [(text, score, "en") for text, score in zip(texts, scores, strict=True) if score < middle]
    dropped = [("en", score) for score in scores if score >= middle] + [("de", 1.0), ("en", None)]
    run = tmp_path / "run"
    write_stage(run / "web" / "after-lines", kept, dropped)
    write_stage(run / "web" / "after-near", kept[:50], [])
    write_stage(run / "web" / "documents", [], [("en", None)])
    for source in (run, run / "web" / "after-lines"):
        assert main(["--cutoffs", str(source), "--out", str(models)]) == 0
        table = read_table(models)
        assert table["documents"] == 300
        assert table["source"] == "run/web/after-lines"
        assert table["percentiles"][60] == sorted(scores)[179]


def test_a_run_of_another_model_is_refused(models: Path, english: list[str], tmp_path: Path) -> None:
    texts = pieces_of(english)
    stage = write_stage(tmp_path / "run/web/s", [(text, 123.4, "en") for text in texts], [])
    with pytest.raises(ModelError, match="of 20 documents 0 score the same"):
        main(["--cutoffs", str(stage), "--out", str(models)])
    assert "cutoffs.json" not in read_manifest(models / "perplexity-en")["files"]


def test_what_there_is_nothing_to_measure_in(models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    unfinished = write_stage(tmp_path / "run/web/s", [("a", 1.0, "en")], [])
    (unfinished / "manifest.json").unlink()
    for source, says in (
        ("missing.jsonl", "cannot read"),
        ("empty.jsonl", "no document in en"),
        ("bad.jsonl", "line 2 is not"),
        ("run", "no finished stage with perplexities in en"),
    ):
        with pytest.raises(InputError, match=says):
            main(["--cutoffs", str(tmp_path / source), "--out", str(models)])
    with pytest.raises(ModelError, match="no model at"):
        main(["--cutoffs", str(tmp_path / "empty.jsonl"), "--out", str(models), "--language", "xx"])


def test_training_and_cutoffs_in_one_command(english: list[str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n".join(english)[:60_000], encoding="utf-8")
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in pieces_of(english)))
    arguments = ["--text", str(tmp_path / "text"), "--vocabulary", "300", "--order", "2", "--out", str(tmp_path / "m")]
    assert main([*arguments, "--cutoffs", str(tmp_path / "mine.jsonl")]) == 0
    assert read_table(tmp_path / "m")["documents"] == 300
    assert main(arguments) == 0  # trained again: cutoffs of the one before are gone
    assert "cutoffs.json" not in read_manifest(tmp_path / "m" / "perplexity-en")["files"]
    with pytest.raises(UserError, match="nothing to do: give --dump or --text to train on, or --cutoffs"):
        main(["--out", str(tmp_path / "m")])


# What the scorer makes of them.


def test_the_scorer_fills_both_fields(
    models: Path, english: list[str], tmp_path: Path, document: Callable[..., Document]
) -> None:
    texts = pieces_of(english)
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    main(["--cutoffs", str(tmp_path / "mine.jsonl"), "--out", str(models)])
    step = Perplexity(cutoffs="model")
    assert step.writes == ("perplexity", "perplexity_bucket")
    assert Perplexity().writes == ("perplexity",)
    score = step.load({"perplexity-en": open_artifact(models, "perplexity-en")})
    scored = score([document(text, language="en") for text in texts])
    shares = [sum(page.perplexity_bucket == name for page in scored) / 300 for name in ("head", "middle")]
    assert shares == pytest.approx([0.3, 0.3], abs=0.02)
    head, middle = (read_table(models)["percentiles"][p] for p in (30, 60))
    for page in scored:
        assert page.perplexity_bucket == bucket(page.perplexity, Cutoffs(head, middle))
    others = score([document("Ein Satz.", language="de"), document("", language="en"), document("x", language=None)])
    assert [(page.perplexity, page.perplexity_bucket) for page in others] == [(None, "all")] * 3
    plain = Perplexity().load({"perplexity-en": models / "perplexity-en"})([document("x", language="en")])
    assert plain[0].perplexity_bucket is None


def test_ccnets_cutoffs_are_for_ccnets_models(models: Path, document: Callable[..., Document]) -> None:
    paths = {"perplexity-en": models / "perplexity-en"}
    step = Perplexity(cutoffs="ccnet", glue_lines=True)
    with pytest.raises(ModelError, match=r"valid with CCNet's own models.*models.fetch ccnet-lm-en") as error:
        step.load(paths)
    assert "\n" not in str(error.value)
    knowing = Perplexity(cutoffs="ccnet", any_model=True).load(paths)
    page = knowing([document("The value must be a name.", language="en")])[0]
    assert page.perplexity_bucket == bucket(page.perplexity, CCNET["en"])
    manifest = read_manifest(models / "perplexity-en")
    fields = {name: manifest[name] for name in ("kind", "format", "licence", "origin")}
    files = {name: models / "perplexity-en" / name for name in manifest["files"]}
    write_artifact(models / "perplexity-en", files, **fields, parameters={"family": "cc_net", "language": "en"})
    page = step.load(paths)([document("The value must be a name.", language="en")])[0]
    assert page.perplexity_bucket in ("head", "middle", "tail")


def test_cutoffs_of_another_model_and_none_at_all(models: Path, english: list[str], tmp_path: Path) -> None:
    step, paths = Perplexity(cutoffs="model"), {"perplexity-en": models / "perplexity-en"}
    with pytest.raises(ModelError, match=r"has no cutoffs.json: make them with"):
        step.load(paths)
    (tmp_path / "mine.jsonl").write_text(json.dumps({"text": english[0]}))
    main(["--cutoffs", str(tmp_path / "mine.jsonl"), "--out", str(models)])
    manifest = read_manifest(models / "perplexity-en")
    fields = {name: manifest[name] for name in ("kind", "format", "licence", "origin", "parameters")}
    cutoffs = (models / "perplexity-en" / "cutoffs.json").read_bytes()
    files: dict[str, bytes | Path] = {name: models / "perplexity-en" / name for name in manifest["files"]}
    other = {**files, "pieces.model": b"another", "cutoffs.json": cutoffs}
    write_artifact(models / "perplexity-en", other, **fields)
    with pytest.raises(ModelError, match="made with another model"):
        step.load(paths)
    write_artifact(models / "perplexity-en", {**files, "cutoffs.json": b"{}"}, **fields)
    with pytest.raises(ModelError, match=r"cutoffs.json cannot be read"):
        step.load(paths)
    with pytest.raises(RecipeError, match="cutoffs must be"):
        Perplexity(cutoffs="mine")


def test_a_model_is_loaded_once_a_process_and_only_when_it_is_needed(
    models: Path, tmp_path: Path, document: Callable[..., Document]
) -> None:
    assert load_perplexity(models / "perplexity-en") is load_perplexity(models / "perplexity-en")
    paths = {"perplexity-en": models / "perplexity-en", "perplexity-xx": tmp_path / "not here"}
    score = Perplexity(languages=("en", "xx")).load(paths)
    assert score([document("A text.", language="en")])[0].perplexity
    with pytest.raises(ModelError, match="does not hold a perplexity model"):
        score([document("A text.", language="xx")])
