"""A dry run: every pipeline of a run, built and handed to the runner, with nothing processed.

With `--runner=DataflowRunner --dry_run` it proves that each graph is accepted, typed and pickled. Numbers that later
stages would learn from earlier ones (passes, shards) are the smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipelines import curate, dedup, heldout, mix, overlap_dedup, turns
from pipelines.inputs import Part
from pipelines.mix import SendCopies, heldout_names
from pipelines.plan import Stage
from pipelines.runner import Build
from pipelines.stages import EachPart, Run
from pipelines.tokenizer import PutAside
from pipelines.tokens import TokenizePart
from pipelines.turns import Source, Turns


def rehearse(run: Run, plan: Mapping[str, Sequence[Stage]], parts: Mapping[str, Sequence[Part]]) -> list[str]:
    """Hand over every pipeline; the names of those that were accepted."""
    accepted: list[str] = []

    def hand_over(name: str, build: Build) -> None:
        run.execute(name, build)
        accepted.append(name)

    def each_part(name: str, work: Callable[[int], None], numbers: Sequence[int]) -> None:
        hand_over(name, lambda pipeline: pipeline | EachPart(work, numbers))

    def claims(stage: Stage, numbers: Sequence[int]) -> None:
        build = overlap_dedup.build if stage.applies and stage.applies.compares_texts else dedup.build
        hand_over(f"{stage.source}/{stage.name}", lambda pipeline: build(pipeline, run, stage, numbers, 0, 1, 8))
        if build is overlap_dedup.build:
            each_part(f"{stage.source}/{stage.name}-measure", overlap_dedup.measure(run, stage), numbers)

    for name, stages in plan.items():
        numbers = [part.number for part in parts[name]]
        for stage in stages:
            if stage.kind == "claims":
                claims(stage, numbers)
            else:
                each_part(f"{name}/{stage.name}", curate.ProcessPart(run.output, run.models, stage), numbers)
        last = stages[-1]
        each_part(f"tokenizer/{name}", PutAside(run.output, name, f"{name}/{last.name}", 0, 0.0, last.key), numbers)
        tokenize = TokenizePart(run.output, name, last.name, "tokenizer.model", "", "", 0.0, None, last.key)
        each_part(f"{name}/tokens", tokenize, numbers)
    for number, name in enumerate(plan):
        find = heldout.FindHeldout(run.output, name, number, plan[name][-1].name, 0.0, "")
        each_part(f"{name}/heldout", find, [part.number for part in parts[name]])
    senders = [(name, part.number) for name in plan for part in parts[name]]
    bands = heldout.SendBands(run.output, 0, 1, 8), heldout.WriteSlice(run.output, "")
    hand_over("heldout", lambda pipeline: heldout.build(pipeline, senders, *bands))
    sources = tuple(
        Source(number, name, tuple(part.number for part in parts[name]), "", 0, 0, 0, 0)
        for number, name in enumerate(plan)
    )
    weigh = turns.Weigh(run.output, sources, 0, None, "uint16")
    hand_over("prefix", lambda pipeline: turns.build_prefix(pipeline, weigh, "prefix"))
    seen = {source.name: Turns(1, 0, 0, 0) for source in sources}
    held = {source.name: heldout_names(source, 1) for source in sources}
    send = SendCopies(run.output, sources, seen, 0, 1, held, frozenset(["shard-00000"]), "uint16")
    hand_over("shards", lambda pipeline: mix.build(pipeline, send, ""))
    return accepted
