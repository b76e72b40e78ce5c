"""A step: forward, loss, backward, clipping, update. trainer.pretrain repeats it, and trainer.bench times it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainer import parallel
from trainer.attention import documents, preferred_kernels
from trainer.config import Config
from trainer.data import IGNORED
from trainer.model import Llama, compile_blocks
from trainer.optim import adamw, learning_rate
from trainer.parallel import World
from trainer.progress import Update

# Loss and norm of the gradient in, why the update is to be left out ("": it is not).
Judge = Callable[[float, float], str]


@dataclass
class Learner:
    """A model, or this process's piece of it, and what makes it better."""

    config: Config
    world: World
    model: Llama
    optimiser: torch.optim.Optimizer

    def learn(
        self,
        step: int,
        rows: np.ndarray,
        sources: np.ndarray,
        names: Sequence[str],
        bos: int,
        judge: Judge | None = None,
    ) -> Update:
        """Update number `step`, or none: where the loss or its gradient is not finite, or the first process's `judge`
        says so, weights and moments stay as they were.

        `rows` [B, T + 1] are this process's own, IGNORED where nothing is to be predicted; `sources` [B, T + 1] has the
        place in `names` of the source of each token; `bos` begins a document. Losses are summed and divided by the
        predictions of the whole step, in all processes: neither the size of a microbatch nor their number changes a
        mean, however unevenly predictions are spread.
        """
        run, world = self.config.run, self.world
        device, columns = world.device, world.columns(self.config.model.context)
        targets = rows[:, 1:][:, columns]
        sources = np.where(targets == IGNORED, len(names), sources[:, 1:][:, columns]).astype(np.int64)
        counts = world.add(torch.from_numpy(np.bincount(sources.ravel(), minlength=len(names) + 1)))[:-1].tolist()
        predictions = max(1, sum(counts))  # all, but for what was taken down
        sums = torch.zeros(len(names) + 1, device=device, dtype=_wide(device))
        tensors = [_to_device(array, device) for array in (rows[:, :-1].clip(min=0), targets, sources)]
        parts = list(zip(*(tensor.split(run.microbatch) for tensor in tensors), strict=True))
        for number, (inputs, predicted, origin) in enumerate(parts):
            parallel.before_backward(self.model, last=number == len(parts) - 1)
            within = documents(inputs, bos) if run.document_mask else None
            with preferred_kernels(device):
                with world.precision():
                    loss, losses = self.model(inputs, predicted, documents=within)
                (loss / predictions).backward()
            sums.index_add_(0, origin.flatten(), losses.flatten().to(sums.dtype))
        found = world.add(sums).tolist()
        norm = float(parallel.clip(list(self.model.parameters()), self.config.optimiser.clip))
        rate = learning_rate(step, self.config)
        by_source = {name: nats / count for name, nats, count in zip(names, found, counts, strict=False) if count}
        skipped = self._verdict(sum(found) / predictions, norm, judge)
        if not skipped:
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
        self.optimiser.zero_grad()
        return Update(sum(found) / predictions, norm, rate, by_source, skipped)

    def _verdict(self, loss: float, norm: float, judge: Judge | None) -> str:
        """Why the update is to be left out: the same in all processes."""
        if self.world.most(not (math.isfinite(loss) and math.isfinite(norm))):
            return "not finite"
        return self.world.told(lambda: judge(loss, norm)) if judge else ""


def learner(config: Config, world: World) -> Learner:
    """A model as the configuration wants it trained, divided among the processes. Its weights are not yet set."""
    with torch.device("meta"):
        model = Llama(config.model)
    parallel.cut_by_tensor(model, world)
    model.set_recompute(config.run.recompute)
    if config.run.compile:
        compile_blocks(model)
    parallel.shard(model, world)
    model.to_empty(device=world.device)
    return Learner(config, world, model, adamw(model, config.optimiser))


def _to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor, cuda = torch.from_numpy(np.ascontiguousarray(array)), device.type == "cuda"
    return (tensor.pin_memory() if cuda else tensor).to(device, non_blocking=cuda)


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no fp64
