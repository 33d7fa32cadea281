"""Paint a scene: place objects and words on the canvas, and choose their colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from tools.nano import camera, lettering, palette, shapes
from tools.nano.palette import COLOURS, Rgb
from tools.nano.truth import SIZES, SceneObject, SceneText

MIN_CONTRAST: Final = 150.0
# Minimum distance of centres from the lines between left, middle and right, as a share of the
# frame: three times as far as a hand-held camera moves them.
PLACE_MARGIN: Final = 0.05
# In the map of ids objects are numbered from 1, letters from this by their place in the alphabet.
FIRST_LETTER_ID: Final = 50


@dataclass
class Canvas:
    """A scene while it is painted."""

    # RGB; larger than the frame that `view` takes of it.
    pixels: Image.Image
    # "L", the size of `pixels`: the id of the object or letter at each pixel, 0 for none.
    ids: Image.Image
    view: camera.View
    # The background's colours, with which objects and words must contrast.
    ground: tuple[Rgb, ...] = ()
    objects: list[SceneObject] = field(default_factory=list)
    text: SceneText | None = None

    def from_frame(self, x: float, y: float) -> tuple[float, float]:
        """Convert a position in the frame, 0..1, to canvas pixels, before the camera's jitter."""
        width, height = self.pixels.size
        return (
            width * (0.5 + camera.VIEW_SHARE * (x - 0.5)),
            height * (0.5 + camera.VIEW_SHARE * (y - 0.5)),
        )

    def short_side_px(self) -> float:
        """Return the frame's shorter side in canvas pixels."""
        return min(self.pixels.size) * camera.VIEW_SHARE


def _contrasting(
    rng: np.random.Generator, ground: tuple[Rgb, ...], colours: list[str]
) -> tuple[str, Rgb]:
    """Return the first of `colours` that contrasts with `ground`, and an RGB value of it.

    If none does, return the one with the most contrast.
    """
    best: tuple[float, str, Rgb] | None = None
    for colour in colours:
        paint = palette.sample_rgb(rng, colour)
        contrast = min(palette.distance(paint, behind) for behind in ground)
        if contrast >= MIN_CONTRAST:
            return colour, paint
        if best is None or contrast > best[0]:
            best = (contrast, colour, paint)
    if best is None:
        raise ValueError("no colours to choose from")
    return best[1], best[2]


def _shuffled(rng: np.random.Generator, items: tuple[str, ...]) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]


def _near_boundary(position: float) -> bool:
    return any(abs(position - line) < PLACE_MARGIN for line in (1 / 3, 2 / 3))


def free_place(
    rng: np.random.Generator,
    size: str,
    taken: list[tuple[float, float, float]],
    frame: tuple[int, int],
) -> tuple[float, float, float] | None:
    """Return a free (x, y, radius) in units of the shorter side; None after 40 tries."""
    short = min(frame)
    width, height = frame[0] / short, frame[1] / short
    for _ in range(40):
        radius = rng.uniform(*SIZES[size])
        x = rng.uniform(radius + 0.03, width - radius - 0.03)
        y = rng.uniform(radius + 0.03, height - radius - 0.03)
        if _near_boundary(x / width) or _near_boundary(y / height):
            continue
        if all(np.hypot(x - a, y - b) > (radius + r) * 1.06 + 0.02 for a, b, r in taken):
            return x, y, radius
    return None


def paint_object(
    canvas: Canvas,
    rng: np.random.Generator,
    shape: str,
    colours: list[str],
    size: str,
    at: tuple[float, float, float],
) -> None:
    x, y, radius = at
    short = min(canvas.view.frame_size)
    centre = canvas.from_frame(
        x * short / canvas.view.frame_size[0], y * short / canvas.view.frame_size[1]
    )
    colour, paint = _contrasting(rng, canvas.ground, colours)
    choices = shapes.patterns_of(shape)
    pattern = choices[rng.integers(len(choices))] if rng.random() < 0.5 else "solid"
    points = shapes.outline(shape, rng)
    if rng.random() < 0.35:
        points = shapes.wobble(points, rng, rng.uniform(0.01, 0.035))
    points = points * (radius * canvas.short_side_px()) + centre
    ink: Rgb = (25, 22, 20) if palette.distance(paint, (25, 22, 20)) > 220 else (248, 246, 240)
    silhouette = shapes.paint(canvas.pixels, shape, pattern, paint, ink, points, rng)
    canvas.ids.paste(len(canvas.objects) + 1, mask=silhouette)
    middle = canvas.view.to_frame(np.array([centre]))[0]
    canvas.objects.append(
        SceneObject(shape, colour, size, pattern, float(middle[0]), float(middle[1]))
    )


def paint_objects(canvas: Canvas, rng: np.random.Generator, count: int) -> None:
    """Paint up to `count` objects that do not touch; fewer if there is no room."""
    taken: list[tuple[float, float, float]] = []
    painted = canvas.objects
    for _ in range(count):
        sizes = ["small", "medium", "large"] if count < 3 else ["small", "medium"]
        size = sizes[rng.integers(len(sizes))]
        at = free_place(rng, size, taken, canvas.view.frame_size)
        if at is None:
            size = "small"
            at = free_place(rng, size, taken, canvas.view.frame_size)
        if at is None:
            continue
        shape = shapes.SHAPES[rng.integers(len(shapes.SHAPES))]
        colours = _shuffled(rng, COLOURS)
        if painted and rng.random() < 0.3:
            # Questions are harder if two objects share a shape or a colour.
            other = painted[rng.integers(len(painted))]
            if rng.random() < 0.5:
                shape = other.shape
            else:
                colours.insert(0, other.colour)
        rarely_twins = rng.random() < 0.9
        used = {o.colour for o in painted if o.shape == shape}
        if rarely_twins and len(used) < len(COLOURS):
            colours = [colour for colour in colours if colour not in used]
        paint_object(canvas, rng, shape, colours, size, at)
        taken.append(at)


def paint_words(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a word, in 40 % of the scenes with one object above or below it."""
    text = lettering.sample_text(rng)
    frame_width, frame_height = canvas.view.frame_size
    beside = rng.random() < 0.4
    text_y, room = (rng.choice([0.27, 0.73]), 0.36) if beside else (rng.uniform(0.42, 0.58), 0.6)
    wide = rng.uniform(0.6, 0.88)
    view_px = np.array(canvas.pixels.size) * camera.VIEW_SHARE
    box = (wide * view_px[0], room * rng.uniform(0.55, 1.0) * view_px[1])
    colour, paint = _contrasting(rng, canvas.ground, _shuffled(rng, COLOURS))
    x = rng.uniform(0.48, 0.52)
    hand = rng.uniform(0.2, 1.0) if rng.random() < 0.35 else 0.0
    centre = canvas.from_frame(x, text_y)
    boxes = lettering.paint_text(canvas.pixels, text, paint, centre, box, rng, hand)
    draw = ImageDraw.Draw(canvas.ids)
    for letter, letter_box in zip(text, boxes, strict=True):
        draw.rectangle(letter_box, fill=FIRST_LETTER_ID + lettering.LETTERS.index(letter))
    middle = canvas.view.to_frame(np.array([centre]))[0]
    canvas.text = SceneText(text, colour, float(middle[0]), float(middle[1]))
    if beside:
        short = min(frame_width, frame_height)
        radius = rng.uniform(*SIZES["medium"])
        column = rng.choice([0.24, 0.5, 0.76])
        at = (column * frame_width / short, (1 - text_y) * frame_height / short, radius)
        shape = shapes.SHAPES[rng.integers(len(shapes.SHAPES))]
        paint_object(canvas, rng, shape, _shuffled(rng, COLOURS), "medium", at)
