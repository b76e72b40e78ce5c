"""Which pages of a crawl does Wikipedia cite? Stages over dumps and parts of a crawl; only hashes are shuffled.

    dump ─► citations: sorted hashes ─┐
                                      ├─► bucket ─► GroupByKey ─► both? ─► part ─► GroupByKey ─► join: cited/part-*.npy
    kept part ─► pages: PAGE rows ────┘

A hash is 8 bytes and a dump sends each once, so all of English Wikipedia's forty million citations are 300 MB. The join
runs in passes over the hash space, as many as it takes for one pass to fit the memory it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.document import Document, Page, document_key
from curation.errors import DataError
from curation.hashing import hash64, splitmix64
from curation.ledger import Balance
from curation.sources.citations import links, page_keys
from curation.sources.wikipedia import count_pages, read_dump
from curation.url import host, registered_domain
from models.language_id import LanguageId
from pipelines import runner, storage
from pipelines.curate import loaded
from pipelines.hash_passes import MIN_BUCKETS, payloads, plan, receipts, verdict
from pipelines.inputs import Part
from pipelines.part_files import ROWS, StageFiles, count_documents, read_array, write_array
from pipelines.progress import Progress
from pipelines.stages import Result, Run, complete, finished, part_name, rows_made, take_over

# One row a document, in the order of its part; the row number is its ordinal.
PAGE = np.dtype(
    [
        ("hash", "<u8"),  # of the canonical URL
        ("order", "<u8"),  # a hash of the document's id: what comes first in a sample, whatever the parts
        ("site", "<u8"),  # a hash of the registered domain
        ("characters", "<u4"),
        ("language", "S8"),
        ("excluded", "u1"),  # place in EXCLUDED
    ]
)
EXCLUDED = ("", "no_address", "too_short", "other_language")
FLUSH = 1 << 20  # hashes of a dump that are held before they are sorted
_DUMP = 0xFFFFFFFF  # stands for a part's number where a payload comes from a dump


@dataclass(frozen=True, slots=True)
class ReadDump:
    """A dump to the sorted, distinct hashes of what its articles cite. Memory holds them, and a million more."""

    files: StageFiles
    key: str
    dumps: tuple[Part, ...]

    def __call__(self, number: int) -> None:
        dump, balance, notes = self.dumps[number], Balance("pages"), Counter[str]()
        with dump.open() as again:
            balance.incoming = count_pages(again)
        found, fresh, held = np.empty(0, dtype=np.uint64), list[np.ndarray](), 0
        with dump.open() as stream:
            for _, page in read_dump(stream, dump.source, dump.file):
                if isinstance(page, DataError):
                    balance.failed[page.reason] += 1
                elif not isinstance(page, Page):
                    balance.skipped[page.type] += 1
                else:
                    balance.kept += 1
                    keys = page_keys(links(page.body.decode("utf-8")))
                    notes["links"] += len(keys)
                    held += len(keys)
                    if len(keys):
                        fresh.append(keys)
                if held >= FLUSH:
                    found, fresh, held = np.unique(np.concatenate([found, *fresh])), [], 0
        found = np.unique(np.concatenate([found, *fresh]))
        notes["cited"] = len(found)
        commit(self.files, self.key, number, [balance], found, notes)


@dataclass(frozen=True, slots=True)
class ReadPages:
    """A kept part to its PAGE rows. `language_id` is its artifact where the documents have no language yet."""

    files: StageFiles
    key: str
    crawl: StageFiles
    shortest: int
    languages: tuple[str, ...] | None
    language_id: tuple[tuple[str, str], ...]
    models: str

    def __call__(self, number: int) -> None:
        pieces = [np.empty(0, dtype=PAGE)]
        with storage.open_input(self.crawl.kept(number)) as stream:
            columns = ["id", "url", "language", "text"]
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS, columns=columns):
                pieces.append(self._rows(batch))
        rows = np.concatenate(pieces)
        balance = Balance("documents", incoming=count_documents(self.crawl, number), kept=len(rows))
        sent = len(np.unique(rows["hash"][rows["excluded"] == 0]))
        commit(self.files, self.key, number, [balance], rows, {"hashes": sent})

    def _rows(self, batch: pa.RecordBatch) -> np.ndarray:
        urls = batch["url"].to_pylist()
        rows = np.zeros(len(urls), dtype=PAGE)
        rows["hash"] = page_keys(urls)
        keys = b"".join(document_key(id)[:8] for id in batch["id"].to_pylist())
        rows["order"] = splitmix64(np.frombuffer(keys, dtype="<u8"))
        rows["site"] = [_site_key(url) for url in urls]
        rows["characters"] = pc.utf8_length(batch["text"]).to_numpy(zero_copy_only=False)
        languages = self._identified(batch) if self.language_id else batch["language"].to_pylist()
        rows["language"] = [(language or "").encode()[:8] for language in languages]
        if self.languages is not None:
            asked = np.array([language.encode() for language in self.languages], dtype="S8")
            rows["excluded"][~np.isin(rows["language"], asked)] = EXCLUDED.index("other_language")
        rows["excluded"][rows["characters"] < self.shortest] = EXCLUDED.index("too_short")
        rows["excluded"][[not host(url) for url in urls]] = EXCLUDED.index("no_address")
        return rows

    def _identified(self, batch: pa.RecordBatch) -> list[str]:
        identify = loaded(LanguageId(), self.language_id, self.models)
        texts = batch["text"].to_pylist()
        documents = identify([Document(id="", url="", date="", digest="", text=text) for text in texts])
        return [document.language for document in documents]


def _site_key(url: str) -> int:
    """As `fold_of` hashes a site, so that both put it into the same fold."""
    return hash64(registered_domain(url))


def join(run: Run, key: str, dumps: int, parts: Sequence[int], sizes: tuple[int, int]) -> Result:
    """Find out which hashes of each part are cited. `sizes`: hashes of the dumps, and of the pages, in all."""
    if done := finished(run, "join", key):
        return done
    take_over(run, "join", key)
    passes, buckets = plan(run, "join", sum(sizes), 8)
    total = Balance("hashes", incoming=sizes[1])
    with Progress(run, "join", total=len(parts) * passes):
        for turn in range(passes):
            names = [f"{part_name(number)}.{turn:04d}" for number in parts]
            one_pass = _pass(run, key, dumps, parts, turn, passes, buckets)
            light = passes * buckets <= MIN_BUCKETS
            rows = rows_made(run, "join", names, key, f"join-{turn}", one_pass, light)
            total.kept += sum(row["cited"] for row in rows.values())
            total.skipped["not_cited"] += sum(row["received"] - row["cited"] for row in rows.values())
    return complete(
        run, "join", Result("join", key, len(parts), {"hashes": total}, notes={"passes": passes, "buckets": buckets})
    )


def _pass(
    run: Run, key: str, dumps: int, parts: Sequence[int], turn: int, passes: int, buckets: int
) -> Callable[[Sequence[str]], runner.Build]:
    return lambda missing: lambda pipeline: build(pipeline, run, key, dumps, parts, turn, passes, buckets)


def build(
    pipeline: beam.Pipeline, run: Run, key: str, dumps: int, parts: Sequence[int], turn: int, passes: int, buckets: int
) -> None:
    """One pass over the hash space: from the hashes of both sides to the cited hashes of each part."""
    sides = [
        pipeline
        | f"every {name}" >> beam.Create(list(numbers))
        | f"spread {name}" >> beam.Reshuffle()
        | f"send {name}"
        >> beam.FlatMap(
            SendHashes(StageFiles(storage.join(run.output, name)), name, turn, passes, buckets)
        ).with_output_types(tuple[int, bytes])
        for name, numbers in (("citations", range(dumps)), ("pages", parts))
    ]
    _ = (
        sides
        | beam.Flatten()
        | "by bucket" >> beam.GroupByKey()
        | "match" >> beam.FlatMap(match).with_output_types(tuple[int, bytes])
        | "by part" >> beam.GroupByKey()
        | "write" >> beam.Map(WriteCited(StageFiles(storage.join(run.output, "join")), key, turn))
    )


@dataclass(frozen=True, slots=True)
class SendHashes:
    """The distinct hashes of a dump or a part in this pass, one payload a bucket: number (uint32), then uint64."""

    files: StageFiles
    kind: str
    turn: int
    passes: int
    buckets: int

    def __call__(self, number: int) -> Iterable[tuple[int, bytes]]:
        hashes = read_array(self.files.file(self.kind, number, ".npy"))
        if self.kind == "pages":
            hashes = np.unique(hashes["hash"][hashes["excluded"] == 0])
        head = np.uint32(number if self.kind == "pages" else _DUMP).tobytes()
        return payloads(head, hashes, hashes, self.turn, self.passes, self.buckets)


def match(keyed: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
    """For each part in the bucket: how many hashes were received (uint64), then those that a dump cites."""
    cited, mine = [np.empty(0, dtype="<u8")], []
    for payload in keyed[1]:
        number, hashes = int.from_bytes(payload[:4], "little"), np.frombuffer(payload, "<u8", offset=4)
        if number == _DUMP:
            cited.append(hashes)
        else:
            mine.append((number, hashes))
    known = np.unique(np.concatenate(cited))
    for number, hashes in mine:
        yield number, verdict(len(hashes), hashes[np.isin(hashes, known)])


@dataclass(frozen=True, slots=True)
class WriteCited:
    """Writes and commits the cited hashes of one part in one pass, sorted."""

    files: StageFiles
    key: str
    turn: int

    def __call__(self, keyed: tuple[int, Iterable[bytes]]) -> int:
        number = keyed[0]
        received, cited = receipts(keyed[1])
        write_array(self.files.file("cited", number, f".{self.turn:04d}.npy"), cited)
        row = {"key": self.key, "part": part_name(number), "received": received, "cited": len(cited)}
        storage.write_json(self.files.file("ledger", number, f".{self.turn:04d}.json"), row)
        return number


def commit(
    files: StageFiles, key: str, number: int, balances: Sequence[Balance], array: np.ndarray, notes: dict[str, int]
) -> None:
    kind = Path(files.root).name
    for balance in balances:
        balance.check(f"{kind}/{part_name(number)}")
    write_array(files.file(kind, number, ".npy"), array)
    storage.write_json(files.ledger(number), ledger_row(key, number, balances, notes))


def ledger_row(key: str, number: int, balances: Sequence[Balance], notes: dict[str, int]) -> dict[str, Any]:
    accounts = [balance.to_json() for balance in balances]
    return {"key": key, "part": part_name(number), "balances": accounts, "notes": dict(notes)}
