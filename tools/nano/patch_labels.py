"""Labels of each patch of a frame: dense supervision for a small encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.nano import shapes
from tools.nano.compose import FIRST_LETTER_ID, Canvas
from tools.nano.palette import COLOURS
from tools.nano.truth import PATCH_GRID, SIZES, Kind

IGNORED: Final = -100
_CELLS_PER_PATCH: Final = 4
# With fewer covered cells a patch is undecided: it shows too little of the object.
_CLEAR_CELLS: Final = 4

PatchMap = NDArray[np.int64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PatchLabels:
    """Labels of each patch, (PATCH_GRID, PATCH_GRID) each.

    0 is background, IGNORED is undecided. Classes count from 1 in the order of SHAPES, COLOURS,
    SIZES, PATTERNS and `lettering.LETTERS`.
    """

    shape: PatchMap
    colour: PatchMap
    size: PatchMap
    pattern: PatchMap
    letter: PatchMap


def label_patches(canvas: Canvas, kind: Kind) -> PatchLabels:
    """Return the labels of a painted canvas in its view.

    If the camera's state hides the scene, all patches are IGNORED.
    """
    grid = (PATCH_GRID, PATCH_GRID)
    if kind in ("dark", "glare", "blur"):
        unknown = np.full(grid, IGNORED, dtype=np.int64)
        return PatchLabels(unknown, unknown, unknown, unknown, unknown)
    ids, undecided = _covering_ids(_fine_ids(canvas))
    maps = {
        name: np.zeros(grid, dtype=np.int64)
        for name in ("shape", "colour", "size", "pattern", "letter")
    }
    for i in (int(i) for i in np.unique(ids) if i):
        here = ids == i
        if i >= FIRST_LETTER_ID:
            maps["letter"][here] = i - FIRST_LETTER_ID + 1
            if canvas.text is not None:
                maps["colour"][here] = COLOURS.index(canvas.text.colour) + 1
        else:
            item = canvas.objects[i - 1]
            maps["shape"][here] = shapes.SHAPES.index(item.shape) + 1
            maps["colour"][here] = COLOURS.index(item.colour) + 1
            maps["size"][here] = list(SIZES).index(item.size) + 1
            maps["pattern"][here] = shapes.PATTERNS.index(item.pattern) + 1
    for labels in maps.values():
        labels[undecided] = IGNORED
    return PatchLabels(**maps)


def object_boxes(canvas: Canvas) -> tuple[Box | None, ...]:
    """Return x0, y0, x1, y1 of each object, 0..1 of the frame, to a quarter of a patch.

    None for one that is not seen.
    """
    fine = _fine_ids(canvas)
    return tuple(_box(fine == i) for i in range(1, len(canvas.objects) + 1))


def _fine_ids(canvas: Canvas) -> NDArray[np.uint8]:
    """Return the id at each cell of the frame; a patch has 4 x 4 cells."""
    side = PATCH_GRID * _CELLS_PER_PATCH
    return np.asarray(canvas.view.warp(canvas.ids, (side, side), Image.Resampling.NEAREST))


def _box(here: NDArray[np.bool_]) -> Box | None:
    """Return the box around the cells that are true."""
    if not here.any():
        return None
    rows, columns = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
    side = len(here)
    return (
        float(columns[0]) / side,
        float(rows[0]) / side,
        float(columns[-1] + 1) / side,
        float(rows[-1] + 1) / side,
    )


def _covering_ids(fine: NDArray[np.uint8]) -> tuple[PatchMap, NDArray[np.bool_]]:
    """Return the id that covers most of each patch (0: none), and which patches are undecided."""
    blocks = fine.reshape(PATCH_GRID, _CELLS_PER_PATCH, PATCH_GRID, _CELLS_PER_PATCH)
    blocks = blocks.transpose(0, 2, 1, 3).reshape(PATCH_GRID, PATCH_GRID, -1)
    best = np.zeros((PATCH_GRID, PATCH_GRID), dtype=np.int64)
    most = np.zeros((PATCH_GRID, PATCH_GRID), dtype=np.int64)
    for i in (int(i) for i in np.unique(fine) if i):
        count = (blocks == i).sum(-1)
        best = np.where(count > most, i, best)
        most = np.maximum(most, count)
    return best, (most > 0) & (most < _CLEAR_CELLS)
