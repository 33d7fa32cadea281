"""Rolling light: bands of lamps on the mains, which roll through the pictures of a camera.

The lamps flicker, and a camera reads its sensor line by line. The page does the same in
static/js/core/light.js; tests/browser/test_change_twin.py compares both on the same frames.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

# Bands of 25 % change a line by a factor between 0.75 and 1.33; a little more for the camera's
# curve.
LOWEST_GAIN: Final = -0.32
HIGHEST_GAIN: Final = 0.47
# If all lines change alike, the light was switched or dimmed: that is no band.
LEAST_SPREAD: Final = 0.5

Levels: TypeAlias = npt.NDArray[np.float64]


def band_gains(before: Levels, after: Levels) -> Levels:
    """Return the relative change of each line's light, and 0 for lines that changed otherwise.

    `before` and `after` are [lines, cells, channels] levels of 0..255, the result [lines,
    channels]: the median change over the cells.
    """
    changes = np.sort((after - before) / (before + 1), axis=1)
    gains: Levels = changes[:, changes.shape[1] // 2, :]
    ordered = np.sort(gains, axis=0)
    spread = ordered[-1] - ordered[0]
    is_band = spread >= LEAST_SPREAD * np.abs(ordered[len(ordered) // 2])
    is_light = (gains >= LOWEST_GAIN) & (gains <= HIGHEST_GAIN)
    return np.where(is_light & is_band, gains, 0.0)


def unexplained(before: Levels, after: Levels, gains: Levels) -> Levels:
    """Return how far each level's change is from what a change of light by `gains` explains.

    Any part of it counts as explained, since dark and clipped levels follow the light less.
    """
    changes = after - before
    light = gains[:, None, :] * (before + 1)
    above = np.maximum(changes - np.maximum(light, 0.0), 0.0)
    below = np.maximum(np.minimum(light, 0.0) - changes, 0.0)
    return np.maximum(above, below)
