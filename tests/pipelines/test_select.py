"""Records chosen by a columnar index: the same documents as when their files are read whole and sifted afterwards."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.document import Page
from curation.errors import DataError, InputError, LedgerError, UserError
from curation.ledger import Balance
from curation.records import read_range
from pipelines import inputs, pace, remote, run, sample_faults, select, selection
from pipelines.apply_steps import Account
from pipelines.part_files import PartWriter, StageFiles
from pipelines.read import Reading, check_tiling
from pipelines.sample_warc import Exchange, file_head, members

CRAWL = "CC-MAIN-2024-10"
NAMES = [f"crawl-data/{CRAWL}/segments/1707947473347.{n}/warc/CC-MAIN-2024-0000{n}.warc.gz" for n in range(3)]
INDEX = [f"cc-index/table/cc-main/warc/crawl={CRAWL}/subset=warc/part-0000{n}.c000.gz.parquet" for n in range(2)]
HOSTS = ("a.example.de", "b.example.de", "example.com", "news.org")
LANGUAGES = ("deu", "deu,eng", "eng", "eng,deu", None)
PROSE = (
    b"<html><body><p>" + b"Page %d of many has a sentence, and then it has another one. " * 9 + b"</p></body></html>"
)


def exchanges(file: int) -> list[Exchange]:
    pages = [
        Exchange(kind="page", url=f"http://{HOSTS[n % 4]}/{file}/{n}", body=PROSE.replace(b"%d", b"%d" % n))
        for n in range(12)
    ]
    return pages + sample_faults.extras()[:8] if file == 0 else pages


CONTENT = {
    name: b"".join(
        [file_head(name, n), *(m for p, e in enumerate(exchanges(n), 1) for m in members(e, n, p))]
    )
    for n, name in enumerate(NAMES)
}  # fmt: skip


def read_whole(name: str) -> list[tuple[int, int, Page]]:
    data = CONTENT[name]
    records = read_range(io.BytesIO(data), len(data), 0, len(data), "commoncrawl", name)
    return [(r.start, r.end - r.start, r.value) for r in records if isinstance(r.value, Page)]


def index_rows() -> list[dict[str, Any]]:
    rows = []
    for name in NAMES:
        for offset, length, page in read_whole(name):
            host = urlsplit(page.url).netloc
            rows.append(
                {
                    "url": page.url,
                    "url_host_name": host,
                    "url_host_registered_domain": ".".join(host.split(".")[-2:]),
                    "url_host_tld": host.rpartition(".")[2],
                    "fetch_status": page.status,
                    "content_mime_detected": page.content_type,
                    "content_languages": LANGUAGES[len(rows) % 5],
                    "warc_filename": name,
                    "warc_record_offset": offset,
                    "warc_record_length": length,
                    "unwanted": random.Random(page.url).randbytes(10_000).hex(),  # most of the index
                }
            )
    return sorted(rows, key=lambda row: row["url"])  # an index is in the order of its URLs, not of its files


ROWS = index_rows()
TYPES = {"fetch_status": pa.int16(), "warc_record_offset": pa.int32(), "warc_record_length": pa.int32()}
INDEX_SCHEMA = pa.schema([(name, TYPES.get(name, pa.string())) for name in ROWS[0]])


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, INDEX_SCHEMA), sink, row_group_size=5)
    return sink.getvalue()


@pytest.fixture
def server(crawl_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The crawl, its index in two files, and the listing of these."""
    monkeypatch.setattr(pace.PROCESS_RATE, "_per_second", 1e6)
    half = len(ROWS) // 2
    crawl_server.files.update(CONTENT)
    crawl_server.files.update({INDEX[0]: parquet(ROWS[:half]), INDEX[1]: parquet(ROWS[half:])})
    other = INDEX[0].replace("subset=warc", "subset=crawldiagnostics")
    listing = "".join(f"{path}\n" for path in (other, INDEX[0], INDEX[1]))
    crawl_server.files[f"crawl-data/{CRAWL}/cc-index-table.paths.gz"] = gzip.compress(listing.encode())
    return crawl_server


@pytest.fixture
def local(tmp_path: Path) -> Path:
    for name, content in {**CONTENT, INDEX[0]: parquet(ROWS)}.items():
        path = tmp_path / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "crawl"


def choose(folder: Path, root: object, *options: str) -> str:
    index = ["--index", str(Path(str(root)) / INDEX[0])] if "://" not in str(root) else []
    output = str(folder / "chosen.parquet")
    assert select.main([*index, "--root", str(root), "--output", output, *options]) == 0
    return output


def read_parts(parts: list[inputs.Part], folder: Path) -> tuple[list[Page], dict[str, Balance]]:
    """As a run reads them: with the books, and checked for completeness."""
    pages, spans = [], {}
    sums = {unit: Balance(unit) for unit in ("records", "bytes")}
    for part in parts:
        with PartWriter(StageFiles(str(folder / "out")), part.number) as writer:
            account = Account(Balance("records"), writer)
            with Reading(part, account) as reading:
                found = list(reading.pages())
                account.balance.kept += len(found)
                pages += found
                for balance in (account.balance, *reading.balances()):
                    balance.check(part.file)
                    sums[balance.unit] += balance
            spans[part.number] = reading.span
    check_tiling(parts, spans)
    return pages, sums


def expected(test: Callable[[dict[str, Any]], bool]) -> list[Page]:
    wanted = {(row["warc_filename"], row["warc_record_offset"]) for row in ROWS if test(row)}
    return [page for name in NAMES for offset, _, page in read_whole(name) if (name, offset) in wanted]


CHOICES: dict[str, tuple[list[str], Callable[[dict[str, Any]], bool]]] = {
    "host": (["--host", "a.example.de"], lambda row: row["url_host_name"] == "a.example.de"),
    "domain": (["--domain", "example.de,example.com"], lambda row: "example.de" in row["url"] or ".com" in row["url"]),
    "tld": (["--tld", "de", "--tld", "org"], lambda row: row["url_host_tld"] in ("de", "org")),
    "language": (["--language", "deu"], lambda row: (row["content_languages"] or "").startswith("deu")),
    "mime": (["--mime", "image/png"], lambda row: row["content_mime_detected"] == "image/png"),
    "status": (["--status", "200"], lambda row: row["fetch_status"] == 200),
    "all": (
        ["--tld", "de", "--language", "eng", "--status", "200", "--mime", "text/html"],
        lambda row: row["url_host_tld"] == "de" and (row["content_languages"] or "").startswith("eng"),
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("size", [10**9, 900])
def test_the_same_documents_as_the_whole_files_sifted(local: Path, tmp_path: Path, choice: str, size: int) -> None:
    options, test = CHOICES[choice]
    parts = inputs.cut(inputs.find([choose(tmp_path, local, *options)]), size)
    pages, books = read_parts(parts, tmp_path)
    assert pages == expected(test)
    assert pages
    assert (books["records"].incoming, books["records"].kept) == (len(pages), len(pages))
    lengths = sum(row["warc_record_length"] for row in ROWS if test(row))
    assert (books["bytes"].incoming, books["bytes"].kept) == (lengths, lengths)
    assert size > 1000 or len(pages) == 1 or len(parts) > len({part.file for part in parts})


def test_over_http_only_what_is_chosen_is_fetched(server: Any, tmp_path: Path) -> None:
    chosen = choose(tmp_path, server.url, "--crawl", CRAWL, "--host", "a.example.de")
    assert len(server.ranges) <= 1 + 1 + 2 * 3  # the listing, then the ends and the columns of two files
    found = inputs.find([chosen])
    del server.ranges[:]
    pages, _ = read_parts(inputs.cut(found, 10**9), tmp_path)
    assert pages == expected(CHOICES["host"][1])
    # The records of a file lie within 128 KiB of each other here, so each file is one request.
    assert len(server.ranges) == 3
    asked = [tuple(map(int, asked.removeprefix("bytes=").split("-"))) for asked in server.ranges]
    mine = [row for row in ROWS if CHOICES["host"][1](row)]
    first = {name: [row["warc_record_offset"] for row in mine if row["warc_filename"] == name] for name in NAMES}
    assert [start for start, _ in asked] == [min(first[name]) for name in NAMES]


def test_neighbours_share_a_request_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [selection.Row(offset, 100, "") for offset in (0, 100, 250, 900, 1100)]
    monkeypatch.setattr(selection, "_GAP", 50)
    monkeypatch.setattr(selection, "_FETCH", 10**6)
    assert [[r.offset for r in run] for run in selection._runs(rows)] == [[0, 100, 250], [900], [1100]]
    monkeypatch.setattr(selection, "_GAP", 49)
    assert [[r.offset for r in run] for run in selection._runs(rows)] == [[0, 100], [250], [900], [1100]]
    monkeypatch.setattr(selection, "_FETCH", 199)
    assert [[r.offset for r in run] for run in selection._runs(rows)] == [[0], [100], [250], [900], [1100]]


def test_a_selection_is_sorted_and_has_each_record_once(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Path(choose(tmp_path, local, "--status", "200")).read_bytes()
    monkeypatch.setattr(select, "RUN_ROWS", 7)  # many runs, which must be merged
    twice = Path(choose(tmp_path, local, "--status", "200", "--index", str(local / INDEX[0]))).read_bytes()
    one, two = (pq.read_table(io.BytesIO(data)) for data in (once, twice))
    assert one == two
    places = list(zip(*(one.column(name).to_pylist() for name in selection.PLACE[:2]), strict=True))
    assert places == sorted(set(places))


def test_row_groups_that_cannot_match_are_not_read(server: Any, tmp_path: Path) -> None:
    options, _ = CHOICES["host"]
    full = sum(len(server.files[path]) for path in INDEX)
    read = 0
    original = remote.HttpFile.readinto

    def counting(self: Any, buffer: Any) -> int:
        nonlocal read
        count = original(self, buffer)
        read += count
        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote.HttpFile, "readinto", counting)
        index = [word for path in INDEX for word in ("--index", f"{server.url}/{path}")]
        output = str(tmp_path / "s.parquet")
        assert select.main([*index, *options, "--root", server.url, "--output", output]) == 0
    assert pq.read_table(output).num_rows == len(expected(CHOICES["host"][1]))
    assert 0 < read < full / 2


def broken(local: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    (local / name).write_bytes(change(CONTENT[name]))


def test_what_the_index_has_wrong_fails_and_balances(local: Path, tmp_path: Path) -> None:
    mine = [row for row in ROWS if row["warc_filename"] == NAMES[1]]
    mine.sort(key=lambda row: row["warc_record_offset"])
    changed = [dict(row) for row in mine]
    changed[0]["warc_record_offset"] += 1  # no member begins there
    changed[1]["url"] = "http://elsewhere.example/"
    changed[2]["warc_record_length"] -= 5
    changed[3]["warc_record_length"] += mine[4]["warc_record_offset"] - mine[3]["warc_record_offset"]  # two and more
    changed[-1]["warc_record_length"] = 10**6  # beyond the end of the file
    beyond = {**mine[-1], "warc_record_offset": 10**7}
    (local / INDEX[0]).write_bytes(parquet([*changed, beyond]))
    parts = inputs.cut(inputs.find([choose(tmp_path, local, "--status", "200")]), 10**9)
    pages, books = read_parts(parts, tmp_path)
    records = books["records"]
    assert records.incoming == len(mine) + 1
    assert records.split >= 2
    assert records.failed["read.other_record"] == 1
    assert records.failed["read.truncated"] >= 2
    assert books["bytes"].failed["truncated"] > 900_000
    good = {page.id for page in expected(lambda row: row["warc_filename"] == NAMES[1])}
    assert good - {page.id for page in pages} == {
        f"commoncrawl:{NAMES[1]}#{row['warc_record_offset']}" for row in mine[:3]
    }


def test_a_file_that_is_not_there(server: Any, local: Path, tmp_path: Path) -> None:
    chosen = choose(tmp_path, server.url, "--crawl", CRAWL, "--tld", "de")
    del server.files[NAMES[1]]
    pages, books = read_parts(inputs.cut(inputs.find([chosen]), 10**9), tmp_path)
    lost = expected(lambda row: row["url_host_tld"] == "de" and row["warc_filename"] == NAMES[1])
    assert books["records"].failed == {"read.missing_file": len(lost)}
    assert len(pages) == len(expected(CHOICES["tld"][1])) - len(lost) - len(
        expected(lambda r: r["url_host_tld"] == "org")
    )
    (local / NAMES[1]).unlink()
    with pytest.raises(InputError, match=r"there is no .*0001\.warc\.gz"):
        inputs.find([choose(tmp_path, local, "--tld", "de")])


def test_a_broken_connection_and_refusals_cost_nothing(server: Any, tmp_path: Path) -> None:
    chosen = choose(tmp_path, server.url, "--crawl", CRAWL, "--tld", "de")
    quick = pace.Patience(tries=4, sleep=lambda seconds: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "Patience", lambda: quick)
        server.faults = [server.fault(status=503), server.fault(cut_after=700), server.fault(status=403)]
        pages, _ = read_parts(inputs.cut(inputs.find([chosen]), 10**9), tmp_path)
    assert pages == expected(lambda row: row["url_host_tld"] == "de")


def test_a_row_that_is_not_read_is_noticed(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = inputs.cut(inputs.find([choose(tmp_path, local, "--tld", "de")]), 10**9)
    whole = selection.stored
    monkeypatch.setattr(selection, "stored", lambda path, rows: list(whole(path, rows))[1:])
    with pytest.raises(LedgerError):
        read_parts(parts, tmp_path)
    monkeypatch.undo()
    with pytest.raises(LedgerError, match=r"unread|read to"):
        read_parts([part._replace(number=n, end=part.end - 1) for n, part in enumerate(parts)], tmp_path)


def test_a_run_of_a_selection_and_of_its_files(local: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "few.toml"
    recipe.write_text(
        'format = 1\nname = "few"\n[sources.commoncrawl]\nsteps = [{ extract = "trafilatura" }]\n'
        "[tokenizer]\nvocabulary = 300\n[mixture]\nepochs = { commoncrawl = 1.0 }\n"
    )
    options = ["--recipe", str(recipe), "--until", "documents", "--workers", "1", "--quiet"]
    options += ["--max-failed-fraction", "1"]
    chosen = choose(tmp_path, local, "--tld", "de,com,org")
    assert run.main([*options, "--input", chosen, "--output", str(tmp_path / "chosen")]) == 0
    assert run.main([*options, "--input", str(local / "crawl-data"), "--output", str(tmp_path / "whole")]) == 0
    documents = {
        name: {row["id"]: row for row in pq.read_table(tmp_path / name / "commoncrawl/documents/kept").to_pylist()}
        for name in ("chosen", "whole")
    }
    ids = {page.id for page in expected(lambda row: row["url_host_tld"] in ("de", "com", "org"))}
    assert documents["chosen"]
    assert documents["chosen"] == {id: row for id, row in documents["whole"].items() if id in ids}
    manifest = json.loads((tmp_path / "chosen/commoncrawl/documents/manifest.json").read_text())
    assert manifest["balances"][0]["in"] == len(ids)
    assert {part.selection for part in inputs.load(str(tmp_path / "chosen"))} == {chosen}


def test_another_selection_in_the_same_output_is_refused(local: Path, tmp_path: Path) -> None:
    files = inputs.find([choose(tmp_path, local, "--tld", "de")])
    frozen = inputs.freeze(str(tmp_path / "run"), files, 10**9)
    assert inputs.freeze(str(tmp_path / "run"), files, 10**9) == frozen
    moved = tmp_path / "elsewhere.parquet"
    (tmp_path / "chosen.parquet").rename(moved)
    assert {p.selection for p in inputs.freeze(str(tmp_path / "run"), inputs.find([str(moved)]), 1)} == {str(moved)}
    with pytest.raises(InputError, match="begun with other input files"):
        inputs.freeze(str(tmp_path / "run"), inputs.find([choose(tmp_path, local, "--host", "a.example.de")]), 10**9)


def test_a_selection_beside_its_own_files_is_refused(local: Path, tmp_path: Path) -> None:
    chosen = choose(tmp_path, local, "--tld", "de")
    with pytest.raises(InputError, match="is in"):
        inputs.find([str(local / NAMES[0]), chosen])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to choose"),
        (["--status", "ok"], "--status is a number"),
        (["--language", "de"], "three letters"),
        (["--tld", "nowhere"], "no record of the index fulfils"),
        (["--tld", "de", "--output", "x.txt"], "ends in .parquet"),
        (["--tld", "de", "--index", "/nowhere/*.parquet"], "no input file matches"),
        (["--tld", "de", "--index", __file__], "is not a Parquet index"),
        (["--tld", "de", "--crawl", "../x"], "not the name of a crawl"),
    ],
)
def test_mistakes_are_one_line(local: Path, tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        choose(tmp_path, local, *options)
    assert "\n" not in str(caught.value)


def test_an_old_index_without_the_column(local: Path, tmp_path: Path) -> None:
    table = pq.read_table(local / INDEX[0], partitioning=None).drop_columns(["content_languages"])
    pq.write_table(table, local / INDEX[0])
    assert choose(tmp_path, local, "--tld", "de")
    with pytest.raises(InputError, match="no column content_languages"):
        choose(tmp_path, local, "--language", "deu")


def written(folder: Path, rows: list[tuple[str, int, int]], root: str = "", urls: Sequence[str] = ()) -> str:
    columns = [pa.array([row[i] for row in rows], selection.SCHEMA.field(i).type) for i in range(3)]
    table = pa.Table.from_arrays([*columns, pa.array(urls or [""] * len(rows))], schema=selection.SCHEMA)
    path = folder / "made.parquet"
    pq.write_table(table.replace_schema_metadata({selection.ROOT: root.encode()}), path, row_group_size=2)
    return str(path)


@pytest.mark.parametrize(
    "rows",
    [
        [("b", 1, 1), ("a", 1, 1)],
        [("a", 5, 1), ("a", 1, 1)],
        [("a", 5, 1), ("a", 5, 1)],
        [("a", 0, 9), ("a", 10, 9), ("a", 10, 9)],  # over the edge of a row group
        [("a", 0, 0)],
        [("../a", 0, 5)],
        [("/a", 0, 5)],
        [("a", -1, 5)],
        [],
    ],
)
def test_what_is_no_selection_is_refused(tmp_path: Path, rows: list[Any]) -> None:
    with pytest.raises(InputError):
        list(selection.files(written(tmp_path, rows, "https://example.org/crawl")))
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(InputError, match="is not a selection"):
        inputs.find([str(other)])


def test_rows_are_found_across_row_groups(tmp_path: Path) -> None:
    rows = [("a", n * 10, 5) for n in range(7)] + [("b", n * 10, 5) for n in range(4)]
    path = written(tmp_path, rows, "https://example.org/crawl")
    found = list(selection.files(path))
    assert [(f.file, f.path, f.first_row, f.rows, f.bytes) for f in found] == [
        ("a", "https://example.org/crawl/a", 0, 7, 35),
        ("b", "https://example.org/crawl/b", 7, 4, 20),
    ]
    assert found[0].identity != found[1].identity
    for first in range(11):
        for end in range(first, 12):
            assert [row.offset for row in selection.rows(path, first, end)] == [row[1] for row in rows[first:end]]


def test_the_identity_of_a_file_is_of_its_rows_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identities(rows: list[tuple[str, int, int]], urls: list[str], root: object) -> dict[str, str]:
        path = written(tmp_path, rows, str(root), urls)
        return {chosen.file: chosen.identity for chosen in selection.files(path)}

    rows, urls = [("a", n * 10, 5) for n in range(7)] + [("b", 0, 5)], [f"http://{n}.org" for n in range(8)]
    root = "https://example.org/crawl"
    first = identities(rows, urls, root)
    for changed in ([("a", 10 * n + n % 2, 5) for n in range(7)], [("a", n * 10, 4) for n in range(7)]):
        other = identities([*changed, rows[-1]], urls, root)
        assert (other["a"] == first["a"], other["b"] == first["b"]) == (False, True)
    other = identities(rows, [*urls[:5], "http://x.org", *urls[6:]], root)
    assert (other["a"] == first["a"], other["b"] == first["b"]) == (False, True)
    monkeypatch.setattr(selection, "ROWS", 3)  # rows before a file, and what is held at a time, are nothing to it
    assert identities(rows, urls, root) == first
    assert identities(rows[1:], urls[1:], root)["b"] == first["b"]
    for name in "ab":
        (tmp_path / name).write_bytes(b"0123456789")
    here = identities(rows, urls, tmp_path)
    (tmp_path / "b").write_bytes(b"01234")
    cut = identities(rows, urls, tmp_path)
    assert (cut["a"] == here["a"], cut["b"] == here["b"]) == (True, False)


def test_a_long_record_is_not_fetched(tmp_path: Path) -> None:
    row = selection.Row(0, selection.LONGEST + 1, "")
    (tmp_path / "f").write_bytes(b"x")
    assert list(selection.stored(str(tmp_path / "f"), [row])) == [(row, b"")]
    assert DataError("too_large").reason == "too_large"
