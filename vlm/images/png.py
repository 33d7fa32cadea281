"""Reduce a PNG to the sound chunks that its pixels need, and bound its cost."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS: Final = 20_000
# Inflating this many bytes takes about half a second (Zen 4).
MAX_RAW_BYTES: Final = 200_000_000

_CRITICAL: Final = (b"IHDR", b"PLTE", b"IDAT")
# Apple's own form, whose pixels are stored in another way.
_APPLE: Final = b"CgBI"
# In the first letter of a kind: a picture can be read without chunks of this kind.
_IS_ANCILLARY: Final = 0x20
_PALETTE: Final = 3
_CHANNELS: Final = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}
# Lengths of a `tRNS` that Pillow can read, for each colour type that may have one.
_TRANSPARENCY_BYTES: Final = {0: (2,), 2: (6,), _PALETTE: range(1, 257)}
_MAX_EXIF_BYTES: Final = 64 * 2**10
_HEAD: Final = struct.Struct(">I4s")
_IHDR: Final = struct.Struct(">IIBB")
_CRC_BYTES: Final = 4
_END: Final = _HEAD.pack(0, b"IEND") + bytes.fromhex("ae426082")
_CUT_MESSAGE: Final = "The image is cut short: its end is missing. Send the whole file."
_BROKEN_MESSAGE: Final = (
    "The image is damaged: a part of its data is missing or wrong. Send the whole file."
)


def clean(data: bytes) -> bytes:
    """Return the PNG in `data` without text, profiles, animation and unknown chunks.

    Those may be large or damaged, and no pixel depends on them. Transparent colours and the
    orientation are kept if they are sound. Raise BadImageError if a chunk that pixels depend on is
    damaged or cut off, ImageTooLargeError if there are too many chunks or bytes of pixels.
    """
    kept = [SIGNATURE]
    kinds: set[bytes] = set()
    at, colour = len(SIGNATURE), 0
    for _ in range(MAX_CHUNKS):
        if at + _HEAD.size > len(data):
            break
        length, kind = _HEAD.unpack_from(data, at)
        if kind == b"IEND":
            break
        start, at = at, at + _HEAD.size + length + _CRC_BYTES
        if kind[0] & _IS_ANCILLARY:
            if _is_kept(kind, length, colour) and _is_sound(data[start:at]):
                kept.append(data[start:at])
            continue
        _check_critical(data, start, at, kind)
        if kind == b"IHDR":
            colour = _check_cost(data[start + _HEAD.size : at])
        kinds.add(kind)
        kept.append(data[start:at])
    else:
        raise ImageTooLargeError(
            f"The image has more than {MAX_CHUNKS:,} chunks. Save it again as an ordinary PNG."
        )
    if b"IDAT" not in kinds:
        raise BadImageError(_CUT_MESSAGE)
    if colour == _PALETTE and b"PLTE" not in kinds:
        raise BadImageError(_BROKEN_MESSAGE)
    return b"".join((*kept, _END))


def _is_kept(kind: bytes, length: int, colour: int) -> bool:
    """Return whether an ancillary chunk changes the picture that is returned."""
    if kind == b"tRNS":
        return length in _TRANSPARENCY_BYTES.get(colour, ())
    return kind == b"eXIf" and length <= _MAX_EXIF_BYTES


def _is_sound(chunk: bytes) -> bool:
    """Return whether a chunk, from its length to its checksum, is whole and has this checksum."""
    if len(chunk) < _HEAD.size + _CRC_BYTES:
        return False
    checksum = int.from_bytes(chunk[-_CRC_BYTES:], "big")
    return zlib.crc32(memoryview(chunk)[4:-_CRC_BYTES]) == checksum


def _check_critical(data: bytes, start: int, end: int, kind: bytes) -> None:
    if kind == _APPLE:
        raise UnsupportedImageError(
            "This is a PNG in Apple's own form, which other programs cannot read. Save it as an "
            "ordinary PNG."
        )
    if end > len(data):
        raise BadImageError(_CUT_MESSAGE)
    if kind not in _CRITICAL or not _is_sound(data[start:end]):
        raise BadImageError(_BROKEN_MESSAGE)


def _check_cost(header: bytes) -> int:
    """Return the colour type; raise ImageTooLargeError if the pixels take too many bytes."""
    if len(header) < _IHDR.size:
        raise BadImageError(_CUT_MESSAGE)
    width, height, bits, colour = _IHDR.unpack_from(header)
    raw_bytes = width * height * _CHANNELS.get(colour, 4) * bits // 8
    if raw_bytes > MAX_RAW_BYTES:
        raise ImageTooLargeError(
            f"The pixels of the image take {raw_bytes // 10**6} million bytes; at most "
            f"{MAX_RAW_BYTES // 10**6} million are taken. Make it smaller."
        )
    return int(colour)
