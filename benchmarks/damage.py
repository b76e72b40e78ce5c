"""What is left of damaged archives: each file truncated, bit-flipped and spliced in a hundred seeded ways, and read.

    python -m benchmarks.damage crawl/*.warc.gz old/*.arc.gz
    python -m benchmarks.damage --pack zstd crawl/*.warc.gz

Every variant is cut into parts and read as a run reads it, with its ledger: books that do not balance, bytes that no
record accounts for and errors that are nobody's fault end the benchmark. A page counts as read if its URL and its body
are those of the undamaged file; `altered` counts pages that are not, which must be none. `spared` are the pages of
which the damage touched no byte. Beside it warcio, on the same bytes, against what it reads of the undamaged file.
"""

from __future__ import annotations

import faulthandler
import functools
import gzip
import hashlib
import importlib
import io
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from warcio.archiveiterator import ArchiveIterator

from curation.document import Page
from curation.errors import CommandLine, InputError, LedgerError, UserError, exit_on_user_error
from curation.ledger import Balance, total
from curation.records import Record, read_range
from pipelines import inputs
from pipelines.apply_steps import Account
from pipelines.inputs import InputFile
from pipelines.part_files import PartWriter, StageFiles
from pipelines.read import Reading, check_tiling

# A stretch of the file that was replaced: from, to (not included), and what stands there now.
Edit = tuple[int, int, bytes]
Pages = Counter[tuple[str, bytes]]
_STRETCH = 64 << 10  # the longest that a splice takes out or puts in


def truncated(data: bytes, chance: random.Random) -> list[Edit]:
    """The file ends early."""
    return [(chance.randrange(len(data)), len(data), b"")]


def flipped(data: bytes, chance: random.Random) -> list[Edit]:
    """One to 16 bits are the other way round."""
    places = sorted({chance.randrange(len(data)) for _ in range(chance.choice([1, 4, 16]))})
    return [(at, at + 1, bytes([data[at] ^ 1 << chance.randrange(8)])) for at in places]


def spliced(data: bytes, chance: random.Random) -> list[Edit]:
    """A stretch is gone, or has become noise, zeros or another stretch of the file, perhaps of another length."""
    longest = min(_STRETCH, len(data) // 4)
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.choice([0, 1, chance.randrange(longest)]))
    length = chance.choice([0, end - start, chance.randrange(longest)])
    source = chance.randrange(len(data))
    put = chance.choice([chance.randbytes(length), bytes(length), data[source : source + length]])
    return [(start, end, put)]


KINDS: dict[str, Callable[[bytes, random.Random], list[Edit]]] = {
    "truncated": truncated,
    "flipped": flipped,
    "spliced": spliced,
}


@dataclass(slots=True)
class Tally:
    """Sums over the variants of a file."""

    variants: int = 0
    pages: int = 0  # of the undamaged file, in all variants together
    spared: int = 0
    spared_read: int = 0
    read: int = 0
    altered: int = 0
    slowest: float = 0.0  # CPU seconds for one variant
    size: int = 0  # bytes of all variants
    records: Balance = field(default_factory=lambda: Balance("records"))
    bytes: Balance = field(default_factory=lambda: Balance("bytes"))
    warcio_pages: int = 0
    warcio_read: int = 0
    warcio_altered: int = 0


def apply(data: bytes, edits: Sequence[Edit]) -> bytes:
    parts, at = [], 0
    for start, end, put in edits:
        parts += [data[at:start], put]
        at = end
    return b"".join([*parts, data[at:]])


def untouched(spans: Sequence[tuple[int, int, tuple[str, bytes]]], edits: Sequence[Edit]) -> Pages:
    """Pages none of whose bytes were taken or changed, and within which nothing was put."""
    return Counter(
        page
        for start, end, page in spans
        if not any(max(start, at) < min(end, until) or start < at < end for at, until, _ in edits)
    )


def spans_of(records: Sequence[Record]) -> list[tuple[int, int, tuple[str, bytes]]]:
    """The bytes of each page. Several records in one member share its span."""
    found = []
    span = (0, 0)
    for record in records:
        span = (record.start, record.end) if record.end > record.start else span
        if isinstance(record.value, Page):
            found.append((*span, page_key(record.value.url, record.value.body)))
    return found


def page_key(url: str, body: bytes) -> tuple[str, bytes]:
    return url, hashlib.blake2b(body, digest_size=16).digest()


def read_parts(path: Path, ranges: int, folder: str) -> tuple[Pages, list[Balance]]:
    """The pages of a file that is read in parts as a run does it, and the balances. Raises LedgerError."""
    size = path.stat().st_size
    parts = inputs.cut([InputFile("damaged", str(path), path.name, size, "")], size // ranges + 1)
    pages: Pages = Counter()
    balances: list[Balance] = []
    spans: dict[int, tuple[int, int] | None] = {}
    for part in parts:
        with PartWriter(StageFiles(folder), part.number) as writer:
            account = Account(Balance("records"), writer)
            with Reading(part, account) as reading:
                for page in reading.pages():
                    account.balance.kept += 1
                    pages[page_key(page.url, page.body)] += 1
                mine = [account.balance, *reading.balances()]
        for balance in mine:
            balance.check(f"{path.name} from byte {part.start}")
        balances += mine
        spans[part.number] = reading.span
    check_tiling(parts, spans)
    return pages, balances


def read_warcio(data: bytes) -> Pages:
    """What warcio reads before it stops."""
    pages: Pages = Counter()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for record in ArchiveIterator(io.BytesIO(data), arc2warc=True):
                if record.rec_type in ("response", "conversion"):
                    url = record.rec_headers.get_header("WARC-Target-URI") or ""
                    pages[page_key(url, record.content_stream().read())] += 1
        except Exception:  # each damage has its own
            pass
    return pages


@contextmanager
def ended_after(seconds: int) -> Iterator[None]:
    """End the process, with its stack on stderr, if what is inside takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:  # also of what raises, or the process ends while it does something else
        faulthandler.cancel_dump_traceback_later()


def damage(path: Path, data: bytes, kind: str, variants: int, seed: int, *, longest: int, warcio: bool) -> Tally:
    """Read `variants` variants of a file with one kind of damage. LedgerError if the books of one do not balance."""
    tally = Tally()
    spans = spans_of(list(read_range(io.BytesIO(data), len(data), 0, len(data), "damaged", path.name)))
    whole: Pages = Counter(page for _, _, page in spans)
    theirs = read_warcio(data) if warcio else Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(variants):
            chance = random.Random(f"{seed} {path.name} {kind} {number}")
            edits = KINDS[kind](data, chance)
            variant = Path(folder) / path.name
            variant.write_bytes(changed := apply(data, edits))
            started = time.process_time()
            with ended_after(longest):
                pages, balances = read_parts(variant, 1 + 2 * (number % 2), f"{folder}/out")
            tally.slowest = max(tally.slowest, time.process_time() - started)
            spared = untouched(spans, edits)
            tally.variants += 1
            tally.size += len(changed)
            tally.pages += whole.total()
            tally.read += (pages & whole).total()
            tally.spared += spared.total()
            tally.spared_read += (pages & spared).total()
            tally.altered += sum(count for page, count in pages.items() if page not in whole)
            tally.records += total("records", balances)
            tally.bytes += total("bytes", balances)
            if warcio:
                found = read_warcio(changed)
                tally.warcio_pages += theirs.total()
                tally.warcio_read += (found & theirs).total()
                tally.warcio_altered += sum(count for page, count in found.items() if page not in theirs)
    if tally.bytes.incoming != tally.size:
        raise LedgerError(f"{path.name}: {tally.bytes.incoming} of {tally.size} bytes were accounted for")
    return tally


def beginning(path: Path, most: int) -> bytes:
    """The whole records in the first `most` bytes of a file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            if size <= most:
                return stream.read()
            ends = [record.end for record in read_range(stream, size, 0, most, "damaged", path.name)]
            stream.seek(0)
            return stream.read(ends[-1])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def packed(data: bytes, packing: str) -> bytes:
    """The gzip members of a file as frames of zstd or lz4, with checksums."""
    try:
        if packing == "zstd":
            pack = importlib.import_module("zstandard").ZstdCompressor(write_checksum=True).compress
        else:
            pack = functools.partial(importlib.import_module("lz4.frame").compress, content_checksum=True)
    except ImportError as error:
        raise UserError(f"--pack {packing} needs the package {error.name}") from None
    records = read_range(io.BytesIO(data), len(data), 0, len(data), "damaged", "whole")
    return b"".join(pack(gzip.decompress(data[r.start : r.end])) for r in records if r.end > r.start)


def rows(name: str, tallies: dict[str, Tally], warcio: bool) -> Iterator[str]:
    for kind, t in tallies.items():
        failed = t.bytes.failed.total() / max(1, t.bytes.incoming)
        row = (
            f"{name:34.34} {kind:9} {t.variants:5} {t.pages:8} {t.read:8} {_share(t.read, t.pages)} {t.spared:8} "
            f"{t.spared_read:8} {t.altered:7} {t.records.failed.total():7} {failed:7.2%} {t.slowest:7.2f}"
        )
        yield row + (f" {_share(t.warcio_read, t.warcio_pages)} {t.warcio_altered:7}" if warcio else "")


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):6.1%}"


def heading(warcio: bool) -> str:
    words = f"{'file':34} {'damage':9} {'files':>5} {'pages':>8} {'read':>8} {'share':>6} {'spared':>8} {'of them':>8} "
    words += f"{'altered':>7} {'failed':>7} {'bytes':>7} {'slowest':>7}"
    return words + (f" {'warcio':>6} {'altered':>7}" if warcio else "")


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="benchmarks.damage", description="Damage archives and read what is left.")
    parser.add_argument("files", nargs="+", type=Path, help="WARC, WET or ARC files")
    parser.add_argument("--variants", type=int, default=100, help="of each kind of damage, for each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=8, metavar="MIB", help="how much of a file is taken")
    parser.add_argument("--pack", choices=("zstd", "lz4"), help="read the gzip members as frames of zstd or lz4")
    parser.add_argument("--longest", type=int, default=300, help="seconds for one variant; more is a hang, and the end")
    parser.add_argument("--without-warcio", action="store_true")
    arguments = parser.parse_args(argv)
    warcio = not arguments.without_warcio and not arguments.pack
    print(heading(warcio), flush=True)
    sums: dict[str, Tally] = {}
    for path in arguments.files:
        data = beginning(path, arguments.most << 20)
        if arguments.pack:
            data = packed(data, arguments.pack)
            path = path.with_suffix(".zst" if arguments.pack == "zstd" else ".lz4")
        tallies = {}
        for kind in KINDS:
            tallies[kind] = damage(
                path, data, kind, arguments.variants, arguments.seed, longest=arguments.longest, warcio=warcio
            )
            sums[kind] = add(sums.get(kind, Tally()), tallies[kind])
        print(*rows(path.name, tallies, warcio), sep="\n", flush=True)
    print(*rows("all files", sums, warcio), sep="\n")
    reasons = sum((t.records.failed for t in sums.values()), Counter[str]())
    print("failed records by reason:", ", ".join(f"{name} {count}" for name, count in reasons.most_common()))
    print(f"{sum(t.variants for t in sums.values())} damaged files read, all books balanced")
    return 1 if any(t.altered for t in sums.values()) else 0


def add(one: Tally, other: Tally) -> Tally:
    values = {name: getattr(one, name) + getattr(other, name) for name in Tally.__dataclass_fields__}
    return Tally(**values | {"slowest": max(one.slowest, other.slowest)})


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
