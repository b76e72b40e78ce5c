"""The files of one stage, by part, and how a part is committed.

STAGE/kept/part-0000042.parquet     documents that go on
STAGE/dropped/part-0000042.parquet  documents that a rule dropped: rule, measured, limit, scores; no text
STAGE/failed/part-0000042.parquet   dead letters: what could not be processed, and why
STAGE/claims/part-0000042.npy       hashes for the deduplication that follows
STAGE/ledger/part-0000042.json      the account, written last: with the stage's key in it, it commits the part
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.document import NUMERIC_FIELDS, SCORE_FIELDS, Document, Drop
from curation.errors import DataError, LedgerError
from pipelines import storage

_SCORES = [(name, pa.float64() if name in NUMERIC_FIELDS else pa.string()) for name in SCORE_FIELDS]
_ORIGIN = [("id", pa.string()), ("url", pa.string()), ("date", pa.string()), ("digest", pa.string())]
KEPT = pa.schema([*_ORIGIN, *_SCORES, ("text", pa.string())])
DROPPED = pa.schema(
    [*_ORIGIN, *_SCORES, ("characters", pa.int64())]
    + [(name, pa.string()) for name in ("step", "rule", "measured", "limit")]
)
FAILED = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)

ROWS = 512  # documents a Parquet row group: fixed, so that the bytes of a part depend on its documents alone
MESSAGE = 300  # characters of a dead letter's message


@dataclass(frozen=True, slots=True)
class StageFiles:
    """Paths of a stage's files under `root`, which is OUTPUT/SOURCE/STAGE."""

    root: str

    def file(self, kind: str, number: int, suffix: str) -> str:
        return storage.join(self.root, kind, f"part-{number:07d}{suffix}")

    def kept(self, number: int) -> str:
        return self.file("kept", number, ".parquet")

    def claims(self, number: int) -> str:
        return self.file("claims", number, ".npy")

    def ledger(self, number: int) -> str:
        return self.file("ledger", number, ".json")

    def committed(self, number: int, key: str) -> dict[str, Any] | None:
        """The part's ledger row, if the part is there and was made under this key."""
        path = self.ledger(number)
        if not storage.exists(path):
            return None
        row: dict[str, Any] = storage.read_json(path)
        return row if row["key"] == key else None


def read_documents(path: str) -> Iterator[Document]:
    """Documents of a kept part, in order, a row group in memory at a time."""
    with storage.open_input(path) as stream:
        file = pq.ParquetFile(stream)
        for batch in file.iter_batches(batch_size=ROWS):
            for row in batch.to_pylist():
                yield Document(**row)


def read_texts(path: str) -> Iterator[str]:
    """Texts of a kept part, in order."""
    with storage.open_input(path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS, columns=["text"]):
            yield from batch.column(0).to_pylist()


def count_documents(files: StageFiles, number: int) -> int:
    """How many documents a kept part holds, by its own footer. Raises LedgerError if its account says otherwise."""
    with storage.open_input(files.kept(number)) as stream:
        count = int(pq.ParquetFile(stream).metadata.num_rows)
    kept = storage.read_json(files.ledger(number))["balances"][0]["kept"]
    if kept != count:
        raise LedgerError(f"{files.kept(number)} holds {count} documents, and its account says {kept}")
    return count


def dropped_row(document: Document, step: str, drop: Drop) -> dict[str, Any]:
    """A row of DROPPED."""
    row = {name: getattr(document, name) for name, _ in _ORIGIN + _SCORES}
    verdict = {"rule": drop.rule, "measured": str(drop.measured), "limit": str(drop.limit)}
    return {**row, "characters": len(document.text), "step": step, **verdict}


def read_array(path: str) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    return array


def write_array(path: str, array: np.ndarray) -> None:
    """Write an array and publish it whole."""
    with storage.scratch(path) as folder:
        np.save(folder / "array.npy", array, allow_pickle=False)
        storage.publish(folder / "array.npy", path)


class PartWriter(AbstractContextManager["PartWriter"]):
    """Streams a part to temporary files and publishes them together. Leaving without `commit` leaves nothing."""

    def __init__(self, files: StageFiles, number: int) -> None:
        self._files = files
        self._number = number
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(storage.scratch(files.ledger(number)))
        self._tables = {
            name: _TableWriter(self._folder / f"{name}.parquet", schema)
            for name, schema in (("kept", KEPT), ("dropped", DROPPED), ("failed", FAILED))
        }

    def keep(self, document: Document) -> None:
        self._tables["kept"].add({name: getattr(document, name) for name in KEPT.names})

    def drop(self, document: Document, step: str, drop: Drop) -> None:
        self._tables["dropped"].add(dropped_row(document, step, drop))

    def fail(self, id: str, url: str, step: str, error: DataError) -> None:
        row = {"id": id, "url": url, "step": step, "reason": error.reason, "message": error.message[:MESSAGE]}
        self._tables["failed"].add(row)

    def commit(self, row: dict[str, Any], claims: np.ndarray | None) -> None:
        for name, table in self._tables.items():
            table.close()
            storage.publish(table.path, self._files.file(name, self._number, ".parquet"))
        if claims is not None:
            path = self._folder / "claims.npy"
            np.save(path, claims, allow_pickle=False)
            storage.publish(path, self._files.claims(self._number))
        storage.write_json(self._files.ledger(self._number), row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for table in self._tables.values():
            table.close()
        self._stack.close()


class _TableWriter:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._open = True

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def close(self) -> None:
        if self._open:
            self._open = False
            if self._rows:
                self._flush()
            self._writer.close()
