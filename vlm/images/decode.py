"""Decode untrusted bytes to a bounded, upright RGB image. Nothing else decodes images."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from PIL import AvifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from vlm.errors import (
    BadImageError,
    BusyError,
    ImageTooLargeError,
    SightlineError,
    StreamClosedError,
)
from vlm.images import heif, jpeg, png
from vlm.images.apart import decode_apart
from vlm.images.formats import TAKEN, Format, Picture, find_picture
from vlm.images.media_boxes import media_boxes
from vlm.images.orientation import orientation_of

# A phone's 50 megapixels as a JPEG, or a picture with a video behind it.
MAX_IMAGE_BYTES: Final = 16 * 2**20
# A phone's 50 megapixels pass; Pillow's own limit is 89 million.
MAX_IMAGE_PIXELS: Final = 51_000_000
# No camera's picture is longer, and a row takes memory however short it is.
MAX_IMAGE_SIDE_PX: Final = 65_535
# SmolVLM cuts its tiles from an image of this longest side; more pixels are never used.
MAX_SIDE_PX: Final = 2048

# Imported here, so that Pillow never searches for plugins in a request.
_FORMATS: Final = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    AvifImagePlugin.AvifImageFile.format,
)
# Shown through transparent pixels, as in SmolVLM's own processor (Idefics3ImageProcessor).
_BACKGROUND: Final = (255, 255, 255)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The largest image takes some hundred MB and up to a second. One at a time leaves the other places,
# and a core, to ordinary frames.
# A phone's 12 megapixels are ordinary: 4032 x 3024.
_LARGE_PIXELS: Final = 12_500_000
_DECODING: Final = threading.BoundedSemaphore(4)
_DECODING_LARGE: Final = threading.BoundedSemaphore(1)
# How many of the largest may be decoded or wait for it: as long as a client likes to wait.
MAX_LARGE: Final = 12
_LARGE: Final = threading.BoundedSemaphore(MAX_LARGE)
# Of WebP, AVIF and HEIC: copies of fewer pixels hold Python's lock for at most 5 ms, as long as any
# thread may. A start of the other process takes 0.2 s.
_COPIED_PIXELS: Final = 2_000_000
# Pillow reads all EXIF of an AVIF file, which can take a second if it has 65,535 entries.
_OPENING: Final = threading.Lock()
_DAMAGED_MESSAGE: Final = f"This is not an image that can be read: not one, or damaged. {TAKEN}"
_CUT_MESSAGE: Final = "The image is cut short: its end is missing. Send the whole file."


def decode_image(
    data: bytes, is_cancelled: Callable[[], bool] = lambda: False, *, is_apart: bool = False
) -> Image.Image:
    """Return the image in `data`: RGB, upright, longest side <= MAX_SIDE_PX.

    JPEG, PNG, WebP and AVIF are detected by content, and HEIC if `pi-heif` is installed; at most
    MAX_IMAGE_BYTES and MAX_IMAGE_PIXELS (checked in the header, before decoding). CMYK, 16-bit grey
    and palettes are converted, transparency becomes white, and only the first frame of an animation
    is read. The orientation is that of EXIF; without EXIF, that of XMP, except in a PNG; AVIF and
    HEIC have their own. A file whose pixels are all there is taken without its end marker, and
    refused if some are missing. Large pictures are decoded in another process, unless this is it
    (`is_apart`). Thread-safe.

    Raise BadImageError, ImageTooLargeError or UnsupportedImageError, BusyError if many large images
    wait, and StreamClosedError if `is_cancelled` returns true before the decoding begins, or during
    it in another process.
    """
    if not data:
        raise BadImageError(f"The image is empty (0 bytes). {TAKEN}")
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLargeError(
            f"The image has {len(data):,} bytes; at most {MAX_IMAGE_BYTES:,} "
            f"({MAX_IMAGE_BYTES // 2**20} MiB) are taken. Make it smaller or compress it more."
        )
    picture = find_picture(data)
    try:
        if picture.format == "JPEG":
            return _decode_jpeg(picture.data, is_cancelled, is_apart)
        kept = _without_extras(picture)
        with _OPENING:
            opened = _opened(kept, picture.format)
        with opened as image, _place(image.size, is_cancelled):
            if not is_apart and _is_costly(picture.format, image.size):
                other = decode_apart(kept, is_cancelled)
                if other is not None:
                    return other
            image.load()
            exif, xmp = image.info.get("exif") or b"", image.info.get("xmp") or b""
            return _upright(_shrunk(_to_rgb(image)), orientation_of(exif, xmp))
    except SightlineError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLargeError(_too_many_pixels("far too many")) from None
    except MemoryError:
        raise ImageTooLargeError("There is not enough memory for an image this large.") from None
    except Exception as error:
        # A decoder can raise nearly anything on a damaged file, even struct.error and SyntaxError.
        is_cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise BadImageError(_CUT_MESSAGE if is_cut else _DAMAGED_MESSAGE) from error


def _decode_jpeg(data: bytes, is_cancelled: Callable[[], bool], is_apart: bool) -> Image.Image:
    found = jpeg.read_headers(data)
    size = (found.width, found.height)
    _check_size(*size)
    jpeg.check_cost(found)
    with _place(size, is_cancelled):
        if not is_apart and _is_costly("JPEG", size):
            made = decode_apart(data, is_cancelled)
            if made is not None:
                return made
        image = jpeg.decode(found, _bounded_size(*size))
        if image is None:
            with _opened(found.data) as other:
                other.draft(None, _bounded_size(*size))
                other.load()
                image = _to_rgb(other)
        turn = orientation_of(found.exif, found.xmp)
        return _upright(_shrunk(image, _bounded_size(*size)), turn)


def _opened(data: bytes, image_format: Format = "JPEG") -> Image.Image:
    if image_format == "HEIC":
        image = heif.open_heic(data)
    else:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_size(*image.size)
    return image


def _without_extras(picture: Picture) -> bytes:
    """Return the bytes to decode; raise BadImageError if some are missing at the end."""
    data = picture.data
    if picture.format == "PNG":
        return png.clean(data)
    if picture.format == "WEBP":
        end = 8 + int.from_bytes(data[4:8], "little")
    else:
        end = max((box.end for box in media_boxes(data, 0, len(data))), default=0)
        if picture.format == "HEIC":
            end = max(end, heif.end_of_parts(data))
    if end > len(data):
        raise BadImageError(_CUT_MESSAGE)
    return data


def _is_costly(image_format: Format, size: tuple[int, int]) -> bool:
    """Return whether captions would falter while the picture is decoded in this process."""
    most = _LARGE_PIXELS if image_format in ("JPEG", "PNG") else _COPIED_PIXELS
    return size[0] * size[1] > most


@contextmanager
def _place(size: tuple[int, int], is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Wait until a place to decode an image of `size` is free, and hold it."""
    with _large_place() if size[0] * size[1] > _LARGE_PIXELS else _DECODING:
        if is_cancelled():
            raise StreamClosedError("The client has left before its image was decoded.")
        yield


@contextmanager
def _large_place() -> Iterator[None]:
    if not _LARGE.acquire(blocking=False):
        raise BusyError(
            f"{MAX_LARGE} large images are being decoded already. Try again in {MAX_LARGE} s, or "
            f"make it smaller than {_LARGE_PIXELS // 10**6} million pixels.",
            MAX_LARGE,
        )
    try:
        with _DECODING_LARGE:
            yield
    finally:
        _LARGE.release()


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise BadImageError(f"The image is {width} x {height} pixels: there is nothing to see.")
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageTooLargeError(_too_many_pixels(f"{width} x {height}"))
    if max(width, height) > MAX_IMAGE_SIDE_PX:
        raise ImageTooLargeError(
            f"The image is {width} x {height} pixels; at most {MAX_IMAGE_SIDE_PX:,} a side are "
            "taken. Make it smaller."
        )


def _too_many_pixels(size: str) -> str:
    return (
        f"The image has {size} pixels; at most {MAX_IMAGE_PIXELS // 10**6} million are taken. "
        "Make it smaller."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        # Pillow clips 16 bits to 8 instead of scaling.
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _BACKGROUND)
        flat.paste(image, mask=image.getchannel("A"))
        return flat
    return image.convert("RGB")


def _bounded_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(image: Image.Image, size: tuple[int, int] | None = None) -> Image.Image:
    """Return `image` in `size`, by default within MAX_SIDE_PX."""
    size = size or _bounded_size(*image.size)
    if size == image.size:
        return image
    # Rows first: Pillow 12 and 13 choose different orders, and pixels would depend on the Python.
    # The gap bounds the memory of the filter's coefficients, which is gigabytes for a long row.
    across = image.resize((size[0], image.height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return across.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)
