"""States of the camera that paint over a scene: a covered lens and glare."""

from __future__ import annotations

import numpy as np
from PIL import Image


def paint_covered(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A finger or a cap over the lens: next to nothing, now and then a red glow from one side."""
    glow = np.array(
        rng.choice([(0, 0, 0), (60, 8, 4), (35, 12, 8), (12, 12, 14)]), dtype=np.float32
    )
    width, height = size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.7) / 1.4
    pixels = ramp[..., None] ** 2 * glow + rng.uniform(0, 9)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def overlay_glare(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The RGB picture with a light in it that outshines most of what is there."""
    width, height = picture.size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    cx, cy = rng.uniform(0.3, 0.7, 2)
    spread = rng.uniform(0.22, 0.34)
    strength = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2)) * rng.uniform(330, 600)
    pixels = np.asarray(picture, dtype=np.float32) * 0.65 + strength[..., None] * (1, 0.98, 0.93)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
