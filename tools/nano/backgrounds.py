"""Backgrounds behind the objects: plain, gradient, stripes, paper, desks, clutter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tools.nano.palette import COLOURS, Rgb, sample_rgb

BACKGROUNDS: Final = ("plain", "gradient", "striped", "paper", "desk", "cluttered")
_WOODS: Final[tuple[Rgb, ...]] = ((196, 154, 108), (160, 120, 84), (222, 196, 160), (120, 86, 60))


@dataclass(frozen=True)
class Background:
    """A painted background."""

    kind: str
    canvas: Image.Image
    # The colours that an object must contrast with.
    colours: tuple[Rgb, ...]


def value_noise(
    rng: np.random.Generator, size: tuple[int, int], cells: int, octaves: int = 1
) -> NDArray[np.float32]:
    """Return smooth noise in 0..1, (height, width), with `cells` bumps along the longest side.

    Each further octave adds bumps of half the width and half the height.
    """
    width, height = size
    total = np.zeros((height, width), dtype=np.float32)
    weight_sum = 0.0
    for octave in range(octaves):
        across = cells * 2**octave
        grid = rng.random(
            (max(2, across * height // max(size)) + 1, max(2, across * width // max(size)) + 1)
        )
        bumps = Image.fromarray((grid * 255).astype(np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        weight = 0.5**octave
        total += np.asarray(bumps, dtype=np.float32) * (weight / 255)
        weight_sum += weight
    return np.asarray(total / np.float32(weight_sum))


def shade(colour: Rgb, factor: float) -> Rgb:
    """Return the colour lighter (factor above 1) or darker."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def _blend(first: Rgb, second: Rgb, amount: NDArray[np.float32]) -> Image.Image:
    mix = amount[..., None]
    pixels = np.array(first, np.float32) * (1 - mix) + np.array(second, np.float32) * mix
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _base_colour(rng: np.random.Generator) -> Rgb:
    if rng.random() < 0.5:
        return sample_rgb(rng, "white" if rng.random() < 0.6 else "grey")
    colour = sample_rgb(rng, COLOURS[rng.integers(len(COLOURS))])
    # Half of the coloured backgrounds are pale, like walls and card.
    if rng.random() < 0.5:
        red, green, blue = (round(255 - (255 - channel) * 0.35) for channel in colour)
        return red, green, blue
    return colour


def _ramp(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    width, height = size
    x, y = np.meshgrid(
        np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    )
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray((x * np.cos(angle) + y * np.sin(angle)) / 2.83 + 0.5, dtype=np.float32)


def _striped(rng: np.random.Generator, size: tuple[int, int]) -> Background:
    first = _base_colour(rng)
    second = shade(first, rng.choice([0.86, 0.9, 1.1]))
    period = rng.uniform(0.04, 0.12)
    waves = (_ramp(rng, size) / period) % 1
    return Background(
        "striped", _blend(first, second, (waves < 0.5).astype(np.float32)), (first, second)
    )


def _paper(rng: np.random.Generator, size: tuple[int, int]) -> Background:
    tone = int(rng.integers(222, 256))
    paper: Rgb = (tone, tone - int(rng.integers(0, 6)), tone - int(rng.integers(0, 20)))
    grain = value_noise(rng, size, 60, 2)
    sheet = _blend(shade(paper, 0.95), paper, grain)
    draw = ImageDraw.Draw(sheet)
    ruling = rng.random()
    if ruling < 0.4:
        line: Rgb = (170, 195, 225) if rng.random() < 0.7 else (200, 200, 200)
        gap = max(8, round(size[1] * rng.uniform(0.05, 0.1)))
        for y in range(gap, size[1], gap):
            draw.line([(0, y), (size[0], y + rng.normal(0, 1))], fill=line)
        if ruling < 0.15:
            for x in range(gap, size[0], gap):
                draw.line([(x, 0), (x + rng.normal(0, 1), size[1])], fill=line)
    if rng.random() < 0.4:
        return Background("paper", _held_over(rng, sheet), (paper,))
    return Background("paper", sheet, (paper,))


def _held_over(rng: np.random.Generator, sheet: Image.Image) -> Image.Image:
    """Return the sheet in front of another background, visible along its edges."""
    width, height = sheet.size
    behind = (_desk if rng.random() < 0.5 else _cluttered)(rng, sheet.size).canvas
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    inset = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    moved = np.array(corners) + inset * rng.uniform(0.03, 0.12, (4, 2)) * (width, height)
    mask = Image.new("L", sheet.size, 0)
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in moved], fill=255)
    behind.paste(sheet, mask=mask)
    return behind


def _desk(rng: np.random.Generator, size: tuple[int, int]) -> Background:
    red, green, blue = (
        int(channel * rng.uniform(0.85, 1.12)) for channel in _WOODS[rng.integers(len(_WOODS))]
    )
    wood = (red, green, blue)
    along = value_noise(rng, (size[0] // 8 + 2, size[1]), 40, 2)
    grain = Image.fromarray((along * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        grain = grain.transpose(Image.Transpose.ROTATE_90).resize(size)
    amount = np.asarray(grain, dtype=np.float32) / np.float32(255)
    return Background(
        "desk", _blend(shade(wood, 0.82), shade(wood, 1.08), amount), (wood, shade(wood, 0.82))
    )


def _cluttered(rng: np.random.Generator, size: tuple[int, int]) -> Background:
    base = _base_colour(rng)
    canvas = Image.new("RGB", size, base)
    draw = ImageDraw.Draw(canvas)
    longest = max(size)
    tones = [shade(base, rng.uniform(0.78, 1.22)) for _ in range(4)]
    for _ in range(int(rng.integers(6, 18))):
        centre = np.array([rng.uniform(0, size[0]), rng.uniform(0, size[1])])
        spread = longest * rng.uniform(0.05, 0.25)
        corners = rng.normal(0, spread, (int(rng.integers(3, 7)), 2)) + centre
        draw.polygon([tuple(corner) for corner in corners], fill=tones[rng.integers(len(tones))])
    for _ in range(int(rng.integers(0, 8))):
        ends = rng.uniform(-0.2, 1.2, (2, 2)) * size
        draw.line(
            [tuple(end) for end in ends],
            fill=tones[rng.integers(len(tones))],
            width=int(rng.integers(1, 5)),
        )
    softened = canvas.filter(ImageFilter.GaussianBlur(longest * rng.uniform(0.004, 0.02)))
    return Background("cluttered", softened, (base, *tones))


def paint_background(rng: np.random.Generator, size: tuple[int, int], kind: str) -> Background:
    """Paint a background of `kind` (one of BACKGROUNDS) on a new RGB canvas of (width, height)."""
    if kind == "plain":
        colour = _base_colour(rng)
        return Background(kind, Image.new("RGB", size, colour), (colour,))
    if kind == "gradient":
        first = _base_colour(rng)
        second = shade(first, rng.uniform(0.65, 0.85)) if rng.random() < 0.6 else _base_colour(rng)
        red, green, blue = ((a + b) // 2 for a, b in zip(first, second, strict=True))
        colours = (first, (red, green, blue), second)
        return Background(kind, _blend(first, second, _ramp(rng, size)), colours)
    painters = {"striped": _striped, "paper": _paper, "desk": _desk, "cluttered": _cluttered}
    return painters[kind](rng, size)
