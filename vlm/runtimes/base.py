"""The small protocol between the engine and whatever runs a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

# Opaque to the engine: each runtime keeps these in its own form, on its own device.
ImageFeatures: TypeAlias = Any
KVState: TypeAlias = Any

PixelValues: TypeAlias = npt.NDArray[np.float32]


class Runtime(Protocol):
    """One loaded model. Only the thread that owns it may call it; no call keeps its arguments.

    All three steps raise MemoryError where the device has no room for them; the runtime is then as
    usable as before.
    """

    name: str
    device: str
    dtype: str
    context_tokens: int
    """How many positions the model has, for prompt, image and answer together."""
    tiles_per_pass: int
    """How many tiles are best encoded by one call."""

    def encode_image(self, pixel_values: PixelValues) -> ImageFeatures:
        """Vision encoder and connector over `pixel_values`, [tiles, 3, side, side], normalised."""

    def prefill(
        self, input_ids: Sequence[int], features: Sequence[ImageFeatures]
    ) -> tuple[KVState, int]:
        """Run the prompt: its fresh KV state, and the greedy choice of the first token.

        `input_ids` hold one image token for each row that all `features` have together.
        """

    def decode_one_token(self, state: KVState, token_id: int) -> int:
        """Append `token_id` to `state`, which changes in place; the greedy choice that follows."""
