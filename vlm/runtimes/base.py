"""The protocol between the engine and whatever runs a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from vlm.processing.image_processor import PixelValues
from vlm.runtimes.trees import Asked, Tree

# Below this, float32 is as fast as any format: overhead bounds such a model, not arithmetic.
LARGE_MODEL_PARAMETERS: Final = 100_000_000
# Bound of the engine's frame cache: four or more frames of SmolVLM-256M, with question and answer.
MAX_CACHED_BYTES: Final = 48 * 2**20

# Bound of what is kept of cameras' frames and prompts: two cameras of SmolVLM-256M in bfloat16.
MAX_VISION_STATE_BYTES: Final = 176 * 2**20

Logits: TypeAlias = npt.NDArray[np.float32]

# Opaque to the engine except for `nbytes`: each runtime keeps features on its own device.
ImageFeatures: TypeAlias = Any

# Optional abilities; each has a protocol of its own in this file.
Capability = Literal["batch", "changed", "looks", "patches", "refeed", "score"]


class KVState(Protocol):
    """The keys and values of the tokens that one sequence was fed, in a runtime's own form."""

    @property
    def length(self) -> int:
        """Number of tokens."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""


class VisionState(Protocol):
    """What the vision encoder has computed of one tile, in a runtime's own form."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""


State = TypeVar("State", bound=KVState)


class Predicted(NamedTuple):
    """The model's prediction after each of the last tokens of a pass."""

    ids: list[int]
    """The argmax after each of them."""
    logits: Logits | None = None
    """[len(ids), vocabulary] if the pass was run with `want_logits`, else None."""


class Attended(NamedTuple):
    """What some tokens attended to in a pass, and the model's prediction after each of them."""

    weights: npt.NDArray[np.float32]
    """[layers, heads, rows, tokens]; each row's sum over the tokens is 1."""
    logits: Logits
    """[rows, vocabulary]"""


class Runtime(Protocol[State]):
    """One loaded model. Only the thread that owns it may call it; no call keeps its arguments.

    Every pass raises MemoryError if the device has no room for it. The runtime stays usable, but
    the state that the pass was appending to is lost.
    """

    name: str
    device: str
    dtype: str
    exact_splits: bool
    """Predictions do not depend on how tokens are split into passes.

    If false, drafts and kept states could change an answer, so the engine uses neither."""
    context_tokens: int
    """Number of positions, for prompt, images and answer together."""
    tiles_per_pass: int
    """Number of tiles that are best encoded by one call."""
    max_batch: int
    """Number of sequences best decoded in turn, or in one pass with the capability "batch".

    1 if a sequence should end before the next one begins."""
    capabilities: frozenset[Capability]

    def encode_image(self, pixel_values: PixelValues) -> ImageFeatures:
        """Run vision encoder and connector over `pixel_values`, [tiles, 3, side, side].

        The side is that of the model's own tiles or smaller, with whole tokens.
        """

    def features_array(self, features: ImageFeatures) -> npt.NDArray[np.float32]:
        """Return features of `encode_image` as numbers, [tokens, hidden]."""

    def prefill(
        self,
        input_ids: Sequence[int],
        features: Sequence[ImageFeatures],
        count: int = 1,
        want_logits: bool = False,
    ) -> tuple[State, Predicted]:
        """Return a new state that holds `input_ids`, and the predictions after the last `count`.

        `input_ids` hold one image token for each row of all `features` together. `count` is 1 for
        a plain prompt, and one more for each token of a draft behind it.
        """

    def verify(
        self, state: State, token_ids: Sequence[int], count: int, want_logits: bool = False
    ) -> Predicted:
        """Append `token_ids`, none of an image, in one pass; predict after the last `count`."""

    def decode(self, state: State, token_id: int, want_logits: bool = False) -> Predicted:
        """Append `token_id` to `state` in place; predict the next token."""

    def truncate(self, state: State, length: int) -> None:
        """Drop all but the first `length` tokens of `state`."""

    def fork(self, state: State, length: int) -> State:
        """Return a separate state that holds the first `length` tokens of `state`."""


class BatchRuntime(Runtime[State], Protocol[State]):
    """A runtime with the capability "batch": one pass decodes several sequences."""

    def decode_batch(
        self, states: Sequence[State], token_ids: Sequence[int], want_logits: bool = False
    ) -> list[Predicted]:
        """Do what `decode` does, for each of `states`, all different, with its own token."""


class ChangedRuntime(Runtime[State], Protocol[State]):
    """A runtime with the capability "changed": it encodes the changed patches of a tile alone."""

    patches: int
    """Patches of the model's own tile; they lie in rows, from its top left corner."""
    patch_px: int
    """Side of a patch."""

    def new_vision_state(self, side_px: int) -> VisionState:
        """Return a state without content; its first pass must compute all patches of the tile."""

    def encode_changed(
        self, state: VisionState, pixel_values: PixelValues, changed: npt.NDArray[np.int64]
    ) -> ImageFeatures:
        """Return the features of one tile, [1, 3, side, side], of which `changed` are computed.

        Its side is that of `state`. `changed` are indices of patches, at least one. Of the others
        `state` has what was computed last. If all are computed, the features are those of
        `encode_image`.
        """


class PatchesRuntime(Runtime[State], Protocol[State]):
    """A runtime with the capability "patches": it returns what it makes of each patch."""

    def patch_features(self, pixel_values: PixelValues) -> npt.NDArray[np.float32]:
        """Return the last hidden states of the vision encoder's layers, [tiles, patches, hidden].

        `pixel_values` are as for `encode_image`. Patches lie in rows, from the top left corner.
        """


class RefeedRuntime(Runtime[State], Protocol[State]):
    """A runtime with the capability "refeed": it computes some tokens of a prompt anew."""

    def refeed(
        self,
        state: State,
        positions: npt.NDArray[np.int64],
        input_ids: Sequence[int],
        features: Sequence[ImageFeatures],
        count: int,
        want_logits: bool = False,
    ) -> tuple[State, Predicted]:
        """Return a new state with `input_ids` at `positions`, and what `prefill` predicts.

        `positions` rise and end with the last token. All others before it are copied from `state`,
        which must have them. `features` have one row for each image token of `input_ids`. If
        `positions` have no gaps, the state is that of a prefill.
        """


class ScoreRuntime(Runtime[State], Protocol[State]):
    """A runtime with the capability "score": one pass scores many continuations of a state."""

    def score(self, state: State, tree: Tree, asked: Sequence[Asked]) -> list[float]:
        """Return the natural logarithm of the probability of each asked token after its row.

        `state` stays as it is. A row sees the state and the rows on its way to it, at the positions
        that they would have without the other branches.
        """


class LooksRuntime(Runtime[State], Protocol[State]):
    """A runtime with the capability "looks": it returns the attention of chosen tokens."""

    layers: int
    """Number of layers of the text model."""

    def looks(
        self, state: State, length: int, token_ids: Sequence[int], layers: Sequence[int]
    ) -> Attended:
        """Return what `token_ids`, fed behind the first `length` tokens of `state`, attend to.

        Columns of the weights are those tokens and then `token_ids`, which are none of an image;
        `layers` are indices, in any order. `state` stays as it is.
        """
