"""How the page prepares a frame and when it takes the next (static/js: compress, settings, state).

A test holds the numbers to those of the page.
"""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

JPEG_QUALITY: Final = 0.8
INTERVAL_S: Final = 0.5
LOOK_GAP_S: Final = 0.15
HEARTBEAT_S: Final = 10.0


def fitted(image: Image.Image, max_side_px: int) -> Image.Image:
    """`image` with its longest side at most `max_side_px`, never larger than it is."""
    scale = min(1.0, max_side_px / max(image.size))
    size = (max(1, int(image.width * scale + 0.5)), max(1, int(image.height * scale + 0.5)))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def to_jpeg(image: Image.Image) -> bytes:
    """`image` compressed as the page compresses a frame."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=round(100 * JPEG_QUALITY))
    return out.getvalue()
