"""Measured error of kept features, and the threshold that follows from it."""

from __future__ import annotations

import logging
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from vlm.processing.patches import Mask
from vlm.results import Kept
from vlm.runtimes.base import ImageFeatures

log = logging.getLogger("sightline")

# Relative error of the kept features. Above it the threshold is lowered, and in the end nothing is
# kept. On nano it is 0.1 to 0.36 after a thing came or went, or the noise of the camera changed.
_MAX_ERROR: Final = 0.5
_LOWERED: Final = 0.6
_LOWEST: Final = 0.3


class Drift:
    """Error and agreement of frames encoded in part, measured by frames encoded whole."""

    def __init__(self) -> None:
        self.scale = 1.0
        """Factor of the threshold above which a patch counts as changed."""
        self._error: float | None = None
        self._checks = self._agreed = 0

    @property
    def is_bearable(self) -> bool:
        """Return False once the error has stayed too large."""
        return self.scale >= _LOWEST

    @property
    def kept(self) -> Kept | None:
        """Return what was measured; None before the first measure."""
        return None if self._error is None else Kept(self._error, self._checks, self._agreed)

    def measure(self, kept: ImageFeatures, fresh: ImageFeatures, changed: Mask) -> None:
        """Measure the error of `kept` where no patch has `changed`; both are [tokens, hidden]."""
        kept, fresh = numbers(kept), numbers(fresh)
        # A token covers a square of patches.
        tokens = math.isqrt(len(fresh))
        width = len(changed) // tokens
        is_same = ~changed.reshape(tokens, width, tokens, width).any((1, 3)).ravel()
        if not is_same.any():
            return
        error = np.linalg.norm(kept[is_same] - fresh[is_same])
        self._error = float(error / max(float(np.linalg.norm(fresh[is_same])), 1e-9))
        if self._error > _MAX_ERROR:
            self.scale *= _LOWERED
            if not self.is_bearable:
                log.warning(
                    "Frames are encoded whole from now on: what was kept of them differed by %.2f",
                    self._error,
                )

    def check(self, agrees: bool) -> None:
        """Count whether a frame encoded whole has the caption of the one encoded in part."""
        self._checks += 1
        self._agreed += agrees


def numbers(features: ImageFeatures) -> npt.NDArray[np.float32]:
    """Return features of any runtime, [tokens, hidden]."""
    if isinstance(features, np.ndarray):
        return features
    return np.asarray(features.float().cpu().numpy(), np.float32)
