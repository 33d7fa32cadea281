"""Ground truth of a frame, and the size of the frame that the bundled model sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

# The model sees one square frame, cut into patches; image tokens are blocks of patches.
FRAME_SIDE_PX: Final = 192
PATCH_PX: Final = 12
PATCH_GRID: Final = FRAME_SIDE_PX // PATCH_PX
PIXEL_SHUFFLE: Final = 2
IMAGE_TOKENS: Final = (PATCH_GRID // PIXEL_SHUFFLE) ** 2

Kind = Literal["objects", "words", "covered", "dark", "glare", "blur", "empty", "unfamiliar"]

# Range of an object's radius as a share of the frame's shorter side, with gaps between sizes.
SIZES: Final[dict[str, tuple[float, float]]] = {
    "small": (0.085, 0.11),
    "medium": (0.145, 0.18),
    "large": (0.24, 0.3),
}
MAX_OBJECTS: Final = 4


@dataclass(frozen=True)
class SceneObject:
    """One object of a taught shape."""

    shape: str
    colour: str
    size: str
    pattern: str
    # Centre in the frame, 0..1 from the top left.
    x: float
    y: float


@dataclass(frozen=True)
class SceneText:
    """A word or number in the frame."""

    text: str
    colour: str
    # Centre in the frame, 0..1 from the top left.
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """Ground truth of one frame."""

    kind: Kind
    objects: tuple[SceneObject, ...] = ()
    text: SceneText | None = None
    background: str = ""
    # dim, normal or bright.
    light: str = "normal"
    # Main colours of the whole frame, the most frequent first.
    colours: tuple[str, ...] = ()
