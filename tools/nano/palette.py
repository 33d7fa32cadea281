"""The eleven basic colour terms (Berlin and Kay, 1969): their ranges, and names for colours."""

from __future__ import annotations

import colorsys
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

COLOURS: Final = (
    "black",
    "white",
    "grey",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
)

# Hue in degrees, saturation and value in 0..1. The gaps between neighbours are wide enough that a
# camera's white balance does not move a colour into the next range.
_HSV_RANGES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "black": ((0, 360), (0.0, 0.2), (0.02, 0.13)),
    "white": ((0, 360), (0.0, 0.04), (0.93, 1.0)),
    "grey": ((0, 360), (0.0, 0.06), (0.42, 0.62)),
    "red": ((-11, 6), (0.82, 1.0), (0.68, 0.95)),
    "orange": ((22, 34), (0.88, 1.0), (0.92, 1.0)),
    "yellow": ((48, 58), (0.75, 1.0), (0.92, 1.0)),
    "green": ((100, 145), (0.6, 1.0), (0.4, 0.78)),
    "blue": ((208, 236), (0.68, 1.0), (0.55, 0.95)),
    "purple": ((268, 288), (0.55, 0.9), (0.42, 0.72)),
    "pink": ((328, 346), (0.3, 0.55), (0.93, 1.0)),
    "brown": ((13, 28), (0.4, 0.85), (0.3, 0.46)),
}


def sample_rgb(rng: np.random.Generator, colour: str) -> Rgb:
    """Return a random 8-bit RGB value in the range of `colour`."""
    hue, saturation, value = (rng.uniform(low, high) for low, high in _HSV_RANGES[colour])
    red, green, blue = colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def distance(a: Rgb, b: Rgb) -> float:
    """Return the perceived difference of two colours, "redmean"-weighted RGB, 0 to about 765."""
    mean_red = (a[0] + b[0]) / 2
    red, green, blue = (x - y for x, y in zip(a, b, strict=True))
    return float(
        ((2 + mean_red / 256) * red**2 + 4 * green**2 + (2 + (255 - mean_red) / 256) * blue**2)
        ** 0.5
    )


def _prototypes() -> tuple[NDArray[np.float32], list[str]]:
    corners: list[tuple[float, ...]] = []
    names: list[str] = []
    for name, ranges in _HSV_RANGES.items():
        hues, saturations, values = (
            [low + (high - low) * step for step in (0.1, 0.5, 0.9)] for low, high in ranges
        )
        for hue in hues:
            for saturation in saturations:
                for value in values:
                    corners.append(colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value))
                    names.append(name)
    return np.array(corners, dtype=np.float32) * 255, names


_PROTOTYPE_RGB, _PROTOTYPE_NAMES = _prototypes()
_PROTOTYPE_INDEX = np.array([COLOURS.index(name) for name in _PROTOTYPE_NAMES])


def main_colours(rgb: NDArray[np.uint8], most: int = 2, share: float = 0.22) -> list[str]:
    """Return the colours that cover most of a picture, at most `most`.

    `rgb` is (height, width, 3). Each pixel of a coarse grid counts for the colour term with the
    nearest prototype. The most frequent term is always returned, a further one only if it covers
    at least `share` of the picture.
    """
    step = max(1, min(rgb.shape[:2]) // 24)
    pixels = rgb[::step, ::step].reshape(-1, 3).astype(np.float32)
    # Three products instead of a matrix product: for so small a matrix the synchronisation of
    # BLAS's threads took longer than drawing the frame. The pixel's own square is the same for
    # every prototype, so it is left out.
    red, green, blue = (
        pixels[:, channel : channel + 1] * _PROTOTYPE_RGB[:, channel] for channel in range(3)
    )
    squared = (_PROTOTYPE_RGB**2).sum(1) - 2 * (red + green + blue)
    counts = np.bincount(_PROTOTYPE_INDEX[squared.argmin(1)], minlength=len(COLOURS))
    order = np.argsort(-counts, kind="stable")[:most]
    return [COLOURS[i] for n, i in enumerate(order) if n == 0 or counts[i] >= share * len(pixels)]
