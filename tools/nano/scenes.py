"""Seeded camera frames with their ground truth and patch labels.

`make_frame(seed, split)` is deterministic: the same seed and split give the same pixels with the
same versions of Pillow and numpy. Splits share no frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image

from tools.nano import camera, palette
from tools.nano.backgrounds import BACKGROUNDS, paint_background
from tools.nano.camera import overlay_glare, paint_covered
from tools.nano.compose import Canvas, paint_objects, paint_words
from tools.nano.patch_labels import Box, PatchLabels, label_patches, object_boxes
from tools.nano.truth import MAX_OBJECTS, Kind, Scene
from tools.nano.unfamiliar import paint_unfamiliar

Split = Literal["train", "held_out", "test"]
# Each split has its own stream of random numbers.
_STREAMS: Final[dict[Split, int]] = {"train": 11, "held_out": 23, "test": 37}

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
# Probabilities of 1, 2, 3 and 4 objects in a scene.
_COUNT_WEIGHTS: Final = (0.3, 0.3, 0.22, 0.18)


@dataclass(frozen=True)
class Frame:
    """One RGB camera frame with its ground truth and patch labels."""

    image: Image.Image
    scene: Scene
    labels: PatchLabels
    # Of each object of the scene, as `object_boxes` returns them.
    boxes: tuple[Box | None, ...]


def light_of(image: Image.Image) -> str:
    """Return the mean brightness of a frame as a word: dim, normal or bright."""
    mean = float(np.asarray(image.convert("L"), dtype=np.float32).mean())
    return "dim" if mean < 75 else "normal" if mean < 155 else "bright"


def make_frame(seed: int, split: Split = "train", kind: Kind | None = None) -> Frame:
    """Return the frame of one seed (0 or more), of one `kind` instead of the usual mix if given."""
    rng = np.random.default_rng([_STREAMS[split], seed])
    kinds = list(_KIND_WEIGHTS)
    drawn = kinds[rng.choice(len(kinds), p=list(_KIND_WEIGHTS.values()))]
    kind = drawn if kind is None else kind
    frame_size = camera.sample_frame_size(rng)
    size = camera.canvas_size_for(frame_size)
    view = camera.sample_view(rng, frame_size, size)
    canvas = Canvas(Image.new("RGB", size), Image.new("L", size, 0), view)
    light, blur_share, background = camera.Light(), 0.0, ""
    if kind == "unfamiliar":
        canvas.pixels = paint_unfamiliar(rng, size)
    elif kind == "covered":
        canvas.pixels = paint_covered(rng, size)
        light = camera.Light(gain=(0.6, 1.0), noise=(0.0, 2.0))
    else:
        background = _paint_scene(canvas, rng, kind)
    if kind == "dark":
        light = camera.Light(gain=(0.07, 0.13), noise=(4.0, 9.0))
    elif kind == "glare":
        canvas.pixels = overlay_glare(canvas.pixels, rng)
    elif kind == "blur":
        blur_share = rng.uniform(0.04, 0.07)
    warped = view.warp(canvas.pixels, frame_size, Image.Resampling.BILINEAR)
    image = camera.expose(warped, rng, light, blur_share)
    scene = Scene(
        kind,
        tuple(canvas.objects) if kind in ("objects", "words") else (),
        canvas.text,
        background,
        light_of(image),
        tuple(palette.main_colours(np.asarray(image))),
    )
    boxes = object_boxes(canvas) if scene.objects else ()
    return Frame(image, scene, label_patches(canvas, kind), boxes)


def _paint_scene(canvas: Canvas, rng: np.random.Generator, kind: Kind) -> str:
    """Paint a background and the objects or words of `kind`; return the background's name."""
    # Clutter without an object counts as an unfamiliar scene, not as an empty one.
    backgrounds = [name for name in BACKGROUNDS if kind != "empty" or name != "cluttered"]
    name = backgrounds[rng.integers(len(backgrounds))]
    background = paint_background(rng, canvas.pixels.size, name)
    canvas.pixels, canvas.ground = background.canvas, background.colours
    if kind == "words":
        paint_words(canvas, rng)
    elif kind == "blur":
        # One small object, blurred, would leave a blank frame.
        paint_objects(canvas, rng, MAX_OBJECTS)
    elif kind != "empty":
        paint_objects(canvas, rng, 1 + int(rng.choice(MAX_OBJECTS, p=_COUNT_WEIGHTS)))
    return name
