from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from curation.document import SCORE_FIELDS
from curation.errors import InputError, UserError, exit_on_user_error
from curation.token_shard import JOURNAL, MANIFEST, Dataset
from curation.tombstones import Tombstones
from models.tokenizer import Tokenizer
from pipelines import export, run, shard_describe, shard_export, shards
from pipelines.shard_export import FORMATS, Options, kept_documents
from pipelines.takedown import take_down
from tests.pipelines.small_run import RECIPE, arguments, secret, url


def call(*flags: object) -> int:
    return exit_on_user_error(lambda: shards.main([str(flag) for flag in flags]))


@pytest.mark.parametrize("place", ["run", "run/shards"])
def test_verify_a_sound_dataset(small: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", small / place) == 0
    assert f"is sound: 5 shards, dataset {Dataset.open(small / 'run/shards').id}" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [1, 3])
def test_verify_says_all_that_is_wrong_and_exits_1(
    live: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    folder = live / "shards"
    data = bytearray((folder / "shard-00001.bin").read_bytes())
    data[100] ^= 1
    (folder / "shard-00001.bin").write_bytes(data)
    (folder / "heldout/other.src").unlink()
    (folder / "tokenizer.model").write_bytes(b"x")
    assert call("verify", folder, "--workers", workers) == 1
    captured = capsys.readouterr()
    for name in ("shard-00001.bin is not the file", "heldout/other.src is missing", "tokenizer.model is not the"):
        assert name in captured.out
    assert "Traceback" not in captured.err


def test_verify_where_there_is_nothing_exits_2(live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (live / "shards" / MANIFEST).unlink()
    assert call("verify", live) == 2
    assert "holds no manifest.json" in capsys.readouterr().err


def test_verify_half_a_take_down_exits_1(live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (live / "shards" / JOURNAL).write_text("{}")
    assert call("verify", live) == 1
    assert "half taken down" in capsys.readouterr().out


def test_describe_has_a_row_a_source(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", small / "run") == 0
    lines = capsys.readouterr().out.splitlines()
    dataset = Dataset.open(small / "run/shards")
    assert dataset.id in lines[0]
    header = next(number for number, line in enumerate(lines) if line.startswith("source"))
    (crawl,) = (source for source in dataset.manifest["sources"] if source["name"] == "crawl")
    row = lines[header + 1].split()
    assert row[0] == "crawl"
    assert row[2] == f"{crawl['tokens']:,}"
    assert row[-4:-2] == ["2.500", f"{crawl['epochs']:.3f}"]
    assert row[-1] == f"{crawl['share']:.2%}"


def test_describe_as_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", small / "run/shards", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    dataset = Dataset.open(small / "run/shards")
    assert found["dataset_id"] == dataset.id
    assert found["sources"] == dataset.manifest["sources"]
    assert found["training_tokens"] == sum(len(shard.tokens) for shard in dataset.shards())
    assert found["heldout_documents"] == sum(len(shard.lengths) for shard in dataset.heldout())


def test_from_a_token_to_its_page_and_back(small: Path) -> None:
    """Each end of each document, in every shard: the page, its text, and the span that the page gives back."""
    dataset = Dataset.open(small / "run/shards")
    tokenizer = Tokenizer.load(small / "run/shards/tokenizer.model")
    for shard in [*dataset.shards(), *dataset.heldout()]:
        name = str(shard.path.relative_to(dataset.directory))
        rows = shard.provenance().to_pylist()
        for number in (0, len(rows) // 2, len(rows) - 1):
            start, end = int(shard.offsets[number]), int(shard.offsets[number + 1])
            text = tokenizer.decode(shard.tokens[start:end])
            for token in (start, start + 1, end - 1):
                place = shard_describe.at(dataset, f"{name}:{token}")
                assert (place.span.start, place.span.end, place.span.document) == (start, end, number)
                assert place.provenance == rows[number]
                assert place.source == rows[number]["id"].partition(":")[0]
                assert place.before in text
                following = (place.text + place.after).replace(" ", "")
                assert following in text.replace(" ", "")
                if token == start:
                    assert place.before == ""
                    assert text.replace(" ", "").startswith(following)
                if token == end - 1:  # the one that ends a document, which has no text
                    assert place.before != ""
                    assert text.endswith(place.before)
                    assert following == ""
            assert place.span in shard_describe.spans(dataset, Tombstones.of([rows[number]["url"]]))


def test_passes_are_told_apart(small: Path) -> None:
    """Every document of a source has one copy in each whole pass, wherever the copies lie."""
    dataset = Dataset.open(small / "run/shards")
    sources = {source["name"]: source for source in dataset.manifest["sources"]}
    found = shard_describe.spans(dataset, Tombstones.of(hosts=["example.org"]))
    assert len(found) == sum(len(shard.lengths) for shard in [*dataset.shards(), *dataset.heldout()])
    mixed = [span for span in found if not span.shard.startswith("heldout/")]
    assert {span.turn for span in found if span.shard.startswith("heldout/")} == {None}
    turns = Counter((span.id.partition(":")[0], span.turn) for span in mixed)
    assert turns["crawl", 0] == turns["crawl", 1] == sources["crawl"]["documents"]
    assert turns["crawl", 2] == sources["crawl"]["mixed_documents"] - 2 * sources["crawl"]["documents"] > 0
    assert turns["other", 0] == sources["other"]["documents"]
    assert len({(span.id, span.turn) for span in mixed}) == len(mixed)


def test_describe_by_address(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", small / "run", "--url", "http://odd.example.org/7/", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [span["url"] for span in found] == [url(7)] * 3
    assert call("describe", small / "run", "--id", found[0]["id"]) == 0
    assert capsys.readouterr().out.count("shard-0000") == 3
    assert call("describe", small / "run", "--url", "https://example.org/7") == 1
    assert "no document" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["shard-00000", "shard-9:1", "shard-00000:x", "shard-00000:-1", "shard-00000:999999"])
def test_a_place_that_is_none(small: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", small / "run", f"--at={place}") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_was_taken_down_is_described_as_such(live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    id = shard_describe.spans(Dataset.open(live / "shards"), Tombstones.of([url(7)]))[0].id
    take_down(str(live), Tombstones.of([url(7)]))
    dataset = Dataset.open(live / "shards")
    (span, *_) = shard_describe.spans(dataset, Tombstones.of(ids=[id]))
    assert span.taken_down
    place = shard_describe.at(dataset, f"{span.shard}:{span.start + 3}")
    assert (place.source, place.before + place.text + place.after) == ("taken down", "")
    assert call("describe", live) == 0
    assert "taken down" in capsys.readouterr().out


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of an export by side, with readers that are not ours."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix == ".parquet":
            more = pq.read_table(path).to_pylist()
        else:
            packed = path.read_bytes()
            data = zstandard.ZstdDecompressor().stream_reader(packed).read() if path.suffix == ".zst" else None
            more = [json.loads(line) for line in (data or gzip.decompress(packed)).decode().splitlines()]
        found.setdefault(path.parent.name, []).extend(more)
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_export_has_each_document_of_the_mixture_once(small: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    assert call("export", small / "run", "--format", form, "--out", out, "--file-size", "2KB", "--mixture") == 0
    dataset = Dataset.open(small / "run/shards")
    texts = {
        row["id"]: row["text"]
        for stage in ("crawl/after-lines", "other/documents")
        for row in pq.read_table(small / "run" / stage / "kept").to_pylist()
    }
    found = rows(out)
    for side, parts in (("train", dataset.shards()), ("heldout", dataset.heldout())):
        ids = [row["id"] for row in found[side]]
        assert len(ids) == len(set(ids))
        assert set(ids) == {id for shard in parts for id in shard.provenance()["id"].to_pylist()}
        assert all(row["text"] == texts[row["id"]] for row in found[side])
        assert all(set(SCORE_FIELDS) | {"url", "date", "digest"} <= row.keys() for row in found[side])
        epochs = {source["name"]: source["epochs"] for source in dataset.manifest["sources"]}
        assert all(row["source_epochs"] == epochs[row["source"]] for row in found[side])
    about = json.loads((out / "export.json").read_text())
    assert about["dataset_id"] == dataset.id
    assert about["documents"] == sum(map(len, found.values()))
    files = {str(path.relative_to(out)): path for path in out.glob("*/*")}
    assert files.keys() == {file["file"] for file in about["files"]}
    assert len(files) > 6
    for file in about["files"]:
        assert hashlib.sha256(files[file["file"]].read_bytes()).hexdigest() == file["sha256"]
        assert file["text_bytes"] < 2000 + 400  # a file ends with the document that passes the limit


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_run_exports_the_same_bytes(small: Path, tmp_path: Path, form: str) -> None:
    for name in ("a", "b"):
        assert call("export", small / "run/shards", "--format", form, "--out", tmp_path / name) == 0
    a, b = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (tmp_path / "a", tmp_path / "b"))
    assert a == b
    assert len(a) == 5


def test_an_export_appears_whole_and_overwrites_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    whole = shard_export._sides

    def failing(run: str, ending: Any, number: int) -> dict[str, str]:
        if number > 1:
            raise OSError("no space is left")
        return whole(run, ending, number)

    with monkeypatch.context() as patch:
        patch.setattr(shard_export, "_sides", failing)
        with pytest.raises(OSError, match="no space"):
            shards.main(["export", str(small / "run"), "--out", str(out)])
    assert not out.exists()
    out.mkdir()
    assert call("export", small / "run", "--out", out) == 0
    assert not out.with_name("out.partial").exists()
    assert call("export", small / "run", "--out", out) == 2


def test_export_of_a_stage(small: Path, tmp_path: Path) -> None:
    stage = small / "run/crawl/documents"
    assert call("export", stage, "--format", "jsonl.gz", "--out", tmp_path / "out") == 0
    kept = pq.read_table(stage / "kept").to_pylist()
    found = rows(tmp_path / "out")["documents"]
    assert [(row["id"], row["text"]) for row in found] == [(row["id"], row["text"]) for row in kept]
    assert json.loads((tmp_path / "out/export.json").read_text())["stage"] == "crawl/documents"


@pytest.mark.parametrize("place", ["run/crawl/lines", "run/crawl/tokens", "run/crawl", "nowhere"])
def test_what_has_no_documents_is_not_exported(small: Path, tmp_path: Path, place: str) -> None:
    assert call("export", small / place, "--out", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_export_is_without_what_was_taken_down(small: Path, live: Path, tmp_path: Path) -> None:
    take_down(str(live), Tombstones.of([url(7)]))
    assert call("export", live, "--out", tmp_path / "early") == 2  # a token part is to be made anew
    assert [d.url for d in kept_documents(str(live / "crawl/documents"))].count(url(7)) == 0
    assert run.main(arguments(small, live)) == 0
    assert call("export", live, "--out", tmp_path / "out") == 0
    texts = "".join(row["text"] for side in rows(tmp_path / "out").values() for row in side)
    assert secret(7) not in texts
    assert secret(9) in texts


def test_a_stage_of_another_recipe_is_said(small: Path, live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its key is not the one that the run's books have; and a stage that the books know nothing of."""
    warned = "is not a stage of what"
    list(export.documents(str(live / "crawl/documents")))
    assert warned not in capsys.readouterr().err
    shutil.copytree(live / "crawl/documents", live / "crawl/after-url")
    list(export.documents(str(live / "crawl/after-url")))
    assert warned in capsys.readouterr().err
    recipe = live.parent / "other.toml"
    recipe.write_text(RECIPE.replace("min_characters = 20", "min_characters = 25"))
    assert run.main([*arguments(small, live, recipe), "--until", "after-lines"]) == 0
    list(export.documents(str(live / "crawl/documents")))
    assert warned in capsys.readouterr().err
    with pytest.raises(InputError, match="made anew"):  # the mixture was not made of this
        shards.main(["export", str(live), "--out", str(live.parent / "out")])


def test_a_part_of_another_key_is_refused(live: Path) -> None:
    path = live / "crawl/documents/ledger/part-0000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "x"}))
    with pytest.raises(InputError, match="being made anew"):
        list(kept_documents(str(live / "crawl/documents")))


def test_an_unknown_format_is_one_line(small: Path, tmp_path: Path) -> None:
    from pipelines.shard_export import export as write

    with pytest.raises(UserError, match="give one of"):
        write(str(small / "run"), tmp_path / "out", Options("csv"))
