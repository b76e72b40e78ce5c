"""Run a recipe over inputs:

    python -m pipelines.run --recipe tiny --input 'crawl/*.warc.gz' --models artifacts --output run

The same command continues an interrupted run where it stopped. What Beam's own options are (--runner, --project, …)
goes to Beam; whatever neither knows is an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from curation import recipe as recipes
from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.token_shard import token_dtype
from pipelines import (
    claims,
    crawl,
    curate,
    dataset,
    dedup,
    earlier,
    heldout,
    inputs,
    overlap_dedup,
    report,
    runner,
    storage,
    takedown,
    tokens,
)
from pipelines.inputs import Part
from pipelines.mix import run_mix
from pipelines.plan import Stage, check_models, compile_source, input_kinds, recipe_hash
from pipelines.read import check_tiling
from pipelines.rehearse import rehearse
from pipelines.runner import parse_size
from pipelines.stages import LIGHT_DOCUMENTS, Result, Run, ledger_rows, part_name
from pipelines.tokenizer import ensure_tokenizer
from pipelines.turns import Source


def parser() -> CommandLine:
    result = CommandLine(prog="pipelines.run", description="Turn crawl files into token shards.")
    result.add_argument("--recipe", default="tiny", help="a bundled recipe's name, or a .toml file")
    result.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[SOURCE=]PATTERN",
        help="files, folders or globs; local, https, gs, s3",
    )
    result.add_argument("--crawl", help="a Common Crawl crawl id, such as CC-MAIN-2024-10")
    result.add_argument(
        "--files", default="0:1", metavar="A:B", help="which files of the crawl's listing (with --crawl)"
    )
    result.add_argument(
        "--kind", choices=("warc", "wet"), default="warc", help="which files of the crawl (with --crawl)"
    )
    result.add_argument("--models", default="models-local", help="folder of model artifacts")
    result.add_argument(
        "--tokenizer",
        default="",
        help="a SentencePiece model, tokenizer.json or Llama 3 file; else trained on the kept text",
    )
    result.add_argument("--output", required=True, help="folder of the run; the same one continues it")
    result.add_argument(
        "--against", action="append", default=[], metavar="RUN", help="an earlier run's output: what it has goes"
    )
    result.add_argument(
        "--tombstones", action="append", default=[], metavar="FILE", help="pages to keep out: RUN/tombstones.jsonl"
    )
    result.add_argument(
        "--until", metavar="STAGE", help="stop after this stage of each source, such as documents; tokens: do not mix"
    )
    result.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="local worker processes")
    result.add_argument(
        "--memory", type=parse_size, default=parse_size("4GiB"), help="what a shuffle may hold, such as 4GiB"
    )
    result.add_argument("--range-size", type=parse_size, default=inputs.RANGE_SIZE, help="largest part, such as 128MiB")
    result.add_argument(
        "--max-failed-fraction", type=float, default=0.05, help="of records that may fail before the run does"
    )
    result.add_argument("--quiet", action="store_true", help="no progress lines")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    arguments, rest = parser().parse_known_args(argv)
    if arguments.workers < 1:
        raise UserError("--workers is at least 1")
    flags = runner.beam_flags(rest, arguments.workers, parser())
    storage.configure(flags)
    if storage.is_local(arguments.output):
        arguments.output = os.path.abspath(arguments.output)
    arguments.against = [os.path.abspath(run) if storage.is_local(run) else run for run in arguments.against]
    with runner.temporary_files():
        return execute(arguments, runner.executor(flags), runner.is_dry_run(flags), runner.is_remote(flags))


def execute(
    arguments: argparse.Namespace, run_pipeline: runner.Execute, rehearsing: bool = False, run_elsewhere: bool = False
) -> int:
    """The whole run, given what runs one pipeline; or only a rehearsal of it."""
    started = time.monotonic()
    recipe = recipes.load(arguments.recipe)
    recipe_hash(recipe)  # resolves every step of every source, so that a mistake in any is told now
    models = Path(arguments.models).absolute()
    run = Run(arguments.output, str(models), run_pipeline, arguments.memory, not arguments.quiet)
    files = inputs.find(_declared(arguments), input_kinds(recipe))
    sources = sorted({file.source for file in files})
    _check_places(arguments, files, rehearsing, run_elsewhere)
    gone = takedown.gather(arguments.tombstones)
    recipe.mixture.check_sources(sources)
    against = partial(earlier.find, arguments.against)
    until = None if arguments.until == tokens.STAGE else arguments.until
    plan = {s: compile_source(recipe, s, inputs.identity(files, s), models, until, against) for s in sources}
    if until and not any(plan.values()):
        names = {stage.name: None for s in sources for stage in compile_source(recipe, s, "", models)}
        raise UserError(f"--until {until}: the stages are {', '.join([*names, tokens.STAGE])}")
    if not until:
        earlier.check_used(arguments.against, (stage for stages in plan.values() for stage in stages))
    for stages in plan.values():  # a run that cannot end stops here, before anything is written
        for stage in stages:
            check_models(stage, models)
    parts = (
        inputs.cut(files, arguments.range_size)
        if rehearsing
        else inputs.freeze(run.output, files, arguments.range_size)
    )
    by_source = {source: [part for part in parts if part.source == source] for source in sources}
    if rehearsing:
        print("dry run, nothing was submitted; accepted:", *rehearse(run, plan, by_source), sep="\n  ")
        return 0
    takedown.prepare(run.output, gone)
    results: list[Result] = []
    for source, stages in plan.items():
        for stage in stages:
            results.append(_stage(run, stage, stages, by_source[source], results))
            if stage.kind == "documents":
                _check_reading(run, stage, by_source[source])
            _check_failures(run, source, results, arguments.max_failed_fraction)
    if until:
        print(report.funnel(results))
        return 0
    if not any(_kept(results, f"{source}/{stages[-1].name}") for source, stages in plan.items()):
        print(report.funnel(results))
        raise UserError("no document was kept; the table above says which rule dropped them")
    try:
        last = {source: stages[-1] for source, stages in plan.items()}
        path, tokenized = _tokens(run, recipe, arguments.tokenizer, last, by_source, results)
        manifest = None if arguments.until else _mixture(run, recipe, path, tokenized, by_source, results)
    except UserError:
        print(report.funnel(results))  # what there is to look at
        raise
    storage.write_json(storage.join(run.output, "ledger.json"), [result.to_json() for result in results])
    print(report.funnel(results))
    if manifest is None:
        return 0
    print(dataset.describe(manifest))
    if slow := report.slowest(results):
        print(f"\nslowest steps, over all workers:\n{slow}")
    print(f"\n{time.monotonic() - started:.0f} s")
    print(f"shards:  {storage.join(run.output, 'shards')}")
    print(
        f"books:   {storage.join(run.output, 'ledger.json')}; what was dropped or failed, and why, is beside each stage"
    )
    return 0


def _tokens(
    run: Run,
    recipe: recipes.Recipe,
    tokenizer: str,
    last: dict[str, Stage],
    parts: dict[str, list[Part]],
    results: list[Result],
) -> tuple[str, dict[str, Result]]:
    """Tokenize what was kept: the tokenizer's path, and the stage of each source. Adds its stages to the results."""
    kept = [(part, f"{source}/{stage.name}", stage.key) for source, stage in last.items() for part in parts[source]]
    path = ensure_tokenizer(run, tokenizer, recipe, kept)
    documents = {source: _kept(results, f"{source}/{stage.name}") for source, stage in last.items()}
    fraction = recipe.heldout.fraction
    near = None
    if recipe.heldout.near and fraction:
        near, collected = heldout.collect(run, fraction, last, parts, documents)
        results.extend(collected)
    tokenized = {
        source: tokens.run_stage(
            run, source, parts[source], stage, path, fraction, light=documents[source] < LIGHT_DOCUMENTS, near=near
        )
        for source, stage in last.items()
    }
    results.extend(tokenized.values())
    return path, tokenized


def _mixture(
    run: Run,
    recipe: recipes.Recipe,
    path: str,
    tokenized: dict[str, Result],
    parts: dict[str, list[Part]],
    results: list[Result],
) -> dict[str, Any]:
    """Mix the tokens, and write the manifest. Adds its stage to the results."""
    loaded = tokens.load_tokenizer(path, tokens.file_hash(path))
    sources = [_source(number, name, parts[name], result) for number, (name, result) in enumerate(tokenized.items())]
    mixed = run_mix(run, recipe.mixture, recipe.shards.tokens, sources, token_dtype(loaded.vocabulary))
    results.append(mixed)
    return dataset.write_manifest(run, recipe, loaded, path, mixed, results)


def _declared(arguments: argparse.Namespace) -> list[str]:
    declared = list(arguments.input)
    if arguments.crawl:
        first, last = crawl.file_range(arguments.files)
        declared += crawl.crawl_files(arguments.crawl, arguments.kind, first, last)
    if not declared:
        raise InputError("nothing to read: give --input or --crawl")
    return declared


def _stage(run: Run, stage: Stage, stages: Sequence[Stage], parts: Sequence[Part], results: Sequence[Result]) -> Result:
    if stage.kind == "claims":
        upstream = next(other for other in stages if other.name == stage.upstream)
        claims.ensure(run, upstream, parts)
        if stage.applies and stage.applies.compares_texts:
            return overlap_dedup.run_stage(run, stage, parts, upstream.key)
        return dedup.run_stage(run, stage, parts, upstream.key)
    if stage.kind == "survivors":
        documents = _kept(results, f"{stage.source}/{stage.upstream}")
        return curate.run_stage(run, stage, parts, light=documents < LIGHT_DOCUMENTS)
    return curate.run_stage(run, stage, parts)


def _kept(results: Sequence[Result], name: str) -> int:
    return next(result for result in results if result.name == name).kept_documents


def _check_places(
    arguments: argparse.Namespace, files: Sequence[inputs.InputFile], rehearsing: bool, run_elsewhere: bool
) -> None:
    """Everything about paths that would only be noticed once there is work to lose."""
    if arguments.tokenizer:
        if not storage.is_file(arguments.tokenizer):
            raise InputError(f"no tokenizer file {arguments.tokenizer}")
        tokens.load_tokenizer(arguments.tokenizer, tokens.file_hash(arguments.tokenizer))
    if arguments.output in arguments.against:
        raise UserError(f"--against {arguments.output}: that is this run's own --output")
    if run_elsewhere:
        read = [path for file in files for path in (file.path, file.selection) if path]
        places = (arguments.output, *arguments.against, *read)
        local = [path for path in places if storage.is_local(path)]
        if local:
            raise UserError(f"{local[0]} is on this machine, and other machines would have to read or write it")
    elif not rehearsing:
        storage.check_writable(arguments.output)


def _check_reading(run: Run, stage: Stage, parts: list[Part]) -> None:
    rows = ledger_rows(run, f"{stage.source}/{stage.name}", [part_name(part.number) for part in parts], stage.key)
    check_tiling(parts, {part.number: rows[part_name(part.number)].get("span") for part in parts})


def _check_failures(run: Run, source: str, results: Sequence[Result], most: float) -> None:
    """Dead letters of all stages of a source so far, against the records that it was read from."""
    mine = [result for result in results if result.name.startswith(f"{source}/")]
    failed = sum(
        (r.balances[u].failed for r in mine for u in ("records", "documents") if u in r.balances), Counter[str]()
    )
    records = mine[0].balances["records"].incoming
    if failed.total() > most * records:
        raise InputError(
            f"{failed.total()} of {records} records failed, {failed.most_common(1)[0][0]} most often; "
            f"see {run.output}/{mine[-1].name}/failed, or allow it with --max-failed-fraction"
        )


def _source(number: int, name: str, parts: Sequence[Part], result: Result) -> Source:
    counts = {unit: int(result.notes[f"train_{unit}"]) for unit in ("documents", "tokens")}
    held = {unit: int(result.notes[f"heldout_{unit}"]) for unit in ("documents", "tokens")}
    return Source(
        number,
        name,
        tuple(p.number for p in parts),
        result.key,
        counts["documents"],
        counts["tokens"],
        held["documents"],
        held["tokens"],
    )


def cli() -> int:
    """The console script."""
    return exit_on_user_error(main)


if __name__ == "__main__":
    from pipelines.run import cli as imported  # so that nothing that is pickled belongs to __main__

    sys.exit(imported())
