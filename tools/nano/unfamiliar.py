"""Pictures without any taught object, labelled as unfamiliar.

Most important is the dead-leaves model (Lee, Mumford and Huang, 2001): overlapping shapes of
power-law sizes, with the occlusion, edge and scale statistics of photographs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tools.nano.backgrounds import value_noise
from tools.nano.palette import COLOURS, Rgb, sample_rgb

Size = tuple[int, int]


def _natural_rgb(rng: np.random.Generator) -> Rgb:
    """Return mostly muted colours, as in photographs, and sometimes a vivid one."""
    if rng.random() < 0.3:
        return sample_rgb(rng, COLOURS[rng.integers(len(COLOURS))])
    base = rng.uniform(20, 235)
    red, green, blue = (int(np.clip(base + rng.normal(0, 28), 0, 255)) for _ in range(3))
    return red, green, blue


def _colour_map(rng: np.random.Generator, amount: NDArray[np.float32], stops: int) -> Image.Image:
    positions = np.linspace(0, 1, stops)
    colours = np.array([_natural_rgb(rng) for _ in range(stops)], dtype=np.float32)
    channels = [np.interp(amount, positions, colours[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def fractal_noise(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint clouds, marble or plasma: noise of several octaves with a colour map."""
    noise = value_noise(rng, size, int(rng.integers(2, 12)), int(rng.integers(2, 6)))
    low, high = noise.min(), noise.max()
    noise = (noise - low) / max(1e-6, high - low)
    if rng.random() < 0.4:
        noise = np.abs(np.sin(noise * rng.uniform(4, 20))).astype(np.float32)
    return _colour_map(rng, noise, int(rng.integers(2, 6)))


def waves(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint bent, interfering waves: cloth, hair, ripples."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, height / width, height))
    bend = value_noise(rng, size, int(rng.integers(2, 6)), 2) * rng.uniform(0.2, 2)
    total = np.zeros((height, width))
    for _ in range(int(rng.integers(1, 4))):
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(4, 30)
        total += np.sin(
            2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle) + bend * 0.2)
        )
    amount = (total - total.min()) / (total.max() - total.min() + 1e-6)
    return _colour_map(rng, amount.astype(np.float32), int(rng.integers(2, 5)))


def cells(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint Voronoi cells: stones, leaves, foam, mosaics."""
    width, height = size
    count = int(rng.integers(12, 90))
    points = rng.random((count, 2)) * size
    step = 3
    x, y = np.meshgrid(np.arange(0, width, step), np.arange(0, height, step))
    stretch = rng.uniform(0.5, 2)
    squared = (x[..., None] - points[:, 0]) ** 2 + stretch * (y[..., None] - points[:, 1]) ** 2
    nearest = squared.argmin(-1)
    colours = np.array([_natural_rgb(rng) for _ in range(count)], dtype=np.float32)
    if rng.random() < 0.6:
        colours = colours[0] * 0.6 + colours * 0.4
    picture = Image.fromarray(colours[nearest].astype(np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2)))


def _blob(
    rng: np.random.Generator, centre: NDArray[np.float64], radius: float
) -> list[tuple[float, ...]]:
    """Return an irregular outline that is none of the taught shapes."""
    if rng.random() < 0.6:
        angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        bumps = sum(
            rng.normal(0, 0.45) / k**0.7 * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
            for k in range(2, 7)
        )
        radii = radius * (0.8 + bumps).clip(0.15)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(7, 14))))
        radii = radius * rng.uniform(0.35, 1.3, len(angles))
    stretch = np.array([1.0, rng.uniform(0.3, 1.0)])
    points = np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1) * stretch
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return [tuple(point) for point in points @ rotation.T + centre]


def _texture(rng: np.random.Generator, size: Size) -> Image.Image:
    return (fractal_noise, waves, cells)[rng.integers(3)](rng, size)


def dead_leaves(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint overlapping blobs of power-law sizes, some of them textured, all shaded."""
    canvas = Image.new("RGB", size, _natural_rgb(rng))
    texture = _texture(rng, size)
    shading = value_noise(rng, size, 3, 2)
    longest = max(size)
    for _ in range(int(rng.integers(25, 90))):
        radius = longest * min(0.6, 0.03 * (1 - rng.random()) ** -0.6)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(_blob(rng, rng.random(2) * size, radius), fill=255)
        if rng.random() < 0.25:
            canvas.paste(texture, mask=mask)
        else:
            canvas.paste(_natural_rgb(rng), mask=mask)
    lit = np.asarray(canvas, dtype=np.float32) * (0.55 + 0.9 * shading[..., None])
    picture = Image.fromarray(lit.clip(0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2.5)))


def outdoors(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint sky, land and upright blobs, as in a landscape or a street."""
    width, height = size
    canvas = fractal_noise(rng, size).filter(ImageFilter.GaussianBlur(6))
    horizon = height * rng.uniform(0.25, 0.75)
    ground = Image.new("L", size, 0)
    edge = [(x, horizon + rng.normal(0, height * 0.03)) for x in np.linspace(0, width, 9)]
    ImageDraw.Draw(ground).polygon([*edge, (width, height), (0, height)], fill=255)
    canvas.paste(_texture(rng, size), mask=ground)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(3, 16))):
        x, tall = rng.uniform(0, width), height * rng.uniform(0.05, 0.6)
        foot = horizon + rng.uniform(-0.05, 0.4) * height
        if rng.random() < 0.5:
            colour = _natural_rgb(rng)
            wide = tall * rng.uniform(0.05, 0.6)
            lean = rng.normal(0, 0.08) * tall
            draw.polygon(
                [
                    (x, foot),
                    (x + lean, foot - tall),
                    (x + lean + wide, foot - tall * rng.uniform(0.8, 1)),
                    (x + wide, foot),
                ],
                fill=colour,
            )
        else:
            draw.polygon(
                _blob(rng, np.array([x, foot - tall / 2]), tall / 2), fill=_natural_rgb(rng)
            )
    return canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


def indoors(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint walls and furniture: large quadrilaterals, thin lines, irregular pieces."""
    canvas = Image.new("RGB", size, _natural_rgb(rng))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 14))):
        corner = rng.uniform(-0.3, 1, 2) * size
        reach = rng.uniform(0.1, 0.9, 2) * size
        quad = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * reach + corner
        quad += rng.normal(0, 0.08, (4, 2)) * size
        draw.polygon([tuple(point) for point in quad], fill=_natural_rgb(rng))
    for _ in range(int(rng.integers(0, 25))):
        start = rng.random(2) * size
        end = start + rng.normal(0, 0.3, 2) * size
        draw.line([tuple(start), tuple(end)], fill=_natural_rgb(rng), width=int(rng.integers(1, 6)))
    for _ in range(int(rng.integers(3, 30))):
        radius = max(size) * rng.uniform(0.01, 0.12)
        draw.polygon(_blob(rng, rng.random(2) * size, radius), fill=_natural_rgb(rng))
    light = 0.6 + 0.8 * value_noise(rng, size, 2, 2)
    lit = np.asarray(canvas, dtype=np.float32) * light[..., None]
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0, 2))
    )


def portrait(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint one to three large shaded bodies before a blur, like people or animals."""
    width, height = size
    canvas = _texture(rng, size).filter(ImageFilter.GaussianBlur(rng.uniform(2, 10)))
    for _ in range(int(rng.integers(1, 4))):
        centre = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.3, 0.9) * height])
        body_colour = np.array(_natural_rgb(rng), dtype=np.float32)
        for part in range(int(rng.integers(3, 9))):
            radius = min(size) * rng.uniform(0.08, 0.4) / (1 + 0.15 * part)
            mask = Image.new("L", size, 0)
            at = centre + rng.normal(0, 0.16, 2) * size
            ImageDraw.Draw(mask).polygon(_blob(rng, at, radius), fill=255)
            mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 5)))
            colour = (body_colour * rng.uniform(0.6, 1.25)).clip(0, 255).astype(int)
            canvas.paste((int(colour[0]), int(colour[1]), int(colour[2])), mask=mask)
    fine = value_noise(rng, size, 30, 3)
    lit = np.asarray(canvas, dtype=np.float32) * (0.75 + 0.5 * fine[..., None])
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def collage(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint pieces of other pictures next to each other."""
    canvas = _texture(rng, size)
    width, height = size
    for _ in range(int(rng.integers(2, 9))):
        piece = _texture(rng, size)
        mask = Image.new("L", size, 0)
        quad = rng.random((4, 2)) * rng.uniform(0.4, 1.2) * size + rng.uniform(-0.2, 0.6, 2) * size
        hull = quad[np.argsort(np.arctan2(*(quad - quad.mean(0)).T))]
        ImageDraw.Draw(mask).polygon([tuple(point) for point in hull], fill=255)
        canvas.paste(piece, mask=mask)
    return canvas.resize((width, height))


PAINTERS: tuple[tuple[Callable[[np.random.Generator, Size], Image.Image], float], ...] = (
    (fractal_noise, 0.1),
    (waves, 0.08),
    (cells, 0.1),
    (dead_leaves, 0.2),
    (outdoors, 0.16),
    (indoors, 0.16),
    (portrait, 0.14),
    (collage, 0.06),
)


def paint_unfamiliar(rng: np.random.Generator, size: Size) -> Image.Image:
    """Paint one unfamiliar picture of (width, height) pixels."""
    weights = np.array([weight for _, weight in PAINTERS])
    painter = PAINTERS[rng.choice(len(PAINTERS), p=weights / weights.sum())][0]
    return painter(rng, size)
