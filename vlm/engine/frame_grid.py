"""The cells of a frame: image tokens and patches of its tiles, put where they lie."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vlm.processing.image_processor import TileGrid

Number = TypeVar("Number", bound=np.generic)


def cells_of(grid: TileGrid) -> tuple[int, int]:
    """Return the rows and columns of cells over a frame; a cell is a token of a tile."""
    return max(grid.rows, 1) * grid.row_tokens, max(grid.columns, 1) * grid.row_tokens


def attention_on_grid(image: npt.NDArray[np.float32], grid: TileGrid) -> npt.NDArray[np.float32]:
    """Return attention to image tokens, [rows, tokens], over the frame, [rows, height, width].

    Cells are those of the tiles; attention to the tile of the whole image is spread over the cells
    that each of its tokens covers.
    """
    tiles, whole = _layers(image, grid)
    if tiles is None:
        return whole
    over: npt.NDArray[np.float32] = tiles + whole / np.float32(grid.rows * grid.columns)
    return over


def tokens_of_cells(cells: Collection[int], grid: TileGrid) -> list[int]:
    """Return the indices of the image tokens that show a part of one of `cells`, in order."""
    indices = np.arange(grid.tiles * grid.tile_tokens)[None]
    layers = [each for each in _layers(indices, grid) if each is not None]
    found = {int(each.ravel()[cell]) for each in layers for cell in cells}
    return sorted(found)


def patches_on_grid(patches: npt.NDArray[np.float32], grid: TileGrid) -> npt.NDArray[np.float32]:
    """Return features of patches over the frame, [rows, columns, hidden].

    `patches` are [tiles, patches, hidden]. Those of the tile of the whole image are left out if
    there are others.
    """
    side = round(patches.shape[1] ** 0.5)
    rows, columns = max(grid.rows, 1), max(grid.columns, 1)
    tiles = patches[: rows * columns].reshape(rows, columns, side, side, -1)
    over: npt.NDArray[np.float32] = tiles.swapaxes(1, 2).reshape(rows * side, columns * side, -1)
    return over


def _layers(
    tokens: npt.NDArray[Number], grid: TileGrid
) -> tuple[npt.NDArray[Number] | None, npt.NDArray[Any]]:
    """Return [rows, tokens] over the frame: those of the tiles, and of the tile of the whole.

    The first is None if the whole image is the only tile.
    """
    side = grid.row_tokens
    whole = tokens[:, -grid.tile_tokens :].reshape(-1, side, side)
    if grid.tiles == 1:
        return None, whole
    height, width = cells_of(grid)
    tiles = tokens[:, : -grid.tile_tokens].reshape(-1, grid.rows, grid.columns, side, side)
    spread = whole.repeat(grid.rows, 1).repeat(grid.columns, 2)
    return tiles.transpose(0, 1, 3, 2, 4).reshape(-1, height, width), spread
