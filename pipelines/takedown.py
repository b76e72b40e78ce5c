"""Take-down: a page leaves a run, its parts and its shards, for good (docs/shards.md).

    list of tombstones ─► text purged from kept parts ─► token parts removed ─► spans of the shards overwritten

Each step may be cut off anywhere: what is done is not done again, and the same command does the rest. Until then a
journal stands in the run and in the dataset, and nobody opens the dataset or goes on with the run without ending it.
Only the files concerned are written. No run may be active on the same output meanwhile.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from curation.errors import InputError, UserError
from curation.heldout import is_heldout
from curation.take_down import CHANGED, blank, descendant, entry_of, sources_without
from curation.token_shard import JOURNAL, MANIFEST, SUFFIXES, Shard
from curation.tombstones import ODD, Tombstones
from pipelines import heldout, storage, tombstones
from pipelines.dataset import of_sources
from pipelines.mix import MIX, row_name
from pipelines.turns import DIRECTORY

FEW = 64  # tombstones that it is worth to look for by their hosts first
Show = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What a take-down did."""

    documents: set[str] = field(default_factory=set)
    texts: int = 0  # purged from kept parts: one for each stage that a document stands in
    parts: int = 0
    token_parts: int = 0  # removed; the run makes them anew
    copies: int = 0  # overwritten in the shards
    tokens: int = 0
    shards: list[str] = field(default_factory=list)
    all_shards: int = 0
    before: str = ""  # dataset ids
    after: str = ""
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    nowhere: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        whole = (
            f"taken down: {len(self.documents)} documents; {self.texts} texts purged from {self.parts} parts, "
            f"{self.token_parts} token parts removed, {self.copies} copies ({self.tokens:,} tokens) overwritten in "
            f"{len(self.shards)} of {self.all_shards} shards"
        )
        lines = [whole]
        if self.after != self.before:
            lines.append(f"dataset {self.after[:16]}, made from {self.before[:16]}")
        if self.token_parts:
            lines.append("the run's own command makes the token parts anew, without what was taken down")
        lines += [
            f"nowhere to be found: {kind} {value}; it is on the list, so no later run of this output keeps it"
            for kind, value in self.nowhere
        ]
        return "\n".join(lines)


def gather(files: Sequence[str]) -> Tombstones:
    """The lists of these files together. Raises InputError for one that is missing or no list."""
    result = Tombstones()
    for file in files:
        if not storage.is_file(file):
            raise InputError(f"no list of tombstones at {file}")
        result |= Tombstones.parse(storage.read_bytes(file), file)
    return result


def prepare(output: str, asked: Tombstones) -> None:
    """Before a run goes on: lay tombstones that it is given, and end a take-down that was cut off."""
    if asked - tombstones.read(output) or unfinished(output):
        print(take_down(output, asked), flush=True)


def unfinished(output: str) -> bool:
    return any(storage.exists(storage.join(root, JOURNAL)) for root in (output, storage.join(output, DIRECTORY)))


def take_down(place: str, asked: Tombstones, show: Show = lambda line: None) -> Report:
    """Take down what `asked` and the list of the run cover. `place` is a run's output or a dataset's folder.

    Raises UserError if there is nothing to take down, InputError if there is neither a run nor a dataset.
    """
    run, dataset = locate(place)
    home = run or dataset
    before = tombstones.read(home)
    listed = before | asked
    if not listed:
        raise UserError(f"nothing to take down from {place}: give --url, --id, --host or --list")
    report = Report()
    if asked - before:
        storage.write_bytes(storage.join(home, tombstones.FILE), listed.to_bytes())
    if run:
        storage.write_json(storage.join(run, JOURNAL), {"tombstones": tombstones.identity(run)})
        _sweep(run)
        _purge_texts(run, listed, report, show)
        _remove_token_parts(run, listed, report)
    if storage.exists(storage.join(dataset, MANIFEST)):
        if storage.exists(storage.join(dataset, JOURNAL)):
            _finish(run, dataset, report, show)
        _overwrite(run, dataset, listed, report, show)
    elif run:
        storage.remove(dataset)  # a mixture that was cut off: it is mixed anew
    if run:
        storage.remove(storage.join(run, JOURNAL))
    new = asked - before
    report.nowhere = [tombstone for tombstone in new if not report.hits[tombstone]]
    return report


def locate(place: str) -> tuple[str, str]:
    """(run, dataset) of a folder that is either; "" for a dataset that has no run around it."""
    place = os.path.abspath(place) if storage.is_local(place) else place.rstrip("/")
    for run in (place, place.rpartition("/")[0]):
        if storage.exists(storage.join(run, "inputs.parquet")) and place in (run, storage.join(run, DIRECTORY)):
            return run, storage.join(run, DIRECTORY)
    path = storage.join(place, MANIFEST)
    if storage.exists(path) and "dataset_id" in storage.read_json(path):
        return "", place
    raise InputError(f"{place} is neither a run's output nor a dataset")


def _sweep(run: str) -> None:
    """Half-written files of runs that were killed: they hold text too."""
    if storage.is_local(run):
        for left in Path(run).rglob(".writing-*"):
            shutil.rmtree(left, ignore_errors=True)
    for path in _match(run, "tokenizer/*/kept/part-*.parquet"):
        storage.remove(path.rpartition("/kept/")[0])  # a sample that no tokenizer was trained on yet


def _match(root: str, pattern: str) -> list[str]:
    if storage.is_local(root):
        return sorted(str(path) for path in Path(root).glob(pattern))
    return sorted(found.path for found in FileSystems.match([storage.join(root, pattern)])[0].metadata_list)


def _covered(path: str, listed: Tombstones, report: Report) -> Iterator[tuple[int, str]]:
    """(row, id) of a table's documents that a tombstone covers."""
    row = 0
    with storage.open_input(path) as stream:
        file = pq.ParquetFile(stream)
        if not {"id", "url"} <= set(file.schema_arrow.names):
            return  # a table of something else, that a report made
        for batch in file.iter_batches(columns=["id", "url"]):
            at = np.arange(len(batch)) if len(listed) > FEW else np.flatnonzero(_may_be_covered(batch, listed))
            maybe = batch.take(pa.array(at))
            for number, id, url in zip(at, maybe["id"].to_pylist(), maybe["url"].to_pylist(), strict=True):
                if found := listed.covering(id, url or ""):
                    report.hits.update(found)
                    yield row + int(number), id
            row += len(batch)


def _may_be_covered(batch: pa.RecordBatch, listed: Tombstones) -> np.ndarray:
    """bool [rows]: false only where no tombstone can cover the document. Far quicker than to look at each address."""
    urls = pc.fill_null(batch["url"], "")
    maybe = pc.or_(
        pc.is_in(batch["id"], pa.array(sorted(listed.ids), pa.string())), pc.match_substring_regex(urls, ODD)
    )
    lowered = pc.ascii_lower(urls)
    for name in sorted(listed.names()):
        maybe = pc.or_(maybe, pc.match_substring(lowered, name))
    return np.asarray(maybe.to_numpy(zero_copy_only=False))


def _purge_texts(run: str, listed: Tombstones, report: Report, show: Show) -> None:
    for path in _match(run, "*/*/kept/part-*.parquet"):
        if not (rows := dict(_covered(path, listed, report))):
            continue
        with storage.open_input(path) as stream, storage.scratch(path) as folder:
            file, purged = pq.ParquetFile(stream), []
            with pq.ParquetWriter(folder / "part", file.schema_arrow, compression="zstd") as writer:
                for start, table in _row_groups(file):
                    texts = table["text"].to_pylist()
                    for row in [row - start for row in rows if start <= row < start + len(texts)]:
                        purged += [texts[row]] * bool(texts[row])
                        texts[row] = ""
                    at = table.schema.get_field_index("text")
                    writer.write_table(table.set_column(at, table.schema.field(at), pa.array(texts, pa.string())))
            if purged:
                _remove_bands(run, path, purged)  # first: the texts tell that it is to be done
                storage.publish(folder / "part", path)
                report.texts += len(purged)
                report.parts += 1
                report.documents.update(rows.values())
                show(f"purged {len(purged)} texts from {path}")


def _remove_bands(run: str, kept: str, texts: Sequence[str]) -> None:
    """If any of these texts of a kept part is held out, the bands that were made of that part and all joined with them.

    The run's own command makes them anew (pipelines/heldout.py).
    """
    stage, _, name = kept.removesuffix(".parquet").rpartition("/kept/")
    source, _, upstream = stage.rpartition("/")
    folder = storage.join(source, heldout.DIRECTORY)
    ledger = storage.join(folder, "ledger", f"{name}.json")
    if not storage.exists(ledger):
        return
    row = storage.read_json(ledger)
    if row["upstream"] == upstream and any(is_heldout(text, row["fraction"]) for text in texts):
        storage.remove(storage.join(run, heldout.DIRECTORY, MANIFEST))
        storage.remove(storage.join(run, heldout.DIRECTORY))
        storage.remove(storage.join(folder, MANIFEST))
        storage.remove(ledger)
        storage.remove(storage.join(folder, "bands", f"{name}.npy"))


def _row_groups(file: pq.ParquetFile) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        yield start, table
        start += len(table)


def _remove_token_parts(run: str, listed: Tombstones, report: Report) -> None:
    """Token parts are made from kept ones in seconds, so the stage itself makes them anew, and its books with them."""
    for path in _match(run, "*/tokens/*/part-*.prov.parquet"):
        if not any(True for _ in _covered(path, listed, report)):
            continue
        side, _, name = path.removesuffix(".prov.parquet").rpartition("/")
        stage = side.rpartition("/")[0]
        storage.remove(storage.join(stage, MANIFEST))
        storage.remove(storage.join(stage, "ledger", f"{name}.json"))
        for suffix in SUFFIXES:  # the provenance last: by it the part is found again
            storage.remove(path.removesuffix(".prov.parquet") + suffix)
        report.token_parts += 1


def _overwrite(run: str, dataset: str, listed: Tombstones, report: Report, show: Show) -> None:
    """Find the spans, write the journal, and do what it says."""
    manifest = storage.read_json(storage.join(dataset, MANIFEST))
    report.before = report.before or manifest["dataset_id"]
    report.after = manifest["dataset_id"]
    report.all_shards = len(manifest["shards"]) + len(manifest["heldout"])
    rows: dict[str, list[int]] = {}
    gone: list[tuple[int, str, int, bool]] = []
    for side in ("shards", "heldout"):
        for entry in manifest[side]:
            name = entry["name"]
            found = dict(_covered(storage.join(dataset, f"{name}.prov.parquet"), listed, report))
            if found:
                rows[name] = sorted(found)
                with _at_hand(dataset, name, (".idx", ".src"), manifest["dtype"]) as shard:
                    lengths, sources = shard.lengths[rows[name]].tolist(), shard.sources[rows[name]].tolist()
                ids = [found[row] for row in rows[name]]
                gone += [(s, id, n, side == "heldout") for s, id, n in zip(sources, ids, lengths, strict=True)]
    if not rows:
        return
    report.documents.update(id for _, id, _, _ in gone)
    journal = {
        "parent": manifest["dataset_id"],
        "ancestors": manifest.get("ancestors", []),
        "rows": rows,
        "sources": sources_without(manifest["sources"], gone),
    }
    storage.write_json(storage.join(dataset, JOURNAL), journal)
    _finish(run, dataset, report, show)


def _finish(run: str, dataset: str, report: Report, show: Show) -> None:
    """Do what the journal of a dataset says, or the rest of it."""
    journal = storage.read_json(storage.join(dataset, JOURNAL))
    manifest = storage.read_json(storage.join(dataset, MANIFEST))
    entries = {}
    for name, rows in journal["rows"].items():
        entries[name], tokens = _blank(dataset, name, rows, manifest)
        report.copies += len(rows)
        report.tokens += tokens
        report.shards.append(name)
        show(f"overwrote {len(rows)} documents in {name}")
    manifest = descendant(manifest, journal["parent"], entries, journal["sources"], journal["ancestors"])
    if "tokens" in manifest:  # an older manifest does not say what follows from its sources
        manifest |= of_sources(manifest["sources"], manifest["mixture"]["epochs"])
    report.before, report.after = report.before or journal["parent"], manifest["dataset_id"]
    notes = {key: manifest[key] for key in ("shards", "heldout", "sources", "ancestors")}
    if run:
        _tell_the_stage(run, entries, notes)
    storage.write_json(storage.join(dataset, MANIFEST), manifest)
    storage.remove(storage.join(dataset, JOURNAL))


def _blank(dataset: str, name: str, rows: Sequence[int], manifest: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Overwrite documents of a shard. Returns its new entry and how many tokens they have.

    It is done on a copy, which takes the place of the shard file by file: a reader that has it mapped is not disturbed.
    """
    path = storage.join(dataset, name)
    with storage.scratch(path) as folder:
        shard = Shard(folder / "shard", manifest["dtype"])
        _copy(dataset, name, SUFFIXES, shard)
        blank(shard, rows, manifest["tokenizer"]["bos"], manifest["tokenizer"]["eos"])
        entry = entry_of(shard, name)
        tokens = int(shard.lengths[rows].sum())
        for suffix in CHANGED:
            storage.publish(shard.file(suffix), path + suffix)
    return entry, tokens


@contextmanager
def _at_hand(dataset: str, name: str, suffixes: Iterable[str], dtype: str) -> Iterator[Shard]:
    """Some files of a shard on local disk."""
    if storage.is_local(dataset):
        yield Shard(Path(dataset) / name, dtype)
        return
    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(Path(folder) / "shard", dtype)
        _copy(dataset, name, suffixes, shard)
        yield shard


def _copy(dataset: str, name: str, suffixes: Iterable[str], shard: Shard) -> None:
    for suffix in suffixes:
        with storage.open_input(storage.join(dataset, name + suffix)) as source:
            with shard.file(suffix).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 22)


def _tell_the_stage(run: str, entries: dict[str, dict[str, Any]], notes: dict[str, Any]) -> None:
    """The mixing stage's own books, from which the same command writes the dataset's manifest again."""
    folder = storage.join(run, MIX)
    for name, entry in entries.items():
        path = storage.join(folder, "ledger", f"{row_name(name)}.json")
        if storage.exists(path):
            storage.write_json(path, {**storage.read_json(path), "entry": entry})
    path = storage.join(folder, MANIFEST)
    if storage.exists(path):
        row = storage.read_json(path)
        storage.write_json(path, {**row, "notes": {**row["notes"], **notes}})
    path = storage.join(run, "ledger.json")
    if storage.exists(path):
        rows = storage.read_json(path)
        storage.write_json(path, [{**r, "notes": {**r["notes"], **notes}} if r["name"] == MIX else r for r in rows])
