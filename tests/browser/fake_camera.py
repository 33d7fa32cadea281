"""Video files for Chromium's fake camera."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

FRAMES_PER_S = 30


def write_camera_file(path: Path, scenes: Iterable[tuple[Image.Image, int]]) -> Path:
    """Write an .mjpeg of each image for its number of frames; Chromium plays it in a loop.

    All images must have the same size.
    """
    path.write_bytes(b"".join(_video_jpeg(image) * frames for image, frames in scenes))
    return path


def _video_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG in the narrow range that Chromium assumes of video."""
    full = np.asarray(image.convert("YCbCr"), dtype=np.float32)
    low = np.array([16, 128, 128], dtype=np.float32)
    narrow = low + (full - [0, 128, 128]) * (np.array([219, 224, 224]) / 255)
    out = io.BytesIO()
    pixels = narrow.round().clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels, "YCbCr").save(out, "JPEG", quality=92)
    return out.getvalue()
