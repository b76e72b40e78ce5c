"""Causal attention: over the whole row, or within each document of it; and which kernel computes it.

Whatever the way, scores of later tokens are not kept and weights are not stored where a fused kernel is to be had: what
LLaMA had of xformers (LLaMA section 2.4).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Mask: TypeAlias = "Tensor | BlockMask | None"


def documents(tokens: Tensor, bos: int) -> Tensor:
    """The number, within its row, of the document that each token is of: int64 [B, T] in and out. BOS begins one."""
    return (tokens == bos).cumsum(dim=-1)


def positions(documents: Tensor) -> Tensor:
    """Places of tokens in their own documents, from 0 on: int64 [B, T]. What a row begins with counts from there."""
    places = torch.arange(documents.shape[-1], device=documents.device).expand_as(documents)
    begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0))
    return places - (places * begins).cummax(dim=-1).values


def document_mask(documents: Tensor) -> Mask:
    """Which tokens a token attends to, where rows hold several documents: itself, and those before it in its own.

    bool [B, 1, T, T]; on CUDA a BlockMask, whose empty blocks FlexAttention does not compute.
    """
    rows, length = documents.shape
    if documents.device.type == "cuda":
        _, create = _flex()
        mask: Mask = create(same_document(documents), rows, None, length, length, device=documents.device)
        return mask
    same = documents[:, :, None] == documents[:, None, :]
    return same.tril()[:, None]


def same_document(documents: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The same rule as FlexAttention asks for it: of row, head, query and key."""

    def allowed(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (documents[row, query] == documents[row, key])

    return allowed


@functools.cache
def _flex() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """FlexAttention and the maker of its masks, compiled: neither is any use otherwise."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    return torch.compile(flex_attention, dynamic=False), torch.compile(create_block_mask, dynamic=False)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Mask) -> Tensor:
    """softmax(query key^T / sqrt(head size)) value: [B, H, T, head size] each; key and value may have fewer heads.

    Without a mask the query at place t sees keys 0 … t; a single query is the newest token and sees all.
    """
    shared = key.shape[1] < query.shape[1]
    if mask is not None and not isinstance(mask, Tensor):
        attended: Tensor = _flex()[0](query, key, value, block_mask=mask, enable_gqa=shared)
        return attended
    causal = mask is None and query.shape[2] > 1
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=shared)


def preferred_kernels(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """On Hopper, cuDNN's attention before FlashAttention 2, which torch would take; elsewhere torch's choice.

    It is 1.7 to 2.3 times as fast there, and slower on Ampere and Blackwell (huggingface/transformers#48163). To be
    entered around training, backward pass and all: a block that is recomputed must choose the same kernel again.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device)[0] != 9:
        return contextlib.nullcontext()
    order = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    kernels: contextlib.AbstractContextManager[object] = sdpa_kernel(order, set_priority=True)
    return kernels
