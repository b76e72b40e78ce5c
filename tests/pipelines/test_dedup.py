from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.dedup.lines import Lines
from curation.dedup.near import Near
from curation.dedup.url import Url
from curation.dedup.verdict import CLAIM, Rule, rule_of, seconds
from curation.document import Document
from curation.errors import InputError, LedgerError, UserError
from pipelines import dedup, hash_passes, inputs, run, storage
from pipelines.export import documents

# Words apart, dates and addresses of pages: some are copies in another file, some nearly so, some share a line.
RECIPE = """
format = 1
name = "mine"
[sources.commoncrawl]
steps = [
  {{ extract = "plain" }},
  {steps}
]
"""
URL = '{ dedup = "url" }'
LINES = '{ dedup = "lines" }'
NEAR = '{ dedup = "near" }'
STEPS = f'{LINES}, {{ filter = "length", min_characters = 20 }}, {NEAR}'


def record(url: str, text: str, date: str) -> bytes:
    body = text.encode()
    head = (
        f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
        f"WARC-Record-ID: <urn:uuid:{abs(hash((url, date)))}>\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0)


def spelled(number: int) -> str:
    """In letters: to the key of a line all digits are the same."""
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))


def page(number: int) -> tuple[str, str, str]:
    """Url, text and date. Every page has one of five menus, every fourth a line of another; every third is of a family
    of near copies, which break their lines elsewhere."""
    family = number % 7 if number % 3 == 0 else number
    words = [f"word{spelled((family * 31 + i * i) % 997)}" for i in range(60)]
    if number % 6 == 0:
        words[number % 60] = f"other{spelled(number)}"
    at = 5 + number % 53
    lines = [f"Menu {'abcde'[number % 5]} of the site", " ".join(words[:at]), " ".join(words[at:])]
    text = "\n".join(lines + [f"A line of page {spelled(number - number % 8)}"] * (number % 4 == 0))
    return f"https://example.org/{number % 40}", text, f"2024-01-{1 + number * 5 % 28:02d}T00:00:00Z"


def write_crawl(folder: Path, files: range, pages_each: int = 12) -> None:
    folder.mkdir(exist_ok=True)
    for file in files:
        records = [record(*page(number)) for number in range(file * pages_each, (file + 1) * pages_each)]
        (folder / f"{file:03d}.warc.wet.gz").write_bytes(b"".join(records))


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders a, b and all: 3 files, 4 other files, and the 7 of them."""
    folder = tmp_path_factory.mktemp("crawl")
    write_crawl(folder / "a", range(3))
    write_crawl(folder / "b", range(3, 7))
    write_crawl(folder / "all", range(7))
    return folder


def go(folder: Path, output: Path, steps: str, until: str, *options: str) -> dict[str, str]:
    """Run a recipe of these steps; the text of each document that the last stage kept."""
    recipe = output.parent / f"{output.name}.toml"
    recipe.write_text(RECIPE.format(steps=steps))
    arguments = ["--recipe", str(recipe), "--input", str(folder), "--output", str(output), "--until", until]
    assert run.main([*arguments, "--quiet", "--workers", "1", *options]) == 0
    return kept(output, until) if "documents" in until or "after" in until else {}


def kept(output: Path, stage: str) -> dict[str, str]:
    return {document.id: document.text for document in documents(str(output / "commoncrawl" / stage))}


def of_b(found: dict[str, str]) -> dict[str, str]:
    return {id: text for id, text in found.items() if file_of(id) >= 3}


def file_of(id: str) -> int:
    return int(id.partition(":")[2][:3])


def manifest(output: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "commoncrawl" / stage / "manifest.json").read_text())
    return found


def fold(step: Any, pages: Sequence[Document]) -> dict[str, str]:
    """What a deduplication keeps of documents in their order, with no pipeline and no parts."""
    rule, hashes = rule_of(step), [step.hashes(page) for page in pages]
    counts = [len(found) for found in hashes]
    ordinals = np.repeat(np.arange(len(pages), dtype=np.uint32), counts)
    dates = np.repeat(np.array([seconds(page.date) for page in pages], dtype=np.uint32), counts)
    mine = rule.claims(np.concatenate(hashes), ordinals, dates)
    lost = mine["hash"][rule.losing(mine["hash"], np.zeros(len(mine), dtype=np.int64), mine["weight"])]
    verdicts = [
        step.apply(page, rule.survives(h, n, mine, lost))[0]
        for n, (page, h) in enumerate(zip(pages, hashes, strict=True))
    ]
    return {verdict.id: verdict.text for verdict in verdicts if isinstance(verdict, Document)}


@pytest.fixture(scope="module")
def together(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("together") / "run"
    go(crawl / "all", output, STEPS, "after-near")
    return output


@pytest.fixture(scope="module")
def earlier(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("earlier") / "a"
    go(crawl / "a", output, STEPS, "after-near")
    return output


@pytest.mark.parametrize("options", [[], ["--range-size", "600", "--memory", "16KiB"]], ids=["", "small"])
def test_against_an_earlier_run_is_as_if_both_were_one(
    crawl: Path, together: Path, earlier: Path, tmp_path: Path, options: list[str]
) -> None:
    output = tmp_path / "b"
    second = go(crawl / "b", output, STEPS, "after-near", "--against", str(earlier), *options)
    everything = kept(together, "after-near")
    assert second == of_b(everything)
    assert {**kept(earlier, "after-near"), **second} == everything
    alone = fold(Lines(), list(documents(str(output / "commoncrawl/documents"))))
    assert any(text != alone[id] for id, text in second.items())  # the earlier run's lines went too
    gone = kept(output, "after-lines").keys() - second.keys()
    assert gone == of_b(kept(together, "after-lines")).keys() - second.keys() != set()
    for stage, before in (("lines", "documents"), ("near", "after-lines")):
        found = manifest(output, stage)
        (theirs,) = found["notes"]["against"].values()
        assert theirs == claims_in(earlier, before)
        assert found["balances"][0]["in"] == claims_in(output, before)
        if options:
            counted = (theirs + found["balances"][0]["in"]) * hash_passes.SHUFFLE_BYTES_PER_HASH
            assert found["notes"]["passes"] == -(-counted // (16 << 10)) > 1


def claims_in(output: Path, stage: str) -> int:
    return sum(len(np.load(path)) for path in (output / "commoncrawl" / stage / "claims").iterdir())


def test_against_several_runs_in_any_order(crawl: Path, together: Path, tmp_path: Path) -> None:
    for file in range(3):
        write_crawl(tmp_path / f"in-{file}", range(file, file + 1))
        go(tmp_path / f"in-{file}", tmp_path / f"run-{file}", STEPS, "documents")  # further they need not be
    runs = [f"--against={tmp_path / f'run-{file}'}" for file in range(3)]
    output, expected = tmp_path / "b", of_b(kept(together, "after-lines"))
    assert go(crawl / "b", output, STEPS, "after-lines", *runs) == expected
    made = manifest(output, "lines")
    assert len(made["notes"]["against"]) == 3
    # The order of the flags is nothing, nor is a run that is named twice counted twice.
    assert go(crawl / "b", output, STEPS, "after-lines", *runs[::-1], runs[0]) == expected
    assert manifest(output, "lines") == made
    assert go(crawl / "b", output, STEPS, "after-lines", *runs[:2]) != expected
    assert manifest(output, "lines")["key"] != made["key"]


def test_an_earlier_copy_stays_even_if_ours_is_newer(tmp_path: Path) -> None:
    old, new = "2020-01-01T00:00:00Z", "2024-01-01T00:00:00Z"
    for name, pages in {
        "a": [("https://x.org/1", "one", old)],
        "b": [("https://x.org/1", "two", new), ("https://x.org/2", "three", old), ("https://x.org/2", "four", new)],
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.warc.wet.gz").write_bytes(b"".join(record(*p) for p in pages))
    go(tmp_path / "a", tmp_path / "ra", URL, "documents")
    left = go(tmp_path / "b", tmp_path / "rb", URL, "after-url", "--against", str(tmp_path / "ra"))
    assert list(left.values()) == ["four"]


def test_documents_of_an_earlier_run_count_among_those_that_hold_a_line(crawl: Path, tmp_path: Path) -> None:
    """84 pages have 5 menus, so 16 or 17 a menu; 48 of them, 9 or 10 a menu, are of this run."""
    steps = '{ dedup = "lines", keep = "none", max_documents = 12 }'
    step = Lines(keep="none", max_documents=12)
    go(crawl / "a", tmp_path / "a", steps, "documents")
    left = go(crawl / "b", tmp_path / "b", steps, "after-lines", "--against", str(tmp_path / "a"))
    pages = [list(documents(str(tmp_path / name / "commoncrawl/documents"))) for name in "ab"]
    assert left == of_b(fold(step, [*pages[0], *pages[1]]))
    assert not any("Menu" in text for text in left.values())
    assert all("Menu" in text for text in fold(step, pages[1]).values())


@pytest.mark.parametrize(
    ("mine", "until", "said"),
    [
        ('{ dedup = "lines", semantics = "ccnet" }', "lines", "keep is 'smallest' there and 'none' here"),
        (STEPS.replace('"near"', '"near", ngram = 4'), "near", "ngram is 5 there and 4 here"),
        (URL, "url", "no Url deduplication follows it there"),
        (f"{LINES}, {LINES}", "lines-2", "no Lines deduplication follows it there"),
        ('{ dedup = "lines", group_files = 2 }', "lines", "group_files"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_done(
    crawl: Path, earlier: Path, tmp_path: Path, mine: str, until: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        go(crawl / "b", tmp_path / "b", mine, until, "--against", str(earlier))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b" / "inputs.parquet").exists()


def test_claims_made_by_other_code_are_refused_until_they_are_made_anew(
    crawl: Path, earlier: Path, tmp_path: Path
) -> None:
    a = tmp_path / "a"
    shutil.copytree(earlier, a)
    row = a / "commoncrawl/documents/ledger/part-0000001.json"
    changed = json.loads(row.read_text())
    changed["claims_of"]["code"] = "another"
    row.write_text(json.dumps(changed))
    with pytest.raises(UserError, match="another version of the code"):
        go(crawl / "b", tmp_path / "b", STEPS, "lines", "--against", str(a))
    go(crawl / "a", a, STEPS, "lines")
    go(crawl / "b", tmp_path / "b", STEPS, "lines", "--against", str(a))


def test_a_folder_with_nothing_to_compare(crawl: Path, earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run in this folder"):
        go(crawl / "b", tmp_path / "b", LINES, "lines", "--against", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="this run's own --output"):
        go(crawl / "a", earlier, STEPS, "after-near", "--against", str(earlier))
    a = tmp_path / "a"
    shutil.copytree(earlier, a)
    (a / "commoncrawl/documents/manifest.json").unlink()
    with pytest.raises(InputError, match="commoncrawl/documents is not there or not finished"):
        go(crawl / "b", tmp_path / "b", LINES, "lines", "--against", str(a))
    (tmp_path / "plain.toml").write_text(RECIPE.format(steps=""))
    options = ["--recipe", str(tmp_path / "plain.toml"), "--input", str(crawl / "b"), "--output", str(tmp_path / "c")]
    with pytest.raises(UserError, match="it would change nothing"):
        run.main([*options, "--quiet", "--against", str(earlier)])


def test_an_earlier_claim_that_is_lost_is_noticed(
    crawl: Path, earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = dedup.SendClaims.__call__

    def forgetful(self: Any, sender: tuple[int, int]) -> Any:
        sent = list(send(self, sender))
        return sent[1:] if sender[0] < 0 and sender[1] == 1 else sent

    monkeypatch.setattr(dedup.SendClaims, "__call__", forgetful)
    with pytest.raises(LedgerError, match=r"a sent \d+ claims and \d+ were judged"):
        go(crawl / "b", tmp_path / "b", STEPS, "lines", "--against", str(earlier))


def test_another_deduplication_after_the_same_documents(crawl: Path, tmp_path: Path) -> None:
    """The documents are not made anew, their claims are. Each gives what it gives alone, with no pipeline."""
    output, folder = tmp_path / "run", tmp_path / "run/commoncrawl/documents"
    go(crawl / "all", output, LINES, "documents")
    pages, made = list(documents(str(folder))), (folder / "kept/part-0000000.parquet").stat().st_mtime_ns
    lines, near, url = Lines(), Near(ngram=2), Url()
    for number, step in enumerate((lines, Lines(keep="newest"), near, url, lines)):
        name = type(step).__name__.lower()
        options = {"near": ", ngram = 2", "lines": f', keep = "{step.keep}"'}.get(name, "")
        found = go(crawl / "all", output, f'{{ dedup = "{name}"{options} }}', f"after-{name}")
        assert found == fold(step, pages)
        assert found != {page.id: page.text for page in pages}
        row = json.loads((folder / "ledger/part-0000000.json").read_text())
        assert row["claims_of"]["options"] == asdict(step), number
    assert (folder / "kept/part-0000000.parquet").stat().st_mtime_ns == made


def test_claims_that_are_half_rewritten_are_nobodys(
    crawl: Path, earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the claims and their ledger row, then the first recipe again."""
    a = tmp_path / "a"
    shutil.copytree(earlier, a)
    lost = a / "commoncrawl/lines/lost/part-0000000.0000.npy"
    before = lost.read_bytes()
    changed = STEPS.replace(LINES, '{ dedup = "lines", keep = "newest" }')
    with monkeypatch.context() as patch:
        publish = storage.publish

        def dies(local: Path, path: str) -> None:
            publish(local, path)
            if path.endswith("claims/part-0000001.npy"):
                raise RuntimeError("killed")

        patch.setattr(storage, "publish", dies)
        with pytest.raises(RuntimeError, match="killed"):
            go(crawl / "a", a, changed, "lines")
    (a / "commoncrawl/lines/manifest.json").unlink()  # as a run that was killed later would have left it
    (a / "commoncrawl/lines/key.json").unlink()
    go(crawl / "a", a, STEPS, "lines")
    assert lost.read_bytes() == before
    assert claims_in(a, "documents") == claims_in(earlier, "documents")
    for path in sorted((a / "commoncrawl/documents/claims").iterdir()):
        assert path.read_bytes() == (earlier / "commoncrawl/documents/claims" / path.name).read_bytes()


def test_groups_of_consecutive_files(crawl: Path, tmp_path: Path) -> None:
    grouped = go(crawl / "all", tmp_path / "run", '{ dedup = "lines", group_files = 3 }', "after-lines")
    pages = list(documents(str(tmp_path / "run/commoncrawl/documents")))
    for group in range(3):
        alone = fold(Lines(), [page for page in pages if file_of(page.id) // 3 == group])
        assert alone == {id: text for id, text in grouped.items() if file_of(id) // 3 == group}


def test_a_number_of_groups_of_files(crawl: Path, tmp_path: Path) -> None:
    grouped = go(crawl / "all", tmp_path / "run", '{ dedup = "lines", file_groups = 4 }', "after-lines")
    pages = list(documents(str(tmp_path / "run/commoncrawl/documents")))
    files = len({file_of(page.id) for page in pages})
    assert files % 4
    bounds = [group * files // 4 for group in range(5)]
    for first, end in pairwise(bounds):
        alone = fold(Lines(), [page for page in pages if first <= file_of(page.id) < end])
        assert alone == {id: text for id, text in grouped.items() if first <= file_of(id) < end}


def claims(hashes: list[int]) -> np.ndarray:
    zeros = np.zeros(len(hashes), dtype=np.uint32)
    return Rule("smallest").claims(np.array(hashes, dtype=np.uint64), zeros, zeros)


def test_a_bucket_is_judged_whatever_the_order_in_which_it_came() -> None:
    payloads = [
        np.int32(who).tobytes() + claims(hashes).tobytes() for who, hashes in ((2, [5, 6]), (-1, [6]), (0, [5, 7]))
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        verdicts = dict(dedup.judge(("0/0", [payloads[i] for i in order]), Rule("smallest")))
        heard = {
            who: (int.from_bytes(v[:8], "little"), np.frombuffer(v, "<u8", offset=8).tolist())
            for who, v in verdicts.items()
        }
        assert heard == {2: (2, [5, 6]), -1: (1, []), 0: (2, [])}


def test_an_earlier_run_hears_once_of_a_bucket() -> None:
    sent = ((-1, [6]), (-1, [7, 8]), (-2, []), (3, [7]))
    payloads = [np.int32(who).tobytes() + claims(hashes).tobytes() for who, hashes in sent]
    verdicts = sorted(dedup.judge(("0/0", payloads), Rule("smallest")))
    lost = np.array([7], dtype="<u8").tobytes()
    counts = [np.uint64(count).tobytes() for count in (0, 3, 1)]
    assert verdicts == [(-2, counts[0]), (-1, counts[1]), (3, counts[2] + lost)]


def test_a_payload_is_its_head_and_16_bytes_a_claim(crawl: Path, tmp_path: Path) -> None:
    go(crawl / "a", tmp_path / "a", LINES, "documents")
    upstream = dedup.StageFiles(str(tmp_path / "a/commoncrawl/documents"))
    sent = list(dedup.SendClaims(str(tmp_path / "a"), upstream, 0, 1, 8, Lines(group_files=2).file_group)((2, 2)))
    assert {key.partition("/")[0] for key, _ in sent} == {"1"}  # file 2 of groups of 2
    assert all(payload[:4] == bytes([2, 0, 0, 0]) for _, payload in sent)
    packed = np.concatenate([np.frombuffer(payload, CLAIM, offset=4) for _, payload in sent])
    assert packed.tobytes() == np.load(upstream.claims(2)).tobytes()
    assert len(inputs.load(str(tmp_path / "a"))) == 3
