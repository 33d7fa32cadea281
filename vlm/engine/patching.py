"""What the vision encoder makes of each patch of a frame, as passes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from vlm.engine.frame_grid import patches_on_grid
from vlm.engine.model import Model, Prepared
from vlm.engine.passes import EncodePatches, Passes
from vlm.results import Patched, Stats


def patched(model: Model, prepared: Prepared, is_cancelled: Callable[[], bool]) -> Passes[Patched]:
    """Yield passes and, last, the result; between two passes the request can be cancelled.

    The features of the newest frame are kept for another question about it.
    """
    began_s = time.perf_counter()
    (image,), detail = prepared.images, prepared.request.task.detail
    processor = model.inputs.image_processor
    grid = processor.grid_of(image.size, detail)
    key = model.frames.key(image, detail)
    tiles = processor.tiles(image, detail)
    features = model.patches.get(key)
    if features is None:
        parts = []
        # The whole image is the last tile, and not wanted if there are others.
        for tile in tiles[: max(len(tiles) - 1, 1)]:
            if is_cancelled():
                break
            parts.append((yield EncodePatches(processor.normalised(tile[None]))))
        else:
            features = patches_on_grid(np.concatenate(parts), grid)
            model.patches.put(key, features)
    total_s = time.perf_counter() - began_s
    yield Patched(
        "",
        "cancelled" if features is None else "stop",
        Stats.silent(total_s, prepared.image_tokens, 0),
        features,
        tiles.shape[1],
        (max(grid.rows, 1), max(grid.columns, 1)),
        prepared.image_tokens,
    )
