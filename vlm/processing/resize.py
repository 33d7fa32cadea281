"""Pillow's resize, on all cores: it lies on the way to the first word, and knows but one core."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from PIL import Image

# More of them gain little, since one at a time copies its strip.
_THREADS: Final = min(os.cpu_count() or 1, 8)
# Below this, handing out the work takes as long as doing it.
_MIN_PIXELS: Final = 1 << 19


def resize(image: Image.Image, size: tuple[int, int], resample: int) -> Image.Image:
    """`image`, RGB, as `image.resize(size, resample)` has it to the last bit; perhaps `image`."""
    if image.size == size:
        return image
    pixels = max(image.width * image.height, size[0] * size[1])
    if _THREADS == 1 or pixels < _MIN_PIXELS or not _goes_across_first(image.size, size):
        return image.resize(size, resample)
    width, height = size
    if image.width != width:
        image = _across(image, width, resample)
    return image if image.height == height else _down(image, height, resample)


def _across(image: Image.Image, width: int, resample: int) -> Image.Image:
    """`image` of another width; each row is resampled by itself."""
    resized = Image.new("RGB", (width, image.height), None)

    def strip(top: int, bottom: int) -> None:
        rows = image.crop((0, top, image.width, bottom))
        resized.paste(rows.resize((width, rows.height), resample), (0, top))

    _in_strips(strip, image.height)
    return resized


def _down(image: Image.Image, height: int, resample: int) -> Image.Image:
    """`image` of another height; each column is resampled by itself."""
    resized = Image.new("RGB", (image.width, height), None)

    def strip(left: int, right: int) -> None:
        columns = image.crop((left, 0, right, image.height))
        resized.paste(columns.resize((columns.width, height), resample), (left, 0))

    _in_strips(strip, image.width)
    return resized


def _goes_across_first(old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Whether Pillow surely resamples rows before columns, which tells where it rounds.

    Up to release 12 it does for all that is not made lower and a hundred times as high as wide;
    from 13 on where the height loses at most twice as many pixels as the width, or none.
    https://github.com/python-pillow/Pillow/pull/9524 and /9549 there.
    """
    (old_width, old_height), (new_width, new_height) = old, new
    lost_rows, lost_columns = old_height - new_height, old_width - new_width
    return lost_rows <= 0 or (lost_rows <= 2 * lost_columns and old_height <= 100 * old_width)


def _in_strips(work: Callable[[int, int], None], length: int) -> None:
    """`work` on all of 0 to `length`, a part of it by each thread."""
    count = min(_THREADS, length)
    bounds = [length * index // count for index in range(count + 1)]
    # Read to the end, so that nothing of it is still to come, and errors do.
    list(_pool().map(work, bounds[:-1], bounds[1:]))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="resize")
