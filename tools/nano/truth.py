"""What is true about a frame: its kind, its objects, its text, its background and its light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["objects", "words", "covered", "dark", "glare", "blur", "empty", "unfamiliar"]

# Radius of an object as a share of the frame's shorter side. Sizes keep a gap between them.
SIZES: Final[dict[str, tuple[float, float]]] = {
    "small": (0.085, 0.11),
    "medium": (0.145, 0.18),
    "large": (0.24, 0.3),
}
MAX_OBJECTS: Final = 4


@dataclass(frozen=True)
class SceneObject:
    """One taught object. `x`, `y` are its centre in the frame, 0..1 from the top left."""

    shape: str
    colour: str
    size: str
    pattern: str
    x: float
    y: float


@dataclass(frozen=True)
class SceneText:
    """A word or number in the frame, its centre as in SceneObject."""

    text: str
    colour: str
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """The truth about one frame.

    `light` is dim, normal or bright; `colours` are the frame's main ones.
    """

    kind: Kind
    objects: tuple[SceneObject, ...] = ()
    text: SceneText | None = None
    background: str = ""
    light: str = "normal"
    colours: tuple[str, ...] = ()
