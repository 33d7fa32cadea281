"""The protocol of a dual encoder, and what its vectors say about a picture and a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Vectors = npt.NDArray[np.float32]


class Pair(Protocol):
    """A dual encoder. Safe from any thread."""

    name: str
    width: int
    """Of its vectors."""
    scale: float
    bias: float
    loss: Literal["sigmoid", "softmax"]
    """The loss that it was trained with: SigLIP's or CLIP's (with which `bias` is 0)."""

    def image_vectors(self, images: Sequence[Image.Image]) -> Vectors:
        """Return vectors of length 1, [images, width], of upright RGB images."""
        ...

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of length 1, [texts, width]; the end of a text that is too long is cut."""
        ...


def probabilities(pair: Pair, images: Vectors, texts: Vectors) -> Vectors:
    """Return how likely each text is true of each image, [images, texts], 0 to 1.

    Those of a sigmoid are independent of each other. Those of a softmax are shares of all `texts`,
    so one text alone has 1.
    """
    logits = pair.scale * images @ texts.T + pair.bias
    if pair.loss == "sigmoid":
        each: Vectors = 1 / (1 + np.exp(-logits))
        return each
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Vectors = powers / powers.sum(1, keepdims=True)
    return shares
