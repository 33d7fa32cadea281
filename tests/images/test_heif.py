"""HEIC by the optional package: right pixels of a whole file, a refusal of any other.

`grid.heic` has four tiles, and its last box is open: it goes on to the end of the file, as if it
had been written as a stream. `upright.heic` is of one piece, and turned by 90 degrees.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError
from vlm.images import decode, heif
from vlm.images.decode import decode_image

pytest.importorskip("pi_heif")

GRID = (Path(__file__).parent / "grid.heic").read_bytes()
UPRIGHT = (Path(__file__).parent / "upright.heic").read_bytes()
RED, GREEN, BLUE, YELLOW = (200, 40, 40), (40, 160, 60), (40, 60, 200), (220, 200, 40)


def near(found: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(found, tuple)
    return all(abs(a - b) <= 3 for a, b in zip(found, colour, strict=True))


@pytest.mark.parametrize(
    ("data", "size", "colours"),
    [
        (GRID, (128, 128), {(32, 32): RED, (96, 32): GREEN, (32, 96): BLUE, (96, 96): YELLOW}),
        (UPRIGHT, (64, 96), {(32, 16): RED, (32, 80): BLUE}),
    ],
)
@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_a_whole_file_has_its_pixels_upright(
    data: bytes,
    size: tuple[int, int],
    colours: dict[tuple[int, int], tuple[int, int, int]],
    before: bytes,
) -> None:
    image = decode_image(before + data)
    assert (image.mode, image.size) == ("RGB", size)
    for place, colour in colours.items():
        assert near(image.getpixel(place), colour), place


@pytest.mark.parametrize("data", [GRID, UPRIGHT], ids=["grid", "one piece"])
def test_a_file_without_its_end_is_refused(data: bytes) -> None:
    assert heif.end_of_parts(data) == len(data)
    for missing in (1, 2, 10, 36):
        with pytest.raises(BadImageError, match="cut short"):
            decode_image(data[:-missing])
    for kept in (13, 100, 300, 500):
        with pytest.raises(BadImageError):
            decode_image(data[:kept])


def test_a_damaged_table_of_parts_is_an_error_of_ours() -> None:
    chance = Random(1)
    start = GRID.index(b"iloc")
    refused = 0
    for _ in range(3000):
        damaged = bytearray(GRID)
        for _ in range(3):
            damaged[chance.randrange(start - 4, start + 100)] = chance.randrange(256)
        try:
            heif.end_of_parts(bytes(damaged))
        except BadImageError:
            refused += 1
    assert 0 < refused < 3000


def test_the_number_of_pixels_is_bounded_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_IMAGE_PIXELS", 128 * 128 - 1)
    with pytest.raises(ImageTooLargeError, match="128 x 128"):
        decode_image(GRID)


def test_without_the_package_heic_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "is_available", lambda: False)
    with pytest.raises(UnsupportedImageError, match="Most Compatible"):
        decode_image(GRID)
