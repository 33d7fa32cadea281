"""Decode untrusted bytes to a bounded, upright RGB image. Nothing else decodes images."""

from __future__ import annotations

import io
import threading
from typing import Final

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from vlm.errors import BadImageError, ImageTooLargeError, SightlineError, UnsupportedImageError

MAX_IMAGE_BYTES: Final = 8 * 2**20
# A phone's 48 megapixels pass; Pillow's own limit is 89 million.
MAX_IMAGE_PIXELS: Final = 50_000_000
# SmolVLM cuts its tiles from an image of this longest side; more pixels are never used.
MAX_SIDE_PX: Final = 2048

# Imported here, so that Pillow never searches for plugins in a request.
_FORMATS: Final = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
_TAKEN: Final = "Send it as JPEG, PNG or WebP."
# Shown through transparent pixels: both dark and light drawings are visible on it.
_BACKGROUND: Final = (128, 128, 128)
_EXIF_ORIENTATION: Final = 0x0112
# The largest image takes some hundred MB while it is decoded.
_DECODING: Final = threading.BoundedSemaphore(4)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIGNATURES: Final = (
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"%PDF", "PDF"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "Photoshop"),
)
_HEIC_BRANDS: Final = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_VIDEO_MESSAGE: Final = "This is a video, not a picture. Send single frames as JPEG."


def decode_image(data: bytes) -> Image.Image:
    """Return the image in `data`: RGB, upright by EXIF, longest side <= MAX_SIDE_PX.

    JPEG, PNG and WebP are detected by content; at most MAX_IMAGE_BYTES and MAX_IMAGE_PIXELS
    (checked in the header, before decoding). CMYK, 16-bit grey and palettes are converted,
    transparency becomes mid-grey, and only the first frame of an animation is read. Thread-safe.
    Raise BadImageError, ImageTooLargeError or UnsupportedImageError.
    """
    if not data:
        raise BadImageError(f"The image is empty (0 bytes). {_TAKEN}")
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLargeError(
            f"The image has {len(data):,} bytes; at most {MAX_IMAGE_BYTES:,} "
            f"({MAX_IMAGE_BYTES // 2**20} MiB) are taken. Make it smaller or compress it more."
        )
    _refuse_other_formats(data)
    try:
        with _DECODING, Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(*image.size)
            return _upright(_shrunk(_to_rgb(_loaded(image))), _orientation_of(image))
    except SightlineError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLargeError(_too_many_pixels("far too many")) from None
    except MemoryError:
        raise ImageTooLargeError("There is not enough memory for an image this large.") from None
    except Exception as error:
        # A decoder can raise nearly anything on a damaged file, even struct.error and SyntaxError.
        raise BadImageError(_damage_message(error)) from error


def _refuse_other_formats(data: bytes) -> None:
    name = _foreign_format(data)
    if name == "video":
        raise UnsupportedImageError(_VIDEO_MESSAGE)
    if name is not None:
        raise UnsupportedImageError(f"{name} images are not taken. {_TAKEN}")


def _foreign_format(data: bytes) -> str | None:
    """Return the name of a known format that is not supported; None for anything else."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        brands = data[8 : min(64, int.from_bytes(data[:4], "big"))]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIC" if any(brand in brands for brand in _HEIC_BRANDS) else "video"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "video"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<") and b"<svg" in start:
        return "SVG"
    return None


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise BadImageError(f"The image is {width} x {height} pixels: there is nothing to see.")
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageTooLargeError(_too_many_pixels(f"{width} x {height}"))


def _too_many_pixels(size: str) -> str:
    return (
        f"The image has {size} pixels; at most {MAX_IMAGE_PIXELS // 10**6} million are taken. "
        "Make it smaller."
    )


def _damage_message(error: Exception) -> str:
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "The image is cut short: its end is missing. Send the whole file."
    return f"This is not an image that can be read: not one, or damaged. {_TAKEN}"


def _loaded(image: Image.Image) -> Image.Image:
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which saves time and memory.
    image.draft(None, _bounded_size(*image.size))
    image.load()
    return image


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


def _shrunk(image: Image.Image) -> Image.Image:
    size = _bounded_size(*image.size)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _orientation_of(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        # Broken EXIF does not make the image unreadable.
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)
