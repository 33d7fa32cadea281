"""Pictures of signs for the tests of reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from vlm.results import TextLine

Colour = tuple[int, int, int]

SIGNS: Final = (
    "EXIT",
    "STOP",
    "PUSH",
    "OPEN",
    "CLOSED",
    "WC",
    "Room 12",
    "No smoking",
    "Platform 9",
    "Caution",
    "Taxi",
    "Fire door",
)
# Ground and letters of walls, doors and boards.
_COLOURS: Final[Sequence[tuple[Colour, Colour]]] = (
    ((200, 200, 195), (20, 20, 20)),
    ((30, 90, 50), (240, 240, 240)),
    ((180, 30, 30), (255, 255, 255)),
    ((235, 225, 190), (60, 40, 30)),
)


def picture(
    size: tuple[int, int],
    *lines: tuple[str, int, int],
    letters_px: int = 24,
    colours: int = 0,
) -> Image.Image:
    """Return a flat picture with each of `lines`: its text, left and top."""
    ground, ink = _COLOURS[colours % len(_COLOURS)]
    drawn = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(drawn)
    for text, left, top in lines:
        pen.text((left, top), text, font=ImageFont.load_default(letters_px), fill=ink)
    return drawn


def texts(lines: Sequence[TextLine]) -> list[str]:
    return [line.text for line in lines]
