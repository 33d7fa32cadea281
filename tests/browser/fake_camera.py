"""Video files for Chromium's fake camera."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

FRAMES_PER_S = 30


def write_camera_file(path: Path, scenes: Iterable[tuple[Image.Image, int]]) -> Path:
    """Writes an .mjpeg that shows each picture for so many frames, and then starts over.

    All pictures must be of one size.
    """
    path.write_bytes(b"".join(_video_jpeg(picture) * frames for picture, frames in scenes))
    return path


def _video_jpeg(picture: Image.Image) -> bytes:
    """A JPEG whose colours come out right: Chromium takes its range for video's narrower one."""
    full = np.asarray(picture.convert("YCbCr"), dtype=np.float32)
    low = np.array([16, 128, 128], dtype=np.float32)
    narrow = low + (full - [0, 128, 128]) * (np.array([219, 224, 224]) / 255)
    out = io.BytesIO()
    pixels = narrow.round().clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels, "YCbCr").save(out, "JPEG", quality=92)
    return out.getvalue()
