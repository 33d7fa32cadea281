"""Does the reader read what is written, and nothing where nothing is?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from tools.evals.figures import Figure, share
from tools.nano.scenes import make_frame
from vlm.reading.reader import Reader

SIGNS: Final = (
    "EXIT",
    "Push",
    "PULL",
    "Open",
    "CLOSED",
    "Room 12",
    "No entry",
    "PLATFORM 3",
    "Please wait",
    "FIRE DOOR",
    "Taxi",
    "DO NOT TOUCH",
)
SIGN_PX: Final = 24
SIGN_FRAMES: Final = ((1280, 720), (1920, 1080))
# No other evaluation or training uses these seeds.
_FIRST_SEED: Final = 500_000


def text_figures(
    reader: Reader, scenes: int, without_text: dict[str, Image.Image]
) -> tuple[list[Figure], dict[str, list[str]]]:
    """Return the figures, and what was read in each picture without text."""
    words = sum(
        _is_read(reader, frame.image, frame.scene.text.text)
        for seed in tqdm(range(scenes), desc="words", unit="scene")
        if (frame := make_frame(_FIRST_SEED + seed, "held_out", "words")).scene.text is not None
    )
    signs = [
        _is_read(reader, draw_sign(sign, size, number), sign)
        for size in SIGN_FRAMES
        for number, sign in enumerate(SIGNS)
    ]
    read = {name: _texts(reader, image) for name, image in without_text.items()}
    invented = {name: texts for name, texts in read.items() if texts}
    return [
        share("words", words, scenes, "scenes", least=0.85),
        share("signs", sum(signs), len(signs), "signs", least=1.0),
        share("text_invented", len(invented), len(read), "pictures", most=0.02),
    ], invented


def draw_sign(text: str, size: tuple[int, int], number: int) -> Image.Image:
    """Return a frame of one colour with one line of text somewhere; `number` varies both."""
    rng = np.random.default_rng([number, *size])
    is_light = number % 2 == 0
    ground, ink = ((205, 210, 200), (30, 30, 40)) if is_light else ((40, 60, 50), (230, 230, 220))
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(SIGN_PX)
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    x = rng.integers(SIGN_PX, size[0] - int(right - left) - SIGN_PX)
    y = rng.integers(SIGN_PX, size[1] - int(bottom - top) - SIGN_PX)
    draw.text((int(x), int(y)), text, ink, font)
    return image


def _is_read(reader: Reader, image: Image.Image, text: str) -> bool:
    return _texts(reader, image) == [_normal(text)]


def _texts(reader: Reader, image: Image.Image) -> list[str]:
    return list(_normalised(line.text for line in reader.read(image)))


def _normalised(texts: Iterable[str]) -> Iterable[str]:
    return map(_normal, texts)


def _normal(text: str) -> str:
    """Return the text with composed letters and single spaces; upper and lower case stay."""
    return " ".join(unicodedata.normalize("NFKC", text).split())
