"""A real runtime that counts its passes, and fails at a chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine_kit import torch_runtime
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import Attended, ImageFeatures, KVState, Predicted
from vlm.runtimes.trees import Asked, Tree


class CountingRuntime:
    """`Runtime` over another one that counts its calls."""

    def __init__(self, runtime: Any) -> None:
        self.name, self.device, self.dtype = runtime.name, runtime.device, runtime.dtype
        self.exact_splits = runtime.exact_splits
        self.context_tokens, self.tiles_per_pass = runtime.context_tokens, runtime.tiles_per_pass
        self.max_batch, self.layers = runtime.max_batch, runtime.layers
        # Each frame is encoded whole, so that whole passes can be counted.
        self.capabilities = runtime.capabilities - {"changed"}
        self._runtime = runtime
        self.encoded_tiles = self.prefills = self.decodes = self.verifies = self.scores = 0
        self.looked = 0
        self.verified = 0
        """`verified` counts the tokens fed to verify."""
        self.decodes_before_failure = -1
        """One decode raises MemoryError after so many; -1: none."""

    def encode_image(self, pixel_values: PixelValues) -> ImageFeatures:
        self.encoded_tiles += len(pixel_values)
        return self._runtime.encode_image(pixel_values)

    def features_array(self, features: ImageFeatures) -> Any:
        return self._runtime.features_array(features)

    def patch_features(self, pixel_values: PixelValues) -> npt.NDArray[np.float32]:
        self.encoded_tiles += len(pixel_values)
        found: npt.NDArray[np.float32] = self._runtime.patch_features(pixel_values)
        return found

    def prefill(
        self,
        input_ids: Sequence[int],
        features: Sequence[ImageFeatures],
        count: int = 1,
        want_logits: bool = False,
    ) -> tuple[KVState, Predicted]:
        self.prefills += 1
        return self._runtime.prefill(input_ids, features, count, want_logits)

    def decode(self, state: KVState, token_id: int, want_logits: bool = False) -> Predicted:
        if self.decodes == self.decodes_before_failure:
            self.decodes_before_failure = -1
            raise MemoryError("no room")
        self.decodes += 1
        return self._runtime.decode(state, token_id, want_logits)

    def verify(
        self, state: KVState, token_ids: Sequence[int], count: int, want_logits: bool = False
    ) -> Predicted:
        self.verifies += 1
        self.verified += len(token_ids)
        return self._runtime.verify(state, token_ids, count, want_logits)

    def score(self, state: KVState, tree: Tree, asked: Sequence[Asked]) -> list[float]:
        self.scores += 1
        return self._runtime.score(state, tree, asked)

    def looks(
        self, state: KVState, length: int, token_ids: Sequence[int], layers: Sequence[int]
    ) -> Attended:
        self.looked += 1
        return self._runtime.looks(state, length, token_ids, layers)

    def truncate(self, state: KVState, length: int) -> None:
        self._runtime.truncate(state, length)

    def fork(self, state: KVState, length: int) -> KVState:
        return self._runtime.fork(state, length)


def counting(
    folder: Path, stops: frozenset[int] = frozenset(), name: str = "counted"
) -> tuple[Engine, CountingRuntime]:
    """Return an engine over the checkpoint in `folder`, in float32, and its counts."""
    runtime = CountingRuntime(torch_runtime(folder))
    return Engine(runtime, InputBuilder.load(folder), stops, name), runtime
