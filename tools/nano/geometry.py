"""The one square frame that the bundled model sees, and how it is cut into patches and tokens."""

from __future__ import annotations

from typing import Final

FRAME_SIDE_PX: Final = 192
PATCH_PX: Final = 12
PATCH_GRID: Final = FRAME_SIDE_PX // PATCH_PX
PIXEL_SHUFFLE: Final = 2
IMAGE_TOKENS: Final = (PATCH_GRID // PIXEL_SHUFFLE) ** 2
