"""The page's gate in Python, for recorded clips: which frames are worth a caption.

The same arithmetic as static/js/core/difference.js, of which a test keeps it a twin.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

THUMBNAIL_WIDTH: Final = 32
THUMBNAIL_HEIGHT: Final = 24
CELL_CHANGED_LEVELS: Final = 14
EXPOSURE_DRIFT_LEVELS: Final = 12
CHANGED_SHARE: Final = 0.0075

Thumbnail: TypeAlias = npt.NDArray[np.float32]


def thumbnail_of(image: Image.Image) -> Thumbnail:
    """An RGB image averaged to [THUMBNAIL_HEIGHT, THUMBNAIL_WIDTH, 3] levels of 0..255."""
    sums = np.asarray(image, dtype=np.int64)
    pixels = np.ones((1, 1, 1))
    for axis, cells in ((0, THUMBNAIL_HEIGHT), (1, THUMBNAIL_WIDTH)):
        starts, ends = _spans(cells, sums.shape[axis])
        before = np.insert(np.cumsum(sums, axis), 0, 0, axis)
        sums = before.take(ends, axis) - before.take(starts, axis)
        pixels = pixels * np.expand_dims(ends - starts, (1, 2) if axis == 0 else (0, 2))
    return (sums / pixels).astype(np.float32)


def changed_share(before: Thumbnail, after: Thumbnail) -> float:
    """The share (0..1) of cells that changed, small exposure drift taken out."""
    changes = after - before
    median = float(np.sort(changes, axis=None)[changes.size // 2])
    drift = median if abs(median) <= EXPOSURE_DRIFT_LEVELS else 0.0
    most = np.abs(changes.astype(np.float64) - drift).max(axis=2)
    return float((most > CELL_CHANGED_LEVELS).mean())


def has_changed(before: Thumbnail, after: Thumbnail) -> bool:
    """Whether `after` is worth a new caption when `before` was the last captioned thumbnail."""
    return changed_share(before, after) >= CHANGED_SHARE


def _spans(cells: int, side: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the pixels of each cell start and end; at least one, however short the side."""
    edges = np.arange(cells + 1, dtype=np.int64) * side // cells
    starts = np.minimum(side - 1, edges[:-1])
    return starts, np.maximum(starts + 1, edges[1:])
