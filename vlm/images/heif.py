"""HEIC by `pi-heif`, an optional package, with a check that the file is whole.

libheif fills the missing tiles of a picture with green and reports no error
(docs/surprises.md), so the check comes before decoding.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from PIL import Image

from vlm.errors import BadImageError
from vlm.images.media_boxes import MediaBox, media_boxes

# Tiles of a phone's picture are decoded by several threads; captions need the other cores.
_THREADS: Final = 2
# A picture of 51 megapixels has some 200 tiles.
_MAX_EXTENTS: Final = 10_000
_DAMAGED: Final = "The HEIC image is damaged: it does not say where its parts are."


@cache
def _package() -> Any | None:
    """Return `pi_heif`, set up to decode the main picture alone; None if it is not installed."""
    try:
        import pi_heif
    except ImportError:
        return None
    pi_heif.options.DECODE_THREADS = _THREADS
    pi_heif.options.THUMBNAILS = False
    pi_heif.options.DEPTH_IMAGES = False
    pi_heif.options.AUX_IMAGES = False
    return pi_heif


def is_available() -> bool:
    """Return whether HEIC can be decoded here."""
    return _package() is not None


def open_heic(data: bytes) -> Image.Image:
    """Return the picture in `data`, upright; its pixels are decoded by its `load`."""
    package = _package()
    assert package is not None, "is_available comes first"
    image: Image.Image = package.HeifImageFile(io.BytesIO(data))
    return image


def end_of_parts(data: bytes) -> int:
    """Return how many bytes the file must have for all parts of its pictures to be in it.

    Read from the item location box (`iloc`, ISO/IEC 14496-12, 8.11.3). Raise BadImageError if there
    is none that can be read.
    """
    meta = _box(data, 0, len(data), b"meta")
    # Version and flags of `meta` come before its boxes.
    locations = _box(data, meta.start + 4, meta.end, b"iloc")
    return max(_ends(_Reader(data, locations)), default=0)


def _box(data: bytes, start: int, end: int, name: bytes) -> MediaBox:
    """Return the first box of this name, cut at `end`; raise BadImageError if there is none."""
    for box in media_boxes(data, start, end):
        if box.name == name:
            return box._replace(end=min(box.end, end))
    raise BadImageError(_DAMAGED)


class _Reader:
    """Reads numbers of any width from a box."""

    def __init__(self, data: bytes, box: MediaBox) -> None:
        self._data = data
        self._at, self._end = box.start, box.end

    def number(self, size_bytes: int) -> int:
        """Return the next number of so many bytes, 0 for none; raise BadImageError at the end."""
        start, self._at = self._at, self._at + size_bytes
        if self._at > self._end:
            raise BadImageError(_DAMAGED)
        return int.from_bytes(self._data[start : self._at], "big")


def _ends(reader: _Reader) -> Iterator[int]:
    """Yield where each part ends that lies in the file itself."""
    version = reader.number(1)
    reader.number(3)
    widths = reader.number(2)
    offset_bytes, length_bytes, base_bytes, index_bytes = (
        widths >> shift & 0xF for shift in (12, 8, 4, 0)
    )
    id_bytes = 4 if version == 2 else 2
    extents = 0
    for _ in range(reader.number(id_bytes)):
        reader.number(id_bytes)
        # 0: in the file, 1: in the box `idat`, 2: in another part.
        method = reader.number(2) & 0xF if version in (1, 2) else 0
        reader.number(2)
        base = reader.number(base_bytes)
        for _ in range(reader.number(2)):
            extents += 1
            if extents > _MAX_EXTENTS:
                raise BadImageError(_DAMAGED)
            if version in (1, 2):
                reader.number(index_bytes)
            offset, length = reader.number(offset_bytes), reader.number(length_bytes)
            if method == 0:
                yield base + offset + length
