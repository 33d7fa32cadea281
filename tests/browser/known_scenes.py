"""Test scenes of the bundled model, as camera images."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from tools.nano.language import name_of
from tools.nano.scenes import make_frame

CAMERA_SIZE = (640, 480)
# Seeds known to give such scenes; if the painter changes, others are searched.
LIKELY_SEEDS = (169, 313, 61)


def plain_scenes() -> Iterator[tuple[Image.Image, str]]:
    """Yield images of one large plain object each, with its colour and shape; no name twice."""
    seen = set()
    for seed in (*LIKELY_SEEDS, *range(1000)):
        image, scene = (frame := make_frame(seed, "test", "objects")).image, frame.scene
        if len(scene.objects) != 1 or abs(image.width / image.height - 4 / 3) > 0.02:
            continue
        item = scene.objects[0]
        name = name_of(item)
        if item.size == "large" and item.pattern == "solid" and name not in seen:
            seen.add(name)
            yield image.resize(CAMERA_SIZE, Image.Resampling.BICUBIC), name
