"""Cameras that start badly or throw in broken frames, as files for Chromium's fake camera.

Each is a list of images with their numbers of frames, at 30 a second, made of one still scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Frames = list[tuple[Image.Image, int]]
Pixels = npt.NDArray[np.float64]

# Longer than a test looks at a camera, since a file starts over at its end.
STILL_FRAMES = 450
PERIOD_FRAMES = 60


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _plain(scene: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", scene.size, colour)


def _exposed(scene: Image.Image, gain: float) -> Image.Image:
    return _picture(np.asarray(scene, dtype=np.float64) * gain)


def _tinted(scene: Image.Image, red: float, blue: float) -> Image.Image:
    return _picture(np.asarray(scene, dtype=np.float64) * (red, 1.0, blue))


def _ramp(scene: Image.Image, gains: Iterable[float], frames_each: int = 1) -> Frames:
    return [(_exposed(scene, gain), frames_each) for gain in gains]


def _noise(scene: Image.Image) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (scene.height, scene.width, 3))
    return _picture(pixels.astype(np.float64))


def _torn(scene: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The upper half of the scene, the rest of one colour, as after a lost packet."""
    torn = scene.copy()
    torn.paste(colour, (0, scene.height // 2, scene.width, scene.height))
    return torn


def _shifted(scene: Image.Image) -> Image.Image:
    """The scene cut into two and put together the wrong way round."""
    return _picture(np.roll(np.asarray(scene, dtype=np.float64), scene.width // 3, axis=1))


def _other(scene: Image.Image) -> Image.Image:
    """Another scene: a frame left over from before."""
    pixels = np.asarray(scene, dtype=np.float64)[::-1, ::-1]
    return _picture(255 - pixels)


BLACK, WHITE, GREEN, GREY = (0, 0, 0), (255, 255, 255), (0, 135, 0), (128, 128, 128)

# What a camera shows before its picture of the scene is right.
_STARTS: dict[str, Callable[[Image.Image], Frames]] = {
    "black, then brighter in steps": lambda scene: [
        (_plain(scene, BLACK), 10),
        *_ramp(scene, (0.15, 0.35, 0.6, 0.85), 6),
    ],
    "dark, brightening": lambda scene: _ramp(scene, np.linspace(0.1, 1, 24)),
    "dark, brightening slowly": lambda scene: _ramp(scene, np.linspace(0.3, 1, 36)),
    "black for a second": lambda scene: [(_plain(scene, BLACK), 30)],
    "burnt, darkening": lambda scene: _ramp(scene, np.linspace(2.5, 1, 24)),
    "burnt, in steps": lambda scene: _ramp(scene, (3, 2.2, 1.6, 1.25), 6),
    "white for a second": lambda scene: [(_plain(scene, WHITE), 30)],
    "green frames": lambda scene: [(_plain(scene, GREEN), 8)],
    "grey frames": lambda scene: [(_plain(scene, GREY), 15)],
    "wrong colours": lambda scene: [
        (_tinted(scene, 1 + 0.5 * far, 1 - 0.6 * far), 1) for far in np.linspace(1, 0, 27)
    ],
    "out of focus": lambda scene: [
        (scene.filter(ImageFilter.GaussianBlur(radius)), 3) for radius in (24, 18, 12, 8, 5, 3, 1)
    ],
    "frames of another scene": lambda scene: [(_other(scene), 4)],
    "torn frames": lambda scene: [(_torn(scene, GREEN), 5)],
    "noise": lambda scene: [(_noise(scene), 6)],
    "flickering": lambda scene: [(_plain(scene, BLACK), 3), (scene, 3)] * 4,
}

# Broken frames that come every two seconds.
_GLITCHES: dict[str, Callable[[Image.Image], Frames]] = {
    "black": lambda scene: [(_plain(scene, BLACK), 4)],
    "long black": lambda scene: [(_plain(scene, BLACK), 15)],
    "green": lambda scene: [(_plain(scene, GREEN), 4)],
    "long green": lambda scene: [(_plain(scene, GREEN), 15)],
    "white": lambda scene: [(_plain(scene, WHITE), 6)],
    "one grey frame": lambda scene: [(_plain(scene, GREY), 1)],
    "torn": lambda scene: [(_torn(scene, GREY), 4)],
    "torn, green": lambda scene: [(_torn(scene, GREEN), 6)],
    "shifted": lambda scene: [(_shifted(scene), 4)],
    "noise": lambda scene: [(_noise(scene), 4)],
    "dark": lambda scene: [(_exposed(scene, 0.2), 8)],
    "burnt": lambda scene: [(_exposed(scene, 2.5), 6)],
    "tinted": lambda scene: [(_tinted(scene, 0.3, 1.6), 4)],
    "another scene": lambda scene: [(_other(scene), 4)],
}


def settling_cameras(scene: Image.Image) -> dict[str, Frames]:
    """Return cameras that show `scene` only after a while, by what they show first."""
    return {name: [*start(scene), (scene, STILL_FRAMES)] for name, start in _STARTS.items()}


def glitching_cameras(scene: Image.Image) -> dict[str, Frames]:
    """Return cameras on `scene` that throw in broken frames, by what those show."""
    cameras = {}
    for name, glitch in _GLITCHES.items():
        broken = glitch(scene)
        rest = PERIOD_FRAMES - sum(frames for _, frames in broken)
        cameras[name] = [(scene, rest // 2), *broken, (scene, rest - rest // 2)]
    return cameras
