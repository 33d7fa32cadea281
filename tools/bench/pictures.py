"""The frames that are captioned: a file's, or scenes that need no file, and what a camera adds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vlm.errors import SettingsError
from vlm.images.decode import decode_image

FRAME_SIZE_PX: Final = (640, 480)
SENSOR_NOISE_LEVELS: Final = 2.0
# So far between one frame and the next, as a share of the width, that the view is another one.
_PAN_SHARE: Final = 5 / 16
_MARGIN_PX: Final = 16
# One block of JPEG's chroma.
_CORNER_PX: Final = 16
# Sideways and up and down; of no common measure, so that the path is long.
_SWAY_PERIODS_S: Final = (3.1, 4.3)


def read_picture(file: Path) -> Image.Image:
    """The picture in `file`, as the server decodes it.

    Raises SettingsError where the file cannot be read, BadImageError and its kin where it is none.
    """
    try:
        return decode_image(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from error


def drawn_scene(number: int) -> Image.Image:
    """One of the scenes that nano knows, as a camera of FRAME_SIZE_PX sees it; `number` from 0."""
    from tools.nano.scenes import make_frame

    width, height = FRAME_SIZE_PX
    seed = -1
    while number >= 0:
        seed += 1
        image = make_frame(seed, "test", "objects").image
        # Of another shape it would be stretched, and squares would become rectangles.
        number -= abs(image.width * height - image.height * width) < 2 * max(image.size)
    return image.resize(FRAME_SIZE_PX, Image.Resampling.BICUBIC)


def touched(image: Image.Image, number: int) -> Image.Image:
    """`image` with one pixel of its own for each `number` up to 65535: a new frame, hardly seen."""
    copy = image.copy()
    copy.putpixel((0, 0), (number % 256, number // 256, 128))
    return copy


def cornered(image: Image.Image, number: int) -> Image.Image:
    """`image` with a small corner of its own for each `number` up to 4095, which JPEG keeps."""
    colour = (number % 16 * 16, number // 16 % 16 * 16, number // 256 % 16 * 16)
    copy = image.copy()
    copy.paste(colour, (0, 0, _CORNER_PX, _CORNER_PX))
    return copy


def panned(image: Image.Image, step: int) -> Image.Image:
    """`image` as a camera sees it that turns about; of sixteen steps no two show the same."""
    shift_px = int(step * _PAN_SHARE * image.width) % image.width
    return Image.fromarray(np.roll(np.asarray(image), shift_px, axis=1))


def swayed(image: Image.Image, at_s: float) -> Image.Image:
    """`image` without its margins, as a hand sways that has held the camera for `at_s`."""
    left, top = (
        round(_MARGIN_PX * (1 + math.sin(2 * math.pi * at_s / period_s)))
        for period_s in _SWAY_PERIODS_S
    )
    width, height = image.width - 2 * _MARGIN_PX, image.height - 2 * _MARGIN_PX
    return image.crop((left, top, left + width, top + height))


def noisy(image: Image.Image, number: int) -> Image.Image:
    """`image` with a sensor's noise, which is another for each `number`."""
    rng = np.random.default_rng(number)
    noise = rng.standard_normal((image.height, image.width, 3), dtype=np.float32)
    pixels = np.asarray(image) + noise * np.float32(SENSOR_NOISE_LEVELS)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
