"""Forward passes by PyTorch for CUDA: a static KV cache, and steps that replay as CUDA graphs.

On the CPU the same steps run one operation after the other; that is how they are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import Logits
from vlm.runtimes.torch.devices import Placement, memory_errors
from vlm.runtimes.torch.eager import TorchRuntime, numpy_logits
from vlm.runtimes.torch.slots import BLOCK_TOKENS, SLOTS, KVSlots, StaticKVState
from vlm.runtimes.torch.step import WIDTHS, Append, StaticStep


def suits(placement: Placement) -> bool:
    """Whether `placement` is one GPU that can replay graphs; TorchRuntime is for all others."""
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
        self.context_tokens = self._eager.context_tokens
        self.tiles_per_pass = self._eager.tiles_per_pass
        text = model.config.text_config
        self.states_per_pass = slots
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
        """See `TorchRuntime.encode_image`."""
        return self._eager.encode_image(pixel_values)

    @torch.inference_mode()
    def prefill(
        self, input_ids: Sequence[int], features: Sequence[torch.Tensor], choices: int = 1
    ) -> tuple[StaticKVState, list[int]]:
        """See `TorchRuntime.prefill`. No graph: prompts are of many lengths."""
        prompt, chosen = self._eager.prefill(input_ids, features, choices)
        layers = prompt.cache.layers
        with memory_errors():
            pairs = torch.cat([each for layer in layers for each in (layer.keys, layer.values)])
        parked = pairs.view(len(layers), 2, *pairs.shape[1:])
        state = StaticKVState(parked, len(input_ids))
        state.prefill_logits = prompt.logits
        return state, chosen

    def decode_one_token(self, state: StaticKVState, token_id: int) -> int:
        """See `Runtime.decode_one_token`."""
        return self.decode_many([state], [token_id])[0]

    def decode_many(self, states: Sequence[StaticKVState], token_ids: Sequence[int]) -> list[int]:
        """Append to each of `states` its one of `token_ids`; the choices that follow.

        The states are different ones. One pass serves as many of them as there are slots.
        """
        chosen: list[int] = []
        for first in range(0, len(states), self._slots.count):
            batch = slice(first, first + self._slots.count)
            runs = [[token_id] for token_id in token_ids[batch]]
            chosen += [run[0] for run in self._append(states[batch], runs)]
        return chosen

    def logits(self, state: StaticKVState) -> Logits:
        """See `Runtime.logits`."""
        if state.prefill_logits is not None:
            return numpy_logits(state.prefill_logits)
        assert state.slot is not None, "nothing was chosen for this state yet"
        return numpy_logits(self._step.logits[state.slot, state.last_run - 1])

    def verify(self, state: StaticKVState, token_ids: Sequence[int], choices: int) -> list[int]:
        """See `Runtime.verify`; one pass for every 32 tokens."""
        chosen: list[int] = []
        for first in range(0, len(token_ids), WIDTHS[-1]):
            chosen += self._append([state], [token_ids[first : first + WIDTHS[-1]]])[0]
        return chosen[-choices:]

    @torch.inference_mode()
    def truncate(self, state: StaticKVState, length: int) -> None:
        """See `Runtime.truncate`."""
        self._slots.truncate(state, length)

    @torch.inference_mode()
    def fork(self, state: StaticKVState, length: int) -> StaticKVState:
        """See `Runtime.fork`."""
        with memory_errors():
            return self._slots.fork(state, length)

    @torch.inference_mode()
    def _append(
        self, states: Sequence[StaticKVState], runs: Sequence[Sequence[int]]
    ) -> list[list[int]]:
        """Append to each of `states` its run of token ids, in one pass; the choice after each."""
        starts = [state.length for state in states]
        ends = [start + len(run) for start, run in zip(starts, runs, strict=True)]
        with memory_errors():
            if max(ends) > self._slots.capacity:
                self._step.forget_graphs()
                self._slots.grow(max(ends))
            slots = self._slots.seat(states)
            chosen = self._step.run(list(map(Append, slots, starts, runs)))
        for state, run in zip(states, runs, strict=True):
            state.length += len(run)
            state.last_run, state.prefill_logits = len(run), None
        return chosen
