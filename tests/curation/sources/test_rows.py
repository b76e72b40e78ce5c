from __future__ import annotations

import io
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import DataError
from curation.records import Skip
from curation.sources import rows
from tests.curation.archives import PACKERS, given, gz

LINES = [{"text": f"row {number} é", "other": number} for number in range(100)]


of = partial(given, "c4", "rows.json")


def read(data: bytes, *columns: str) -> list[tuple[str, object]]:
    """The rows, errors by their reasons; and the count must be theirs."""
    found = [(at, row.reason if isinstance(row, DataError) else row) for at, row in rows.rows(of(data), columns)]
    assert rows.count(of(data)) == len(found)
    assert [at for at, _ in found] == [str(number) for number in range(len(found))]
    return found  # type: ignore[return-value]


def values(data: bytes, *columns: str) -> list[object]:
    return [row for _, row in read(data, *columns)]


def jsonl(table: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table).encode()


def parquet(table: dict[str, object], **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_lines_however_they_are_packed(packer: Callable[[bytes], bytes]) -> None:
    assert values(packer(jsonl(LINES)), "text") == [{"text": row["text"]} for row in LINES]


def test_several_members_and_no_last_line_end() -> None:
    packed = gz(b'{"a": 1}\n{"a"') + gz(b': 2}\n{"a": 3}')
    assert values(packed, "a") == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"", Skip("blank_line")),
        (b" \t\r", Skip("blank_line")),
        (b'{"a": 1}\r', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"b": 1}', {}),
        (b'{"a": 1', "malformed_json"),
        (b"[1]", "malformed_json"),
        (b"null", "malformed_json"),
        (b'{"a": "\xff"}', "bad_utf8"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "malformed_json"),
    ],
)
def test_a_bad_line_costs_itself(line: bytes, row: object) -> None:
    assert values(b'{"a": "x"}\n' + line + b'\n{"a": "y"}\n', "a") == [{"a": "x"}, row, {"a": "y"}]


def test_a_long_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 1000)
    fits = b'{"a": "' + b"x" * 991 + b'"}'
    assert len(fits) == 1000
    longer = fits.replace(b"x", b"xx", 1)
    assert values(fits + b"\n" + longer + b"\n" + longer + b'\n{"a": 1}\n', "a") == [
        {"a": "x" * 991},
        "too_large",
        "too_large",
        {"a": 1},
    ]
    assert values(longer, "a") == ["too_large"]


def test_a_line_that_is_much_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 1 << 20)
    data = b'{"a": 1}\n' + b" " * (24 << 20) + b'\n{"a": 2}\n'
    tracemalloc.start()
    found = list(rows.rows(of(data), ("a",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [str(row) if isinstance(row, DataError) else row for _, row in found] == [
        {"a": 1},
        f"too_large: a line of {24 << 20} bytes, more than {1 << 20}",
        {"a": 2},
    ]
    assert peak < 6 << 20


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_VALUES", 100)
    many = b'{"a": [' + b"0," * 98 + b"0]}"
    text = b'{"a": "' + b'[,{\\",' * 1000 + b'"}'
    assert values(b"\n".join([many, many.replace(b"[0", b"[0,0"), text]), "a") == [
        {"a": [0] * 99},
        "too_many_values",
        {"a": '[,{",' * 1000},
    ]


def test_a_file_that_swells_too_much() -> None:
    assert values(gz(b'{"a": 1}\n' + b" " * (24 << 20)), "a") == [{"a": 1}, "bomb"]


def test_nothing_at_all() -> None:
    assert values(b"") == ["empty_file"]
    assert values(gz(b"")) == ["empty_file"]
    assert values(b"\n") == [Skip("blank_line")]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_breaks_off(suffix: str, seed: int) -> None:
    noise = random.Random(seed)
    table: list[dict[str, object]] = [{"text": str(noise.random()) * 20} for _ in range(3000)]
    packed = PACKERS[suffix](jsonl(table))
    found = values(packed[: noise.randrange(20, len(packed))], "text")
    assert found[-1] == "truncated"
    assert found[:-1] == table[: len(found) - 1]


def test_a_file_that_breaks_off_between_two_lines() -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(b'{"a": 1}\n') + packer.flush(zlib.Z_SYNC_FLUSH)
    assert values(data, "a") == [{"a": 1}, "truncated"]


def test_parquet() -> None:
    table = {"text": [f"row {n}" for n in range(1000)], "n": list(range(1000))}
    data = parquet(table, row_group_size=300)
    assert values(data, "text") == [{"text": f"row {n}"} for n in range(1000)]
    assert values(data, "n", "missing") == [{"n": n} for n in range(1000)]


def test_parquet_values() -> None:
    when = datetime(2019, 4, 25, 12, 57, 54, tzinfo=UTC)
    data = parquet({"at": [when], "none": pa.array([None], pa.string()), "bytes": [b"\xff"], "list": [["a"]]})
    assert values(data, "at", "none", "bytes", "list") == [{"at": when, "none": None, "bytes": b"\xff", "list": ["a"]}]


def test_parquet_with_a_string_that_is_no_utf8() -> None:
    broken = pa.array([b"good", b"\xff\xfe"], pa.binary()).view(pa.string())
    assert values(parquet({"text": broken}), "text") == [{"text": "good"}, "bad_utf8"]


def test_parquet_that_is_none() -> None:
    assert values(b"PAR1 this is not one PAR1") == ["damaged_parquet"]
    assert values(parquet({"a": ["x"] * 100})[:-9], "a") == ["damaged_parquet"]
    assert values(parquet({"a": pa.array([], pa.string())}), "a") == ["empty_file"]


def test_damaged_parquet_loses_one_group() -> None:
    table = {"text": [f"{n} {random.Random(n).random()}" for n in range(900)]}
    data = bytearray(parquet(table, row_group_size=300, use_dictionary=False, compression="snappy"))
    column = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    at = column.data_page_offset
    data[at : at + column.total_compressed_size] = b"\xee" * column.total_compressed_size
    found = values(bytes(data), "text")
    assert len(found) == 900
    assert set(map(str, found[300:600])) == {"damaged_parquet"}
    assert [row["text"] for row in found[:300] + found[600:]] == table["text"][:300] + table["text"][600:]  # type: ignore[index]


@pytest.mark.parametrize(
    ("file", "is_one"),
    [
        ("c4-train.00000-of-01024.json.gz", True),
        ("a/b.JSONL", True),
        ("x.parquet", True),
        ("x.ndjson.zst", True),
        ("x.json.bz2", True),
        ("repo.tar.gz", False),
        ("repo.zip", False),
        ("x.jsonx", False),
    ],
)
def test_names_of_tables(file: str, is_one: bool) -> None:
    assert rows.is_table(file) is is_one


def test_half_a_character() -> None:
    line = rb'{"a": "x\ud800y", "b": ["\udfff", {"\ud900": ["\uDABC"]}], "c": "\ud83d\ude00", "d": "\\\\ud800"}'
    row = {"a": "x\ufffdy", "b": ["\ufffd", {"\ufffd": ["\ufffd"]}], "c": "\U0001f600", "d": "\\\\ud800"}
    assert values(line, "a", "b", "c", "d") == [row]


def test_half_a_character_deep_inside() -> None:
    for depth in (100, 400, 900, 5000, 50_000):
        (row,) = values(b'{"a": ' + b"[" * depth + rb'"\ud800"' + b"]" * depth + b"}", "a")
        assert row == "malformed_json" or "\\ud800" not in repr(row)
        assert depth > 100 or row != "malformed_json"


def test_parquet_with_half_a_character() -> None:
    broken = pa.array([b"good", b"\xed\xa0\x80"], pa.binary()).view(pa.string())
    lists = pa.ListArray.from_arrays([0, 1, 2], broken)
    assert values(parquet({"text": broken}), "text") == [{"text": "good"}, "bad_utf8"]
    assert values(parquet({"text": lists}), "text") == [{"text": ["good"]}, "bad_utf8"]
