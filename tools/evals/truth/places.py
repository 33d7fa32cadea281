"""Boxes of named things against those of nano's scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from tools.evals.figures import Figure, share
from tools.evals.truth.measures import share_interval
from tools.nano.patch_labels import Box
from tools.nano.scenes import Frame
from vlm.scoring.where import WhereBox

_LEAST_IOU = 0.5


def boxes_in(frame: Frame) -> Iterator[tuple[str, Box]]:
    """Yield the name and the box of each object whose name no other one of the scene has."""
    names = [f"{each.colour} {each.shape}" for each in frame.scene.objects]
    counts = Counter(names)
    for name, box in zip(names, frame.boxes, strict=True):
        if counts[name] == 1 and box is not None:
            yield name, box


def iou_of(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection of two boxes over their union."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = one, other
    shared = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    return shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared)


class Places:
    """Counts things whose first box is around them, and absent things without a box."""

    def __init__(self) -> None:
        self._ious: list[float] = []
        self._boxes: list[int] = []
        self._absent = self._none = 0

    def add(self, truth: Box, boxes: Sequence[WhereBox]) -> None:
        """Count one thing that is there; without a box it counts as missed."""
        self._ious.append(iou_of(truth, boxes[0].box) if boxes else 0.0)
        self._boxes.append(len(boxes))

    def add_absent(self, boxes: Sequence[WhereBox]) -> None:
        """Count one thing that is not there."""
        self._absent += 1
        self._none += not boxes

    def figures(self) -> list[Figure]:
        """Return both shares, with their 95 % intervals."""
        right, things = sum(each > _LEAST_IOU for each in self._ious), len(self._ious)
        found = [each for each in self._boxes if each]
        low, high = share_interval(right, things)
        note = (
            f"95 %: {low:.3f} to {high:.3f}; mean IoU {np.mean(self._ious):.3f}; {len(found)} with "
            f"a box, {np.mean(found):.2f} boxes each"
        )
        none_low, none_high = share_interval(self._none, self._absent)
        none_note = f"95 %: {none_low:.3f} to {none_high:.3f}"
        return [
            share("iou50", right, things, note, least=0.8),
            share("absent", self._none, self._absent, none_note, least=0.97),
        ]
