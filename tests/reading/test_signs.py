"""Signs are read wherever they are in a frame of any shape."""

from __future__ import annotations

import numpy as np
import pytest

from reading_kit import SIGNS, picture, texts
from vlm.reading.reader import Reader


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)], ids=str)
def test_lone_signs_are_read_exactly(reader: Reader, size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng([24, width])
    wrong = {}
    for number, sign in enumerate(SIGNS):
        left, top = int(rng.integers(4, width - 160)), int(rng.integers(4, height - 40))
        read = texts(reader.read(picture(size, (sign, left, top), colours=number)))
        if read != [sign]:
            wrong[sign] = (left, top, read)
    assert not wrong


@pytest.mark.parametrize(
    "size",
    [(720, 1280), (2048, 512), (300, 2048), (2048, 1536), (2048, 100), (60, 900), (120, 40)],
    ids=str,
)
def test_signs_are_read_in_frames_of_any_shape(reader: Reader, size: tuple[int, int]) -> None:
    width, height = size
    for left, top in ((3, 3), ((width - 70) // 2, (height - 36) // 2)):
        shape = picture(size, ("Taxi", max(0, left), max(0, top)))
        assert texts(reader.read(shape)) == ["Taxi"], (left, top)
