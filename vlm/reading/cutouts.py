"""The parts of a frame in which lines of text are looked for.

One sign alone on a wall is not found in a wide or large frame: the detector sums over its whole
input. In a part of SIDE_PX pixels it is found, so a larger frame is cut into squares.
"""

from __future__ import annotations

import math
from typing import Final

from PIL import Image

# Longest side of what the detector gets: 12 of 12 lone signs of 18 px in frames up to 1920x1080.
SIDE_PX: Final = 736
# A part may be shrunk by a half, to SIDE_PX: letters of 24 px are still 16 px high.
_MAX_PART_PX: Final = 1104
# Neighbours share at least this part of their side, more than a few letters of a line.
_OVERLAP: Final = 1 / 8
# A longer shape is padded: its squares would be many and narrow.
_MAX_RATIO: Final = 8
# The detector rounds sides to multiples of 32, and below 31 it pads by itself.
_MIN_SIDE_PX: Final = 64
_PADDING: Final = (128, 128, 128)

Area = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


def cut_outs(width: int, height: int) -> list[Area]:
    """Return the overlapping parts of a frame, left to right and top to bottom.

    A frame of at most SIDE_PX is one part. Squares of a larger one share at least an eighth of
    their side.
    """
    if max(width, height) <= SIDE_PX:
        return [(0, 0, width, height)]
    side = min(width, height, _MAX_PART_PX)
    return [
        (left, top, left + side, top + side)
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]


def _starts(length: int, side: int) -> list[int]:
    """Return where parts of `side` start that cover `length`, evenly spaced."""
    if length == side:
        return [0]
    count = max(2, math.ceil((length / side - _OVERLAP) / (1 - _OVERLAP)))
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def padded(image: Image.Image) -> Image.Image:
    """Return `image`, with grey below or at the right if it is too small or longer than 8:1."""
    least = max(_MIN_SIDE_PX, math.ceil(max(image.size) / _MAX_RATIO))
    size = (max(image.width, least), max(image.height, least))
    if size == image.size:
        return image
    whole = Image.new("RGB", size, _PADDING)
    whole.paste(image)
    return whole
