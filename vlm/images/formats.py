"""Find out by content which format an upload has, and where its picture begins."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from vlm.errors import NotAnImageError, UnsupportedImageError
from vlm.images import heif
from vlm.images.orientation import read_first_directory

Format = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIC"]

TAKEN: Final = "Send it as JPEG, PNG, WebP or AVIF."

# Programs leave part headers, line ends or a byte order mark before a picture.
_MAX_SKIPPED_BYTES: Final = 1024

_STARTS: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
)
_SIGNATURE: Final = re.compile(
    b"|".join(re.escape(each) for each in (*(start for start, _ in _STARTS), b"RIFF", b"ftyp"))
)
_RAW: Final = "raw photograph"
_SIGNATURES: Final = (
    (b"GIF8", "GIF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"%PDF", "PDF"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "Photoshop"),
    (b"PK\3\4", "ZIP"),
    (b"ID3", "audio"),
    (b"fLaC", "audio"),
    (b"OggS", "audio"),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIU\0", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"FOVb", _RAW),
    (b"\0MRM", _RAW),
    (b"\x1a\x45\xdf\xa3", "video"),
)
_HEIC_BRANDS: Final = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_DNG_VERSION_TAG: Final = 0xC612
_ADVICE: Final = {
    "HEIC": "HEIC images are not taken. Send it as JPEG (iPhone: Settings, Camera, Formats, Most "
    "Compatible).",
    "video": "This is a video, not a picture. Send single frames as JPEG.",
    "audio": f"This is audio, not a picture. {TAKEN}",
    "ZIP": f"This is a ZIP archive, not a picture. {TAKEN}",
    _RAW: f"Raw photographs of a camera are not taken. {TAKEN}",
}


class Picture(NamedTuple):
    """The format of an upload, and its bytes from the first one of the picture."""

    format: Format
    data: bytes


def find_picture(data: bytes) -> Picture:
    """Return the picture in `data`, whose first bytes may be something else.

    Raise UnsupportedImageError if it has another known format, NotAnImageError if it has none.
    """
    found = _format_at(data, 0)
    if found is not None:
        return Picture(found, data)
    other = _other_format(data)
    if other is not None:
        raise _unsupported(other)
    for start in _possible_starts(data):
        found = _format_at(data, start)
        if found is not None:
            return Picture(found, data[start:])
        if _is_heic(_brands(data, start)):
            raise _unsupported("HEIC")
    raise NotAnImageError(f"This is not an image that can be read: not one, or damaged. {TAKEN}")


def _unsupported(name: str) -> UnsupportedImageError:
    return UnsupportedImageError(_ADVICE.get(name, f"{name} images are not taken. {TAKEN}"))


def _format_at(data: bytes, start: int) -> Format | None:
    for signature, name in _STARTS:
        if data.startswith(signature, start):
            return name
    if data.startswith(b"RIFF", start) and data[start + 8 : start + 12] == b"WEBP":
        return "WEBP"
    brands = _brands(data, start)
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIC" if heif.is_available() and _is_heic(brands) else None


def _possible_starts(data: bytes) -> list[int]:
    """Return where a picture may begin within the first KiB, in order.

    The signatures of WebP and AVIF are words that may stand in a part header.
    """
    head = data[: _MAX_SKIPPED_BYTES + 12]
    # The word `ftyp` follows the length of its box.
    starts = (at.start() - 4 * (at[0] == b"ftyp") for at in _SIGNATURE.finditer(head))
    return [at for at in starts if 0 <= at <= _MAX_SKIPPED_BYTES]


def _brands(data: bytes, start: int = 0) -> list[bytes]:
    """Return the brands of a file of ISO's base media format, none if it is no such file."""
    if data[start + 4 : start + 8] != b"ftyp":
        return []
    end = start + min(64, int.from_bytes(data[start : start + 4], "big"))
    box = data[start + 8 : end]
    return [box[at : at + 4] for at in range(0, len(box), 4) if at != 4]


def _is_heic(brands: list[bytes]) -> bool:
    return any(brand in _HEIC_BRANDS for brand in brands)


def _other_format(data: bytes) -> str | None:
    """Return the name of a known format that is not supported; None for anything else."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _RAW if _is_raw(data) else "TIFF"
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if b"crx " in brands:
            return _RAW
        return "HEIC" if _is_heic(brands) else "video"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return "SVG" if start.startswith(b"<") and b"<svg" in start else None


def _is_raw(data: bytes) -> bool:
    """Return whether a file of TIFF's structure is a DNG or a CR2."""
    return data[8:10] == b"CR" or _DNG_VERSION_TAG in read_first_directory(data)
