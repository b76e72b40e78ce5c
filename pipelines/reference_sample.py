"""Draw what the reference classifier learns from: cited pages, and as many others of their language and length.

Drawing is by a hash of the document's id, with limits that depend on totals alone: a sample is the same however the
crawl was cut into parts, and what is held in memory is a few times the sample.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.hashing import splitmix64
from curation.ledger import Balance
from curation.url import registered_domain
from models.train_reference import FOLDS
from pipelines import storage
from pipelines.part_files import ROWS, StageFiles, count_documents, read_array
from pipelines.reference_join import EXCLUDED, PAGE, commit, ledger_row

STRATUM = np.dtype([("language", "S8"), ("bin", "u1"), ("cited", "<u8"), ("candidates", "<u8")])
SAMPLED = np.dtype([*((name, PAGE[name]) for name in PAGE.names or ()), ("role", "u1"), ("part", "<u4"), ("at", "<u4")])
CANDIDATE, CITED, CRAWL = 0, 1, 2  # roles; CRAWL: of the random sample of documents of held-out sites
TEXTS = pa.schema(
    [
        ("role", pa.uint8()),
        ("site", pa.string()),
        ("language", pa.string()),
        ("characters", pa.int64()),
        ("text", pa.string()),
    ]
)
# Half octaves: enough for drawing candidates where cited pages are. Pairs are made afterwards, to APART of the length.
BINS = np.array([round(2 ** (half / 2)) for half in range(2, 63)], dtype=np.uint32)
OVERSAMPLE = 4  # times what is needed is drawn first, since repeated addresses and full sites fall out again
SLACK = 256  # and so many more of each stratum
APART = 0.04  # of a cited page's length: how far its partner's may be from it
FEWEST_OF_A_LANGUAGE = 20  # cited pages; a language with fewer is not learned
ALL = (1 << 64) - 1


def bins(characters: np.ndarray) -> np.ndarray:
    """Number of the length bin of each document: uint8 [documents]."""
    return np.searchsorted(BINS, characters, side="right").astype(np.uint8)


def folds(sites: np.ndarray) -> np.ndarray:
    """Which fifth of the sites each is in, as `fold_of` has it for their names: uint64 [documents]."""
    return sites % np.uint64(FOLDS)


@dataclass(frozen=True, slots=True)
class Pages:
    """What is known of a part's documents after the join. Worker code of the stages that follow."""

    work: str
    passes: int

    def rows(self, number: int) -> np.ndarray:
        """The PAGE rows of a part."""
        return read_array(StageFiles(storage.join(self.work, "pages")).file("pages", number, ".npy"))

    def cited(self, rows: np.ndarray, number: int) -> np.ndarray:
        """Whether each document is one that Wikipedia cites: bool [documents]."""
        files = StageFiles(storage.join(self.work, "join"))
        found = [read_array(files.file("cited", number, f".{turn:04d}.npy")) for turn in range(self.passes)]
        cited: np.ndarray = np.isin(rows["hash"], np.concatenate(found)) & (rows["excluded"] == 0)
        return cited


@dataclass(frozen=True, slots=True)
class CountStrata:
    """How many documents of a part are cited and how many could be negatives, by language and length."""

    files: StageFiles
    key: str
    pages: Pages
    crawl: StageFiles

    def __call__(self, number: int) -> None:
        rows = self.pages.rows(number)
        cited = self.pages.cited(rows, number)
        usable = rows["excluded"] == 0
        balance = Balance("documents", incoming=count_documents(self.crawl, number), kept=int(cited.sum()))
        balance.skipped["candidate"] = int((usable & ~cited).sum())
        for code, count in enumerate(np.bincount(rows["excluded"], minlength=len(EXCLUDED)).tolist()):
            if code and count:
                balance.dropped[EXCLUDED[code]] = count
        counts = Counter(zip(rows["language"][usable].tolist(), bins(rows["characters"][usable]).tolist(), strict=True))
        mine = Counter(zip(rows["language"][cited].tolist(), bins(rows["characters"][cited]).tolist(), strict=True))
        strata = [(*stratum, mine[stratum], count - mine[stratum]) for stratum, count in sorted(counts.items())]
        notes = {"held_out": int((folds(rows["site"]) == 0).sum())}
        commit(self.files, self.key, number, [balance], np.array(strata, dtype=STRATUM), notes)


@dataclass(frozen=True, slots=True)
class Sample:
    """The documents of a part whose order is below the limit of their role and stratum: about as many as are needed.

    Limits are 64-bit; a rate of 1 is the greatest.
    """

    files: StageFiles
    key: str
    pages: Pages
    cited_limit: int
    limits: tuple[tuple[bytes, int, int], ...]  # language, length bin, limit for candidates
    crawl_limit: int

    def __call__(self, number: int) -> None:
        rows = self.pages.rows(number)
        cited = self.pages.cited(rows, number)
        table = {(language, bin): limit for language, bin, limit in self.limits}
        strata = zip(rows["language"].tolist(), bins(rows["characters"]).tolist(), strict=True)
        limits = np.array([table.get(stratum, 0) for stratum in strata], dtype=np.uint64)
        limits[cited] = self.cited_limit
        crawl = (folds(rows["site"]) == 0) & (crawl_order(rows["order"]) <= np.uint64(self.crawl_limit))
        chosen = [
            (np.flatnonzero((rows["excluded"] == 0) & (limits > 0) & (rows["order"] <= limits)), None),
            (np.flatnonzero(crawl if self.crawl_limit else np.zeros_like(crawl)), CRAWL),
        ]
        sampled = np.zeros(sum(len(places) for places, _ in chosen), dtype=SAMPLED)
        at = np.concatenate([places for places, _ in chosen])
        for name in PAGE.names or ():
            sampled[name] = rows[name][at]
        sampled["part"], sampled["at"] = number, at
        sampled["role"] = np.concatenate(
            [cited[places] if role is None else np.full(len(places), role) for places, role in chosen]
        )
        balance = Balance("documents", incoming=len(rows), kept=len(np.unique(at)))
        balance.skipped["not_sampled"] = len(rows) - balance.kept
        commit(self.files, self.key, number, [balance], sampled, {})


def crawl_order(order: np.ndarray) -> np.ndarray:
    """Another order, for the random sample of the crawl, that has nothing to do with the first: uint64 [documents]."""
    return splitmix64(order ^ np.uint64(0x637261776C))


@dataclass(frozen=True, slots=True)
class ReadTexts:
    """The beginnings of a part's chosen documents, in the order of the part. `chosen` is a file of SAMPLED rows."""

    files: StageFiles
    key: str
    crawl: StageFiles
    chosen: str
    characters: int

    def __call__(self, number: int) -> None:
        rows = _chosen(self.chosen, self.key)
        mine = rows[rows["part"] == number]
        start, taken = 0, []
        with storage.open_input(self.crawl.kept(number)) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS, columns=["url", "text"]):
                here = mine[(mine["at"] >= start) & (mine["at"] < start + len(batch))]
                for row in here:
                    place = int(row["at"]) - start
                    taken.append(
                        {
                            "role": int(row["role"]),
                            "site": registered_domain(batch["url"][place].as_py()),
                            "language": row["language"].decode(),
                            "characters": int(row["characters"]),
                            "text": batch["text"][place].as_py()[: self.characters],
                        }
                    )
                start += len(batch)
        path = self.files.file("texts", number, ".parquet")
        with storage.scratch(path) as folder:
            pq.write_table(pa.Table.from_pylist(taken, TEXTS), folder / "texts", compression="zstd")
            storage.publish(folder / "texts", path)
        balance = Balance("documents", incoming=len(mine), kept=len(taken))
        storage.write_json(self.files.ledger(number), ledger_row(self.key, number, [balance], {}))


@lru_cache(maxsize=1)
def _chosen(path: str, key: str) -> np.ndarray:
    return read_array(path)


def rates(strata: np.ndarray, most: int) -> tuple[int, tuple[tuple[bytes, int, int], ...]]:
    """Limits of the order below which cited pages, and candidates of each language and length, are drawn first.

    They depend on totals alone, so a sample does not depend on how the crawl was cut.
    """
    total = int(strata["cited"].sum())
    cited = limit(OVERSAMPLE * most, total)
    limits = []
    for language, bin, mine, candidates in strata.tolist():
        if mine and candidates:
            needed = OVERSAMPLE * min(mine, -(-mine * OVERSAMPLE * most // total)) + SLACK
            limits.append((language, bin, limit(needed, candidates)))
    return cited, tuple(limits)


def choose(rows: np.ndarray, most: int, per_site: int) -> tuple[np.ndarray, Balance]:
    """Pairs of a cited page and a candidate of like length, language and fold, and the account of the cited pages.

    Of several captures of an address one counts. Where there are too many, those that come first in the order stay.
    """
    rows = rows[np.argsort(rows["order"], kind="stable")]
    cited = rows["role"] == CITED
    account, stays = Balance("cited pages", incoming=int(cited.sum())), np.ones(len(rows), dtype=bool)

    def leave_out(reason: str, out: np.ndarray) -> None:
        out = out & stays
        if count := int((out & cited).sum()):
            account.dropped[reason] += count
        stays[out] = False

    leave_out("repeated_address", _rank([rows["hash"], rows["role"]], stays) >= 1)
    leave_out("site_full", _rank([rows["site"], rows["role"]], stays) >= per_site)
    leave_out("more_than_most", cited & (_rank([rows["role"]], stays) >= most))
    leave_out("unmatched", ~_paired(rows, stays))
    languages = Counter(rows["language"][stays & cited].tolist())
    rare = [language for language, count in languages.items() if count < FEWEST_OF_A_LANGUAGE]
    leave_out("rare_language", np.isin(rows["language"], np.array(rare, dtype="S8")))
    account.kept = int((stays & cited).sum())
    return rows[stays], account


def _paired(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which cited pages and candidates form pairs of one fold, one language and nearly one length: bool [rows].

    In the order of `rows`, each cited page takes the candidate nearest to it in length of those that are left.
    """
    paired = np.zeros(len(rows), dtype=bool)
    groups = _groups([folds(rows["site"]), rows["language"]])
    for group in range(groups.max(initial=-1) + 1):
        mine = among & (groups == group)
        others = np.flatnonzero(mine & (rows["role"] == CANDIDATE))
        others = others[np.argsort(rows["characters"][others], kind="stable")]
        lengths, free = rows["characters"][others].tolist(), others.tolist()
        for place in np.flatnonzero(mine & (rows["role"] == CITED)).tolist():
            length = int(rows["characters"][place])
            right = bisect_left(lengths, length)
            near = [at for at in (right - 1, right) if 0 <= at < len(free)]
            best = min(near, key=lambda at: abs(lengths[at] - length), default=None)
            if best is not None and abs(lengths[best] - length) <= length * APART:
                paired[[place, free.pop(best)]] = True
                lengths.pop(best)
    return paired


def _groups(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One number for each combination of values: int64 [rows]."""
    groups = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values = np.unique(column, return_inverse=True)[1]
        groups = np.unique(groups * (values.max(initial=0) + 1) + values, return_inverse=True)[1]
    return groups


def _rank(columns: Sequence[np.ndarray], among: np.ndarray) -> np.ndarray:
    """How many rows of the same group come before each, counting those in `among`; 0 for the others: int64 [rows]."""
    groups = _groups(columns)[among]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(order) else np.empty(0, dtype=np.int64)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    result = np.zeros(len(among), dtype=np.int64)
    result[among] = rank
    return result


def limit(needed: int, there: int) -> int:
    return ALL if needed >= there else (needed << 64) // there


def add_strata(tables: Sequence[np.ndarray]) -> np.ndarray:
    total: dict[tuple[bytes, int], list[int]] = {}
    for table in tables:
        for language, bin, cited, candidates in table.tolist():
            counts = total.setdefault((language, bin), [0, 0])
            counts[0] += cited
            counts[1] += candidates
    return np.array([(*stratum, *counts) for stratum, counts in sorted(total.items())], dtype=STRATUM)
