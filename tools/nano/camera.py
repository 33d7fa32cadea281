"""A simulated camera: view, lens, sensor and JPEG between a scene and a frame."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

# Width to height. In wider frames the model's square input would make squares rectangles.
ASPECTS: Final = ((16, 9), (3, 2), (4, 3), (1, 1), (4, 5), (3, 4))
_ASPECT_WEIGHTS: Final = (0.2, 0.1, 0.38, 0.08, 0.08, 0.16)
LONGEST_SIDE_PX: Final = (192, 288)
CANVAS_SCALE: Final = 1.3
# The frame shows this share of the canvas, so that a turned camera still sees background.
VIEW_SHARE: Final = 0.84

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Light:
    """Ranges of exposure and noise in one state of the camera."""

    # Range of factors on the signal.
    gain: tuple[float, float] = (0.78, 1.18)
    # Range of standard deviations in 8-bit levels.
    noise: tuple[float, float] = (0.0, 7.0)


@dataclass(frozen=True)
class View:
    """One camera pose."""

    # (width, height) in pixels.
    frame_size: tuple[int, int]
    canvas_size: tuple[int, int]
    # Homography from frame to canvas pixels, (3, 3).
    frame_to_canvas: Matrix

    def to_frame(self, points: Matrix) -> Matrix:
        """Convert canvas pixels (n, 2) to frame positions (n, 2), 0..1 from the top left."""
        moved = (
            np.concatenate([points, np.ones((len(points), 1))], 1)
            @ np.linalg.inv(self.frame_to_canvas).T
        )
        return np.asarray(moved[:, :2] / moved[:, 2:] / self.frame_size)

    def warp(
        self, picture: Image.Image, size: tuple[int, int], resample: Image.Resampling
    ) -> Image.Image:
        """Return the part of a canvas-sized picture that this view shows, resized to `size`."""
        shrink = np.diag([self.frame_size[0] / size[0], self.frame_size[1] / size[1], 1.0])
        matrix = self.frame_to_canvas @ shrink
        data = (matrix / matrix[2, 2]).flatten()[:8]
        return picture.transform(size, Image.Transform.PERSPECTIVE, tuple(data), resample)


def _homography(source: Matrix, target: Matrix) -> Matrix:
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution = np.linalg.solve(np.array(rows), target.flatten())
    return np.append(solution, 1.0).reshape(3, 3)


def sample_frame_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return the (width, height) of one frame in pixels."""
    wide, high = ASPECTS[rng.choice(len(ASPECTS), p=_ASPECT_WEIGHTS)]
    longest = rng.integers(LONGEST_SIDE_PX[0], LONGEST_SIDE_PX[1] + 1)
    scale = longest / max(wide, high)
    return round(wide * scale), round(high * scale)


def canvas_size_for(frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) of the canvas on which the scene of a frame is painted."""
    return round(frame_size[0] * CANVAS_SCALE), round(frame_size[1] * CANVAS_SCALE)


def sample_view(
    rng: np.random.Generator, frame_size: tuple[int, int], canvas_size: tuple[int, int]
) -> View:
    """Return a random pose of a hand-held camera: roll, zoom and tilt."""
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    scale = VIEW_SHARE * rng.uniform(0.95, 1.05)
    quad = corners * scale * canvas_size + rng.normal(0, 0.012, (4, 2)) * canvas_size
    roll = np.deg2rad(rng.normal(0, 3.0))
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    quad = quad @ turn.T + np.array(canvas_size) * (0.5 + rng.normal(0, 0.008, 2))
    quad = quad.clip(0, canvas_size)
    frame_corners = (corners + 0.5) * frame_size
    return View(frame_size, canvas_size, _homography(frame_corners, quad))


def _motion_blur(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    steps = int(rng.integers(2, 5))
    angle = rng.uniform(0, np.pi)
    total = np.zeros_like(pixels)
    for step in range(steps):
        shift = (round(step * np.sin(angle)), round(step * np.cos(angle)))
        total += np.roll(pixels, shift, axis=(0, 1))
    return np.asarray(total / np.float32(steps))


def expose(
    picture: Image.Image, rng: np.random.Generator, light: Light, blur_share: float = 0.0
) -> Image.Image:
    """Return the RGB picture after lens, sensor and JPEG compression.

    `blur_share` is the radius of defocus as a share of the longest side.
    """
    radius = blur_share * max(picture.size) if blur_share else max(0.0, rng.normal(0.3, 0.35))
    if radius > 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
    pixels = np.asarray(picture, dtype=np.float32)
    if rng.random() < 0.2:
        pixels = _motion_blur(pixels, rng)
    height, width = pixels.shape[:2]
    gain = rng.uniform(*light.gain) * np.exp(rng.normal(0, 0.035, 3))
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - rng.uniform(0, 0.3) * (x**2 + y**2) / 2
    pixels = pixels * (vignette[..., None] * gain).astype(np.float32)
    noise = rng.uniform(*light.noise)
    pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    pixels = pixels + np.float32(rng.uniform(0, 8) * (light.gain[1] > 0.5))
    exposed = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    encoded = BytesIO()
    exposed.save(encoded, "JPEG", quality=int(rng.integers(40, 96)))
    return Image.open(encoded).convert("RGB")


def paint_covered(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return the picture of a covered lens: nearly black, sometimes red on one side."""
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
    """Return the RGB picture with a light in it that outshines most of the scene."""
    width, height = picture.size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    cx, cy = rng.uniform(0.3, 0.7, 2)
    spread = rng.uniform(0.22, 0.34)
    strength = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2)) * rng.uniform(330, 600)
    pixels = np.asarray(picture, dtype=np.float32) * 0.65 + strength[..., None] * (1, 0.98, 0.93)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
