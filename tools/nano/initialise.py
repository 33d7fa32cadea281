"""Fresh weights that let a small vision encoder learn to see sooner than random ones do."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

POSITION_SCALE: Final = 0.2
# Queries and keys share this much of their weights; values undo a part of what the output adds.
_SHARED_SCALE: Final = 1.2
_OWN_SHARE: Final = 0.3
_VALUE_SCALE: Final = 0.5


def position_embedding(grid: int, width: int) -> Tensor:
    """Sines and cosines of row and column, (grid * grid, width), as in Vaswani et al. (2017).

    The fastest wave nearly alternates between neighbours, the slowest spans the frame.
    """
    waves = torch.logspace(-1, 0.4513, width // 4)
    places = torch.arange(grid, dtype=torch.float32)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    angles = [axis.reshape(-1, 1) * waves for axis in (columns, rows)]
    return torch.cat([part for angle in angles for part in (angle.cos(), angle.sin())], dim=1)


@torch.no_grad()
def initialise_vision(vision_model: Any, grid: int) -> None:
    """Set an Idefics3 vision encoder's positions and attention in place, from torch's generator.

    The attention follows "Mimetic Initialization of Self-Attention Layers" (Trockman and Kolter,
    2023): like attends to like, and values and output are near minus the identity.
    """
    positions = vision_model.embeddings.position_embedding.weight
    positions.copy_(position_embedding(grid, positions.shape[1]) * POSITION_SCALE)
    for layer in vision_model.encoder.layers:
        attention = layer.self_attn
        width, head = attention.embed_dim, attention.head_dim
        unit = width**-0.5
        for start in range(0, width, head):
            rows = slice(start, start + head)
            shared = torch.randn(head, width) * unit
            for projection in (attention.q_proj, attention.k_proj):
                own = torch.randn(head, width) * unit
                projection.weight[rows] = (shared + _OWN_SHARE * own) * _SHARED_SCALE
        values = torch.randn(width, width) * unit * _VALUE_SCALE
        attention.v_proj.weight.copy_(values)
        attention.out_proj.weight.copy_(-values.T)
