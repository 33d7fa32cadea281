"""Seeded sequences of a still camera's frames, in which one thing changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

import numpy as np
from PIL import Image

from tools.nano import camera, shapes
from tools.nano.backgrounds import BACKGROUNDS, paint_background
from tools.nano.compose import Canvas, free_place, paint_object, paint_objects
from tools.nano.palette import COLOURS
from tools.nano.truth import Scene

Change = Literal["moves", "appears", "vanishes", "colour", "slow light", "sudden light", "shake"]
CHANGES: Final[tuple[Change, ...]] = (
    "moves",
    "appears",
    "vanishes",
    "colour",
    "slow light",
    "sudden light",
    "shake",
)
# Standard deviations in 8-bit levels.
NOISES: Final = (0.0, 3.0, 6.0, 10.0)
FRAMES: Final = 10
_STREAM: Final = 53
_QUALITY: Final = 80
_MIDDLE: Final = FRAMES // 2
# Of the longest side: what a hand on the table does.
_SHAKE_SHARE: Final = 0.004


@dataclass(frozen=True)
class Sequence:
    """Frames of one camera with their ground truth."""

    change: Change
    noise: float
    frames: tuple[tuple[Image.Image, Scene], ...]


def make_sequence(seed: int, draw: int = 0) -> Sequence:
    """Return the sequence of one seed (0 or more); kinds and noises take turns.

    Another `draw` has other noise, and all else the same.
    """
    change = CHANGES[seed % len(CHANGES)]
    noise = NOISES[seed // len(CHANGES) % len(NOISES)]
    return Sequence(change, noise, tuple(_frames(seed, draw, change, noise)))


def _frames(
    seed: int, draw: int, change: Change, noise: float
) -> Iterator[tuple[Image.Image, Scene]]:
    rng = np.random.default_rng([_STREAM, seed])
    sensor = np.random.default_rng([_STREAM, seed, draw])
    frame_size = camera.sample_frame_size(rng)
    size = camera.canvas_size_for(frame_size)
    view = camera.sample_view(rng, frame_size, size)
    name = [each for each in BACKGROUNDS if each != "cluttered"][
        rng.integers(len(BACKGROUNDS) - ("cluttered" in BACKGROUNDS))
    ]
    background = paint_background(rng, size, name)
    still = Canvas(background.canvas, Image.new("L", size, 0), view, background.colours)
    paint_objects(still, rng, int(rng.integers(1, 3)))
    short = min(frame_size)
    taken = [
        (each.x * frame_size[0] / short, each.y * frame_size[1] / short, 0.2)
        for each in still.objects
    ]
    start = free_place(rng, "small", taken, frame_size)
    end = free_place(rng, "small", taken, frame_size)
    shape = shapes.SHAPES[rng.integers(len(shapes.SHAPES))]
    colours = [COLOURS[index] for index in rng.permutation(len(COLOURS))]
    look = int(rng.integers(2**31))
    for index in range(FRAMES):
        canvas = Canvas(
            still.pixels.copy(), still.ids.copy(), view, still.ground, list(still.objects)
        )
        is_there = change in ("moves", "colour") or (
            (change == "appears" and index >= _MIDDLE) or (change == "vanishes" and index < _MIDDLE)
        )
        if is_there and start is not None and end is not None:
            share = index / (FRAMES - 1) if change == "moves" else 0.0
            at = tuple(a + share * (b - a) for a, b in zip(start, end, strict=True))
            order = colours[::-1] if change == "colour" and index >= _MIDDLE else colours
            # The same look in each frame.
            paint_object(canvas, np.random.default_rng(look), shape, order, "small", at)  # type: ignore[arg-type]
        gain = 1.0
        if change == "slow light":
            gain = 1.0 - 0.04 * index
        elif change == "sudden light" and index >= _MIDDLE:
            gain = 0.7
        image = view.warp(canvas.pixels, frame_size, Image.Resampling.BILINEAR)
        if change == "shake":
            image = _shifted(image, rng)
        yield _seen(image, gain, noise, sensor), Scene("objects", tuple(canvas.objects))


def _shifted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    right, down = rng.normal(0, _SHAKE_SHARE * max(image.size), 2)
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1, 0, float(right), 0, 1, float(down)),
        Image.Resampling.BILINEAR,
    )


def _seen(image: Image.Image, gain: float, noise: float, rng: np.random.Generator) -> Image.Image:
    """Return the RGB picture after sensor and JPEG compression."""
    pixels = np.asarray(image, np.float32) * np.float32(gain)
    pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    encoded = BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=_QUALITY)
    return Image.open(encoded).convert("RGB")
