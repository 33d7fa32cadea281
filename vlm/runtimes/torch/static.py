"""Forward passes by PyTorch for CUDA: a static KV cache, and steps that replay as CUDA graphs.

On the CPU the same steps run one operation after the other; that is how they are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import Attended, Capability, Logits, Predicted
from vlm.runtimes.torch.devices import Placement, device_errors
from vlm.runtimes.torch.eager import TorchKVState, TorchRuntime, TorchVisionState
from vlm.runtimes.torch.slots import BLOCK_TOKENS, SLOTS, KVSlots, StaticKVState
from vlm.runtimes.torch.step import WIDTHS, Append, StaticStep
from vlm.runtimes.trees import Asked, Tree


def suits(placement: Placement) -> bool:
    """Return whether `placement` is one GPU that can replay graphs; else use TorchRuntime."""
    return placement.device.type == "cuda" and not placement.spread


class StaticTorchRuntime:
    """`Runtime` over an Idefics3 or SmolVLM model on one device, which can batch its steps."""

    name = "torch"

    def __init__(
        self, model: Any, device: torch.device, slots: int = SLOTS, block_tokens: int = BLOCK_TOKENS
    ) -> None:
        """`model` is loaded on `device` and in evaluation mode.

        At most `slots` sequences are appended to in one pass; any number may be kept.
        `block_tokens` is the least room for a sequence.
        """
        self._eager = TorchRuntime(model, device)
        self.device = self._eager.device
        self.dtype = self._eager.dtype
        self.exact_splits = self._eager.exact_splits
        self.capabilities: frozenset[Capability] = self._eager.capabilities | {"batch"}
        self.layers = self._eager.layers
        self.patches, self.patch_px = self._eager.patches, self._eager.patch_px
        self.context_tokens = self._eager.context_tokens
        self.tiles_per_pass = self._eager.tiles_per_pass
        text = model.config.text_config
        self.max_batch = slots
        self._slots = KVSlots(
            layers=text.num_hidden_layers,
            heads=text.num_key_value_heads,
            head_size=text.head_dim,
            slots=slots,
            block_tokens=block_tokens,
            dtype=model.dtype,
            device=device,
        )
        self._step = StaticStep(model, self._slots, device)

    def encode_image(self, pixel_values: PixelValues) -> torch.Tensor:
        """Return the features of [tiles, 3, side, side]: [tiles * tokens per tile, hidden]."""
        return self._eager.encode_image(pixel_values)

    def features_array(self, features: torch.Tensor) -> npt.NDArray[np.float32]:
        return self._eager.features_array(features)

    def new_vision_state(self, side_px: int) -> TorchVisionState:
        return self._eager.new_vision_state(side_px)

    def encode_changed(
        self, state: TorchVisionState, pixel_values: PixelValues, changed: npt.NDArray[np.int64]
    ) -> torch.Tensor:
        return self._eager.encode_changed(state, pixel_values, changed)

    def patch_features(self, pixel_values: PixelValues) -> npt.NDArray[np.float32]:
        return self._eager.patch_features(pixel_values)

    @torch.inference_mode()
    def prefill(
        self,
        input_ids: Sequence[int],
        features: Sequence[torch.Tensor],
        count: int = 1,
        want_logits: bool = False,
    ) -> tuple[StaticKVState, Predicted]:
        """Run the eager prefill, without a graph: prompts are of many lengths."""
        prompt, after = self._eager.prefill(input_ids, features, count, want_logits)
        layers = prompt.cache.layers
        with device_errors():
            pairs = torch.cat([each for layer in layers for each in (layer.keys, layer.values)])
        parked = pairs.view(len(layers), 2, *pairs.shape[1:])
        return StaticKVState(parked, len(input_ids)), after

    def verify(
        self, state: StaticKVState, token_ids: Sequence[int], count: int, want_logits: bool = False
    ) -> Predicted:
        """Run one pass for every 32 tokens."""
        ids: list[int] = []
        logits: list[Logits] = []
        for first in range(0, len(token_ids), WIDTHS[-1]):
            run = token_ids[first : first + WIDTHS[-1]]
            (after,) = self._append([state], [run], want_logits)
            ids += after.ids
            if after.logits is not None:
                logits.append(after.logits)
        kept = np.concatenate(logits)[-count:] if logits else None
        return Predicted(ids[-count:], kept)

    def decode(self, state: StaticKVState, token_id: int, want_logits: bool = False) -> Predicted:
        return self.decode_batch([state], [token_id], want_logits)[0]

    def decode_batch(
        self, states: Sequence[StaticKVState], token_ids: Sequence[int], want_logits: bool = False
    ) -> list[Predicted]:
        """Run one pass for as many of `states` as there are slots."""
        after: list[Predicted] = []
        for first in range(0, len(states), self._slots.count):
            batch = slice(first, first + self._slots.count)
            runs = [[token_id] for token_id in token_ids[batch]]
            after += self._append(states[batch], runs, want_logits)
        return after

    @torch.inference_mode()
    def truncate(self, state: StaticKVState, length: int) -> None:
        self._slots.truncate(state, length)

    @torch.inference_mode()
    def fork(self, state: StaticKVState, length: int) -> StaticKVState:
        with device_errors():
            return self._slots.fork(state, length)

    @torch.inference_mode()
    def score(self, state: StaticKVState, tree: Tree, asked: Sequence[Asked]) -> list[float]:
        """Run the eager pass, without a graph: trees are of many sizes."""
        return self._eager.score(self._eager_state(state, state.length), tree, asked)

    @torch.inference_mode()
    def looks(
        self, state: StaticKVState, length: int, token_ids: Sequence[int], layers: Sequence[int]
    ) -> Attended:
        """Run the eager pass, without a graph: no graph returns weights."""
        return self._eager.looks(self._eager_state(state, length), length, token_ids, layers)

    def _eager_state(self, state: StaticKVState, length: int) -> TorchKVState:
        """Return a copy of the first `length` tokens of `state` for the eager runtime."""
        with device_errors():
            layers = self._slots.fork(state, length).parked
            assert layers is not None, "a forked state is parked"
            # [layers, 2, heads, tokens, head size], with a batch of one.
            return TorchKVState(
                DynamicCache([(keys[None], values[None]) for keys, values in layers])
            )

    @torch.inference_mode()
    def _append(
        self,
        states: Sequence[StaticKVState],
        runs: Sequence[Sequence[int]],
        want_logits: bool,
    ) -> list[Predicted]:
        """Append to each of `states` its run of token ids, in one pass; predict after each id."""
        starts = [state.length for state in states]
        ends = [start + len(run) for start, run in zip(starts, runs, strict=True)]
        with device_errors():
            if max(ends) > self._slots.capacity:
                self._step.forget_graphs()
                self._slots.grow(max(ends))
            slots = self._slots.seat(states)
            after = self._step.run(list(map(Append, slots, starts, runs)), want_logits)
        for state, run in zip(states, runs, strict=True):
            state.length += len(run)
        return after
