"""Lines of text as rectangles: where each lies, which are one line, the order of reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Points = npt.NDArray[np.float64]
"""[n, 2]: x and y in pixels."""

# Taller than this times its width, a box holds a line that runs down or up.
_UPRIGHT_RATIO: Final = 1.5
# Cosine of the largest angle (14 degrees) between two views of one line.
_SAME_DIRECTION: Final = 0.97
# A box with this part of its area in another one is a piece of that.
_CONTAINED: Final = 0.6


@dataclass(frozen=True)
class Strip:
    """A rectangle around one line of text, turned as the line is."""

    x: float
    """Of the centre, in pixels of the frame."""
    y: float
    angle: float
    """Radians from the x axis to the reading direction; positive is clockwise on the screen."""
    length: float
    """Pixels along the line."""
    height: float
    """Pixels across the line."""

    @classmethod
    def of(cls, corners: Points) -> Strip:
        """Return the strip around a detector's box: four corners, clockwise from the top left."""
        top = (corners[1] - corners[0] + corners[2] - corners[3]) / 2
        side = (corners[3] - corners[0] + corners[2] - corners[1]) / 2
        is_upright = math.hypot(*side) >= _UPRIGHT_RATIO * math.hypot(*top)
        dx, dy = side if is_upright else top
        angle = math.atan2(dy, dx)
        along, across = _project(corners, angle)
        middle = ((along.min() + along.max()) / 2, (across.min() + across.max()) / 2)
        x, y = _from_axes(*middle, angle)
        return cls(x, y, angle, float(np.ptp(along)), float(np.ptp(across)))

    @property
    def corners(self) -> Points:
        """Four corners, clockwise from the one before the first letter."""
        signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
        dx, dy = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([(dx, dy), (-dy, dx)])
        corners: Points = np.array([self.x, self.y]) + signs * (self.length, self.height) @ turn
        return corners

    @property
    def turned(self) -> Strip:
        """The same place, read from the other end."""
        return replace(self, angle=self.angle + math.pi)

    def moved(self, x: float, y: float) -> Strip:
        return replace(self, x=self.x + x, y=self.y + y)

    def cut(self, image: Image.Image) -> Image.Image:
        """Return the pixels of the strip, upright."""
        size = (max(1, round(self.length)), max(1, round(self.height)))
        dx, dy = math.cos(self.angle), math.sin(self.angle)
        left = self.x - dx * size[0] / 2 + dy * size[1] / 2
        top = self.y - dy * size[0] / 2 - dx * size[1] / 2
        return image.transform(
            size,
            Image.Transform.AFFINE,
            (dx, -dy, left, dy, dx, top),
            resample=Image.Resampling.BICUBIC,
        )


def _project(points: Points, angle: float) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the coordinates of `points` along and across the direction `angle`."""
    dx, dy = math.cos(angle), math.sin(angle)
    return points @ np.array([dx, dy]), points @ np.array([-dy, dx])


def _from_axes(along: float, across: float, angle: float) -> tuple[float, float]:
    """Return x and y of a point given by `_project`."""
    dx, dy = math.cos(angle), math.sin(angle)
    return float(along * dx - across * dy), float(along * dy + across * dx)


def merged(parts: Iterable[Sequence[Strip]]) -> list[Strip]:
    """Return the lines of all `parts` of a frame, each once, also if a border cuts it."""
    whole: list[Strip] = []
    for strips in parts:
        new: list[Strip] = []
        for strip in strips:
            line, others = strip, []
            for known in whole:
                joined = _joined(known, line)
                if joined is None:
                    others.append(known)
                else:
                    line = joined
            if len(others) < len(whole):
                # Other pieces of this part may belong to the same line.
                whole = [*others, line]
            else:
                new.append(strip)
        whole += new
    return whole


def _joined(first: Strip, second: Strip) -> Strip | None:
    """Return the line that both are views of, None if they are two lines."""
    large, small = sorted((first, second), key=lambda strip: -strip.length * strip.height)
    along, across = _project(small.corners - (large.x, large.y), large.angle)
    shared = [
        min(side / 2, values.max()) - max(-side / 2, values.min())
        for side, values in ((large.length, along), (large.height, across))
    ]
    if min(shared) <= 0:
        return None
    # Not a word within a frame around it.
    is_piece = (
        shared[0] * shared[1] > _CONTAINED * small.length * small.height
        and np.ptp(across) > large.height / 2
    )
    is_same_line = (
        abs(math.cos(large.angle - small.angle)) > _SAME_DIRECTION
        and abs(across.mean()) < min(large.height, small.height) / 2
        and max(large.height, small.height) < 2 * min(large.height, small.height)
    )
    if is_same_line:
        return _united(large, small)
    return large if is_piece else None


def _united(large: Strip, small: Strip) -> Strip:
    """Return the strip from the first end of both to the last one."""
    ends = np.array(
        [
            (
                each.x + sign * math.cos(each.angle) * each.length / 2,
                each.y + sign * math.sin(each.angle) * each.length / 2,
            )
            for each in (large, small)
            for sign in (-1, 1)
        ]
    )
    order = np.argsort(_project(ends, large.angle)[0])
    first, last = ends[order[0]], ends[order[-1]]
    dx, dy = last - first
    x, y = (first + last) / 2
    return Strip(
        float(x), float(y), math.atan2(dy, dx), math.hypot(dx, dy), max(large.height, small.height)
    )


def in_reading_order(strips: Sequence[Strip]) -> list[int]:
    """Return the indices of `strips`, row by row in the direction in which most of them run."""
    if not strips:
        return []
    angle = _main_angle(strips)
    centres = np.array([(strip.x, strip.y) for strip in strips])
    along, across = _project(centres, angle)
    rows: list[list[int]] = []
    for index in np.argsort(across, kind="stable"):
        # A row goes on while its first line and this one overlap by half of the lower one.
        if rows:
            first = rows[-1][0]
            lower = min(strips[first].height, strips[index].height)
            if across[index] - across[first] < lower / 2:
                rows[-1].append(int(index))
                continue
        rows.append([int(index)])
    return [index for row in rows for index in sorted(row, key=lambda each: along[each])]


def _main_angle(strips: Sequence[Strip]) -> float:
    """Return the direction of rows: that of most lines, counted by length.

    The angles of short lines are several degrees off, so it is made exact by the way from each line
    to the next one in its row.
    """
    angles = np.array([strip.angle for strip in strips])
    lengths = np.array([strip.length for strip in strips])
    is_near = np.cos(angles[:, None] - angles) > _SAME_DIRECTION
    near = is_near[int((is_near @ lengths).argmax())]
    angle = math.atan2(*((lengths * part(angles))[near].sum() for part in (np.sin, np.cos)))
    ways = np.array([way for strip in strips for way in _way_to_next(strip, strips, angle)])
    return math.atan2(*ways.sum(0)[::-1]) if len(ways) else angle


def _way_to_next(strip: Strip, strips: Sequence[Strip], angle: float) -> list[Points]:
    """Return the way from `strip` to the next one in its row, if there is one."""
    ways = np.array([(other.x - strip.x, other.y - strip.y) for other in strips])
    along, across = _project(ways, angle)
    lower = np.minimum(strip.height, [other.height for other in strips])
    is_in_row = (np.abs(across) < lower / 2) & (along > _SAME_DIRECTION * np.hypot(*ways.T))
    if not is_in_row.any():
        return []
    return [ways[np.where(is_in_row, along, np.inf).argmin()]]
