"""Attention by two plain matrix products, for training on a CPU.

In bfloat16 the CPU's fused attention spends about twice as long on its backward pass as these
products do, and attention was nearly half of a training step.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

NAME: Final = "sightline_matmul"


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    # Several query heads share one of a key and value each.
    shared_by = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(shared_by, dim=1) for part in (key, value))
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    if attention_mask is not None:
        # Added in place: to fill a copy takes longer than the product before it.
        unseen = torch.zeros_like(attention_mask, dtype=scores.dtype)
        scores += unseen.masked_fill_(~attention_mask, -torch.inf)
    return torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2).contiguous(), None


def _no_mask(*arguments: Any, **options: Any) -> None:
    """Training frames fill their square, and packed questions bring a mask of their own."""


def use_matmul_attention(model: PreTrainedModel) -> None:
    """Let a model attend by plain matrix products; for whole frames and masks given, as here."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)
    model.set_attn_implementation(NAME)
