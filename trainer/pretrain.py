"""Train a LLaMA on a dataset of token shards.

    python -m trainer.pretrain --data DATASET --out RUN --preset tiny --steps 300 --set optimiser.lr=1e-3

The same command continues where it was interrupted, to the bit: kill it as you like. SIGTERM and Ctrl-C save first.
Every step is a line of RUN/log.jsonl. With several GPUs: `torchrun --nproc-per-node 8 -m trainer.pretrain …`, the rest
is the same; trainer/parallel.py has how they divide the work. What a step is (`Training.advance`) stands alone.
"""

from __future__ import annotations

import dataclasses
import math
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
from trainer.attention import documents, preferred_kernels
from trainer.config import Config
from trainer.data import IGNORED, Loader
from trainer.device import DEVICES
from trainer.evaluate import Score, evaluate, evaluate_unigram, from_log, table, to_log, total, unigram
from trainer.generate import write
from trainer.log import Log
from trainer.model import Llama, compile_blocks, parameters
from trainer.optim import adamw, learning_rate
from trainer.parallel import World
from trainer.progress import Update, note, speed

Show = Callable[[str], None]
Judge = Callable[
    [float, float], str
]  # loss and norm of the gradient in, why the update is to be left out ("": it is not)
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
class Training:
    """All that changes while training. `g` is the number of sequences seen, which is also the loader's whole state."""

    config: Config
    dataset: Dataset
    loader: Loader
    world: World
    model: Llama
    optimiser: torch.optim.Optimizer
    step: int = 0
    g: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    _ahead: dict[int, Future[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def advance(self, judge: Judge | None = None) -> Update:
        """One update, or none: where the loss or its gradient is not finite, or the first process's `judge` says so,
        the step is passed over, data and rate and all, and weights and moments stay as they were.

        Losses are summed and divided by the predictions of the whole step, in all processes: neither the size of a
        microbatch nor their number changes a mean, however unevenly predictions are spread.
        """
        run, world, names = self.config.run, self.world, self.dataset.sources
        device, columns = world.device, world.columns(self.config.model.context)
        batch, source = self._read()
        targets = batch[:, 1:][:, columns]
        source = np.where(targets == IGNORED, len(names), source[:, 1:][:, columns]).astype(np.int64)
        counts = world.add(torch.from_numpy(np.bincount(source.ravel(), minlength=len(names) + 1)))[:-1].tolist()
        predictions = max(1, sum(counts))  # all, but for what was taken down
        sums = torch.zeros(len(names) + 1, device=device, dtype=_wide(device))
        tensors = [self._to_device(array) for array in (batch[:, :-1].clip(min=0), targets, source)]
        parts = list(zip(*(tensor.split(run.microbatch) for tensor in tensors), strict=True))
        for number, (inputs, predicted, origin) in enumerate(parts):
            parallel.before_backward(self.model, last=number == len(parts) - 1)
            within = documents(inputs, self.dataset.manifest["tokenizer"]["bos"]) if run.document_mask else None
            with preferred_kernels(device):
                with world.precision():
                    loss, losses = self.model(inputs, predicted, documents=within)
                (loss / predictions).backward()
            sums.index_add_(0, origin.flatten(), losses.flatten().to(sums.dtype))
        found = world.add(sums).tolist()
        norm = float(parallel.clip(list(self.model.parameters()), self.config.optimiser.clip))
        rate = learning_rate(self.step + 1, self.config)
        by_source = {name: nats / count for name, nats, count in zip(names, found, counts, strict=False) if count}
        skipped = self._verdict(sum(found) / predictions, norm, judge)
        if not skipped:
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
        self.optimiser.zero_grad()
        self.step, self.g = self.step + 1, self.g + run.sequences
        self.skipped += bool(skipped)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        return Update(sum(found) / predictions, norm, rate, by_source, skipped)

    def _verdict(self, loss: float, norm: float, judge: Judge | None) -> str:
        """Why the update is to be left out: the same in all processes."""
        if self.world.most(not (math.isfinite(loss) and math.isfinite(norm))):
            return "not finite"
        return self.world.told(lambda: judge(loss, norm)) if judge else ""

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """This process's rows of the step and the sources of their tokens. Those of the next step are begun with."""

        def read(g: int) -> tuple[np.ndarray, np.ndarray]:
            first, count = self.world.rows(self.config.run.sequences)
            return self.loader.batch(g + first, count), self.loader.sources(g + first, count)

        now, after = self.g, self.g + self.config.run.sequences
        ready = self._ahead.get(now) or self._reader.submit(read, now)
        self._ahead = {after: self._reader.submit(read, after)}
        return ready.result()

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        cuda = self.world.device.type == "cuda"
        return (tensor.pin_memory() if cuda else tensor).to(self.world.device, non_blocking=cuda)

    def heldout(self) -> list[Score]:
        run, length = self.config.run, self.config.model.context
        return evaluate(self.model, self.dataset, length, self.world.device, run.evaluate_tokens, self.world)

    def save(self, out: Path) -> Path:
        skipped = self.skipped, self.skipped_in_a_row
        what = self.model, self.optimiser, self.step, self.g, self.dataset, self.config
        return checkpoint.save(out, *what, self.world, skipped)


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no fp64


def begin(config: Config, dataset: Dataset, out: Path, device: torch.device | World) -> Training:
    """A training at step 0, or as the newest checkpoint in `out` left it.

    Raises UserError if that checkpoint is of another dataset, or of a configuration that would learn something else.
    One that this dataset was made from by take-downs will do.
    """
    world = device if isinstance(device, World) else World(device)
    config = with_vocabulary(config, dataset)
    parallel.check(config, world)
    checkpoint.tokenizer_of(dataset)  # a wrong one should be heard of now, not at the first save
    loader = Loader(dataset, config.run.seed, config.model.context)
    found = world.told(lambda: _open(out))
    if not out.is_dir():
        raise InputError(f"--out {out}: process {world.rank} does not see it; all must share its storage")
    if found and found.dataset_id not in (*dataset.ancestors, dataset.id):
        ids = f"dataset {found.dataset_id[:12]}, and {dataset.directory} is {dataset.id[:12]}"
        raise UserError(f"{found.path} was trained on {ids}: choose another --out")
    if found and (changed := configuration.changes(found.config, config)):
        raise UserError(f"{found.path} was trained otherwise ({'; '.join(changed)}): mend that or choose another --out")
    torch.manual_seed(config.run.seed)
    with torch.device("meta"):
        model = Llama(config.model)
    parallel.cut_by_tensor(model, world)
    model.set_recompute(config.run.recompute)
    if config.run.compile:
        compile_blocks(model)
    parallel.shard(model, world)
    model.to_empty(device=world.device)
    optimiser = adamw(model, config.optimiser)
    training = Training(config, dataset, loader, world, model, optimiser)
    if found:
        checkpoint.restore(found, model, optimiser)
        training.step, training.g = found.step, found.g
        training.skipped, training.skipped_in_a_row = found.skipped, found.skipped_in_a_row
    else:
        model.initialise(config.run.seed, parallel.put)
    return training


def _open(out: Path) -> checkpoint.Checkpoint | None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}") from None
    checkpoint.sweep(out)
    return checkpoint.latest(out)


def with_vocabulary(config: Config, dataset: Dataset) -> Config:
    """The configuration with the vocabulary of the dataset's tokenizer where it names none.

    Raises UserError if it names a smaller one. A larger one is padded: some of its ids never occur.
    """
    needed = dataset.manifest["tokenizer"]["vocabulary"]
    given = config.model.vocabulary
    if given is not None and given < needed:
        raise UserError(f"model.vocabulary = {given}, but the tokenizer has {needed}: --set model.vocabulary={needed}")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocabulary=given or needed))


def train(
    config: Config, dataset: Dataset, out: Path, device: torch.device | World, stop: Stop, show: Show = show
) -> tuple[Training, Log | None]:
    """Run to the last step, or until `stop` in any process. The last state is saved, and evaluated if the last step was
    reached. The first process has the log and talks; the others have none and are silent."""
    world = device if isinstance(device, World) else World(device)
    peak = flops.measured_peak(world.device)  # before anything is seeded: it draws numbers
    training = begin(config, dataset, out, world)
    config, run = training.config, training.config.run
    log = Log(out / "log.jsonl", training.step) if world.rank == 0 else None
    show = show if log else _silent
    show(f"model: {parameters(config.model):,} parameters, vocabulary {config.model.vocabulary}, on {world}")
    show(f"data: {training.loader.coverage(run.steps * run.sequences)}")
    show(f"peak: {peak * world.size / 1e12:.3g} Tflop/s in matrix products, measured")
    if training.step:
        show(f"continuing after step {training.step} of {run.steps}")
    unscored = log is not None and training.step == run.steps and run.steps not in log.heldout
    if world.most(training.step == 0 or unscored):
        _evaluate(training, log, show)
    since, spent, saved = training.step, 0.0, training.step
    judge = _judge(log, training, run.skip_z) if run.skip_z else None
    while training.step < run.steps and not world.most(stop.signal or 0):
        start = time.monotonic()
        update = training.advance(judge)
        seconds = time.monotonic() - start
        spent += seconds
        done = training.step == run.steps
        if log:
            line = note(log, update, training.step, training.g, training.skipped, seconds)
            if update.skipped:
                show(f"step {training.step}/{run.steps} is skipped, {update.skipped}: {line}")
            if training.step == 1 or training.step % run.print_every == 0 or done:
                rate = (training.step - since) * run.sequences * config.model.context / spent
                since, spent = training.step, 0.0
                show(f"step {training.step}/{run.steps} | {line} | {speed(config, world, rate, peak)}")
        if training.skipped_in_a_row == _GIVE_UP:
            if log:
                log.close()
            raise UserError(
                f"{_GIVE_UP} steps in a row were skipped, the last, {training.step}, with a loss of {update.loss} and a"
                f" gradient of {update.norm}: lower optimiser.lr or raise schedule.warmup, and choose another --out"
            )
        if training.step % run.evaluate_every == 0 or done:
            _evaluate(training, log, show)
        if training.step % run.checkpoint_every == 0 or done:
            _save(training, log, out)
            saved = training.step
    if training.step > saved:
        _save(training, log, out)
    if log:
        log.close()
    return training, log


def _save(training: Training, log: Log | None, out: Path) -> None:
    if log:
        log.flush()  # no checkpoint covers a step that a crash of the machine could take out of the log
    training.save(out)


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
        baseline = evaluate_unigram(unigram(training.dataset), training.dataset, limit)
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
    parser.add_argument("--data", type=Path, required=True, help="dataset directory, with its manifest.json")
    parser.add_argument(
        "--out", type=Path, required=True, help="where checkpoints and log go; an interrupted run is continued"
    )
    presets = ", ".join(configuration.presets())
    parser.add_argument("--preset", default="tiny", help=f"{presets}; or the path of a .toml file")
    parser.add_argument("--steps", type=int, help="short for --set run.steps=N")
    parser.add_argument("--seed", type=int, help="short for --set run.seed=N")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override the preset")
    args = parser.parse_args(argv)
    short: dict[str, Any] = {"run.steps": args.steps, "run.seed": args.seed}
    config = configuration.load(args.preset, args.set + [f"{k}={v}" for k, v in short.items() if v is not None])
    dataset = Dataset.open(args.data)
    world = parallel.start(config.parallel, args.device)
    with Stop(world.size) as stop:
        training, log = train(config, dataset, args.out, world, stop)
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
