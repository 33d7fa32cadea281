"""The taught shapes: their outlines as polygons, and how one is painted with its pattern."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from tools.nano.palette import Rgb

Points = NDArray[np.float64]

SHAPES: Final = (
    "circle",
    "square",
    "rectangle",
    "triangle",
    "star",
    "heart",
    "cross",
    "ring",
    "diamond",
    "crescent",
    "left arrow",
    "right arrow",
    "up arrow",
    "down arrow",
    "smiling face",
    "sad face",
)
PATTERNS: Final = ("solid", "outlined", "striped", "dotted")
FACES: Final = ("smiling face", "sad face")

# Largest rotation, in degrees either way, that leaves a shape its name: a square on its corner is a
# diamond, an arrow rotated by 90 degrees is another arrow.
_MAX_TURN_DEG: Final = {"circle": 180, "ring": 180, "star": 180, "crescent": 180, "triangle": 25}
_DEFAULT_TURN_DEG: Final = 12
RING_HOLE: Final = 0.52


def patterns_of(shape: str) -> tuple[str, ...]:
    """Return the patterns that leave a shape its name.

    An outlined ring would be two circles, and a face needs its features.
    """
    if shape == "ring":
        return ("solid",)
    if shape in FACES:
        return ("solid", "outlined")
    return PATTERNS


def _polar(angles_deg: Points, radii: Points | float = 1.0) -> Points:
    angles = np.deg2rad(angles_deg)
    return np.asarray(np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1))


def _arrow(turn_deg: float, rng: np.random.Generator) -> Points:
    shaft, neck = rng.uniform(0.2, 0.32), rng.uniform(-0.05, 0.2)
    pointing_right = np.array(
        [
            (-1, -shaft),
            (neck, -shaft),
            (neck, -0.75),
            (1, 0),
            (neck, 0.75),
            (neck, shaft),
            (-1, shaft),
        ]
    )
    return np.asarray(pointing_right @ _rotation(turn_deg).T)


def _rotation(degrees: float) -> Points:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _crescent(rng: np.random.Generator) -> Points:
    inner_radius = rng.uniform(0.8, 0.96)
    # Thickness, from a thin sickle to a thick moon; the horns always extend further.
    across = rng.uniform(max(0.33, 2.06 - 2 * inner_radius), 0.75)
    offset = inner_radius - 1 + across
    # The intersection of the unit circle with the inner circle, which is shifted along x.
    x = (1 - inner_radius**2 + offset**2) / (2 * offset)
    outer_from = np.degrees(np.arccos(x))
    inner_from = np.degrees(np.arctan2(np.sqrt(1 - x**2), x - offset))
    outer = _polar(np.linspace(outer_from, 360 - outer_from, 30))
    inner = _polar(np.linspace(360 - inner_from, inner_from, 24), inner_radius)
    inner += np.array([offset, 0])
    return np.asarray(np.concatenate([outer, inner[1:-1]]) + np.array([0.15, 0]))


def outline(shape: str, rng: np.random.Generator) -> Points:
    """Return the (n, 2) outline of `shape` around the origin, y downwards, radius about 1."""
    if shape in ("circle", "ring", *FACES):
        points = _polar(np.linspace(0, 360, 40, endpoint=False))
    elif shape == "square":
        points = np.array([(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)])
    elif shape == "rectangle":
        half_short = 1 / rng.uniform(2.6, 3.2)
        points = np.array([(-1, -half_short), (1, -half_short), (1, half_short), (-1, half_short)])
        if rng.random() < 0.4:
            points = points[:, ::-1].copy()
    elif shape == "triangle":
        apex = rng.uniform(-0.25, 0.25)
        points = np.array([(apex, -0.95), (0.98, 0.8), (-0.98, 0.8)])
    elif shape == "star":
        inner = rng.uniform(0.38, 0.48)
        radii = np.where(np.arange(10) % 2 == 0, 1.05, inner)
        points = _polar(np.linspace(-90, 234, 10), radii)
    elif shape == "heart":
        t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        points = np.stack([x, y], axis=1) / 16.5 - (0, 0.12)
    elif shape == "cross":
        arm = rng.uniform(0.26, 0.36)
        upper_right = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
        lower_left = [(arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm)]
        points = np.array([*upper_right, *lower_left])
    elif shape == "diamond":
        half_width = rng.uniform(0.62, 0.76)
        points = np.array([(0, -1), (half_width, 0), (0, 1), (-half_width, 0)])
    elif shape == "crescent":
        points = _crescent(rng)
    else:
        turns = {"right arrow": 0, "down arrow": 90, "left arrow": 180, "up arrow": 270}
        points = _arrow(turns[shape], rng)
    turn = _MAX_TURN_DEG.get(shape, _DEFAULT_TURN_DEG)
    return np.asarray(points @ _rotation(rng.uniform(-turn, turn)).T)


def wobble(points: Points, rng: np.random.Generator, strength: float) -> Points:
    """Return the outline as if drawn by hand: resampled, displaced by smooth noise."""
    closed = np.concatenate([points, points[:1]])
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], 60, endpoint=False)
    dense = np.stack([np.interp(at, lengths, closed[:, axis]) for axis in (0, 1)], axis=1)
    phase = 2 * np.pi * at / lengths[-1]
    for frequency in (2, 3, 5, 9):
        amplitude = rng.normal(0, strength / frequency**0.5, 2)
        dense = dense + amplitude * np.sin(frequency * phase + rng.uniform(0, 2 * np.pi))[:, None]
    return np.asarray(dense)


def _pattern_mask(
    pattern: str, size: tuple[int, int], radius_px: float, rng: np.random.Generator
) -> Image.Image:
    """Return the painted area of a striped or dotted shape, an "L" image of 0 and 255."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    period = radius_px * rng.uniform(0.42, 0.55)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if pattern == "striped":
        on = (along / period + rng.random()) % 1 < rng.uniform(0.5, 0.62)
    else:
        across = -x * np.sin(angle) + y * np.cos(angle)
        in_cell = [(axis / period + rng.random()) % 1 - 0.5 for axis in (along, across)]
        on = in_cell[0] ** 2 + in_cell[1] ** 2 > rng.uniform(0.075, 0.11)
    return Image.fromarray(np.where(on, 255, 0).astype(np.uint8))


def _face_features(
    draw: ImageDraw.ImageDraw,
    shape: str,
    centre: Points,
    radius_px: float,
    ink: Rgb,
    turn_deg: float,
) -> None:
    rotation = _rotation(turn_deg).T * radius_px
    eye_px = 0.13 * radius_px
    for side in (-1, 1):
        x, y = np.array([0.36 * side, -0.3]) @ rotation + centre
        draw.ellipse((x - eye_px, y - eye_px, x + eye_px, y + eye_px), fill=ink)
    smiling = shape == "smiling face"
    arc = _polar(np.linspace(25, 155, 14) if smiling else np.linspace(205, 335, 14), 0.56)
    mouth = (arc + np.array([0, 0.06 if smiling else 0.72])) @ rotation + centre
    draw.line(
        [tuple(p) for p in mouth], fill=ink, width=max(2, round(0.13 * radius_px)), joint="curve"
    )


def paint(
    canvas: Image.Image,
    shape: str,
    pattern: str,
    colour: Rgb,
    ink: Rgb,
    points: Points,
    rng: np.random.Generator,
) -> Image.Image:
    """Paint one object on the RGB `canvas` and return its silhouette ("L", 255 inside).

    `points` is the outline in canvas pixels. `ink` draws a face's features on a solid face.
    """
    draw = ImageDraw.Draw(canvas)
    silhouette = Image.new("L", canvas.size, 0)
    mask_draw = ImageDraw.Draw(silhouette)
    polygon = [tuple(p) for p in points]
    centre = points.mean(axis=0)
    radius_px = float(np.sqrt(((points - centre) ** 2).sum(axis=1)).max())
    stroke_px = max(2, round(radius_px * rng.uniform(0.11, 0.16)))
    mask_draw.polygon(polygon, fill=255)
    if shape == "ring":
        mask_draw.polygon([tuple(p) for p in (points - centre) * RING_HOLE + centre], fill=0)
    if pattern == "outlined":
        draw.line([*polygon, polygon[0], polygon[1]], fill=colour, width=stroke_px, joint="curve")
    elif pattern == "solid":
        canvas.paste(colour, mask=silhouette)
    else:
        stripes = _pattern_mask(pattern, canvas.size, radius_px, rng)
        canvas.paste(colour, mask=ImageChops.multiply(silhouette, stripes))
        draw.line([*polygon, polygon[0]], fill=colour, width=max(1, stroke_px // 2), joint="curve")
    if shape in FACES:
        features = colour if pattern == "outlined" else ink
        _face_features(draw, shape, centre, radius_px, features, rng.uniform(-8, 8))
    return silhouette
