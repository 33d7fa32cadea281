"""Attention by two plain matrix products, for training on a CPU.

At 256 patches in bfloat16 the CPU's fused attention spends about twice as long on its backward pass
as these products do, and attention was nearly half of a training step.
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
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    return torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2).contiguous(), None


def _no_mask(*arguments: Any, **options: Any) -> None:
    """Training frames fill their square: every patch sees every patch."""


def use_matmul_attention(vision_model: PreTrainedModel) -> None:
    """Let a vision encoder attend by plain matrix products; for whole frames, as in training."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)
    vision_model.set_attn_implementation(NAME)
