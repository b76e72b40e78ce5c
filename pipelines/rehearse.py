"""A dry run: every pipeline of a run, built and handed to the runner, with nothing processed.

With `--runner=DataflowRunner --dry_run` it proves that each graph is accepted, typed and pickled. Numbers that later
stages would learn from earlier ones (passes, shards) are the smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipelines import curate, dedup, mix
from pipelines.inputs import Part
from pipelines.mix import SendCopies, Source, Turns
from pipelines.plan import Stage
from pipelines.runner import Build
from pipelines.stages import EachPart, Run
from pipelines.tokenizer import PutAside
from pipelines.tokens import TokenizePart


def rehearse(run: Run, plan: Mapping[str, Sequence[Stage]], parts: Mapping[str, Sequence[Part]]) -> list[str]:
    """Hand over every pipeline; the names of those that were accepted."""
    accepted: list[str] = []

    def hand_over(name: str, build: Build) -> None:
        run.execute(name, build)
        accepted.append(name)

    def each_part(name: str, work: Callable[[int], None], numbers: Sequence[int]) -> None:
        hand_over(name, lambda pipeline: pipeline | EachPart(work, numbers))

    def claims(stage: Stage, numbers: Sequence[int]) -> None:
        hand_over(f"{stage.source}/{stage.name}", lambda pipeline: dedup.build(pipeline, run, stage, numbers, 0, 1, 8))

    def prefix(name: str, weigh: mix.Weigh) -> None:
        hand_over(name, lambda pipeline: mix.build_prefix(pipeline, weigh, "prefix.npy"))

    for name, stages in plan.items():
        numbers = [part.number for part in parts[name]]
        for stage in stages:
            if stage.kind == "claims":
                claims(stage, numbers)
            else:
                each_part(f"{name}/{stage.name}", curate.ProcessPart(run.output, run.models, stage), numbers)
        last = stages[-1]
        each_part(f"tokenizer/{name}", PutAside(run.output, name, f"{name}/{last.name}", 0, 0.0, last.key), numbers)
        tokenize = TokenizePart(run.output, name, last.name, "tokenizer.model", "", "", 0.0, last.key)
        each_part(f"{name}/tokens", tokenize, numbers)
    sources = tuple(
        Source(number, name, tuple(part.number for part in parts[name]), "", 0, 0, 0, 0)
        for number, name in enumerate(plan)
    )
    for source in sources:
        weigh = mix.Weigh(run.output, source, 0, None, "uint16")
        prefix(f"{source.name}/prefix", weigh)
    turns = {source.name: Turns(1, 0, 0, 0) for source in sources}
    send = SendCopies(run.output, sources, turns, 0, 1, frozenset(["shard-00000"]), "uint16")
    hand_over("shards", lambda pipeline: mix.build(pipeline, send, ""))
    return accepted
