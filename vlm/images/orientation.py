"""Read the orientation of a picture from its EXIF or XMP.

Pillow reads all of EXIF for it, and of a JPEG all other notes too; hostile ones take seconds.
"""

from __future__ import annotations

import re
import struct
from typing import Final

_ORIENTATION_TAG: Final = 0x0112
_SHORT, _LONG = 3, 4
_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")
# Both are looked for in so many bytes; editors store the orientation in the first few hundred.
_MAX_BYTES: Final = 256 * 2**10


def orientation_of(exif: bytes, xmp: bytes) -> int:
    """Return the orientation (1 to 8) in `exif`, else in `xmp`; 1 if neither has a valid one."""
    found = read_first_directory(exif.removeprefix(b"Exif\0\0")).get(_ORIENTATION_TAG)
    if found is None:
        in_xmp = _XMP_ORIENTATION.search(xmp, 0, _MAX_BYTES)
        found = int(in_xmp[1]) if in_xmp else 1
    return found if 1 <= found <= 8 else 1


def read_first_directory(data: bytes) -> dict[int, int | None]:
    """Return the tags of a TIFF's first directory, with the values that are one number.

    Empty if `data` is no TIFF; a damaged directory has the tags up to the damage.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    tags: dict[int, int | None] = {}
    if order is None:
        return tags
    try:
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, first)
        for at in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
            letter = {_SHORT: "H", _LONG: "I"}.get(kind) if length == 1 else None
            value = struct.unpack_from(f"{order}{letter}", data, at + 8)[0] if letter else None
            tags.setdefault(tag, value)
    except struct.error:
        pass
    return tags
