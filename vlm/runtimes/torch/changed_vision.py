"""The vision encoder over some patches of a tile, with what it has computed of the others before.

The patches that changed are the queries; keys and values of all others, and their last hidden
states, are kept from the pass that computed them last. That is exact if all patches are computed,
and an approximation else, because the kept ones attended to what the changed ones were. The idea is
Eventful Transformers' (Dutson, Li, Gupta, ICCV 2023, https://arxiv.org/abs/2308.13494).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class ChangedVision(torch.nn.Module):
    """Vision encoder and connector for one tile without a mask, which only padded tiles need.

    A tile may be smaller than the model's; positions are spread over it as transformers does.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._vision = model.model.vision_model.to(dtype)
        self._connector = model.model.connector.to(dtype)

    def new_state(self, side_px: int, device: Any = "cpu") -> list[torch.Tensor]:
        """Return a state without content: keys and values of each layer, and the last hidden ones.

        Each is [1, patches, hidden of the vision encoder].
        """
        config = self._vision.config
        count = 2 * len(self._vision.encoder.layers) + 1
        shape = (1, (side_px // config.patch_size) ** 2, config.hidden_size)
        return [torch.zeros(shape, dtype=self._dtype, device=device) for _ in range(count)]

    def forward(
        self, pixel_values: torch.Tensor, changed: torch.Tensor, state: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        """Return the features of the tile, [tokens, hidden], and the new state.

        `pixel_values` are [1, 3, side, side], `changed` the indices of the patches to compute.
        """
        embeddings = self._vision.embeddings
        patches = embeddings.patch_embedding(pixel_values.to(self._dtype))
        side, whole = patches.shape[-1], embeddings.num_patches_per_side
        # transformers rounds in float32, which gives the same for all sides of published models.
        rows = torch.arange(side, device=patches.device) * whole // side
        positions = embeddings.position_embedding((rows[:, None] * whole + rows).flatten())
        patches = patches.flatten(2).transpose(1, 2) + positions
        hidden = patches.index_select(1, changed)
        kept: list[torch.Tensor] = []
        for index, layer in enumerate(self._vision.encoder.layers):
            attention, normed = layer.self_attn, layer.layer_norm1(hidden)
            keys = state[2 * index].index_copy(1, changed, attention.k_proj(normed))
            values = state[2 * index + 1].index_copy(1, changed, attention.v_proj(normed))
            kept += [keys, values]
            heads = (attention.num_heads, attention.head_dim)
            attended = torch.nn.functional.scaled_dot_product_attention(
                *(
                    each.unflatten(-1, heads).transpose(1, 2)
                    for each in (attention.q_proj(normed), keys, values)
                )
            )
            hidden = hidden + attention.out_proj(attended.transpose(1, 2).flatten(2))
            hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        last = state[-1].index_copy(1, changed, hidden)
        features = self._connected(self._vision.post_layernorm(last), side)
        return (features, *kept, last)

    def _connected(self, hidden: torch.Tensor, side: int) -> torch.Tensor:
        """Return a token for each square of patches, as the model's connector does.

        Its own code computes the side in Python, which tracing would make a constant.
        """
        factor = self._connector.scale_factor
        squares = hidden.view(-1, factor, side // factor, factor * hidden.shape[-1])
        squares = squares.transpose(1, 2).flatten(2).flatten(0, 1)
        features: torch.Tensor = self._connector.modality_projection(squares)
        return features
