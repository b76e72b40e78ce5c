"""Train a LLaMA on a dataset of token shards.

    python -m trainer.pretrain --data DATASET --out RUN --preset tiny --steps 300 --set optimiser.lr=1e-3

The same command continues where it was interrupted, to the bit: kill it as you like. SIGTERM and Ctrl-C save first.
Every step is a line of RUN/log.jsonl. With several GPUs: `torchrun --nproc-per-node 8 -m trainer.pretrain …`, the rest
is the same; trainer/parallel.py has how they divide the work, trainer/step.py what a step is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.token_shard import Dataset
from trainer import checkpoint, flops, parallel
from trainer import config as configuration
from trainer.config import Config
from trainer.device import DEVICES, capacity
from trainer.evaluate import Score, evaluate, evaluate_unigram, from_log, table, to_log, total, unigram
from trainer.generate import write
from trainer.log import Log
from trainer.mixture import SEVERAL, Blend, Mixture
from trainer.model import parameters
from trainer.parallel import World
from trainer.plan import refuse
from trainer.progress import Update, coverage, note, speed
from trainer.step import Judge, Learner, learner

Show = Callable[[str], None]
_GIVE_UP = 10  # steps in a row that were skipped
_SPIKE_AFTER = 128  # steps: before, there are too few to call one of them unusual


def show(line: str) -> None:
    print(line, flush=True)


class Stop:
    """Inside `with`, remembers the SIGTERM or Ctrl-C that came. A second one ends the process at once, unsaved.

    With several processes it does not: torchrun passes on to all of them what a terminal has sent to all of them.
    """

    def __init__(self, processes: int = 1) -> None:
        self.signal: int | None = None
        self._then = signal.SIG_DFL if processes == 1 else signal.SIG_IGN

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._then)


@dataclass
class Training(Learner):
    """All that changes while training. `g` is the number of sequences seen, which is also the loader's whole state."""

    data: Mixture
    loader: Blend
    saver: checkpoint.Saver
    step: int = 0
    g: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    _ahead: dict[int, Future[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def advance(self, judge: Judge | None = None) -> Update:
        """A step on the data whose turn it is: `Learner.learn`. One that is skipped passes over it, and its rate."""
        update = self.learn(self.step + 1, *self._read(), self.data.sources, self.data.tokenizer["bos"], judge)
        self.step, self.g = self.step + 1, self.g + self.config.run.sequences
        self.skipped += bool(update.skipped)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if update.skipped else 0
        return update

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """This process's rows of the step and the sources of their tokens. Those of the next step are begun with."""

        def read(g: int) -> tuple[np.ndarray, np.ndarray]:
            first, count = self.world.rows(self.config.run.sequences)
            return self.loader.read(g + first, count)

        now, after = self.g, self.g + self.config.run.sequences
        ready = self._ahead.get(now) or self._reader.submit(read, now)
        self._ahead = {after: self._reader.submit(read, after)}
        return ready.result()

    def heldout(self) -> list[Score]:
        run, length = self.config.run, self.config.model.context
        return evaluate(self.model, self.data, length, self.world.device, run.evaluate_tokens, self.world)

    def save(self) -> Path:
        skipped = self.skipped, self.skipped_in_a_row
        return self.saver.save(self.model, self.optimiser, self.step, self.g, self.data, self.config, skipped)


def begin(
    config: Config, data: Dataset | Mixture, out: Path, device: torch.device | World, change: Sequence[str] = ()
) -> Training:
    """A training at step 0, or as the newest checkpoint in `out` left it.

    Raises UserError if that checkpoint is of another dataset, or of a configuration that would learn something else.
    One that this dataset was made from by take-downs will do, and so will other settings where `change` names them.
    """
    world = device if isinstance(device, World) else World(device)
    data = Mixture.of(data)
    config = with_vocabulary(config, data)
    parallel.check(config, world)
    for dataset in data.datasets:
        checkpoint.tokenizer_of(dataset)  # a wrong one should be heard of now, not at the first save
    loader = Blend(data, config.run.seed, config.model.context)
    found = world.told(lambda: _open(out))
    if not out.is_dir():
        raise InputError(f"--out {out}: process {world.rank} does not see it; all must share its storage")
    if found and (reason := data.refuses(found.datasets)):
        raise UserError(f"{found.path} {reason}: choose another --out")
    if found and (changed := configuration.changes(found.config, config, change)):
        mend = "mend that, choose another --out, or have it changed (--change)"
        raise UserError(f"{found.path} was trained otherwise ({'; '.join(changed)}): {mend}")
    if found and found.step > config.run.steps:
        raise UserError(f"{found.path} is beyond run.steps = {config.run.steps}: choose more steps or another --out")
    world.told(lambda: _describe(out, config, data))
    torch.manual_seed(config.run.seed)
    own = learner(config, world)
    saver = checkpoint.Saver(out, world, found.path if found else None, config.run.checkpoint_async)
    training = Training(**vars(own), data=data, loader=loader, saver=saver)
    if found:
        checkpoint.restore(found, own.model, own.optimiser)
        training.step, training.g = found.step, found.g
        training.skipped, training.skipped_in_a_row = found.skipped, found.skipped_in_a_row
    else:
        own.model.initialise(config.run.seed, parallel.put)
    return training


def _open(out: Path) -> checkpoint.Checkpoint | None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}") from None
    checkpoint.sweep(out)
    return checkpoint.latest(out)


def _describe(out: Path, config: Config, data: Mixture) -> None:
    """OUT/run.json: what trainer.trace needs besides the log."""
    temporary = out / f".run.json.{os.getpid()}.tmp"
    described = {"data": data.places, "datasets": data.ids, "config": config.to_dict()}
    temporary.write_text(json.dumps(described, indent=1) + "\n")
    os.replace(temporary, out / "run.json")


def with_vocabulary(config: Config, data: Dataset | Mixture) -> Config:
    """The configuration with the vocabulary of the dataset's tokenizer where it names none.

    Raises UserError if it names a smaller one. A larger one is padded: some of its ids never occur.
    """
    needed = Mixture.of(data).tokenizer["vocabulary"]
    given = config.model.vocabulary
    if given is not None and given < needed:
        raise UserError(f"model.vocabulary = {given}, but the tokenizer has {needed}: --set model.vocabulary={needed}")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocabulary=given or needed))


def train(
    config: Config,
    data: Dataset | Mixture,
    out: Path,
    device: torch.device | World,
    stop: Stop,
    show: Show = show,
    change: Sequence[str] = (),
) -> tuple[Training, Log | None]:
    """Run to the last step, or until `stop` in any process. The last state is saved, and evaluated if the last step was
    reached. The first process has the log and talks; the others have none and are silent."""
    world = device if isinstance(device, World) else World(device)
    peak = flops.measured_peak(world.device)  # before anything is seeded: it draws numbers
    training = begin(config, data, out, world, change)
    config, run = training.config, training.config.run
    log = Log(out / "log.jsonl", training.step) if world.rank == 0 else None
    show = show if log else _silent
    show(f"model: {parameters(config.model):,} parameters, vocabulary {config.model.vocabulary}, on {world}")
    show(coverage(training.loader, training.g + (run.steps - training.step) * run.sequences))
    show(f"peak: {peak * world.size / 1e12:.3g} Tflop/s in matrix products, measured")
    if training.step:
        show(f"continuing after step {training.step} of {run.steps}")
    try:
        _steps(training, log, out, stop, show, peak)
    finally:
        if log:
            log.close()
    return training, log


def _steps(training: Training, log: Log | None, out: Path, stop: Stop, show: Show, peak: float) -> None:
    config, run, world = training.config, training.config.run, training.world
    unscored = log is not None and training.step == run.steps and run.steps not in log.heldout
    if world.most(training.step == 0 or unscored):
        _evaluate(training, log, show)
    since, spent, saved = training.step, 0.0, training.step
    judge = _judge(log, training, run.skip_z) if run.skip_z else None
    while training.step < run.steps and not world.most(stop.signal or 0):
        training.saver.look()
        start = time.monotonic()
        update = training.advance(judge)
        seconds = time.monotonic() - start
        spent += seconds
        done = training.step == run.steps
        if log:
            trace = f"python -m trainer.trace --run {out} --step {training.step}"
            line, unusual = note(log, update, training.step, training.g, training.skipped, seconds, trace)
            if unusual:
                show(f"step {training.step}/{run.steps} {unusual}: {line}\n  the pages in it: {trace}")
            if training.step == 1 or training.step % run.print_every == 0 or done:
                rate = (training.step - since) * run.sequences * config.model.context / spent
                since, spent = training.step, 0.0
                show(f"step {training.step}/{run.steps} | {line} | {speed(config, world, rate, peak)}")
        if training.skipped_in_a_row == _GIVE_UP:
            training.saver.wait()
            raise UserError(
                f"{_GIVE_UP} steps in a row were skipped, the last, {training.step}, with a loss of {update.loss} and a"
                f" gradient of {update.norm}: lower optimiser.lr or raise schedule.warmup, and choose another --out"
            )
        if training.step % run.evaluate_every == 0 or done:
            _evaluate(training, log, show)
        if training.step % run.checkpoint_every == 0 or done:
            _save(training, log)
            saved = training.step
    if training.step > saved:
        _save(training, log)
    training.saver.wait()


def _save(training: Training, log: Log | None) -> None:
    if log:
        log.flush()  # no checkpoint covers a step that a crash of the machine could take out of the log
    training.save()


def _silent(line: str) -> None:
    pass


def _judge(log: Log | None, training: Training, limit: float) -> Judge:
    """The rule of `run.skip_z`, which asks the log: so it decides the same after an interruption."""

    def judge(loss: float, norm: float) -> str:
        if log is None or training.step < _SPIKE_AFTER:
            return ""
        z = max(log.z_score("loss", loss), log.z_score("grad_norm", norm))
        return f"a spike of {z:.1f} deviations" if z > limit else ""

    return judge


def _evaluate(training: Training, log: Log | None, show: Show) -> None:
    scores = training.heldout()
    if scores and log:
        log.append({"step": training.step, "heldout": to_log(scores)})
        parts = ", ".join(f"{score.source} {score.bits_per_byte:.3f}" for score in scores)
        show(f"held-out at step {training.step}: {total(scores).bits_per_byte:.4f} bits per byte ({parts})")


def report(training: Training, log: Log, out: Path, show: Show = show) -> None:
    """What came of it: losses, held-out bits per byte beside the unigram baseline, and a sample of its writing."""
    steps, limit = training.config.run.steps, training.config.run.evaluate_tokens
    if log.first and log.last:
        ends = [f"{record['loss']:.4f} at step {record['step']}" for record in (log.first, log.last)]
        show(f"\nloss: {', '.join(ends)}")
    if steps in log.heldout:
        baseline = evaluate_unigram(unigram(training.data), training.data, limit)
        columns = {f"step {step}": from_log(log.heldout[step]) for step in (0, steps) if step in log.heldout}
        same = {name: column for name, column in columns.items() if _judged(column) == _judged(baseline)}
        show(f"\nheld-out bits per byte\n{table({'unigram': baseline, **same})}")
        if others := [name for name in columns if name not in same]:
            show(f"{' and '.join(others)} had other documents: a take-down, or another run.evaluate_tokens")
    found = checkpoint.find(out)
    if training.world.size == 1:  # else no process has the model whole
        show(f"\na sample, from nothing:\n{write(training.model, found, '', 120, training.world.device)}")
    show(
        f"\nthe model is in {found.path}; let it write:\n  python -m trainer.generate --checkpoint {out} --prompt TEXT"
    )


def _judged(scores: Sequence[Score]) -> list[tuple[str, int, int]]:
    """What was predicted: only scores of the same may stand side by side."""
    return [(score.source, score.documents, score.tokens) for score in scores]


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.pretrain", description="Train a LLaMA.")
    parser.add_argument("--data", action="append", required=True, metavar="DIR[=WEIGHT]", help=SEVERAL)
    parser.add_argument(
        "--out", type=Path, required=True, help="where checkpoints and log go; an interrupted run is continued"
    )
    presets = ", ".join(configuration.presets())
    parser.add_argument("--preset", default="tiny", help=f"{presets}; or the path of a .toml file")
    parser.add_argument("--steps", type=int, help="short for --set run.steps=N")
    parser.add_argument("--seed", type=int, help="short for --set run.seed=N")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override the preset")
    parser.add_argument("--ignore-memory", action="store_true", help="start also where it seems too small")
    parser.add_argument(
        "--change",
        action="append",
        default=[],
        metavar="SECTION.KEY",
        help="a setting that may be another than when the run was begun, such as run.sequences",
    )
    args = parser.parse_args(argv)
    short: dict[str, Any] = {"run.steps": args.steps, "run.seed": args.seed}
    config = configuration.load(args.preset, args.set + [f"{k}={v}" for k, v in short.items() if v is not None])
    data = Mixture.open(args.data)
    world = parallel.start(config.parallel, args.device)
    if not args.ignore_memory:
        world.told(lambda: refuse(with_vocabulary(config, data), world, capacity(world.device)))
    with Stop(world.size) as stop:
        training, log = train(config, data, args.out, world, stop, change=args.change)
        number = world.most(stop.signal or 0) or signal.SIGTERM
    parallel.stop()
    if training.step < training.config.run.steps:
        if log:
            name, step = signal.Signals(number).name, training.step
            show(f"stopped by {name}; all up to step {step} is saved, and the same command continues from it")
        return 128 + number  # as a shell reports it: nobody takes the run for finished
    if log:
        report(training, log, args.out)
    return 0


def cli() -> int:
    return exit_on_user_error(main)


if __name__ == "__main__":
    sys.exit(cli())
