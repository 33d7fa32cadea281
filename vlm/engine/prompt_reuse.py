"""Which tokens of a prompt about a camera's next frame are fed again, and which are kept.

Of an image that changed in part, the tokens that changed and the text behind the image are fed;
keys and values of the other image tokens stay. These have seen what the changed ones were, which is
an approximation (CacheBlend, Yao et al., 2024, https://arxiv.org/abs/2405.16444, does so with
texts). A prompt that was fed whole is kept until another one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vlm.runtimes.base import ImageFeatures, KVState

# If more than this share of the image tokens has changed, all of the prompt is fed: the rest saves
# little, and the next frames can then keep more.
_WIDE_CHANGE: Final = 0.5


@dataclass(frozen=True)
class FedPrompt:
    """A prompt about one image that was fed whole."""

    state: KVState
    """Holds `input_ids` and perhaps an answer."""
    input_ids: Sequence[int]
    features: ImageFeatures
    """[image tokens, hidden]"""

    def positions_to_feed(
        self, input_ids: Sequence[int], features: ImageFeatures, image_token_id: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]] | None:
        """Return the positions of `input_ids` to feed, and which rows of `features` are among them.

        Return None if the prompt must be fed whole.
        """
        if tuple(self.input_ids) != tuple(input_ids):
            return None
        changed = np.asarray((features != self.features).any(-1))
        if changed.mean() > _WIDE_CHANGE:
            return None
        image = np.flatnonzero(np.asarray(input_ids) == image_token_id)
        after = np.arange(image[-1] + 1, len(input_ids))
        return np.concatenate([image[changed], after]), changed
