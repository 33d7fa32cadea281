"""Boxes form lines, along their own direction, in reading order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import Image

from reading_kit import picture, texts
from vlm.reading.cutouts import cut_outs
from vlm.reading.reader import Reader
from vlm.reading.strips import Strip, in_reading_order, merged

LONG = "PLEASE DO NOT TOUCH THE EXHIBITS IN THIS ROOM OF THE MUSEUM"


@pytest.mark.parametrize(
    ("size", "letters_px"), [((1280, 720), 32), ((720, 1500), 18), ((2048, 1536), 50)], ids=str
)
@pytest.mark.parametrize("degrees", [0, 4])
def test_a_line_across_a_border_is_read_once_and_whole(
    reader: Reader, size: tuple[int, int], letters_px: int, degrees: int
) -> None:
    frame = picture(size, (LONG, 60, size[1] // 2), letters_px=letters_px)
    frame = frame.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=(200, 200, 195))
    assert texts(reader.read(frame)) == [LONG]


@pytest.mark.parametrize("degrees", [0, 3, -3, 8, -8, 20, 90, 180, 270])
def test_rows_of_a_turned_picture_are_read_from_their_start(reader: Reader, degrees: int) -> None:
    rows = [
        ("Monday", "open", "closed"),
        ("Friday", "never", "always"),
        ("Sunday", "early", "late"),
    ]
    words = [
        (word, 60 + 240 * column, 40 + 60 * row)
        for row, names in enumerate(rows)
        for column, word in enumerate(names)
    ]
    frame = picture((800, 240), *words).rotate(
        degrees, expand=True, resample=Image.Resampling.BICUBIC, fillcolor=(200, 200, 195)
    )
    assert texts(reader.read(frame)) == [word for names in rows for word in names]


@pytest.mark.parametrize("degrees", [30, 45, 60, 135, 180, 225, 300])
def test_words_are_read_at_any_angle(reader: Reader, degrees: int) -> None:
    # The letters of EXIT look alike upside down: the classifier of directions is often wrong.
    frame = picture((400, 300), ("EXIT", 140, 120), letters_px=40).rotate(
        degrees, expand=True, resample=Image.Resampling.BICUBIC, fillcolor=(200, 200, 195)
    )
    assert texts(reader.read(frame)) == ["EXIT"]


def test_boxes_enclose_their_words(reader: Reader) -> None:
    frame = picture((640, 480), ("Taxi", 64, 48), ("Caution", 320, 360))
    first, second = (line.box for line in reader.read(frame))
    assert first == pytest.approx((0.1, 0.11, 0.17, 0.16), abs=0.02)
    assert second == pytest.approx((0.5, 0.76, 0.64, 0.82), abs=0.02)


@pytest.mark.parametrize(
    "size",
    [
        *((1, 1), (640, 480), (736, 736), (737, 300), (1280, 720), (720, 1280), (1920, 1080)),
        *((2048, 256), (2048, 1536), (2048, 2048), (1105, 1104), (5000, 4000)),
    ],
    ids=str,
)
def test_parts_cover_the_frame_and_share_an_eighth(size: tuple[int, int]) -> None:
    width, height = size
    parts = cut_outs(width, height)
    seen = np.zeros((height, width), np.bool_)
    for left, top, right, bottom in parts:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert len(parts) == 1 or right - left == bottom - top
        seen[top:bottom, left:right] = True
    assert seen.all()
    for axis in (0, 1):
        spans = sorted({(part[axis], part[axis + 2]) for part in parts})
        for (start, end), (following, _) in itertools.pairwise(spans):
            assert end - following >= (end - start) // 8


def test_a_steep_line_is_read_along_its_long_side() -> None:
    upright = np.array([(10, 0), (30, 0), (30, 100), (10, 100)], float)
    strip = Strip.of(upright)
    sizes = (strip.x, strip.y, strip.length, strip.height)
    assert sizes == pytest.approx((20, 50, 100, 20))
    assert math.degrees(strip.angle) == 90
    assert {*map(tuple, strip.corners.round(6))} == {*map(tuple, upright)}


def test_neighbours_stay_apart_and_pieces_are_joined() -> None:
    def flat(left: float, right: float, y: float, height: float = 20) -> Strip:
        return Strip((left + right) / 2, y, 0.0, right - left, height)

    whole = flat(0, 300, 50)
    # What the first part sees, what the second one sees, and the lines that are there.
    cases = {
        "the same line twice": ([whole], [flat(1, 299, 51)], [whole]),
        "two halves": ([flat(0, 180, 50)], [flat(150, 300, 50)], [whole]),
        "a line, and two pieces of it": ([whole], [flat(9, 120, 50), flat(140, 300, 50)], [whole]),
        "a sliver that looks upright": ([whole], [Strip(5, 50, math.pi / 2, 20, 8)], [whole]),
        "neighbours in a row": ([flat(0, 90, 50)], [flat(110, 300, 50)], None),
        "rows that touch": ([whole], [flat(0, 300, 68)], None),
        "a word in a large frame": ([flat(0, 300, 100, 200)], [flat(100, 200, 100)], None),
        "both in one part": ([whole, flat(10, 290, 52)], [], None),
    }
    for name, (first, second, lines) in cases.items():
        found = merged([first, second])
        expected = [*first, *second] if lines is None else lines
        places = [(strip.x, strip.y, strip.length) for strip in found]
        assert places == [
            pytest.approx((strip.x, strip.y, strip.length), abs=2) for strip in expected
        ], name


def test_order_is_that_of_the_longest_direction() -> None:
    upside_down = [Strip(100 - 50 * i, 10.0, math.pi, 40, 10) for i in range(3)]
    assert in_reading_order(upside_down[::-1]) == [2, 1, 0]
    assert in_reading_order([]) == []
