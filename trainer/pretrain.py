"""Train a LLaMA on a dataset of token shards.

    python -m trainer.pretrain --data DATASET --out RUN --preset tiny --steps 300 --set optimiser.lr=1e-3

The same command continues where it was interrupted, to the bit: kill it as you like. SIGTERM and Ctrl-C save first.
Every step is a line of RUN/log.jsonl. One process, one device; what a step is (`Training.advance`) stands alone.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.token_shard import Dataset
from trainer import checkpoint
from trainer import config as configuration
from trainer.config import Config
from trainer.data import Loader
from trainer.device import DEVICES, autocast, pick
from trainer.evaluate import Score, evaluate, evaluate_unigram, from_log, table, to_log, total, unigram
from trainer.generate import write
from trainer.log import Log
from trainer.model import Llama, build, parameters, token_losses
from trainer.optim import adamw, learning_rate

Show = Callable[[str], None]


def show(line: str) -> None:
    print(line, flush=True)


class Stop:
    """Inside `with`, remembers the SIGTERM or Ctrl-C that came. A second one ends the process at once, unsaved."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Training:
    """All that changes while training. `g` is the number of sequences seen, which is also the loader's whole state."""

    config: Config
    dataset: Dataset
    loader: Loader
    device: torch.device
    model: Llama
    optimiser: torch.optim.Optimizer
    step: int = 0
    g: int = 0

    def advance(self) -> tuple[float, float, float]:
        """One update. Returns the mean loss in nats per token, the norm of the gradient before clipping, and the rate.

        Losses are summed and divided by the tokens of the whole step, so the size of a microbatch changes no mean.
        """
        run = self.config.run
        rate = learning_rate(self.step + 1, self.config)
        windows = torch.from_numpy(self.loader.batch(self.g, run.sequences)).to(self.device)
        predictions = run.sequences * self.config.model.context
        loss = torch.zeros((), device=self.device)
        for rows in windows.split(run.microbatch):
            with autocast(self.device):
                part = token_losses(self.model, rows).sum() / predictions
            part.backward()
            loss += part.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimiser.clip)
        if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
            raise UserError(
                f"the loss is {loss.item()} and its gradient {norm.item()} at step {self.step + 1}: lower optimiser.lr"
                " or raise schedule.warmup, and choose another --out"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step, self.g = self.step + 1, self.g + run.sequences
        return loss.item(), norm.item(), rate

    def heldout(self) -> list[Score]:
        run, length = self.config.run, self.config.model.context
        return evaluate(self.model, self.dataset, length, self.device, run.evaluate_tokens)

    def save(self, out: Path) -> Path:
        return checkpoint.save(out, self.model, self.optimiser, self.step, self.g, self.dataset, self.config)


def begin(config: Config, dataset: Dataset, out: Path, device: torch.device) -> Training:
    """A training at step 0, or as the newest checkpoint in `out` left it.

    Raises UserError if that checkpoint is of another dataset, or of a configuration that would learn something else.
    """
    config = _with_vocabulary(config, dataset)
    checkpoint.tokenizer_of(dataset)  # a wrong one should be heard of now, not at the first save
    loader = Loader(dataset, config.run.seed, config.model.context)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}") from None
    checkpoint.sweep(out)
    found = checkpoint.latest(out)
    if found and found.dataset_id != dataset.id:
        ids = f"dataset {found.dataset_id[:12]}, and {dataset.directory} is {dataset.id[:12]}"
        raise UserError(f"{found.path} was trained on {ids}: choose another --out")
    if found and (changed := configuration.changes(found.config, config)):
        raise UserError(f"{found.path} was trained otherwise ({'; '.join(changed)}): mend that or choose another --out")
    torch.manual_seed(config.run.seed)
    model = build(config.model, device)
    optimiser = adamw(model, config.optimiser)
    training = Training(config, dataset, loader, device, model, optimiser)
    if found:
        checkpoint.restore(found, model, optimiser)
        training.step, training.g = found.step, found.g
    else:
        model.initialise(config.run.seed)
    if config.run.compile:
        model.compile(dynamic=False)
    return training


def _with_vocabulary(config: Config, dataset: Dataset) -> Config:
    needed = dataset.manifest["tokenizer"]["vocabulary"]
    given = config.model.vocabulary
    if given is not None and given < needed:
        raise UserError(f"model.vocabulary = {given}, but the tokenizer has {needed}: --set model.vocabulary={needed}")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocabulary=given or needed))


def train(
    config: Config, dataset: Dataset, out: Path, device: torch.device, stop: Stop, show: Show = show
) -> tuple[Training, Log]:
    """Run to the last step, or until `stop`. The last state is saved, and evaluated if the last step was reached."""
    training = begin(config, dataset, out, device)
    config, run = training.config, training.config.run
    log = Log(out / "log.jsonl", training.step)
    show(f"model: {parameters(config.model):,} parameters, vocabulary {config.model.vocabulary}, on {device}")
    show(f"data: {training.loader.coverage(run.steps * run.sequences)}")
    if training.step:
        show(f"continuing after step {training.step} of {run.steps}")
    if training.step == 0 or (training.step == run.steps and run.steps not in log.heldout):
        _evaluate(training, log, show)
    since, spent, saved = training.step, 0.0, training.step
    while training.step < run.steps and stop.signal is None:
        start = time.monotonic()
        loss, norm, rate = training.advance()
        seconds = time.monotonic() - start
        spent += seconds
        z_loss, z_norm = log.z_score("loss", loss), log.z_score("grad_norm", norm)
        record = {"step": training.step, "loss": loss, "grad_norm": norm, "lr": rate, "g": training.g}
        log.append({**record, "seconds": round(seconds, 4)})
        done = training.step == run.steps
        if training.step == 1 or training.step % run.print_every == 0 or done:
            speed = (training.step - since) * run.sequences * config.model.context / spent
            since, spent = training.step, 0.0
            show(
                f"step {training.step}/{run.steps} | loss {loss:.4f} ({z_loss:+.1f}z)"
                f" | gradient {norm:.3f} ({z_norm:+.1f}z) | lr {rate:.2e} | {speed:,.0f} tokens/s"
            )
        if training.step % run.evaluate_every == 0 or done:
            _evaluate(training, log, show)
        if training.step % run.checkpoint_every == 0 or done:
            training.save(out)
            saved = training.step
    if training.step > saved:
        training.save(out)
    log.close()
    return training, log


def _evaluate(training: Training, log: Log, show: Show) -> None:
    if scores := training.heldout():
        log.append({"step": training.step, "heldout": to_log(scores)})
        parts = ", ".join(f"{score.source} {score.bits_per_byte:.3f}" for score in scores)
        show(f"held-out at step {training.step}: {total(scores).bits_per_byte:.4f} bits per byte ({parts})")


def report(training: Training, log: Log, out: Path, show: Show = show) -> None:
    """What came of it: losses, held-out bits per byte beside the unigram baseline, and a sample of its writing."""
    steps = training.config.run.steps
    if log.first and log.last:
        ends = [f"{record['loss']:.4f} at step {record['step']}" for record in (log.first, log.last)]
        show(f"\nloss: {', '.join(ends)}")
    if steps in log.heldout:
        baseline = evaluate_unigram(unigram(training.dataset), training.dataset, training.config.run.evaluate_tokens)
        columns = {f"step {step}": from_log(log.heldout[step]) for step in (0, steps) if step in log.heldout}
        show(f"\nheld-out bits per byte\n{table({'unigram': baseline, **columns})}")
    found = checkpoint.find(out)
    show(f"\na sample, from nothing:\n{write(training.model, found, '', 120, training.device)}")
    show(
        f"\nthe model is in {found.path}; let it write:\n  python -m trainer.generate --checkpoint {out} --prompt TEXT"
    )


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
    device = pick(args.device)
    dataset = Dataset.open(args.data)
    with Stop() as stop:
        training, log = train(config, dataset, args.out, device, stop)
    if training.step < training.config.run.steps:
        number = signal.Signals(stop.signal or signal.SIGTERM)
        show(
            f"stopped by {number.name}; all up to step {training.step} is saved, and the same command continues from it"
        )
        return 128 + number  # as a shell reports it: nobody takes the run for finished
    report(training, log, args.out)
    return 0


def cli() -> int:
    return exit_on_user_error(main)


if __name__ == "__main__":
    sys.exit(cli())
