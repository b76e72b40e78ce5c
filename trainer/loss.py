"""Cross-entropy from hidden states, without ever making the logits of all tokens.

For a vocabulary of 128,256, the fp32 logits of 16,384 tokens take 8.4 GB, and their gradient as much again. Here a
chunk of tokens goes through the output layer at a time, and the chunk's gradients are taken on the spot, in the forward
pass: what is kept for the backward pass is one gradient of the hidden states and one of the weight, and no logit is
computed twice. Memory grows with the chunk times the vocabulary, not with the tokens times the vocabulary.

Shapes: N tokens, D features, V tokens in the vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.data import IGNORED

CHUNK = 1024  # tokens; enough for matrix products at full speed


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The sum of -ln p of all targets, and -ln p of each without a gradient.

    hidden [N, D], weight [V, D] (the output layer: logits are hidden @ weight.T), targets int64 [N]. Returns a scalar
    and [N], both fp32 (fp64 for fp64). A target of IGNORED costs 0 in both and pulls at nothing. The scalar is
    differentiable by hidden and weight, once. Under autocast the products are taken in its type, while softmax, losses
    and the sums over chunks stay in fp32.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    total, losses = _CrossEntropy.apply(hidden, weight, targets, chunk, dtype, torch.is_grad_enabled())
    return total, losses


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        chunk: int,
        dtype: torch.dtype,
        with_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(dtype, torch.float32)
        losses = torch.empty(targets.shape, dtype=wide, device=hidden.device)
        for_hidden, for_weight = (with_gradient and needed for needed in ctx.needs_input_grad[:2])
        hidden_grad = torch.empty_like(hidden) if for_hidden else None
        weight_grad: Tensor | None = None
        with torch.autocast(hidden.device.type, enabled=False):
            narrow = weight.to(dtype)
            for start in range(0, len(targets), chunk):
                part = slice(start, start + chunk)
                rows, index = hidden[part].to(dtype), targets[part]
                table = torch.log_softmax((rows @ narrow.T).to(wide), dim=-1)
                losses[part] = F.nll_loss(table, index, reduction="none", ignore_index=IGNORED)
                if not (for_hidden or for_weight):
                    continue
                # d loss / d logits is p - 1 at the target and p elsewhere
                table.exp_()
                table[torch.arange(len(index), device=index.device), index.clamp(min=0)] -= 1
                table *= (index != IGNORED).unsqueeze(1)
                pull = table.to(dtype)
                if hidden_grad is not None:
                    hidden_grad[part] = pull @ narrow
                if for_weight:
                    own = (pull.T @ rows).to(wide)
                    weight_grad = own if weight_grad is None else weight_grad.add_(own)
        ctx.save_for_backward(hidden_grad, None if weight_grad is None else weight_grad.to(weight.dtype))
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad = (None if saved is None else saved * grad for saved in ctx.saved_tensors)
        return hidden_grad, weight_grad, None, None, None, None
