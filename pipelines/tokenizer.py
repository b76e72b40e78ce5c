"""The tokenizer of a run: the one given, or one trained on a sample of the kept text in the mixture's shares.

Each part puts aside its documents with small hashes, and says how much text it has in all; the driver reads only what
was put aside. A source's sample is the beginning of its documents in the order of their hashes, as long as its share
asks for, so it does not depend on how the source is cut into parts. Text is never shuffled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.heldout import is_heldout
from curation.ledger import Balance
from curation.mixture import prefix_order
from curation.recipe import Recipe
from models.train_tokenizer import train_tokenizer
from pipelines import storage
from pipelines.code_identity import code_identity
from pipelines.inputs import Part
from pipelines.part_files import ROWS, StageFiles, count_documents, read_documents
from pipelines.stages import Run, over_parts, part_name
from pipelines.tokens import file_hash

DIRECTORY = "tokenizer"
WHOLE = 1 << 64  # the end of the line that hashes lie on
SPARE = 2  # times the text that is expected to be needed is put aside,
LEAST = 4 << 20  # and of a small source at least so many bytes
FOOTERS = 256  # parts that are looked at to guess how much text a source has
LIGHT_BYTES = 20_000_000  # a source of less is read before a second process has started
CANDIDATES = pa.schema(
    [("order", pa.uint64()), ("key", pa.binary(16)), ("bytes", pa.int64()), ("text", pa.large_string())]
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A source's kept documents: the folder under the run, the key of the stage, the parts."""

    directory: str
    key: str
    parts: tuple[int, ...]


def ensure_tokenizer(run: Run, given: str, recipe: Recipe, kept: Sequence[tuple[Part, str, str]]) -> str:
    """Path of the tokenizer: the one given, or one trained on a sample of the kept documents (part, directory, key)."""
    path = storage.join(run.output, DIRECTORY, "tokenizer.model")
    mark = storage.join(run.output, DIRECTORY, "manifest.json")
    if given:
        storage.remove(mark)
        storage.write_bytes(path, storage.read_bytes(given))
        return path
    sources = by_source(kept)
    shares = [sorted((values or {}).items()) for values in (recipe.mixture.weights, recipe.mixture.epochs)]
    state = (
        "tokenizer 3",
        code_identity("models.train_tokenizer"),
        _code(),
        [(source, where.key) for source, where in sources.items()],
        sorted(asdict(recipe.tokenizer).items()),
        shares,
        recipe.heldout.fraction,
    )
    key = hashlib.sha256(repr(state).encode()).hexdigest()
    if storage.exists(mark) and storage.read_json(mark) == {"key": key, "sha256": file_hash(path)}:
        return path
    storage.remove(mark)
    if run.progress:
        print(f"  tokenizer: training {recipe.tokenizer.vocabulary} pieces on the kept text", flush=True)
    with storage.scratch(path) as folder:
        train_tokenizer(sample(run, recipe, kept), folder / "tokenizer.model", recipe.tokenizer.vocabulary)
        storage.publish(folder / "tokenizer.model", path)
    storage.write_json(mark, {"key": key, "sha256": file_hash(path)})
    for source in sources:  # one more copy of the text, which nothing needs any longer
        storage.remove(storage.join(run.output, DIRECTORY, source))
    return path


def _code() -> list[str]:
    """What decides which documents are put aside, and in which order."""
    return [code_identity(module) for module in ("curation.heldout", "curation.mixture")]


def by_source(kept: Sequence[tuple[Part, str, str]]) -> dict[str, Kept]:
    """From (part, directory, key) of every part of every source. Sources in the order of their names."""
    found: dict[str, Kept] = {}
    for part, directory, key in sorted(kept):
        before = found.get(part.source, Kept(directory, key, ()))
        found[part.source] = Kept(directory, key, (*before.parts, part.number))
    return found


def budgets(recipe: Recipe, text: Mapping[str, int]) -> dict[str, float]:
    """Bytes of each source in the sample, given how many there are: the mixture's shares of `sample_bytes`.

    No more than there is text in the sources that the mixture uses. Shares are of bytes, as there are no tokens yet.
    """
    wanted = {source: passes * text[source] for source, passes in recipe.mixture.passes(text).items()}
    whole = sum(wanted.values())
    there = sum(text[source] for source, size in wanted.items() if size)
    return {source: size / whole * min(recipe.tokenizer.sample_bytes, there) for source, size in wanted.items() if size}


def sample(run: Run, recipe: Recipe, kept: Sequence[tuple[Part, str, str]]) -> Iterator[str]:
    """The texts of the sample, source after source, each in the order of hashes. A short source comes again."""
    sources = by_source(kept)
    guessed = {source: _guess(run, where) for source, where in sources.items()}
    shares = budgets(recipe, guessed)
    limits = {
        source: _limit(max(SPARE * shares[source], LEAST), guessed[source]) for source in sources if source in shares
    }
    while True:
        text = {source: _put_aside(run, recipe, source, sources[source], limit) for source, limit in limits.items()}
        shares = budgets(recipe, text)
        tables = {source: _candidates(run, source, sources[source]) for source in shares}
        short = [
            source
            for source, table in tables.items()
            if limits[source] < WHOLE and (pc.sum(table["bytes"]).as_py() or 0) < min(shares[source], text[source])
        ]
        if not short:
            break
        limits.update({source: min(WHOLE, 4 * limits[source]) for source in short})
    for source, table in tables.items():
        passes, rest = divmod(shares[source], text[source])
        for _ in range(int(passes)):
            yield from _texts(run, source, sources[source], table)
        before = np.cumsum(table["bytes"].to_numpy()) - table["bytes"].to_numpy()
        yield from _texts(run, source, sources[source], table.slice(0, int(np.searchsorted(before, rest))))


def _guess(run: Run, where: Kept) -> int:
    """About how many bytes of text a source has, by the footers of some parts. It steers speed, not the result."""
    files = StageFiles(storage.join(run.output, where.directory))
    seen = where.parts[:: -(-len(where.parts) // FOOTERS)]
    size = 0
    for number in seen:
        with storage.open_input(files.kept(number)) as stream:
            footer = pq.ParquetFile(stream).metadata
        column = footer.schema.names.index("text")
        size += sum(footer.row_group(n).column(column).total_uncompressed_size for n in range(footer.num_row_groups))
    return max(1, size * len(where.parts) // len(seen))


def _limit(wanted: float, there: int) -> int:
    return WHOLE if wanted >= there else int(wanted / there * WHOLE)


def _put_aside(run: Run, recipe: Recipe, source: str, where: Kept, limit: int) -> int:
    """Run the stage over a source's parts. Returns how many bytes of text it has for training."""
    work = PutAside(run.output, source, where.directory, limit, recipe.heldout.fraction, "")
    key = hashlib.sha256(repr(("sample 2", _code(), where.key, work)).encode()).hexdigest()
    work = PutAside(run.output, source, where.directory, limit, recipe.heldout.fraction, key)
    light = _guess(run, where) < LIGHT_BYTES
    return int(over_parts(run, f"{DIRECTORY}/{source}", key, work, where.parts, light).notes["bytes"])


@dataclass(frozen=True, slots=True)
class PutAside:
    """A kept part's documents whose hash is below `limit`, and how much text it has; without what is held out."""

    output: str
    source: str
    upstream: str
    limit: int
    fraction: float
    key: str

    def __call__(self, number: int) -> None:
        files = StageFiles(storage.join(self.output, DIRECTORY, self.source))
        if files.committed(number, self.key):
            return
        upstream = StageFiles(storage.join(self.output, self.upstream))
        balance = Balance("documents", incoming=count_documents(upstream, number))
        size, rows = 0, []
        with storage.scratch(files.ledger(number)) as folder:
            with pq.ParquetWriter(folder / "sample.parquet", CANDIDATES, compression="zstd") as writer:
                for document in read_documents(upstream.kept(number)):
                    if is_heldout(document.text, self.fraction):
                        balance.skipped["held out"] += 1
                        continue
                    length = len(document.text.encode())
                    size += length
                    order = int(prefix_order(np.frombuffer(document.key[:8], "<u8"), 0)[0])
                    if order >= self.limit:
                        balance.skipped["beyond the sample"] += 1
                        continue
                    balance.kept += 1
                    rows.append({"order": order, "key": document.key, "bytes": length, "text": document.text})
                    if len(rows) == ROWS:
                        writer.write_table(pa.Table.from_pylist(rows, CANDIDATES))
                        rows = []
                writer.write_table(pa.Table.from_pylist(rows, CANDIDATES))
            storage.publish(folder / "sample.parquet", files.kept(number))
        balance.check(f"{DIRECTORY}/{self.source}/{part_name(number)}")
        row = {"key": self.key, "part": part_name(number), "balances": [balance.to_json()], "notes": {"bytes": size}}
        storage.write_json(files.ledger(number), row)


def _candidates(run: Run, source: str, where: Kept) -> pa.Table:
    """What was put aside of a source, without its text, in the order of hashes: part, row in it, bytes."""
    files = StageFiles(storage.join(run.output, DIRECTORY, source))
    tables = []
    for number in where.parts:
        with storage.open_input(files.kept(number)) as stream:
            table = pq.read_table(stream, columns=["order", "key", "bytes"])
        columns = {"part": pa.array(np.full(len(table), number)), "row": pa.array(np.arange(len(table)))}
        tables.append(pa.table({**columns, **{name: table[name] for name in table.column_names}}))
    return pa.concat_tables(tables).sort_by([("order", "ascending"), ("key", "ascending")])


def _texts(run: Run, source: str, where: Kept, chosen: pa.Table) -> Iterator[str]:
    """The texts of these rows of `_candidates`, in their order. All are in memory, as they are in training."""
    files = StageFiles(storage.join(run.output, DIRECTORY, source))
    parts, rows = chosen["part"].to_numpy(), chosen["row"].to_numpy()
    texts: dict[tuple[int, int], str] = {}
    for number in where.parts:
        mine = rows[parts == number]
        if len(mine):
            with storage.open_input(files.kept(number)) as stream:
                found = pq.read_table(stream, columns=["text"])["text"].take(mine).to_pylist()
            texts.update(zip(((number, row) for row in mine.tolist()), found, strict=True))
    for number, row in zip(parts.tolist(), rows.tolist(), strict=True):
        yield texts[number, row]
