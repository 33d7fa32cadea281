"""A real runtime that counts what it is asked to do, and fails where a test wants it to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.runtimes.base import ImageFeatures, KVState, Logits, PixelValues, Runtime
from vlm.runtimes.torch.eager import TorchRuntime


class CountingRuntime:
    """`Runtime` over another one. `decodes` are single tokens, `verified` tokens fed to verify."""

    def __init__(self, runtime: Runtime[Any]) -> None:
        self.name, self.device, self.dtype = runtime.name, runtime.device, runtime.dtype
        self.context_tokens, self.tiles_per_pass = runtime.context_tokens, runtime.tiles_per_pass
        self.states_per_pass = runtime.states_per_pass
        self._runtime = runtime
        self.encoded_tiles = self.prefills = self.decodes = self.verifies = self.verified = 0
        self.prefilled = 0
        self.decodes_before_failure = -1

    def encode_image(self, pixel_values: PixelValues) -> ImageFeatures:
        self.encoded_tiles += len(pixel_values)
        return self._runtime.encode_image(pixel_values)

    def prefill(
        self, input_ids: Sequence[int], features: Sequence[ImageFeatures], choices: int = 1
    ) -> tuple[KVState, list[int]]:
        self.prefills += 1
        self.prefilled += len(input_ids)
        return self._runtime.prefill(input_ids, features, choices)

    def decode_one_token(self, state: KVState, token_id: int) -> int:
        if self.decodes == self.decodes_before_failure:
            self.decodes_before_failure = -1
            raise MemoryError("no room")
        self.decodes += 1
        return self._runtime.decode_one_token(state, token_id)

    def decode_many(self, states: Sequence[KVState], token_ids: Sequence[int]) -> list[int]:
        return [self.decode_one_token(*each) for each in zip(states, token_ids, strict=True)]

    def logits(self, state: KVState) -> Logits:
        return self._runtime.logits(state)

    def verify(self, state: KVState, token_ids: Sequence[int], choices: int) -> list[int]:
        self.verifies += 1
        self.verified += len(token_ids)
        return self._runtime.verify(state, token_ids, choices)

    def truncate(self, state: KVState, length: int) -> None:
        self._runtime.truncate(state, length)

    def fork(self, state: KVState, length: int) -> KVState:
        return self._runtime.fork(state, length)


def counting(folder: Path, stops: frozenset[int] = frozenset()) -> tuple[Engine, CountingRuntime]:
    """An engine over the float32 checkpoint in `folder` that only `stops` end, and its counts."""
    runtime = CountingRuntime(TorchRuntime.load(folder, "cpu", "float32"))
    return Engine(runtime, InputBuilder.load(folder), stops, "counted"), runtime
