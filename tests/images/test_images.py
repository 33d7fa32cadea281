"""Decoded images are bounded, upright and RGB; other bytes are refused."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageDraw

from vlm.errors import (
    BadImageError,
    ImageTooLargeError,
    SightlineError,
    UnsupportedImageError,
)
from vlm.images import heif
from vlm.images.decode import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_SIDE_PX, decode_image

RED, GREEN, BLUE, GREY = (220, 20, 20), (20, 200, 20), (20, 20, 220), (128, 128, 128)
WHITE = (255, 255, 255)
EXIF_ORIENTATION = 0x0112


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Return red at the top left, green at the top right, blue below: each rotation differs."""
    image = Image.new("RGB", (width, height), BLUE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=RED)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill=GREEN)
    return image


def near(pixel: object, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def png_header(width: int, height: int, colour_type: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_supported_formats_keep_their_colours(image_format: str) -> None:
    image = decode_image(encoded(corners(), image_format))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert near(image.getpixel((8, 8)), RED, 20)
    assert near(image.getpixel((56, 8)), GREEN, 20)
    assert near(image.getpixel((8, 40)), BLUE, 20)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("GIF", encoded(corners(), "GIF")),
        ("TIFF", encoded(corners(), "TIFF")),
        ("BMP", encoded(corners(), "BMP")),
        ("SVG", b"<?xml version='1.0'?>\n<!-- a drawing -->\n<svg width='9' height='9'></svg>"),
        ("SVG", b"\xef\xbb\xbf  <svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)),
        ("video", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(100)),
        ("video", b"\x1a\x45\xdf\xa3" + bytes(100)),
        ("Raw", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100)),
        ("Raw", b"FUJIFILMCCD-RAW 0201" + bytes(100)),
        ("Raw", b"II*\0\x10\0\0\0CR\2\0" + bytes(100)),
        ("Raw", b"MM\0*\0\0\0\x08\0\1\xc6\x12\0\1\0\0\0\4\1\4\0\0\0\0\0\0"),
        ("audio", b"ID3\4\0" + bytes(50) + encoded(corners(), "JPEG")),
        ("PDF", b"%PDF-1.7\n" + encoded(corners(), "JPEG")),
        ("JPEG XL", b"\xff\x0a" + bytes(100)),
    ],
)
def test_unsupported_format_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
) -> None:
    monkeypatch.setattr(heif, "is_available", lambda: False)
    with pytest.raises(UnsupportedImageError, match=name) as refusal:
        decode_image(data)
    assert "JPEG" in str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello",
        bytes(5000),
        b"<html><body>no</body></html>",
        b"\xff\xd8\xff\xe0",
        b"RIFF",
    ],
)
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(BadImageError):
        decode_image(data)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_truncated_file_is_refused(image_format: str, kept: float) -> None:
    noise = Image.effect_noise((200, 150), 80).convert("RGB")
    data = encoded(noise, image_format)
    with pytest.raises(BadImageError, match="cut short"):
        decode_image(data[: int(len(data) * kept)])


def test_limit_of_bytes_is_inclusive() -> None:
    data = encoded(corners(), "JPEG")
    padded = data + bytes(MAX_IMAGE_BYTES - len(data))
    assert decode_image(padded).size == (64, 48)
    with pytest.raises(ImageTooLargeError, match="16 MiB"):
        decode_image(padded + b"\0")


@pytest.mark.parametrize(
    ("width", "height"), [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (10_000, 5_101)]
)
def test_png_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    data = png_header(width, height)
    assert len(data) < 100_000
    with pytest.raises(ImageTooLargeError, match="million"):
        decode_image(data)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_zero_size_is_refused(width: int, height: int) -> None:
    with pytest.raises(BadImageError):
        decode_image(png_header(width, height))


@pytest.mark.parametrize("size", [(1, 1), (8000, 10), (10, 8000), (2, 1), (60_000, 1)])
def test_odd_sizes_stay_within_bounds(size: tuple[int, int]) -> None:
    image = decode_image(encoded(Image.new("RGB", size, RED), "PNG"))
    assert image.mode == "RGB"
    assert 1 <= min(image.size) <= max(image.size) <= MAX_SIDE_PX
    assert near(image.getpixel((0, 0)), RED)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_large_images_are_scaled_to_the_longest_side(image_format: str) -> None:
    image = decode_image(encoded(corners(6000, 3000), image_format))
    assert image.size == (MAX_SIDE_PX, MAX_SIDE_PX // 2)
    assert near(image.getpixel((40, 40)), RED, 20)
    assert near(image.getpixel((2000, 40)), GREEN, 20)


def test_limit_of_pixels_is_inclusive() -> None:
    side = MAX_IMAGE_PIXELS // 10_000
    image = decode_image(encoded(Image.new("1", (10_000, side)), "PNG"))
    assert image.size == (MAX_SIDE_PX, round(MAX_SIDE_PX * side / 10_000))


def sixteen_bit_grey() -> Image.Image:
    image = Image.new("I;16", (8, 8), 0)
    for x in range(8):
        for y in range(8):
            image.putpixel((x, y), 32768)
    return image


def palette_with_alpha() -> Image.Image:
    image = Image.new("RGBA", (8, 8), (*RED, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    return image.quantize(8)


def palette_with_a_clear_index() -> bytes:
    image = corners(8, 8).quantize(4)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


MODES: dict[str, tuple[Callable[[], bytes], tuple[int, int, int], tuple[int, int, int]]] = {
    "CMYK": (
        lambda: encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95),
        (254, 0, 0),
        (254, 0, 0),
    ),
    "16-bit grey": (lambda: encoded(sixteen_bit_grey(), "PNG"), GREY, GREY),
    "palette with alpha": (lambda: encoded(palette_with_alpha(), "PNG"), WHITE, RED),
    "palette with one clear index": (
        palette_with_a_clear_index,
        WHITE,
        GREEN,
    ),
    "RGB with one clear colour": (
        lambda: encoded(corners(8, 8), "PNG", transparency=RED),
        WHITE,
        GREEN,
    ),
    "half transparent": (
        lambda: encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"),
        (127, 127, 127),
        (127, 127, 127),
    ),
    "grey with alpha": (
        lambda: encoded(Image.new("LA", (8, 8), (5, 0)), "PNG"),
        WHITE,
        WHITE,
    ),
    "transparent WebP": (
        lambda: encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "WEBP", lossless=True),
        WHITE,
        WHITE,
    ),
    "black and white": (lambda: encoded(Image.new("1", (8, 8), 1), "PNG"), (255,) * 3, (255,) * 3),
    "grey": (lambda: encoded(Image.new("L", (8, 8), 77), "JPEG"), (77,) * 3, (77,) * 3),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_pixel_mode_becomes_rgb(mode: str) -> None:
    make, left, right = MODES[mode]
    image = decode_image(make())
    assert image.mode == "RGB"
    assert near(image.getpixel((0, 0)), left), image.getpixel((0, 0))
    assert near(image.getpixel((7, 0)), right), image.getpixel((7, 0))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(image_format: str, orientation: int) -> None:
    upright = corners()
    # The transpose by which a camera in that orientation stores the same scene.
    transpose = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    stored = upright
    if transpose is not None:
        stored = upright.transpose(Image.Transpose(transpose))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    image = decode_image(encoded(stored, image_format, exif=exif))
    assert image.size == (64, 48)
    assert near(image.getpixel((8, 8)), RED, 20)
    assert near(image.getpixel((56, 8)), GREEN, 20)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_invalid_orientation_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = value
    assert decode_image(encoded(corners(), "JPEG", exif=exif)).size == (64, 48)


# Pillow warns of it.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_ignored() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(6)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    data = encoded(corners(), "JPEG")
    assert decode_image(data[:2] + segment + data[2:]).size == (64, 48)


def test_first_frame_of_an_animation_is_decoded() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert near(decode_image(data).getpixel((0, 0)), RED)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_raise_our_errors_only() -> None:
    chance = random.Random(7)
    for image_format in ("JPEG", "PNG", "WEBP", "AVIF"):
        sound = encoded(corners(), image_format)
        for _ in range(150):
            data = bytearray(sound)
            for _ in range(chance.randint(1, 12)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                assert decode_image(bytes(data)).mode == "RGB"
            except SightlineError as error:
                assert str(error)


def test_threads_can_decode_at_the_same_time() -> None:
    def decode(index: int) -> None:
        if index % 3 == 0:
            with pytest.raises(ImageTooLargeError):
                decode_image(png_header(20_000, 20_000))
        elif index % 3 == 1:
            with pytest.raises(BadImageError):
                decode_image(cut)
        else:
            assert decode_image(sound).size == (64, 48)

    sound = encoded(corners(), "JPEG")
    cut = sound[: len(sound) // 2]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(90)))
