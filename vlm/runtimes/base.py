"""The small protocol between the engine and whatever runs a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from vlm.processing.image_processor import PixelValues

# Below this, float32 is as fast as any format: such a model is bound by overhead, not arithmetic.
LARGE_MODEL_PARAMETERS: Final = 100_000_000
# Of the engine's cache of frames: four or more of SmolVLM-256M with their question and answer.
MAX_CACHED_BYTES: Final = 48 * 2**20

Logits: TypeAlias = npt.NDArray[np.float32]

# Opaque to the engine but for its `nbytes`: each runtime keeps these on its own device.
ImageFeatures: TypeAlias = Any


class KVState(Protocol):
    """The keys and values of the tokens that one sequence has been fed, in a runtime's own form."""

    @property
    def length(self) -> int:
        """How many tokens it holds."""

    @property
    def nbytes(self) -> int:
        """The memory that it keeps."""


State = TypeVar("State", bound=KVState)


class Runtime(Protocol[State]):
    """One loaded model. Only the thread that owns it may call it; no call keeps its arguments.

    Every step raises MemoryError where the device has no room for it; the runtime is then as usable
    as before, but a state that the step was appending to is lost. "Choice" is the token of the
    highest logit.
    """

    name: str
    device: str
    dtype: str
    context_tokens: int
    """How many positions the model has, for prompt, image and answer together."""
    tiles_per_pass: int
    """How many tiles are best encoded by one call."""
    states_per_pass: int
    """How many states are best appended to together: in one pass, or each in a quick one of its
    own; 1 where a sequence had better be ended before the next begins."""

    def encode_image(self, pixel_values: PixelValues) -> ImageFeatures:
        """Vision encoder and connector over `pixel_values`, [tiles, 3, side, side], normalised."""

    def prefill(
        self, input_ids: Sequence[int], features: Sequence[ImageFeatures], choices: int = 1
    ) -> tuple[State, list[int]]:
        """Run `input_ids` in one pass: a fresh state, and the choice after each of the last ones.

        `input_ids` hold one image token for each row that all `features` have together; `choices`
        is how many choices are wanted, 1 for a plain prompt, one more for each token of a draft
        behind it.
        """

    def decode_one_token(self, state: State, token_id: int) -> int:
        """Append `token_id` to `state`, which changes in place; the choice that follows."""

    def decode_many(self, states: Sequence[State], token_ids: Sequence[int]) -> list[int]:
        """As `decode_one_token`, each of `states`, all different ones, with its own token."""

    def logits(self, state: State) -> Logits:
        """The logits, [vocabulary], behind the last choice for `state`, whose pass was the last."""

    def verify(self, state: State, token_ids: Sequence[int], choices: int) -> list[int]:
        """Append `token_ids`, none of an image, in one pass; the choices after the last ones."""

    def truncate(self, state: State, length: int) -> None:
        """Forget all but the first `length` tokens of `state`."""

    def fork(self, state: State, length: int) -> State:
        """A state of its own that holds the first `length` tokens of `state`."""
