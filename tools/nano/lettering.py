"""Words and numbers in several typefaces, with the box of each letter."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.nano.palette import Rgb
from vlm.errors import SightlineError

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
MAX_LETTERS: Final = 6

# Package and file of each typeface: handwriting, serif, rounded and sans serif.
TYPEFACES: Final = (
    ("font_amatic_sc", "AmaticSC-Bold.ttf"),
    ("font_intuitive", "Intuitive.ttf"),
    ("font_caladea", "Caladea-Regular.ttf"),
    ("font_caladea", "Caladea-Bold.ttf"),
    ("font_fredoka_one", "FredokaOne-Regular.ttf"),
    ("font_hanken_grotesk", "HankenGrotesk-Medium.otf"),
    ("font_hanken_grotesk", "HankenGrotesk-Bold.otf"),
    ("font_manrope", "Manrope-SemiBold.ttf"),
)

_WORD_LIST: Final = (
    "HELLO WORLD CAT DOG SUN MOON STAR TREE BIRD FISH BOOK DOOR OPEN STOP EXIT PUSH PULL LEFT "
    "RIGHT UP DOWN YES NO HOT COLD ON OFF IN OUT MILK TEA COFFEE BREAD WATER SALT SUGAR HOUSE HOME "
    "ROAD TRAIN BUS CAR BIKE RED GREEN BLUE BLACK WHITE PINK LOVE PEACE HAPPY SMILE PLAY PAUSE "
    "START GO SLOW FAST SALE FREE NEW OLD BIG SMALL GAME MUSIC DANCE PARTY CAKE APPLE LEMON GRAPE "
    "PEACH ORANGE BANANA RIVER OCEAN LAKE HILL SNOW RAIN WIND CLOUD STORM NIGHT DAY MON TUE WED "
    "THU FRI SAT TODAY MAY JUNE JULY MARCH APRIL QUIET ZEBRA FOX JAZZ QUIZ VEX WAX KIWI YOGA ZERO "
    "ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN HELP INFO TAXI HOTEL CAFE BAR BANK SHOP PARK "
    "ZOO FARM KING QUEEN LION TIGER WOLF BEAR DUCK FROG SNAKE MOUSE HORSE SHEEP COW PIG GOAT EAGLE "
    "PEN PAPER DESK CHAIR TABLE LAMP PHONE MOVIE RADIO VIDEO PHOTO CAMERA LIGHT DARK POWER MENU "
    "FOOD LUNCH DINNER"
)
WORDS: Final = tuple(word for word in _WORD_LIST.split() if len(word) <= MAX_LETTERS)


@lru_cache(maxsize=256)
def _font(typeface: int, size_px: int) -> ImageFont.FreeTypeFont:
    package, name = TYPEFACES[typeface]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SightlineError(
            f"Drawing words needs the package {package.replace('_', '-')}: "
            "pip install -r requirements-dev.txt"
        )
    return ImageFont.truetype(str(Path(found.origin).parent / "files" / name), size_px)


def sample_text(rng: np.random.Generator) -> str:
    """Return a word, random letters or a number, 1 to 6 characters."""
    kind = rng.random()
    if kind < 0.45:
        return WORDS[rng.integers(len(WORDS))]
    if kind < 0.75:
        return "".join(LETTERS[i] for i in rng.integers(0, 26, rng.integers(2, MAX_LETTERS + 1)))
    return str(rng.integers(0, 10 ** int(rng.integers(1, 5))))


def paint_text(
    canvas: Image.Image,
    text: str,
    colour: Rgb,
    centre: tuple[float, float],
    box_px: tuple[float, float],
    rng: np.random.Generator,
    hand: float = 0.0,
) -> list[tuple[int, int, int, int]]:
    """Paint `text` in one typeface, as large as fits the (width, height) `box_px` around `centre`.

    `hand` in 0..1 turns and shifts letters as in handwriting. Returns the boxes (left, top, right,
    bottom) of the letters in canvas pixels, in reading order.
    """
    typeface = int(rng.integers(len(TYPEFACES)))
    spacing = rng.uniform(1.02, 1.18)
    at_100 = [_font(typeface, 100).getlength(letter) * spacing for letter in text]
    _, top, _, bottom = _font(typeface, 100).getbbox("HXO0")
    size_px = max(8, int(100 * min(box_px[0] / sum(at_100), box_px[1] / (bottom - top))))
    font = _font(typeface, size_px)
    scale = size_px / 100
    x = centre[0] - sum(at_100) * scale / 2
    boxes = []
    for letter, advance in zip(text, at_100, strict=True):
        tile_px = int(size_px * 1.8)
        tile = Image.new("L", (tile_px, tile_px), 0)
        middle = tile_px / 2
        offset_y = (top + bottom) / 2 * scale
        ImageDraw.Draw(tile).text(
            (middle - font.getlength(letter) / 2, middle - offset_y), letter, font=font, fill=255
        )
        if hand:
            tile = tile.rotate(rng.normal(0, 5 * hand), Image.Resampling.BILINEAR)
        jump = rng.normal(0, 0.05 * hand * size_px)
        left = round(x + advance * scale / 2 - middle)
        upper = round(centre[1] + jump - middle)
        canvas.paste(colour, (left, upper), tile)
        inked = tile.getbbox() or (0, 0, tile_px, tile_px)
        boxes.append((left + inked[0], upper + inked[1], left + inked[2], upper + inked[3]))
        x += advance * scale
    return boxes
