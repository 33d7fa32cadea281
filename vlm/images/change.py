"""The change gate and the pace of one camera: which of its frames are captioned, and when.

The page does the same in static/js/core (difference.js, pace.js); tests/browser/test_change_twin.py
compares both on the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.images.light import band_gains, unexplained

THUMBNAIL_WIDTH: Final = 32
THUMBNAIL_HEIGHT: Final = 24
# A cell averages hundreds of pixels, so sensor noise moves it by one or two levels of 255.
CELL_CHANGED_LEVELS: Final = 14
# Automatic exposure moves the whole frame by a few levels; switching a light moves it by more.
EXPOSURE_DRIFT_LEVELS: Final = 12
# 6 of 768 cells: about a thumb's width at arm's length.
CHANGED_SHARE: Final = 0.0075

# Shortest time between two frames that are sent.
INTERVAL_S: Final = 0.5
# Shortest time between two captures if the first one led to no caption.
CAPTURE_GAP_S: Final = 0.15
# A frame is sent after this long even if the scene has not changed.
HEARTBEAT_S: Final = 10.0

Thumbnail: TypeAlias = npt.NDArray[np.float32]
Levels: TypeAlias = npt.NDArray[np.float64]


def thumbnail_of(image: Image.Image) -> Thumbnail:
    """Return an RGB image averaged to [THUMBNAIL_HEIGHT, THUMBNAIL_WIDTH, 3] levels of 0..255."""
    sums = np.asarray(image, dtype=np.int64)
    pixels = np.ones((1, 1, 1))
    for axis, cells in ((0, THUMBNAIL_HEIGHT), (1, THUMBNAIL_WIDTH)):
        starts, ends = _spans(cells, sums.shape[axis])
        before = np.insert(np.cumsum(sums, axis), 0, 0, axis)
        sums = before.take(ends, axis) - before.take(starts, axis)
        pixels = pixels * np.expand_dims(ends - starts, (1, 2) if axis == 0 else (0, 2))
    return (sums / pixels).astype(np.float32)


def changed_share(before: Thumbnail, after: Thumbnail) -> float:
    """Return the share (0..1) of cells whose change no change of light explains.

    Changes of light are exposure drift, bands over the rows, and bands over the columns (of a
    camera held upright).
    """
    changes = after - before
    median = float(np.sort(changes, axis=None)[changes.size // 2])
    drift = median if abs(median) <= EXPOSURE_DRIFT_LEVELS else 0.0
    shares = [_changed_cells(np.abs(changes.astype(np.float64) - drift))]
    levels = before.astype(np.float64), after.astype(np.float64)
    for axes in ((0, 1, 2), (1, 0, 2)):
        old, new = (one.transpose(axes) for one in levels)
        shares.append(_changed_cells(unexplained(old, new, band_gains(old, new))))
    return min(shares)


def _changed_cells(changes: Levels) -> float:
    """Return the share of cells whose largest change of level in a channel counts."""
    return float((changes.max(axis=2) > CELL_CHANGED_LEVELS).mean())


def has_changed(before: Thumbnail, after: Thumbnail) -> bool:
    """Return whether `after` needs a new caption if `before` was the last captioned thumbnail."""
    return changed_share(before, after) >= CHANGED_SHARE


def _spans(cells: int, side: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return first and last + 1 pixel of each cell; at least one pixel, however short the side."""
    edges = np.arange(cells + 1, dtype=np.int64) * side // cells
    starts = np.minimum(side - 1, edges[:-1])
    return starts, np.maximum(starts + 1, edges[1:])


@dataclass
class Pace:
    """State of one camera that has one frame in flight at most. Times are seconds of one clock."""

    # When the next frame is captured.
    capture_at_s: float = 0.0
    # When the last frame was sent; None before the first.
    sent_at_s: float | None = None
    # Thumbnail of the last captioned frame; None before the first.
    captioned: Thumbnail | None = None

    def must_send(self, thumbnail: Thumbnail, captured_at_s: float) -> bool:
        """Return whether a frame is sent: it changed, or the last one was sent long ago."""
        if self.sent_at_s is None or captured_at_s - self.sent_at_s >= HEARTBEAT_S:
            return True
        return self.captioned is None or has_changed(self.captioned, thumbnail)

    def skip(self, captured_at_s: float) -> None:
        """Record that the frame captured at `captured_at_s` was not sent."""
        self.capture_at_s = captured_at_s + max(CAPTURE_GAP_S, INTERVAL_S)

    def send(self, thumbnail: Thumbnail, captured_at_s: float, captioned_at_s: float) -> None:
        """Record that a frame was sent when it was captured, and captioned at `captioned_at_s`."""
        self.sent_at_s = captured_at_s
        self.captioned = thumbnail
        self.capture_at_s = max(captured_at_s + INTERVAL_S, captioned_at_s)
