"""Seeded camera frames with their ground truth: what is in them, where, and under which patch.

`make_frame(seed, split)` is deterministic: the same seed and split give the same pixels with the same
versions of Pillow and numpy. Splits never share a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlm.nano import camera, lettering, palette, shapes
from vlm.nano.backgrounds import BACKGROUNDS, Background, paint_background
from vlm.nano.palette import COLOURS, Rgb
from vlm.nano.unfamiliar import paint_unfamiliar

Split = Literal["train", "held_out", "test"]
SPLITS: Final[dict[Split, int]] = {"train": 11, "held_out": 23, "test": 37}

Kind = Literal["objects", "words", "covered", "dark", "glare", "blur", "empty", "unfamiliar"]
_KIND_WEIGHTS: Final[dict[Kind, float]] = {
    "objects": 0.56,
    "words": 0.2,
    "covered": 0.02,
    "dark": 0.02,
    "glare": 0.02,
    "blur": 0.02,
    "empty": 0.03,
    "unfamiliar": 0.13,
}

# Radius of an object as a share of the frame's shorter side. Sizes keep a gap between them.
SIZES: Final[dict[str, tuple[float, float]]] = {
    "small": (0.085, 0.11),
    "medium": (0.145, 0.18),
    "large": (0.24, 0.3),
}
MAX_OBJECTS: Final = 4
MIN_CONTRAST: Final = 150.0
# Centres keep this far from the lines that divide left, middle and right, as a share of the frame.
PLACE_MARGIN: Final = 0.035

PATCH_GRID: Final = 16
_CELLS_PER_PATCH: Final = 4
IGNORED: Final = -100
_FIRST_LETTER_ID: Final = 50

PatchMap = NDArray[np.int64]


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
    """The truth about one frame. `light` is dim, normal or bright; `colours` are the frame's main ones."""

    kind: Kind
    objects: tuple[SceneObject, ...] = ()
    text: SceneText | None = None
    background: str = ""
    light: str = "normal"
    colours: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatchLabels:
    """What lies under each patch, (PATCH_GRID, PATCH_GRID) each; 0 is nothing, IGNORED is undecided.

    `shape`, `colour`, `size` and `pattern` count from 1 in the order of their vocabularies, `letter`
    in that of `lettering.LETTERS`.
    """

    shape: PatchMap
    colour: PatchMap
    size: PatchMap
    pattern: PatchMap
    letter: PatchMap


@dataclass(frozen=True)
class Frame:
    """One RGB camera frame, its truth and its patch labels."""

    image: Image.Image
    scene: Scene
    labels: PatchLabels


@dataclass
class _Canvas:
    """A scene while it is painted: pixels, a map of object ids, and the objects so far."""

    pixels: Image.Image
    ids: Image.Image
    view: camera.View
    background: Background | None = None
    objects: list[SceneObject] | None = None
    text: SceneText | None = None

    def to_canvas(self, x: float, y: float) -> tuple[float, float]:
        width, height = self.pixels.size
        return (
            width * (0.5 + camera.VIEW_SHARE * (x - 0.5)),
            height * (0.5 + camera.VIEW_SHARE * (y - 0.5)),
        )

    def short_side_px(self) -> float:
        return min(self.pixels.size) * camera.VIEW_SHARE


def _rng(seed: int, split: Split) -> np.random.Generator:
    return np.random.default_rng([SPLITS[split], seed])


def light_of(image: Image.Image) -> str:
    """How bright a frame is on the whole: dim, normal or bright."""
    mean = float(np.asarray(image.convert("L"), dtype=np.float32).mean())
    return "dim" if mean < 75 else "normal" if mean < 155 else "bright"


def _contrasting(
    rng: np.random.Generator, ground: tuple[Rgb, ...], colours: list[str]
) -> tuple[str, Rgb]:
    """A colour term, the first of `colours` that stands out from `ground`, and a paint of it."""
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


def _place(
    rng: np.random.Generator,
    size: str,
    taken: list[tuple[float, float, float]],
    frame: tuple[int, int],
) -> tuple[float, float, float] | None:
    """A free (x, y, radius) in short-side units, or None after some tries."""
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


def _paint_object(
    canvas: _Canvas,
    rng: np.random.Generator,
    shape: str,
    colours: list[str],
    size: str,
    at: tuple[float, float, float],
) -> None:
    if canvas.background is None or canvas.objects is None:
        raise ValueError("objects need a background")
    x, y, radius = at
    short = min(canvas.view.frame_size)
    centre = canvas.to_canvas(
        x * short / canvas.view.frame_size[0], y * short / canvas.view.frame_size[1]
    )
    colour, paint = _contrasting(rng, canvas.background.colours, colours)
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


def _paint_objects(canvas: _Canvas, rng: np.random.Generator, count: int) -> None:
    taken: list[tuple[float, float, float]] = []
    seen: list[SceneObject] = []
    canvas.objects = seen
    for _ in range(count):
        sizes = ["small", "medium", "large"] if count < 3 else ["small", "medium"]
        size = sizes[rng.integers(len(sizes))]
        at = _place(rng, size, taken, canvas.view.frame_size)
        if at is None:
            size = "small"
            at = _place(rng, size, taken, canvas.view.frame_size)
        if at is None:
            continue
        shape = shapes.SHAPES[rng.integers(len(shapes.SHAPES))]
        colours = _shuffled(rng, COLOURS)
        if seen and rng.random() < 0.3:
            # Two that share a shape or a colour make the questions about them worth asking.
            other = seen[rng.integers(len(seen))]
            if rng.random() < 0.5:
                shape = other.shape
            else:
                colours.insert(0, other.colour)
        rarely_twins = rng.random() < 0.9
        used = {o.colour for o in seen if o.shape == shape}
        if rarely_twins and len(used) < len(COLOURS):
            colours = [colour for colour in colours if colour not in used]
        _paint_object(canvas, rng, shape, colours, size, at)
        taken.append(at)


def _paint_words(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A word, half of the time with one object above or below it."""
    if canvas.background is None:
        raise ValueError("words need a background")
    text = lettering.sample_text(rng)
    frame_width, frame_height = canvas.view.frame_size
    canvas.objects = []
    beside = rng.random() < 0.4
    text_y, room = (rng.choice([0.27, 0.73]), 0.36) if beside else (rng.uniform(0.42, 0.58), 0.6)
    wide = rng.uniform(0.6, 0.88)
    view_px = np.array(canvas.pixels.size) * camera.VIEW_SHARE
    box = (wide * view_px[0], room * rng.uniform(0.55, 1.0) * view_px[1])
    colour, paint = _contrasting(rng, canvas.background.colours, _shuffled(rng, COLOURS))
    x = rng.uniform(0.48, 0.52)
    hand = rng.uniform(0.2, 1.0) if rng.random() < 0.35 else 0.0
    centre = canvas.to_canvas(x, text_y)
    boxes = lettering.paint_text(canvas.pixels, text, paint, centre, box, rng, hand)
    draw = ImageDraw.Draw(canvas.ids)
    for letter, letter_box in zip(text, boxes, strict=True):
        draw.rectangle(letter_box, fill=_FIRST_LETTER_ID + lettering.LETTERS.index(letter))
    middle = canvas.view.to_frame(np.array([centre]))[0]
    canvas.text = SceneText(text, colour, float(middle[0]), float(middle[1]))
    if beside:
        short = min(frame_width, frame_height)
        radius = rng.uniform(*SIZES["medium"])
        column = rng.choice([0.24, 0.5, 0.76])
        at = (column * frame_width / short, (1 - text_y) * frame_height / short, radius)
        shape = shapes.SHAPES[rng.integers(len(shapes.SHAPES))]
        _paint_object(canvas, rng, shape, _shuffled(rng, COLOURS), "medium", at)


def _paint_covered(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A finger or a cap over the lens: next to nothing, now and then a red glow from one side."""
    glow = np.array(
        rng.choice([(0, 0, 0), (60, 8, 4), (35, 12, 8), (12, 12, 14)]), dtype=np.float32
    )
    width, height = size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.7) / 1.4
    pixels = ramp[..., None] ** 2 * glow + rng.uniform(0, 9)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _overlay_glare(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = picture.size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    cx, cy = rng.uniform(0.3, 0.7, 2)
    spread = rng.uniform(0.22, 0.34)
    strength = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2)) * rng.uniform(330, 600)
    pixels = np.asarray(picture, dtype=np.float32) * 0.65 + strength[..., None] * (1, 0.98, 0.93)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _patch_labels(canvas: _Canvas, kind: Kind) -> PatchLabels:
    shape = (PATCH_GRID, PATCH_GRID)
    if kind in ("dark", "glare", "blur"):
        unknown = np.full(shape, IGNORED, dtype=np.int64)
        return PatchLabels(unknown, unknown, unknown, unknown, unknown)
    side = PATCH_GRID * _CELLS_PER_PATCH
    fine = np.asarray(canvas.view.warp(canvas.ids, (side, side), Image.Resampling.NEAREST))
    blocks = fine.reshape(PATCH_GRID, _CELLS_PER_PATCH, PATCH_GRID, _CELLS_PER_PATCH)
    blocks = blocks.transpose(0, 2, 1, 3).reshape(PATCH_GRID, PATCH_GRID, -1)
    present = [int(i) for i in np.unique(fine) if i]
    best = np.zeros(shape, dtype=np.int64)
    most = np.zeros(shape, dtype=np.int64)
    for i in present:
        count = (blocks == i).sum(-1)
        best = np.where(count > most, i, best)
        most = np.maximum(most, count)
    # A patch that an object only grazes is no evidence either way.
    undecided = (most > 0) & (most < 4)
    maps = {
        name: np.zeros(shape, dtype=np.int64)
        for name in ("shape", "colour", "size", "pattern", "letter")
    }
    for i in present:
        here = best == i
        if i >= _FIRST_LETTER_ID:
            maps["letter"][here] = i - _FIRST_LETTER_ID + 1
            if canvas.text is not None:
                maps["colour"][here] = COLOURS.index(canvas.text.colour) + 1
        elif canvas.objects is not None:
            item = canvas.objects[i - 1]
            maps["shape"][here] = shapes.SHAPES.index(item.shape) + 1
            maps["colour"][here] = COLOURS.index(item.colour) + 1
            maps["size"][here] = list(SIZES).index(item.size) + 1
            maps["pattern"][here] = shapes.PATTERNS.index(item.pattern) + 1
    for name in maps:
        maps[name][undecided] = IGNORED
    return PatchLabels(**maps)


def _sample_count(rng: np.random.Generator) -> int:
    return int(rng.choice([1, 2, 3, 4], p=[0.3, 0.3, 0.22, 0.18]))


def make_frame(seed: int, split: Split = "train", kind: Kind | None = None) -> Frame:
    """The frame of one seed (0 or more). `kind` asks for one kind of scene instead of the usual mix."""
    rng = _rng(seed, split)
    kinds = list(_KIND_WEIGHTS)
    drawn = kinds[rng.choice(len(kinds), p=list(_KIND_WEIGHTS.values()))]
    kind = drawn if kind is None else kind
    frame_size = camera.sample_frame_size(rng)
    size = camera.canvas_size_for(frame_size)
    view = camera.sample_view(rng, frame_size, size)
    canvas = _Canvas(Image.new("RGB", size), Image.new("L", size, 0), view)
    light, blur_share, background = camera.Light(), 0.0, ""
    if kind == "unfamiliar":
        canvas.pixels = paint_unfamiliar(rng, size)
    elif kind == "covered":
        canvas.pixels = _paint_covered(rng, size)
        light = camera.Light(gain=(0.6, 1.0), noise=(0.0, 2.5))
    else:
        # Clutter without an object is an unfamiliar scene, not an empty one.
        grounds = BACKGROUNDS[:5] if kind == "empty" else BACKGROUNDS
        background = grounds[rng.integers(len(grounds))]
        canvas.background = paint_background(rng, size, background)
        canvas.pixels = canvas.background.canvas
        if kind == "words":
            _paint_words(canvas, rng)
        elif kind != "empty":
            # A lone small thing, blurred, would leave a blank frame.
            _paint_objects(canvas, rng, 4 if kind == "blur" else _sample_count(rng))
    if kind == "dark":
        light = camera.Light(gain=(0.05, 0.11), noise=(2.5, 7.0))
    elif kind == "glare":
        canvas.pixels = _overlay_glare(canvas.pixels, rng)
    elif kind == "blur":
        blur_share = rng.uniform(0.04, 0.07)
    warped = view.warp(canvas.pixels, frame_size, Image.Resampling.BILINEAR)
    image = camera.expose(warped, rng, light, blur_share)
    seen = kind in ("objects", "words")
    scene = Scene(
        kind,
        tuple(canvas.objects or ()) if seen else (),
        canvas.text,
        background,
        light_of(image),
        tuple(palette.main_colours(np.asarray(image))),
    )
    return Frame(image, scene, _patch_labels(canvas, kind))
