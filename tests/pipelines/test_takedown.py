from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.document import document_key
from curation.errors import InputError, UserError, exit_on_user_error
from curation.shard_check import problems, verify
from curation.token_shard import JOURNAL, SUFFIXES, Dataset
from curation.tombstones import Tombstones
from models.tokenizer import Tokenizer
from pipelines import run, shards, storage, takedown
from pipelines.takedown import take_down
from tests.pipelines.small_run import RECIPE, arguments, secret, text, url

PAGE = 7  # seen three times


def asked(*numbers: int) -> Tombstones:
    return Tombstones.of(urls=[url(number) for number in numbers])


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def texts(output: Path) -> str:
    """All text that can be had from a run: of its parts, and decoded from its tokens."""
    found = []
    for path in output.rglob("*.parquet"):
        table = pq.ParquetFile(path).read()
        found += [
            t or "" for name in ("text", "message") if name in table.column_names for t in table[name].to_pylist()
        ]
    tokenizer = Tokenizer.load(output / "tokenizer/tokenizer.model")
    for path in output.rglob("*.bin"):
        found.append(tokenizer.decode(memoryview(path.read_bytes()).cast("H").tolist()))
    return "\n".join(found)


def ledger(output: Path, stage: str) -> dict[str, Any]:
    rows = json.loads((output / stage / "manifest.json").read_text())["balances"]
    return {row["unit"]: row for row in rows}


def test_every_copy_goes_and_nothing_else_moves(small: Path, live: Path) -> None:
    before, count = Dataset.open(live / "shards"), texts(live).count(secret(PAGE))
    report = take_down(str(live), asked(PAGE))
    assert count == 6  # two kept parts, a token part, three copies
    assert secret(PAGE) not in texts(live)
    assert (len(report.documents), report.copies, report.texts, report.token_parts) == (1, 3, 2, 1)
    after = verify(live / "shards")
    assert (after.ancestors, after.manifest["parent"], after.manifest["format"]) == ((before.id,), before.id, 2)
    assert (report.before, report.after) == (before.id, after.id)
    touched = {name + suffix for name in report.shards for suffix in SUFFIXES if suffix != ".idx"}
    assert 0 < len(report.shards) < report.all_shards
    old, new = tree(small / "run/shards"), tree(live / "shards")
    assert {name for name in old if name not in new or old[name] != new[name]} == {
        *touched,
        "manifest.json",
        "mix/manifest.json",
        *(f"mix/ledger/{name}.json" for name in report.shards),
    }
    assert old.keys() == new.keys()
    rows = 0
    for one, other in zip(before.shards(), after.shards(), strict=True):
        one_source = Dataset.open(small / "run/shards").directory / one.path.name
        shard = type(one)(one_source, one.dtype)
        for number, (then, now) in enumerate(zip(shard.documents(), other.documents(), strict=True)):
            if other.taken_down[number]:
                rows += 1
                assert now.tolist() == [1] + [2] * (len(now) - 1)
            else:
                assert now.tolist() == then.tolist()
    assert rows == 3


def test_other_pages_texts_stay_to_the_byte(small: Path, live: Path) -> None:
    take_down(str(live), asked(PAGE))
    for path in (small / "run/crawl").rglob("kept/*.parquet"):
        one, other = pq.read_table(path), pq.read_table(live / path.relative_to(small / "run"))
        assert one.schema == other.schema
        assert one.drop(["text"]).equals(other.drop(["text"]))
        pairs = zip(one["text"].to_pylist(), other["text"].to_pylist(), strict=True)
        assert [b for _, b in pairs] == ["" if secret(PAGE) in a else a for a in one["text"].to_pylist()]


def test_by_id_host_and_list(live: Path, tmp_path: Path) -> None:
    rows = pq.read_table(live / "other/documents/kept")
    id = rows["id"].to_pylist()[3]
    listed = tmp_path / "list.txt"
    listed.write_text(f"# by mail\n{url(PAGE)}\n" + json.dumps({"host": "odd.example.org"}))
    flags = ["takedown", str(live), "--id", id, "--list", str(listed)]
    assert shards.main(flags) == 0
    left = texts(live)
    odd = [n for n in [*range(45), *range(100, 145)] if n % 2]
    assert not [n for n in [*odd, PAGE] if secret(n) in left]
    assert pq.read_table(live / "other/documents/kept")["text"].to_pylist()[3] == ""
    assert all(secret(n) in left for n in range(2, 45, 2))
    verify(live / "shards")
    assert Tombstones.parse((live / "tombstones.jsonl").read_bytes(), "").ids == {id}


def test_held_out_copies_go_too(live: Path) -> None:
    held = Dataset.open(live / "shards").heldout()[0].provenance()["url"].to_pylist()[0]
    report = take_down(str(live), Tombstones.of(urls=[held]))
    assert report.shards == ["heldout/crawl"]
    assert verify(live / "shards").heldout()[0].taken_down.tolist().count(True) == 1
    number = int(held.rpartition("/")[2].partition("?")[0])
    assert secret(number) not in texts(live)


def test_the_bands_of_a_held_out_page_go_and_are_made_anew(small: Path, live: Path) -> None:
    """Those of its part alone; of a page that is not held out, none."""
    take_down(str(live), asked(PAGE))
    assert (live / "heldout/manifest.json").exists()
    held = Dataset.open(live / "shards").heldout()[0].provenance()["url"].to_pylist()[0]
    assert held.startswith("https://")
    before = {path: np.load(path) for path in sorted((live / "crawl/heldout/bands").iterdir())}
    take_down(str(live), Tombstones.of(urls=[held]))
    assert not (live / "heldout").exists()
    (gone,) = {path for path in before if not path.exists()}
    assert run.main(arguments(small, live)) == 0
    after = {path: np.load(path) for path in before}
    assert all(np.array_equal(after[path], before[path]) for path in before if path != gone)
    assert len(after[gone]) == len(before[gone]) - 14
    (books,) = json.loads((live / "crawl/heldout/manifest.json").read_text())["balances"]
    assert books["skipped"]["taken_down"] == 1
    assert (live / "heldout/manifest.json").exists()
    verify(live / "shards")


def test_twice_is_once_and_another_has_a_grandparent(live: Path) -> None:
    take_down(str(live), asked(PAGE))
    once = tree(live)
    again = take_down(str(live), asked(PAGE))
    assert tree(live) == once
    assert (again.copies, again.nowhere, again.before) == (0, [], again.after)
    take_down(str(live), asked(100))
    assert len(verify(live / "shards").ancestors) == 2


def test_a_page_that_is_nowhere_is_said_and_kept_out(live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(live)
    assert shards.main(["takedown", str(live), "--url", "https://nowhere.example.com/1"]) == 0
    assert "nowhere to be found: url nowhere.example.com/1" in capsys.readouterr().out
    after = tree(live)
    assert {name: digest for name, digest in after.items() if name != "tombstones.jsonl"} == before
    assert b"nowhere.example.com" in (live / "tombstones.jsonl").read_bytes()


def test_the_same_command_keeps_what_went_away(small: Path, live: Path) -> None:
    """Its manifest is written again to the byte; the token part is made anew, and the page is in its books."""
    take_down(str(live), asked(PAGE))
    dataset = tree(live / "shards")
    assert run.main(arguments(small, live)) == 0
    assert tree(live / "shards") == dataset
    tokens = ledger(live, "crawl/tokens")["documents"]
    assert (tokens["in"], tokens["kept"], tokens["dropped"]) == (45, 44, {"tombstones.taken_down": 1})
    assert secret(PAGE) not in texts(live)
    mixed = next(row for row in json.loads((live / "ledger.json").read_text()) if row["name"] == "shards/mix")
    assert mixed["notes"]["shards"] == Dataset.open(live / "shards").manifest["shards"]


def test_another_mixture_has_none_of_it(small: Path, live: Path, tmp_path: Path) -> None:
    take_down(str(live), asked(PAGE))
    recipe = tmp_path / "more.toml"
    recipe.write_text(RECIPE.replace("crawl = 2.5", "crawl = 4.0"))
    assert run.main(arguments(small, live, recipe)) == 0
    dataset = verify(live / "shards")
    assert dataset.ancestors == ()
    assert dataset.manifest["sources"][0]["epochs"] == 4
    found = texts(live)
    assert secret(PAGE) not in found
    assert secret(9) in found


def test_a_recipe_that_reads_the_pages_again_drops_it_by_name(small: Path, live: Path, tmp_path: Path) -> None:
    take_down(str(live), asked(PAGE))
    recipe = tmp_path / "less.toml"
    recipe.write_text(RECIPE.replace("min_characters = 20", "min_characters = 25"))
    assert run.main([*arguments(small, live, recipe), "--until", "after-lines"]) == 0
    records = ledger(live, "crawl/documents")["records"]
    assert (records["in"], records["kept"], records["dropped"]) == (45, 44, {"tombstones.taken_down": 1})
    dropped = pq.read_table(live / "crawl/documents/dropped").to_pylist()
    assert [(row["url"], row["rule"], row["characters"]) for row in dropped] == [(url(PAGE), "taken_down", 0)]
    assert secret(PAGE) not in "".join(pq.read_table(live / "crawl/after-lines/kept")["text"].to_pylist())


def test_a_list_handed_to_another_run(small: Path, live: Path, tmp_path: Path) -> None:
    """A fresh run drops the page; one that has gone further purges what it has, before it goes on."""
    take_down(str(live), asked(PAGE))
    flags = ["--tombstones", str(live / "tombstones.jsonl"), "--until", "documents"]
    assert run.main([*arguments(small, tmp_path / "fresh"), *flags]) == 0
    assert ledger(tmp_path / "fresh", "crawl/documents")["records"]["dropped"] == {"tombstones.taken_down": 1}
    later = Path(shutil.copytree(small / "run", tmp_path / "later"))
    assert run.main([*arguments(small, later), *flags]) == 0
    assert secret(PAGE) not in texts(later)
    verify(later / "shards")
    missing = [*arguments(small, tmp_path / "no"), "--tombstones", str(tmp_path / "no.jsonl")]
    assert exit_on_user_error(lambda: run.main(missing)) == 2
    assert not (tmp_path / "no" / "inputs.parquet").exists()


def test_between_claims_and_verdicts_the_mask_holds(small: Path, tmp_path: Path) -> None:
    """Page 0 wins a line from page 1 and is then taken down: all other pages come out as they would have."""
    whole = {row["url"]: row["text"] for row in pq.read_table(small / "run/crawl/after-lines/kept").to_pylist()}
    for until in ("documents", "lines"):
        output = tmp_path / until
        assert run.main([*arguments(small, output), "--until", until]) == 0
        take_down(str(output), asked(0))
        assert run.main([*arguments(small, output), "--until", "after-lines"]) == 0
        found = {row["url"]: row["text"] for row in pq.read_table(output / "crawl/after-lines/kept").to_pylist()}
        assert found == {address: value for address, value in whole.items() if address != url(0)}
        books = ledger(output, "crawl/after-lines")
        assert books["documents"]["dropped"] == {"tombstones.taken_down": 1}
        assert books["lines"]["in"] == sum(len(text(n).split("\n")) for n in range(1, 45))


def test_claims_that_are_made_anew_are_without_it(small: Path, live: Path, tmp_path: Path) -> None:
    """Another deduplication is asked for: page 1 keeps the line that it shared with page 0."""
    take_down(str(live), asked(0))
    recipe = tmp_path / "other.toml"
    recipe.write_text(RECIPE.replace('{ dedup = "lines" }', '{ dedup = "lines", keep = "newest" }'))
    assert run.main([*arguments(small, live, recipe), "--until", "after-lines"]) == 0
    found = {row["url"]: row["text"] for row in pq.read_table(live / "crawl/after-lines/kept").to_pylist()}
    assert "A line of pages nought and one" in found[url(1)]
    assert url(0) not in found


class Killed(BaseException):
    pass


def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of a file goes through `publish` or `remove`: the process ends before the one after so many."""
    left = [steps]

    def dying(change: Any) -> Any:
        def wrapped(*given: Any) -> Any:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return change(*given)

        return wrapped

    monkeypatch.setattr(storage, "publish", dying(storage.publish))
    monkeypatch.setattr(storage, "remove", dying(storage.remove))


def test_killed_anywhere_the_same_command_ends_it(live: Path, tmp_path: Path) -> None:
    pages = asked(PAGE)
    whole = Path(shutil.copytree(live, tmp_path / "whole"))
    take_down(str(whole), pages)
    ids = {Dataset.open(path / "shards").id for path in (live, whole)}
    expected, refused, opened, steps = tree(whole), 0, 0, 0
    while True:
        broken = Path(shutil.copytree(live, tmp_path / "broken"))
        with pytest.MonkeyPatch.context() as patch:
            killed_after(steps, patch)
            try:
                take_down(str(broken), pages)
                break
            except Killed:
                pass
        if (broken / "shards" / JOURNAL).exists():
            refused += 1
            with pytest.raises(InputError, match="half taken down"):
                Dataset.open(broken / "shards")
            assert exit_on_user_error(lambda: shards.main(["verify", str(broken)])) == 1  # noqa: B023
        else:
            opened += 1
            assert Dataset.open(broken / "shards").id in ids
            assert list(problems(broken / "shards")) == []
        if steps:  # at least the list was written: no page needs to be named again
            assert shards.main(["takedown", str(broken)]) == 0
        else:
            take_down(str(broken), pages)
        assert tree(broken) == expected
        shutil.rmtree(broken)
        steps += 1
    assert min(refused, opened) > 5


def test_a_run_that_goes_on_ends_what_was_cut_off(small: Path, live: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        killed_after(14, patch)
        with pytest.raises(Killed):
            take_down(str(live), asked(PAGE))
    assert takedown.unfinished(str(live))
    assert run.main(arguments(small, live)) == 0
    assert not takedown.unfinished(str(live))
    assert verify(live / "shards").ancestors
    assert secret(PAGE) not in texts(live)


def test_what_a_killed_run_left_half_written_goes(live: Path) -> None:
    left = live / "crawl/documents/ledger/.writing-abc"
    left.mkdir()
    (left / "kept.parquet").write_text(secret(PAGE))
    sample = live / "tokenizer/crawl/kept"
    sample.mkdir(parents=True)
    pq.write_table(pq.read_table(live / "crawl/documents/kept").select(["text"]), sample / "part-0000000.parquet")
    take_down(str(live), asked(PAGE))
    assert not left.exists()
    assert not sample.exists()


def test_a_mixture_that_was_cut_off_is_mixed_anew(small: Path, live: Path) -> None:
    (live / "shards/manifest.json").unlink()
    (live / "shards/mix/manifest.json").unlink()
    take_down(str(live), asked(PAGE))
    assert not (live / "shards").exists()
    assert run.main(arguments(small, live)) == 0
    assert verify(live / "shards").ancestors == ()
    assert secret(PAGE) not in texts(live)


def test_a_dataset_without_its_run(small: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(small / "run/shards", tmp_path / "alone"))
    report = take_down(str(alone), asked(PAGE))
    assert (report.copies, report.texts) == (3, 0)
    verify(alone)
    assert take_down(str(alone), Tombstones()).copies == 0
    key = document_key(next(iter(report.documents))).hex()
    ids = [id for shard in Dataset.open(alone).shards() for id in shard.provenance()["id"].to_pylist()]
    assert ids.count(f"taken-down:{key}") == 3


def test_what_cannot_be_taken_down(live: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to take down"):
        take_down(str(live), Tombstones())
    with pytest.raises(InputError, match="neither a run's output nor a dataset"):
        take_down(str(tmp_path / "nowhere"), asked(PAGE))
    with pytest.raises(InputError, match="neither a run's output nor a dataset"):
        take_down(str(live / "crawl/documents"), asked(PAGE))
    assert exit_on_user_error(lambda: shards.main(["takedown", str(live), "--host", "org"])) == 2
    assert not (live / "tombstones.jsonl").exists()


def test_given_the_dataset_the_run_around_it_is_meant(live: Path) -> None:
    assert take_down(str(live / "shards"), asked(PAGE)).texts == 2
    assert (live / "tombstones.jsonl").exists()


@given(
    st.sampled_from(["example.org", "xn--bcher-kva.de", "a.b.example.org", "[::1]", "127.0.0.1"]),
    st.sampled_from(["{}", "www.{}", "WWW.{}.", "sub.{}", "user@{}:80", "{}:8080"]),
    st.sampled_from(
        ["http://{}/A?b=c", "HTTPS://{}/A/", "//{}/A", "{}/A", "http:\\\\{}/A", " http://{}/A#x", "h\tttp://{}/A"]
    ),
    st.sampled_from(
        [str, str.upper, lambda s: s.replace("e", "%65"), lambda s: s.replace("xn--bcher-kva", "b\xfccher")]
    ),
)
def test_the_quick_look_misses_nothing(name: str, authority: str, form: str, spell: Callable[[str], str]) -> None:
    address = form.format(spell(authority.format(name)))
    batch = pa.record_batch({"id": ["x", "y", "web:1"], "url": [address, None, "https://other.net/"]})
    for listed in (Tombstones.of(hosts=["example.org", "bücher.de", "127.0.0.1"]), Tombstones.of([address], ["web:1"])):
        maybe = takedown._may_be_covered(batch, listed)
        covered = [bool(listed.covering(id, url or "")) for id, url in zip(*batch.to_pydict().values(), strict=True)]
        assert not (np.array(covered) & ~maybe).any()
        assert not maybe[1]
