"""The boxes of a file of ISO's base media format (ISO/IEC 14496-12, 4.2): AVIF and HEIC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vlm.errors import ImageTooLargeError

# In one box or at the top of a file; most are empty if there are so many.
MAX_BOXES: Final = 1000


class MediaBox(NamedTuple):
    """One box."""

    name: bytes
    start: int
    """Where its content begins."""
    end: int
    """Where it says that it ends, perhaps behind the data."""


def media_boxes(data: bytes, start: int, end: int) -> Iterator[MediaBox]:
    """Yield the boxes in `data[start:end]`; an open or damaged one goes on to `end`.

    Raise ImageTooLargeError if there are more than MAX_BOXES.
    """
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        length, head = int.from_bytes(data[start : start + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        box_end = start + length if length >= head else end
        yield MediaBox(data[start + 4 : start + 8], start + head, box_end)
        start = box_end
    raise ImageTooLargeError(f"The image has more than {MAX_BOXES:,} parts. Save it again as JPEG.")
