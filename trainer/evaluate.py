"""Held-out bits per byte, per source: comparable between models, tokenizers and the unigram baseline.

    python -m trainer.evaluate --data DATASET --checkpoint RUN

A held-out document is [BOS] t1 … tn [EOS]. Predicted are t1 … tn and EOS, each exactly once; BOS is given and is never
predicted. Counted are the UTF-8 bytes of the document's text, as the shard's .nbytes says; EOS has no bytes, its bits
count. Each document is read alone, in stretches of T tokens that begin anew: the first token of a stretch has one token
before it. Bits per byte of several documents is the sum of bits over the sum of bytes, never a mean of ratios.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.token_shard import TAKEN_DOWN, Dataset
from trainer import checkpoint
from trainer.data import IGNORED
from trainer.device import DEVICES, pick
from trainer.mixture import SEVERAL, Mixture
from trainer.parallel import World, reshard
from trainer.progress import aligned

_BATCH = 4096  # tokens that go through the model at once
_FITTED = 1 << 30  # training tokens that the unigram is fitted on, at most


@dataclass(frozen=True, slots=True)
class Score:
    """What predicting the held-out documents of one source cost. `tokens` counts predictions."""

    source: str
    documents: int
    tokens: int
    bytes: int
    bits: float

    @property
    def bits_per_byte(self) -> float:
        return self.bits / self.bytes if self.bytes else math.nan


def total(scores: Sequence[Score]) -> Score:
    """All sources together: sums of documents, tokens, bytes and bits."""
    sums = [sum(getattr(score, name) for score in scores) for name in ("documents", "tokens", "bytes", "bits")]
    return Score("all", *sums)


def heldout(data: Dataset | Mixture, limit: int | None = None) -> Iterator[tuple[int, np.ndarray, int]]:
    """(number of its source, tokens with BOS and EOS, UTF-8 bytes) of each held-out document of all datasets.

    With a limit, the documents of each source until their tokens pass it: the same ones each time. Without what was
    taken down.
    """
    seen: dict[int, int] = {}
    mixture = Mixture.of(data)
    for dataset, first in zip(mixture.datasets, mixture.first_source, strict=True):
        for shard in dataset.heldout():
            for tokens, id, nbytes in zip(shard.documents(), shard.sources.tolist(), shard.nbytes, strict=True):
                if id != TAKEN_DOWN and (limit is None or seen.get(first + id, 0) < limit):
                    seen[first + id] = seen.get(first + id, 0) + len(tokens)
                    yield first + id, tokens, int(nbytes)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Dataset | Mixture,
    length: int,
    device: torch.device,
    limit: int | None = None,
    world: World | None = None,
) -> list[Score]:
    """The model's score on each source that has held-out documents, in the order of the manifests. `length` is T.

    Several processes divide the documents; all must call it at once, and all are given the scores.
    """
    world = world or World(device)
    was_training = model.training
    model.eval()
    documents = list(heldout(data, limit))
    stretches = [
        (len(piece), source, piece)
        for source, tokens, _ in documents
        for start in range(0, len(tokens) - 1, length)
        if len(piece := tokens[start : start + length + 1]) > 1
    ]
    stretches.sort(key=lambda stretch: stretch[0])  # like lengths together: little padding, and a stable order
    nats = np.zeros(len(Mixture.of(data).sources))
    rows = max(1, _BATCH // length)
    for first in range(0, len(stretches), rows * world.readers):
        start = first + rows * world.reader
        batch = stretches[start : start + rows] or stretches[:1]  # all must run the model equally often
        width = -(-(batch[-1][0] - 1) // world.shape[2]) * world.shape[2] + 1
        windows = np.full((len(batch), width), IGNORED, dtype=np.int64)
        for row, (size, _, piece) in zip(windows, batch, strict=True):
            row[:size] = piece
        tokens = torch.from_numpy(windows).to(device)
        with world.precision():
            losses = model(tokens[:, :-1].clamp(min=0), tokens[:, 1:][:, world.columns(width - 1)])[1]
        if start < len(stretches):
            np.add.at(nats, [source for _, source, _ in batch], losses.cpu().double().sum(dim=1).numpy())
    world.add(torch.from_numpy(nats))
    reshard(model)
    model.train(was_training)
    return _scores(data, documents, nats / math.log(2))


def unigram(data: Dataset | Mixture) -> np.ndarray:
    """-log2 p of each token, add-one smoothed: float64 [vocabulary]. Fitted on all training tokens but BOS.

    What was taken down does not count. Of several datasets it is the weighted mean of their distributions.
    """
    mixture = Mixture.of(data)
    p = sum(weight * _frequencies(one) for one, weight in zip(mixture.datasets, mixture.weights, strict=True))
    with np.errstate(divide="ignore"):
        bits: np.ndarray = -np.log2(p / sum(mixture.weights))
    return bits


def _frequencies(dataset: Dataset) -> np.ndarray:
    tokenizer = dataset.manifest["tokenizer"]
    counts = np.ones(tokenizer["vocabulary"], dtype=np.int64)
    left = _FITTED
    for shard, entry in zip(dataset.shards(), dataset.manifest["shards"], strict=True):
        for start in range(0, min(left, len(shard.tokens)), 1 << 24):
            piece = shard.tokens[start : min(start + (1 << 24), left)]
            counts += np.bincount(piece, minlength=len(counts))
        for row in np.flatnonzero(shard.taken_down) if entry.get("taken_down") else ():
            piece = shard.tokens[shard.offsets[row] : min(int(shard.offsets[row + 1]), left)]
            counts -= np.bincount(piece, minlength=len(counts))
        left = max(0, left - len(shard.tokens))
    counts[tokenizer["bos"]] = 0
    return np.asarray(counts / counts.sum())


def evaluate_unigram(bits: np.ndarray, data: Dataset | Mixture, limit: int | None = None) -> list[Score]:
    """The scores of `unigram` on the very tokens that `evaluate` predicts."""
    documents = list(heldout(data, limit))
    sums = np.zeros(len(Mixture.of(data).sources))
    for source, tokens, _ in documents:
        sums[source] += bits[tokens[1:]].sum()
    return _scores(data, documents, sums)


def _scores(data: Dataset | Mixture, documents: list[tuple[int, np.ndarray, int]], bits: np.ndarray) -> list[Score]:
    scores = []
    for source, name in enumerate(Mixture.of(data).sources):
        own = [(len(tokens) - 1, nbytes) for s, tokens, nbytes in documents if s == source]
        if own:
            scores.append(Score(name, len(own), sum(t for t, _ in own), sum(b for _, b in own), float(bits[source])))
    return scores


def to_log(scores: Sequence[Score]) -> dict[str, Any]:
    return {score.source: {k: v for k, v in asdict(score).items() if k != "source"} for score in scores}


def from_log(record: dict[str, Any]) -> list[Score]:
    return [Score(source, **values) for source, values in record.items()]


def table(columns: Mapping[str, Sequence[Score]]) -> str:
    """Bits per byte as text: a row per source and one for all, a column per named list of scores."""
    rows = [("source", "documents", "tokens", *columns)]
    for scores in zip(*([*column, total(column)] for column in columns.values()), strict=True):
        one = scores[0]
        rows.append((one.source, f"{one.documents:,}", f"{one.tokens:,}", *(f"{s.bits_per_byte:.4f}" for s in scores)))
    return aligned(rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.evaluate", description="Held-out bits per byte.")
    parser.add_argument("--data", action="append", required=True, metavar="DIR[=WEIGHT]", help=SEVERAL)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint, or a run's output directory")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    args = parser.parse_args(argv)
    device = pick(args.device)
    data, named = Mixture.open(args.data), " and ".join(args.data)
    found = checkpoint.find(args.checkpoint)
    if found.tokenizer["sha256"] != data.tokenizer["sha256"]:
        raise UserError(f"{found.path} was trained with another tokenizer than that of {named}")
    if not any(True for _ in heldout(data)):
        raise InputError(f"{named} has no held-out documents")
    print(f"{found.path} on the held-out documents of {named}, bits per byte", flush=True)
    model = checkpoint.load_model(found, device)
    scores = evaluate(model, data, found.config.model.context, device)
    print(table({"model": scores, "unigram": evaluate_unigram(unigram(data), data)}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
