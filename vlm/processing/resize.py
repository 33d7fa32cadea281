"""Resizing in Pillow with torch's order of steps, in threads, and of parts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, NamedTuple

from PIL import Image

# More threads do not help: pasting a strip holds the GIL.
_THREADS: Final = min(os.cpu_count() or 1, 8)
# Below this, starting threads takes as long as resizing.
_MIN_PIXELS: Final = 1 << 19
# Lanczos reads so many pixels, of the coarser of both images, to each side.
_WIDEST_FILTER: Final = 3


def resize(image: Image.Image, size: tuple[int, int], resample: int) -> Image.Image:
    """Return an RGB image in another size: its rows resampled first, then its columns.

    The order decides how pixels are rounded. This one is torch's (within 2 levels of 255) and that
    of Pillow up to release 12, with which the published models were trained. Pillow 13 takes the
    cheaper order, so upright frames would have other pixels there, by up to 17 levels.
    https://github.com/python-pillow/Pillow/pull/9524

    Resizing is on the critical path to the first token, and single-threaded in Pillow; large images
    are resized by several threads, with the same pixels.
    """
    width, height = size
    in_strips = _THREADS > 1 and max(image.width * image.height, width * height) >= _MIN_PIXELS
    if image.width != width:
        if in_strips:
            image = _across(image, width, resample)
        else:
            image = image.resize((width, image.height), resample)
    if image.height != height:
        if in_strips:
            image = _down(image, height, resample)
        else:
            image = image.resize((width, height), resample)
    return image


def _across(image: Image.Image, width: int, resample: int) -> Image.Image:
    """Resize to another width; rows are independent."""
    resized = Image.new("RGB", (width, image.height), None)

    def strip(top: int, bottom: int) -> None:
        rows = image.crop((0, top, image.width, bottom))
        resized.paste(rows.resize((width, rows.height), resample), (0, top))

    _in_strips(strip, image.height)
    return resized


def _down(image: Image.Image, height: int, resample: int) -> Image.Image:
    """Resize to another height; columns are independent."""
    resized = Image.new("RGB", (image.width, height), None)

    def strip(left: int, right: int) -> None:
        columns = image.crop((left, 0, right, image.height))
        resized.paste(columns.resize((columns.width, height), resample), (left, 0))

    _in_strips(strip, image.width)
    return resized


def _in_strips(work: Callable[[int, int], None], length: int) -> None:
    """Call `work(start, end)` by each thread, on its share of 0 to `length`."""
    count = min(_THREADS, length)
    bounds = [length * index // count for index in range(count + 1)]
    # Waits for all, and raises their errors.
    list(_pool().map(work, bounds[:-1], bounds[1:]))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="resize")


class Part(NamedTuple):
    """A rectangle of an image, in pixels."""

    left: int
    top: int
    right: int
    bottom: int


class Piece(NamedTuple):
    """The pixels of a part of an image of `size`."""

    pixels: Image.Image
    part: Part
    size: tuple[int, int]


def part_read(part: Part, source: tuple[int, int], size: tuple[int, int]) -> Part:
    """Return what `resize` from size `source` to `size` reads to make `part` of its result."""
    left, right = _range_read(part.left, part.right, source[0], size[0])
    top, bottom = _range_read(part.top, part.bottom, source[1], size[1])
    return Part(left, top, right, bottom)


def resize_piece(piece: Piece, size: tuple[int, int], part: Part, resample: int) -> Piece:
    """Return `part` of what `resize` makes of the whole image.

    `piece` must hold what `part_read` returns. Some pixels are a level of 255 off, if the scale is
    rounded in Pillow's float32.
    """
    scale_x, scale_y = piece.size[0] / size[0], piece.size[1] / size[1]
    _, top, _, bottom = part_read(part, piece.size, size)
    above, before = piece.part.top, piece.part.left
    # Whole rows first, so that Pillow does only what is needed in each step.
    rows = piece.pixels.crop((0, top - above, piece.pixels.width, bottom - above))
    across = (part.left * scale_x - before, 0, part.right * scale_x - before, rows.height)
    rows = rows.resize((part.right - part.left, rows.height), resample, across)
    down = (0, part.top * scale_y - top, rows.width, part.bottom * scale_y - top)
    resized = rows.resize((rows.width, part.bottom - part.top), resample, down)
    return Piece(resized, part, size)


def _range_read(start: int, end: int, source: int, size: int) -> tuple[int, int]:
    scale = source / size
    reach = _WIDEST_FILTER * max(scale, 1) + 1
    return max(0, math.floor(start * scale - reach)), min(source, math.ceil(end * scale + reach))
