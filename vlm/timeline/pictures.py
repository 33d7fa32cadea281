"""Small pictures of moments: JPEG of bounded size."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

SIDE_PX: Final = 320
# The schema has the same bound.
MAX_BYTES: Final = 65_536
_QUALITIES: Final = (72, 45, 20)


def small_picture(image: Image.Image) -> bytes | None:
    """Return `image` as JPEG with sides of at most SIDE_PX; None if it takes too many bytes."""
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    for quality in _QUALITIES:
        out = io.BytesIO()
        small.save(out, "JPEG", quality=quality)
        if out.tell() <= MAX_BYTES:
            return out.getvalue()
    return None
