"""From a step of a run to the pages in it.

    python -m trainer.trace --run RUN --step 1200 --top 20

RUN/log.jsonl says which sequences the step read, whatever the batches and processes were; the order of the data says
which documents they are, the shards where those came from. With a checkpoint, by default RUN's newest from before the
step, each sequence is read again as the step read it, and the documents that lift its mean loss most stand first.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from curation.errors import CommandLine, InputError, ModelError, UserError, exit_on_user_error
from curation.token_shard import TAKEN_DOWN
from models.tokenizer import Tokenizer
from trainer import checkpoint, log
from trainer.attention import documents, preferred_kernels
from trainer.checkpoint import Checkpoint
from trainer.config import Config, from_dict
from trainer.data import Piece
from trainer.device import DEVICES, autocast, pick
from trainer.mixture import SEVERAL, Blend, Mixture

_TOP = 20
_WORST = 8  # tokens of a document
_EVERY = 5.0  # seconds between two signs of life
Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tokens of one document, those of `piece`, which sequence number `sequence` predicts one after the other."""

    sequence: int
    column: int  # of the first of them among the predictions of the sequence
    source: str  # "" if the document was taken down
    piece: Piece
    losses: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.float32))  # -ln p of each, if known

    @property
    def tokens(self) -> int:
        return self.piece.end - self.piece.start

    @property
    def nats(self) -> float:
        return float(self.losses.sum(dtype=np.float64))


def find_step(run: Path, step: int, usual: int) -> tuple[int, int, dict[str, Any]]:
    """The first sequence that a step read, how many they were, and its line of the log. `usual` is how many a step has.

    Raises UserError if the log has no such step, or is damaged.
    """
    steps = {record["step"]: record for _, record in log.records(run / "log.jsonl") if "g" in record}
    if step not in steps:
        there = f"steps {min(steps)} to {max(steps)}" if steps else "no steps"
        raise UserError(f"--step {step}: {run / 'log.jsonl'} has {there}")
    after = steps[step]["g"]
    before = steps[step - 1]["g"] if step - 1 in steps else 0 if step == 1 else after - usual
    return before, after - before, steps[step]


def stretches(loader: Blend, first: int, count: int) -> Iterator[Stretch]:
    """All that sequences first … first + count - 1 predict: T tokens each."""
    for g in range(first, first + count):
        column, (number, pieces) = 0, loader.pieces(g)
        for piece in pieces:
            gone = piece.source == TAKEN_DOWN
            source = "" if gone else loader.mixture.sources[loader.mixture.first_source[number] + piece.source]
            yield Stretch(g, column, source, piece)
            column += piece.end - piece.start


@torch.no_grad()
def token_losses(
    model: nn.Module, loader: Blend, config: Config, first: int, count: int, device: torch.device, show: Show
) -> np.ndarray:
    """-ln p of each prediction of these sequences, as a step's forward pass finds it: float32 [count, T].

    0 for what was taken down.
    """
    found, said, at_once = [], time.monotonic(), config.run.microbatch
    for start in range(0, count, at_once):
        rows = torch.from_numpy(loader.read(first + start, min(at_once, count - start))[0]).to(device)
        inputs = rows[:, :-1].clamp(min=0)
        within = documents(inputs, loader.mixture.tokenizer["bos"]) if config.run.document_mask else None
        with preferred_kernels(device), autocast(device):
            found.append(model(inputs, rows[:, 1:], documents=within)[1].float().cpu().numpy())
        if time.monotonic() - said > _EVERY:
            said = time.monotonic()
            show(f"{start + len(rows)} of {count} sequences read")
    return np.concatenate(found)


def checkpoint_before(run: Path, step: int) -> Checkpoint | None:
    """The newest whole checkpoint from before a step, else the one right after it, else None."""
    steps = checkpoint.directories(run)
    for number in sorted((n for n in steps if n <= step), key=lambda n: (n == step, -n)):
        try:
            return checkpoint.read(steps[number])
        except ModelError as error:
            print(f"passed over: {error}", file=sys.stderr)
    return None


def pages(found: Sequence[Stretch], predictions: int, mean: float, tokenizer: Tokenizer | None) -> list[dict[str, Any]]:
    """Stretches as JSON has them, with the provenance of their documents.

    With losses: `loss` is the mean of the stretch, and `lifts` how much lower the step's mean would be if that were it.
    """
    rows: dict[tuple[Path, int], dict[str, Any]] = {}
    for shard in {s.piece.shard.path: s.piece.shard for s in found}.values():
        numbers = sorted({s.piece.document for s in found if s.piece.shard.path == shard.path})
        rows |= {(shard.path, n): row for n, row in zip(numbers, shard.provenance_of(numbers), strict=True)}
    told = []
    for s in found:
        path, number = s.piece.shard.path, s.piece.document
        page = {
            "source": s.source,
            **{key: rows[path, number][key] for key in ("id", "url", "file", "locator", "date")},
        }
        page |= {"shard": str(path), "document": number, "start": s.piece.start, "end": s.piece.end}
        page |= {"tokens": s.tokens, "sequence": s.sequence}
        if tokenizer:
            page |= {"loss": s.nats / s.tokens, "lifts": (s.nats - mean * s.tokens) / predictions, "worst": []}
            for n in np.argsort(-s.losses, kind="stable")[:_WORST].tolist():
                id, at = int(s.piece.shard.tokens[s.piece.start + n]), s.piece.start + n
                text = {tokenizer.bos: "[BOS]", tokenizer.eos: "[EOS]"}.get(id) or tokenizer.decode([id])
                page["worst"].append({"at": at, "token": text, "loss": float(s.losses[n])})
        told.append(page)
    return told


def trace(
    run: Path,
    step: int,
    data: Sequence[str] = (),
    found: Checkpoint | None = None,
    top: int | None = None,
    device: torch.device | None = None,
    show: Show = lambda line: None,
) -> dict[str, Any]:
    """What the step read, as JSON has it: all of it, or the first `top` stretches.

    They stand in the order of the sequences, or, with `found`, by what its losses add to the mean. `data` is where the
    datasets are, if no longer where the run found them. Raises UserError.
    """
    try:
        known = json.loads((run / "run.json").read_text())
        config, places, ids = from_dict(known["config"]), known["data"], known["datasets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run} holds no run.json of a training: {error!r}") from None
    try:
        mixture = Mixture.open(data or places)
    except InputError as error:
        raise InputError(f"{error}{'' if data else '; --data says where a dataset is now'}") from None
    if reason := mixture.refuses(ids):
        raise UserError(f"{run} {reason}")
    first, count, record = find_step(run, step, config.run.sequences)
    loader = Blend(mixture, config.run.seed, config.model.context)
    read = list(stretches(loader, first, count))
    left = [s for s in read if s.source]
    predictions, mean, tokenizer = sum(s.tokens for s in left), 0.0, None
    if found:
        if found.tokenizer["sha256"] != mixture.tokenizer["sha256"]:
            raise UserError(f"{found.path} was trained with another tokenizer than that of {run}")
        show(f"reading {count} sequences with {found.path}")
        tokenizer, device = Tokenizer.load(found.tokenizer_file), device or torch.device("cpu")
        losses = token_losses(checkpoint.load_model(found, device), loader, config, first, count, device, show)
        mean = float(losses.sum(dtype=np.float64)) / max(1, predictions)
        own = ((s, losses[s.sequence - first, s.column : s.column + s.tokens]) for s in left)
        left = [dataclasses.replace(s, losses=of_it) for s, of_it in own]
        left.sort(key=lambda s: mean * s.tokens - s.nats)
    return {
        "run": str(run),
        "step": step,
        "first": first,
        "sequences": count,
        "predictions": predictions,
        "taken_down": sum(s.tokens for s in read) - predictions,
        "documents": len({(s.piece.shard.path, s.piece.document) for s in left}),
        "stretches": len(left),
        "logged_loss": record["loss"],
        "skipped": record.get("skipped", ""),
        "loss": mean if found else None,
        "checkpoint": str(found.path) if found else None,
        "pages": pages(left[:top], predictions, mean, tokenizer),
    }


def as_text(told: dict[str, Any]) -> str:
    """What `trace` found, for eyes."""
    last = told["first"] + told["sequences"] - 1
    sequences = f"sequences {told['first']} to {last}, {told['predictions']:,} predictions"
    lines = [f"step {told['step']} of {told['run']}: {sequences}, of {told['documents']:,} documents"]
    if told["taken_down"]:
        lines.append(f"besides {told['taken_down']:,} tokens of documents that were taken down")
    logged = "not finite" if told["logged_loss"] is None else f"{told['logged_loss']:.4f}"
    lines.append(f"mean loss in the log {logged}{', skipped: ' * bool(told['skipped'])}{told['skipped']}")
    if told["checkpoint"]:
        lines[-1] += f"; {told['loss']:.4f} under {told['checkpoint']}"
    for number, page in enumerate(told["pages"], 1):
        loss = f"loss {page['loss']:.3f}, lifts the mean by {page['lifts']:+.4f}; " if "loss" in page else ""
        place = f"{page['shard']} document {page['document']}, tokens {page['start']} to {page['end']}"
        lines.append(f"{number:>4}. {page['url'] or page['id']}")
        lines.append(f"      {page['source']}, {page['file']} at {page['locator']}")
        lines.append(f"      {loss}sequence {page['sequence']}; {place}")
        if "worst" in page:
            lines.append(
                "      worst " + ", ".join(f"{token['token']!r} {token['loss']:.1f}" for token in page["worst"])
            )
    if left := told["stretches"] - len(told["pages"]):
        lines.append(f"and {left:,} more: --top {told['stretches']}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.trace", description="Which pages a step of a run read.")
    parser.add_argument("--run", type=Path, required=True, help="a run's output directory")
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--top", type=int, help=f"how many to show: {_TOP} by default, without losses all")
    parser.add_argument("--checkpoint", type=Path, help="whose losses: by default the run's newest before the step")
    parser.add_argument("--list", action="store_true", help="no losses: the pages in the order of the sequences")
    parser.add_argument("--data", action="append", default=[], metavar="DIR[=WEIGHT]", help=f"if moved: {SEVERAL}")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if args.top is not None and args.top < 1:
        raise UserError(f"--top {args.top}: it must be above 0")
    found = None
    if not args.list:
        found = checkpoint.find(args.checkpoint) if args.checkpoint else checkpoint_before(args.run, args.step)
    show = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    top = args.top or (_TOP if found else None)
    told = trace(args.run, args.step, args.data, found, top, pick(args.device), show)
    print(json.dumps(told, indent=1, ensure_ascii=False) if args.json else as_text(told))
    if not found and not args.list:
        show(f"no losses: {args.run} has no checkpoint from before the step; --checkpoint names another")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
