"""Boxes of a detector's raw results: within the frame, one for each thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vlm.results import Box

_MAX_BOXES: Final = 100
# Two boxes that share more of their union are one thing, also if their names differ: else one
# animal is a sheep and a bear.
_SAME_THING: Final = 0.6

Corners = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]


def distinct_boxes(
    names: Sequence[str], scores: Scores, corners: Corners, size: tuple[int, int]
) -> list[Box]:
    """Return at most _MAX_BOXES boxes, the surest first, cut at the edges of the frame.

    `corners` [n, 4] are x0, y0, x1, y1 in pixels of a frame of `size` (width, height). A box is
    left out if it overlaps a surer one by more than _SAME_THING of their union.
    """
    limits = np.array([*size, *size], dtype=float)
    inside = corners.clip(0, limits)
    kept = _suppress(inside, scores)[:_MAX_BOXES]
    return [
        Box(names[index], float(scores[index]), *map(float, inside[index] / limits))
        for index in kept
    ]


def _suppress(corners: Corners, scores: Scores) -> list[int]:
    """Return the indices of the boxes that stay, the surest first; those under a pixel go."""
    sides = corners[:, 2:] - corners[:, :2]
    areas = sides.prod(1)
    rest = np.argsort(-scores, kind="stable")
    rest = rest[(sides[rest] >= 1).all(1)]
    kept: list[int] = []
    while rest.size:
        first, rest = int(rest[0]), rest[1:]
        kept.append(first)
        low = np.maximum(corners[first, :2], corners[rest, :2])
        high = np.minimum(corners[first, 2:], corners[rest, 2:])
        shared = (high - low).clip(0).prod(1)
        rest = rest[shared <= _SAME_THING * (areas[first] + areas[rest] - shared)]
    return kept
