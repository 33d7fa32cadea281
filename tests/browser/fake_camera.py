"""Video files for Chromium's fake camera."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

FRAMES_PER_S = 30


def write_camera_file(
    path: Path, scenes: Iterable[tuple[Image.Image, int]], full_range: bool = False
) -> Path:
    """Write an .mjpeg of each image for its number of frames; Chromium plays it in a loop.

    All images must have the same size. With `full_range` they have levels of 0 to 255, as those of
    motion-JPEG cameras, else the narrow range that Chromium assumes of video.
    """
    to_jpeg = _full_jpeg if full_range else _narrow_jpeg
    path.write_bytes(b"".join(to_jpeg(image) * frames for image, frames in scenes))
    return path


def _full_jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue()


def _narrow_jpeg(image: Image.Image) -> bytes:
    full = np.asarray(image.convert("YCbCr"), dtype=np.float32)
    low = np.array([16, 128, 128], dtype=np.float32)
    narrow = low + (full - [0, 128, 128]) * (np.array([219, 224, 224]) / 255)
    out = io.BytesIO()
    pixels = narrow.round().clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels, "YCbCr").save(out, "JPEG", quality=92)
    return out.getvalue()
