"""The patches of a frame's only tile: how two frames differ in them, and the pixels of some.

Frames are compared before they are resized as the model needs it, which takes longer than all of
the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.processing.image_processor import ImageProcessor, PixelValues
from vlm.processing.resize import Part
from vlm.types import Detail

# [rows, columns]
Mask: TypeAlias = npt.NDArray[np.bool_]
# Mean colours, -1 to 1: [3, rows, cells, columns, cells].
Cells: TypeAlias = npt.NDArray[np.float32]

# Rows and columns of cells in a patch. Means of cells have little noise, and show what is drawn.
_CELLS: Final = 4
# What is near a change has seen most of it. With two rings nano's captions of moving things agree
# with those of whole frames as often as whole frames do under other noise (docs/experiments.md).
_RINGS: Final = 2
# Above this share of the tile, its pixels are computed at once.
_MOST_IN_PARTS: Final = 0.6


class Patches:
    """`side` rows of as many patches; a rest of the tile at the right and below has none."""

    def __init__(self, processor: ImageProcessor, detail: Detail, patch_px: int) -> None:
        """`patch_px` is the side of a patch; `detail` is any but "high"."""
        self.tile_px = processor.side_px(detail)
        self.side = self.tile_px // patch_px
        self._processor, self._detail, self._patch_px = processor, detail, patch_px

    def cells(self, image: Image.Image) -> Cells:
        """Return the mean colours of an RGB image."""
        count, share = self.side * _CELLS, self.side * self._patch_px / self.tile_px
        used = (0, 0, image.width * share, image.height * share)
        small = image.resize((count, count), Image.Resampling.BOX, used)
        colours = np.asarray(small, np.float32) / np.float32(127.5) - 1
        shape = (self.side, _CELLS, self.side, _CELLS, 3)
        return np.ascontiguousarray(colours.reshape(shape).transpose(4, 0, 1, 2, 3))

    def pixel_values(self, image: Image.Image, mask: Mask) -> PixelValues:
        """Return the tile, [1, 3, side, side]; patches outside of `mask` may be left at 0."""
        parts = list(self._parts(mask))
        area = sum((part.right - part.left) * (part.bottom - part.top) for part in parts)
        if area > _MOST_IN_PARTS * self.tile_px**2:
            return self._processor.pixel_values(image, self._detail)
        values = np.zeros((1, 3, self.tile_px, self.tile_px), np.float32)
        for part in parts:
            tile_part = self._processor.tile_part(image, part, self._detail)
            pixels = self._processor.normalised(tile_part)
            values[..., part.top : part.bottom, part.left : part.right] = pixels
        return values

    def _parts(self, mask: Mask) -> Iterator[Part]:
        """Yield rectangles of whole patches, in rows, which hold `mask`."""
        edges = np.flatnonzero(np.diff(mask.any(1).astype(np.int8), prepend=0, append=0))
        for top, bottom in edges.reshape(-1, 2).tolist():
            columns = np.flatnonzero(mask[top:bottom].any(0))
            bounds = (int(columns[0]), top, int(columns[-1]) + 1, bottom)
            yield Part(*(self._patch_px * each for each in bounds))


def differences(one: Cells, other: Cells) -> npt.NDArray[np.float32]:
    """Return the mean absolute difference of each patch, [rows, columns]."""
    return np.asarray(np.abs(one - other).mean((0, 2, 4)), np.float32)


def with_neighbours(mask: Mask) -> Mask:
    """Return `mask` with all patches at most _RINGS away from one of its patches."""
    padded = np.pad(mask, _RINGS)
    rows, columns = mask.shape
    ringed = np.zeros_like(mask)
    for down in range(2 * _RINGS + 1):
        for right in range(2 * _RINGS + 1):
            ringed |= padded[down : down + rows, right : right + columns]
    return ringed
