"""The Wikipedia-reference classifier, from dump to score in one command:

    python -m pipelines.reference --dump enwiki-….xml.bz2 --crawl-run RUN/commoncrawl/documents --out MODELS

Finds which documents of a finished stage the dumps cite, draws as many others matched in language and length, trains on
both and says what it is worth (docs/reference.md). The same command continues an interrupted one. Beam's own options
(--runner, --project, …) go to Beam.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.ledger import Balance
from models.artifact import artifact_identity, open_artifact
from models.reference_report import describe
from models.train_reference import Example, train_reference
from pipelines import inputs, runner, storage
from pipelines.code_identity import code_identity
from pipelines.part_files import ROWS, StageFiles, read_array, write_array
from pipelines.reference_join import ReadDump, ReadPages, join
from pipelines.reference_sample import (
    ALL,
    CITED,
    CRAWL,
    FEWEST_OF_A_LANGUAGE,
    OVERSAMPLE,
    CountStrata,
    Pages,
    ReadTexts,
    Sample,
    add_strata,
    choose,
    crawl_order,
    limit,
    rates,
)
from pipelines.runner import parse_size
from pipelines.stages import LIGHT_DOCUMENTS, Result, Run, over_parts

RULES = 1  # raise it when the same inputs would give another sample


def parser() -> CommandLine:
    result = CommandLine(prog="pipelines.reference", description="Train the classifier of pages that Wikipedia cites.")
    result.add_argument(
        "--dump", action="append", required=True, metavar="PATTERN", help="pages-articles dumps, of any languages"
    )
    result.add_argument(
        "--crawl-run", required=True, metavar="RUN/SOURCE/STAGE", help="a finished stage; both classes come from it"
    )
    result.add_argument("--out", type=Path, required=True, metavar="MODELS", help="folder of model artifacts")
    result.add_argument("--work", help="folder of what lies between (default: RUN/reference)")
    result.add_argument("--languages", help="languages to learn, such as en,de (default: all with enough cited pages)")
    result.add_argument("--most", type=int, default=100_000, help="cited pages to train on, at most (default: 100000)")
    result.add_argument("--per-site", type=int, default=10, help="pages of a site in each class, at most (default: 10)")
    result.add_argument("--shortest", type=int, default=200, help="characters of a text at least (default: 200)")
    result.add_argument("--characters", type=int, default=2000, help="how much of a text is read (default: 2000)")
    result.add_argument(
        "--crawl-sample", type=int, default=20_000, help="documents that tell what a threshold keeps (default: 20000)"
    )
    result.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="local worker processes")
    result.add_argument("--memory", type=parse_size, default=parse_size("4GiB"), help="what a shuffle may hold")
    result.add_argument("--quiet", action="store_true", help="no progress lines")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    arguments, rest = parser().parse_known_args(argv)
    for name in ("workers", "most", "per_site", "shortest", "characters"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} is at least 1")
    flags = runner.beam_flags(rest, arguments.workers, parser())
    storage.configure(flags)
    if runner.is_dry_run(flags):
        raise UserError("--dry_run: each stage here depends on what the one before found; nothing can be rehearsed")
    with runner.temporary_files():
        return execute(arguments, runner.executor(flags), runner.is_remote(flags))


def execute(arguments: Any, run_pipeline: runner.Execute, run_elsewhere: bool = False) -> int:
    """The whole way, given what runs one pipeline."""
    crawl, counts, crawl_key = _crawl(arguments.crawl_run)
    work = arguments.work or storage.join(os.path.dirname(os.path.dirname(crawl.root)), "reference")
    run = Run(
        os.path.abspath(work) if storage.is_local(work) else work,
        "",
        run_pipeline,
        arguments.memory,
        not arguments.quiet,
    )
    dumps = inputs.cut(
        inputs.find((f"wikipedia={pattern}" for pattern in arguments.dump), {"wikipedia": inputs.WHOLE}), ALL
    )
    local = [path for path in (run.output, crawl.root, *(dump.path for dump in dumps)) if storage.is_local(path)]
    if run_elsewhere and local:
        raise UserError(f"{local[0]} is on this machine, and other machines would have to read or write it")
    storage.check_writable(run.output)
    search = Search(run, arguments, crawl, counts, crawl_key)
    found = search.cited(tuple(dumps))
    documents = found.balances["documents"]
    print(
        f"documents of the crawl: {documents.incoming}; cited: {documents.kept}; "
        f"others: {documents.skipped['candidate']}; not looked at: {dict(sorted(documents.dropped.items()))}"
    )
    rows, cited = search.choose(found)
    print(
        f"cited pages: {cited.incoming}; chosen: {cited.kept}; "
        f"left out: {dict(sorted((cited.dropped + cited.skipped).items()))}"
    )
    languages = sorted({row.decode() for row in rows["language"][rows["role"] == CITED]})
    if not languages:
        raise UserError(
            f"of {documents.incoming} documents the dumps cite {documents.kept}, and no language has "
            f"{FEWEST_OF_A_LANGUAGE} with a partner of its length: nothing to train on, and nothing is claimed"
        )
    texts = search.texts(rows)
    names = ", ".join(dump.file for dump in dumps)
    report = train_reference(
        search.examples(texts, crawl=False),
        arguments.out,
        crawl=search.examples(texts, crawl=True),
        origin=f"positives: pages that {names} cite; negatives: others of the same crawl, of like language and length",
        licence="weights only; that of the texts does not extend to them",
        characters=arguments.characters,
        shortest=arguments.shortest,
        languages=languages,
        books={"documents": documents.to_json(), "cited": cited.to_json(), "crawl": crawl_key},
    )
    print(describe(report))
    print(f"wrote {arguments.out / 'reference'}; the picture is report.svg in it")
    return 0


class Search:
    """The stages, one after the other, over the kept parts of a crawl's stage: `counts` has the documents of each."""

    def __init__(self, run: Run, arguments: Any, crawl: StageFiles, counts: Mapping[int, int], crawl_key: str) -> None:
        self._run = run
        self._arguments = arguments
        self._crawl = crawl
        self._numbers = list(counts)
        self._light = sum(counts.values()) < LIGHT_DOCUMENTS
        self._key = _hash(crawl_key, list(counts.items()))  # the stage's own key does not say how it was cut
        self._passes = 1

    def _files(self, stage: str) -> StageFiles:
        return StageFiles(storage.join(self._run.output, stage))

    def _stage(self, name: str, work: Any, light: bool) -> Result:
        return over_parts(self._run, name, work.key, work, self._numbers, light)

    def cited(self, dumps: tuple[inputs.Part, ...]) -> Result:
        """Up to the counts of cited documents and of candidates: the result of the stage `strata`."""
        code = [code_identity(name) for name in ("pipelines.reference_join", "curation.sources.citations")]
        dumps_key = _hash(RULES, code, [(dump.file, dump.identity) for dump in dumps])
        read = ReadDump(self._files("citations"), dumps_key, dumps)
        one = len(dumps) == 1 or sum(dump.size for dump in dumps) < 1 << 25
        citations = over_parts(self._run, "citations", dumps_key, read, range(len(dumps)), one)
        pages_account = citations.balances["pages"]
        if not citations.notes.get("links"):
            named = ", ".join(dump.path for dump in dumps[:3])
            raise InputError(f"{named}: no links in {pages_account.incoming} pages; is it a pages-articles dump?")
        print(
            f"articles: {pages_account.kept} of {pages_account.incoming} pages; links: {citations.notes['links']}; "
            f"cited addresses: {citations.notes['cited']}"
        )
        arguments = self._arguments
        language_id = self._language_id()
        asked = tuple(sorted(set(arguments.languages.split(",")))) if arguments.languages else None
        pages_key = _hash(RULES, code, self._key, arguments.shortest, asked, language_id)
        pages = ReadPages(
            self._files("pages"),
            pages_key,
            self._crawl,
            arguments.shortest,
            asked,
            language_id,
            str(arguments.out.absolute()),
        )
        result = self._stage("pages", pages, self._light)
        sizes = (citations.notes["cited"], result.notes["hashes"])
        joined = join(self._run, _hash(dumps_key, pages_key), len(dumps), self._numbers, sizes)
        self._passes = int(joined.notes["passes"])
        strata_key = _hash(joined.key, code_identity("pipelines.reference_sample"))
        count = CountStrata(self._files("strata"), strata_key, self._pages(), self._crawl)
        return self._stage("strata", count, True)

    def _pages(self) -> Pages:
        return Pages(self._run.output, self._passes)

    def _language_id(self) -> tuple[tuple[str, str], ...]:
        """The artifact to identify languages with, if the stage's documents have none yet."""
        for number in self._numbers:
            with storage.open_input(self._crawl.kept(number)) as stream:
                column = pq.ParquetFile(stream).read(["language"])["language"]
            if len(column):
                if column.null_count == 0:
                    return ()
                break
        open_artifact(self._arguments.out, "language_id")
        return (("language_id", artifact_identity(self._arguments.out, "language_id")),)

    def choose(self, counted: Result) -> tuple[np.ndarray, Balance]:
        """The SAMPLED rows to learn from, and the account of the cited pages."""
        arguments = self._arguments
        strata = add_strata([read_array(self._files("strata").file("strata", n, ".npy")) for n in self._numbers])
        cited_limit, limits = rates(strata, arguments.most)
        crawl_limit = (
            limit(OVERSAMPLE * arguments.crawl_sample, counted.notes["held_out"]) if arguments.crawl_sample else 0
        )
        key = _hash(counted.key, cited_limit, limits, crawl_limit)
        work = Sample(self._files("sampled"), key, self._pages(), cited_limit, limits, crawl_limit)
        self._stage("sampled", work, True)
        rows = np.concatenate([read_array(work.files.file("sampled", n, ".npy")) for n in self._numbers])
        learned, account = choose(rows[rows["role"] != CRAWL], arguments.most, arguments.per_site)
        account.incoming = counted.balances["documents"].kept
        account.skipped["not_sampled"] = account.incoming - int((rows["role"] == CITED).sum())
        account.check("cited pages")
        crawl = rows[rows["role"] == CRAWL]
        crawl = crawl[np.argsort(crawl_order(crawl["order"]), kind="stable")[: arguments.crawl_sample]]
        chosen = np.concatenate([learned, crawl])
        return chosen[np.lexsort((chosen["role"], chosen["at"], chosen["part"]))], account

    def texts(self, rows: np.ndarray) -> ReadTexts:
        """Read the texts of the chosen documents; the work that did it."""
        code = code_identity("pipelines.reference_sample")
        key = _hash(RULES, code, hashlib.sha256(rows.tobytes()).hexdigest(), self._key, self._arguments.characters)
        path = storage.join(self._run.output, f"chosen-{key[:16]}.npy")
        write_array(path, rows)
        work = ReadTexts(self._files("texts"), key, self._crawl, path, self._arguments.characters)
        self._stage("texts", work, self._light)
        return work

    def examples(self, texts: ReadTexts, crawl: bool) -> Iterator[Example]:
        """The chosen documents in the order of the crawl, whatever parts it was cut into."""
        for number in self._numbers:
            with storage.open_input(texts.files.file("texts", number, ".parquet")) as stream:
                for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS):
                    for row in batch.to_pylist():
                        role = row.pop("role")
                        if (role == CRAWL) == crawl:
                            yield Example(cited=role == CITED, **row)


def _crawl(stage: str) -> tuple[StageFiles, dict[int, int], str]:
    """Files of a finished stage, how many documents each of its parts holds, and its key. Raises InputError."""
    root = os.path.abspath(stage) if storage.is_local(stage) else stage.rstrip("/")
    if not storage.exists(storage.join(root, "manifest.json")):
        raise InputError(
            f"{stage} is not a finished stage (no manifest.json): give RUN/SOURCE/STAGE, such as of --until"
        )
    names = [name for name in storage.names_in(storage.join(root, "kept")) if name.endswith(".parquet")]
    if not names:
        raise InputError(f"{stage} holds no kept documents: give a stage such as documents or after-lines")
    files = StageFiles(root)
    numbers = [int(name[5:12]) for name in names]
    counts = {number: storage.read_json(files.ledger(number))["balances"][0]["kept"] for number in numbers}
    return files, counts, storage.read_json(storage.join(root, "manifest.json"))["key"]


def _hash(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
