"""Kept text with its scores and where it came from, in files for those who train elsewhere.

OUT/train/SOURCE-00000.parquet, OUT/heldout/…   of a run: every document of the mixture once, by the side that it is on
OUT/documents/STAGE-00000.parquet               of one stage: what it kept
OUT/export.json                                 the files, with their documents, bytes and sha256

The order is that of the parts, so the same run gives the same bytes. The folder appears when it is whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curation.document import Document
from curation.errors import InputError, UserError
from curation.token_shard import MANIFEST
from pipelines import finished_run, storage, tombstones
from pipelines.finished_run import Ending
from pipelines.part_files import KEPT, ROWS, StageFiles, read_documents
from pipelines.stages import part_name
from pipelines.takedown import locate
from pipelines.tokens import HELDOUT, TRAIN

FILE_BYTES = 512 << 20
FORMATS = ("jsonl.zst", "jsonl.gz", "parquet")
Show = Callable[[str], None]
_TEXT = KEPT.get_field_index("text")
SCHEMA = KEPT.remove(_TEXT).insert(0, pa.field("source", pa.string())).append(pa.field("text", pa.large_string()))
_MIXTURE = [pa.field("source_epochs", pa.float64()), pa.field("source_share", pa.float64())]


def kept_documents(stage: str, show: Show = lambda line: None) -> Iterator[Document]:
    """The kept documents of a finished stage, in order, without those that were taken down.

    Raises InputError if it is none, or is being made anew. `show` is told if the run has gone on without the stage.
    """
    stage = _absolute(stage)
    path = storage.join(stage, MANIFEST)
    if not storage.exists(path):
        raise InputError(f"{stage} is not a finished stage: it has no manifest.json")
    names = storage.names_in(storage.join(stage, "kept"))
    if not names:
        raise InputError(f"{stage} keeps no documents: it is a deduplication's verdicts, or tokens")
    if warning := stale(stage):
        show(warning)
    key = storage.read_json(path)["key"]
    gone = tombstones.read(_run_of(stage))
    for name in names:
        row = StageFiles(stage).committed(int(name.removeprefix("part-").removesuffix(".parquet")), key)
        if row is None:
            raise InputError(f"{stage} is being made anew; wait for that run to finish")
        for document in read_documents(storage.join(stage, "kept", name)):
            if not gone.covering(document.id, document.url):
                yield document


def stale(stage: str) -> str:
    """What to say of a stage that is not as the run's last finished pass had it; "" if it is, or there was none."""
    run = _run_of(stage)
    books = storage.join(run, "ledger.json")
    if not storage.exists(books):
        return ""
    name = stage.removeprefix(f"{run}/")
    rows = {row["name"]: row["key"] for row in storage.read_json(books)}
    if rows.get(name) == storage.read_json(storage.join(stage, MANIFEST))["key"]:
        return ""
    return f"warning: {name} is not a stage of what {books} accounts for: another recipe or other inputs made it"


def _absolute(place: str) -> str:
    return os.path.abspath(place) if storage.is_local(place) else place.rstrip("/")


def _run_of(stage: str) -> str:
    return stage.rpartition("/")[0].rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Options:
    """What the files are to be."""

    form: str = FORMATS[0]
    file_bytes: int = FILE_BYTES  # of text in one file; a file ends with the document that passes it
    mixture: bool = False  # whether a row says how often its source is seen, and its share of the mixture
    compression: int = 3


def export(place: str, out: Path, options: Options, show: Show = lambda line: None) -> dict[str, Any]:
    """Write the documents of a run's mixture, or of one stage. Returns what is in export.json.

    Raises InputError for what is neither, or is not finished; UserError if there is something in `out`.
    """
    if options.form not in FORMATS:
        raise UserError(f"--format {options.form}: give one of {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: there is something there already")
    place = _absolute(place)
    whole = out.with_name(f"{out.name}.partial")
    shutil.rmtree(whole, ignore_errors=True)  # of an export that was cut off
    whole.mkdir(parents=True)
    with ExitStack() as stack:
        files = _Files(whole, options, stack, show)
        about = _stage(place, files, show) if _is_stage(place) else _run(place, files, options)
    about |= {"format": options.form, "documents": sum(f["documents"] for f in files.made), "files": files.made}
    (whole / "export.json").write_text(json.dumps(about, indent=1) + "\n")
    if out.exists():
        out.rmdir()
    whole.rename(out)
    return about


def _is_stage(place: str) -> bool:
    path = storage.join(place, MANIFEST)
    return storage.exists(path) and "balances" in storage.read_json(path)


def _stage(stage: str, files: _Files, show: Show) -> dict[str, Any]:
    name = stage.rpartition("/")[2]
    for document in kept_documents(stage, show):
        files.add("documents", name, {**_row(document), "source": document.source})
    return {"stage": stage.removeprefix(f"{_run_of(stage)}/"), "stale": bool(stale(stage))}


def _run(place: str, files: _Files, options: Options) -> dict[str, Any]:
    run, dataset = locate(place)
    if not run:
        raise InputError(f"{place} is a dataset without its run; the text is in the run's parts")
    path = storage.join(dataset, MANIFEST)
    if not storage.exists(path):
        raise InputError(f"{run} has no finished dataset: run its command again")
    manifest = storage.read_json(path)
    mixed = {source["name"]: source for source in manifest["sources"]}
    gone = tombstones.read(run)
    for ending in finished_run.endings(run):
        about = {key: mixed.get(ending.source, {}).get(key) for key in ("epochs", "share")}
        more = {f"source_{key}": value for key, value in about.items()} if options.mixture else {}
        for number in ending.parts:
            sides = _sides(run, ending, number)
            for document in read_documents(ending.files(run).kept(number)):
                if document.id in sides and not gone.covering(document.id, document.url):
                    files.add(sides[document.id], ending.source, {**_row(document), "source": ending.source, **more})
    return {"dataset_id": manifest["dataset_id"], "recipe": manifest["recipe"]}


def _sides(run: str, ending: Ending, number: int) -> dict[str, str]:
    """On which side each document of a part is: by its token parts, which hold what is in the mixture."""
    stage = storage.join(run, ending.source, "tokens")
    found: dict[str, str] = {}
    for side in (TRAIN, HELDOUT):
        path = storage.join(stage, side, f"{part_name(number)}.prov.parquet")
        if not storage.exists(path) or not storage.exists(StageFiles(stage).ledger(number)):
            raise InputError(
                f"{stage} lacks {part_name(number)}, as after a take-down: run the run's own command again"
            )
        with storage.open_input(path) as stream:
            found |= dict.fromkeys(pq.read_table(stream, columns=["id"])["id"].to_pylist(), side)
    return found


def _row(document: Document) -> dict[str, Any]:
    return asdict(document)


class _Files:
    """The files being written, one for each side and name at a time."""

    def __init__(self, root: Path, options: Options, stack: ExitStack, show: Show) -> None:
        self._root = root
        self._options = options
        self._stack = stack
        self._show = show
        self._open: dict[tuple[str, str], _File] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self.made: list[dict[str, Any]] = []
        stack.callback(self._end)

    def add(self, side: str, name: str, row: dict[str, Any]) -> None:
        place = (side, name)
        if place not in self._open:
            number = self._numbers.get(place, 0)
            self._numbers[place] = number + 1
            file = f"{side}/{name}-{number:05d}.{self._options.form}"
            self._open[place] = _File(self._root, file, self._options)
        if self._open[place].add(row) >= self._options.file_bytes:
            self._close(place)

    def _close(self, place: tuple[str, str]) -> None:
        self.made.append(self._open.pop(place).close())
        self._show(f"{self.made[-1]['file']}: {self.made[-1]['documents']:,} documents")

    def _end(self) -> None:
        for place in sorted(self._open):
            self._close(place)
        self.made.sort(key=lambda made: str(made["file"]))


class _File:
    def __init__(self, root: Path, name: str, options: Options) -> None:
        self._name = name
        self._path = root / name
        self._path.parent.mkdir(exist_ok=True)
        self._documents = self._bytes = 0
        self._schema = SCHEMA
        for field in _MIXTURE if options.mixture else ():
            self._schema = self._schema.insert(len(self._schema) - 1, field)
        self._rows: list[dict[str, Any]] = []
        self._parquet: pq.ParquetWriter | None = None
        self._lines: Any = None
        if options.form == "parquet":
            self._parquet = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        else:
            self._raw = self._path.open("wb")
            if options.form == "jsonl.zst":
                self._lines = zstandard.ZstdCompressor(options.compression).stream_writer(self._raw, closefd=False)
            else:  # neither a name nor a time stands in the header, so equal text is equal bytes
                self._lines = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)

    def add(self, row: dict[str, Any]) -> int:
        """Returns how many bytes of text the file has."""
        self._documents += 1
        self._bytes += len(row["text"].encode())
        if self._lines:
            values = {name: row.get(name) for name in self._schema.names}
            self._lines.write((json.dumps(values, ensure_ascii=False) + "\n").encode())
        else:
            self._rows.append(row)
            if len(self._rows) == ROWS:
                self._flush()
        return self._bytes

    def _flush(self) -> None:
        if self._parquet and self._rows:
            self._parquet.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []

    def close(self) -> dict[str, Any]:
        if self._parquet:
            self._flush()
            self._parquet.close()
        elif self._lines:
            self._lines.close()
            self._raw.close()
        with self._path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"file": self._name, "documents": self._documents, "text_bytes": self._bytes, "sha256": digest}
