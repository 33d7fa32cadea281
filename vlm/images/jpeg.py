"""Read one JPEG: bound its cost by its markers, decode it, and refuse torn ones.

libjpeg fills what is missing of a torn JPEG with grey and only warns. Pillow drops the warnings;
simplejpeg, which wraps the same library, raises them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError

# A scan of a progressive JPEG passes over all of its blocks. Encoders write about ten; hundreds of
# them in a small file take minutes. A scan of 50 megapixels takes 35 ms (Zen 4).
MAX_SCANS: Final = 100
MAX_SCANNED_PIXELS: Final = 1_000_000_000
# Headers, tables and comments.
MAX_SEGMENTS: Final = 5_000

_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS: Final = (0xC3, 0xC7, 0xCB, 0xCF)
_HIERARCHICAL: Final = (0xC5, 0xC6, 0xCD, 0xCE)
_ARITHMETIC: Final = (0xC9, 0xCA)
# Comments, and what programs store; JFIF (0xE0) and Adobe (0xEE) tell how colours are stored.
_LEFT_OUT: Final = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# In the data of a scan, 0xFF stands before 0x00, a restart marker or another 0xFF. Between segments
# there may be megabytes of them and of TEM, which a loop in Python would take seconds to pass.
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NEXT_SEGMENT: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_PADDING: Final = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_TOO_COMPLEX: Final = (
    "The image takes too long to decode: it is stored in too many parts. Save it again, as a "
    "JPEG that is not progressive."
)
_CUT_MESSAGE: Final = "The image is cut short: its end is missing. Send the whole file."
_BROKEN_MESSAGE: Final = (
    "The image is damaged: a part of its data is missing or wrong. Send the whole file."
)


@dataclass(frozen=True)
class Jpeg:
    """The first picture of a file, and what its headers say."""

    data: bytes
    """Its segments and scans, without comments, profiles and bytes between segments."""
    width: int
    height: int
    components: int
    """1 for grey, 3 for colour, 4 for print colours."""
    scans: int
    is_ended: bool
    """The file has an end marker."""
    exif: bytes = b""
    xmp: bytes = b""


def read_headers(data: bytes) -> Jpeg:
    """Return the first picture in `data`, which begins with a JPEG.

    What follows it, such as a second picture or the video of a motion photo, is left out. Raise
    BadImageError, UnsupportedImageError, or ImageTooLargeError if it has too many scans.
    """
    at, scans, segments, frame, coding, marker = 2, 0, 0, b"", 0, 0
    kept = [data[:2]]
    notes: dict[bytes, bytes] = {}
    while found := _NEXT_SEGMENT.search(data, at):
        at, marker = found.start(), found[0][1]
        if marker in (_EOI, _SOI):
            break
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageTooLargeError(_TOO_COMPLEX)
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if marker in _FRAME_HEADERS and not frame:
            _check_coding(marker, data[at + 4 : at + 5])
            frame, coding = data[at + 4 : end], marker
        elif marker == _SOS:
            scans += 1
            after = _NEXT_MARKER.search(data, end)
            end = after.start() if after else len(data)
        elif marker == _APP1:
            _add_note(notes, data[at + 4 : end])
        if marker not in _LEFT_OUT:
            kept.append(data[at:end])
        at = end
    # The end of an arithmetic code cannot be told from missing bytes: libjpeg does not warn.
    if len(frame) < 6 or not scans or (coding in _ARITHMETIC and marker != _EOI):
        raise BadImageError(_CUT_MESSAGE)
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    kept.append(bytes((0xFF, _EOI)))
    return Jpeg(
        b"".join(kept),
        width,
        height,
        frame[5],
        scans,
        is_ended=marker == _EOI,
        exif=notes.get(_EXIF, b""),
        xmp=notes.get(_XMP, b""),
    )


def _add_note(notes: dict[bytes, bytes], body: bytes) -> None:
    """Add the first EXIF or XMP to `notes`, by its label."""
    for label in (_EXIF, _XMP):
        if body.startswith(label):
            notes.setdefault(label, body.removeprefix(label))


def _check_coding(marker: int, precision: bytes) -> None:
    if marker in _LOSSLESS or marker in _HIERARCHICAL:
        kind = "Lossless" if marker in _LOSSLESS else "Hierarchical"
        raise UnsupportedImageError(f"{kind} JPEGs are not taken. Save it as an ordinary JPEG.")
    if precision != b"\x08":
        bits = precision[0] if precision else 0
        raise UnsupportedImageError(
            f"JPEGs with {bits} bits a colour are not taken. Save it as an ordinary JPEG (8 bits)."
        )


def check_cost(jpeg: Jpeg) -> None:
    """Raise ImageTooLargeError if decoding would pass over too many pixels too often."""
    pixels = jpeg.width * jpeg.height
    if jpeg.scans > MAX_SCANS or jpeg.scans * pixels > max(MAX_SCANNED_PIXELS, pixels):
        raise ImageTooLargeError(_TOO_COMPLEX)


def decode(jpeg: Jpeg, size: tuple[int, int]) -> Image.Image | None:
    """Return the picture as RGB, at least `size` (width, height) large unless it is smaller.

    It is decoded at 1/2, 1/4 or 1/8 of its size if that is enough. None: simplejpeg cannot return
    it (print colours, unusual sampling), but nothing is wrong as far as it can tell. Raise
    BadImageError if a part of its data is missing.
    """
    width, height = size
    try:
        pixels = _strictly(jpeg.data, width, height)
    except ValueError as error:
        if str(error).startswith("Corrupt JPEG data"):
            message = _BROKEN_MESSAGE if jpeg.is_ended else _CUT_MESSAGE
            raise BadImageError(message) from None
        return None
    return None if jpeg.components == 4 else Image.fromarray(pixels)


def _strictly(data: bytes, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return RGB [height, width, 3]; raise ValueError with libjpeg's last warning or error."""
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_width=width, min_height=height
        )
        return pixels
    except ValueError as error:
        # Cameras put bytes between the last scan and the end marker. The warning about them hides
        # earlier ones, so they are removed.
        padding = _PADDING.match(str(error))
        if padding is None:
            raise
        trimmed = data[: -2 - int(padding[1])] + data[-2:]
        return _strictly(trimmed, width, height)
