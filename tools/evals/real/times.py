"""Time the finder on a frame, as a ratio to a caption of the bundled model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Final

from PIL import Image

from tools.evals.figures import Figure
from tools.evals.real.models import SmallModels
from vlm.engine.engine import Engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.types import Request

_ROUNDS: Final = 5
_CAPTION_TOKENS: Final = 64


def time_figures(
    models: SmallModels, engine: Engine, images: Mapping[str, Image.Image]
) -> list[Figure]:
    """Return the time of a look to that of a caption: the best of each picture, their median.

    Both take turns within the run, on decoded pictures.
    """
    looks_s: dict[str, list[float]] = {name: [] for name in images}
    captions_s: dict[str, list[float]] = {name: [] for name in images}
    for number in range(_ROUNDS):
        for name, image in images.items():
            looks_s[name].append(_seconds(partial(models.look, image)))
            # A camera of its own: a draft would save time that the finder cannot save.
            request = Request.about(
                image, DEFAULT_PROMPT, _CAPTION_TOKENS, camera=f"{name}-{number}"
            )
            captions_s[name].append(_seconds(partial(engine.run, request)))
    look_s = median(min(times) for times in looks_s.values())
    caption_s = median(min(times) for times in captions_s.values())
    note = f"{1000 * look_s:.1f} ms to {1000 * caption_s:.1f} ms, {len(images)} photographs"
    return [Figure("find_ratio", look_s / caption_s, most=2.0, note=note)]


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s
