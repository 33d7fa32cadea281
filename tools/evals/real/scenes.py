"""Count drawn scenes that the finder takes over, and frames in which it invents things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from tqdm import tqdm

from tools.evals.figures import Figure, share
from tools.evals.real.models import SmallModels
from tools.nano.scenes import Frame, make_frame
from tools.nano.truth import Kind
from vlm.engine.engine import Engine
from vlm.finder.around import with_finder
from vlm.finder.finder import Finder
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Result
from vlm.scheduler.protocol import PullEngine, never, stream_alone
from vlm.settings import Settings
from vlm.types import Request

# No other evaluation or training uses these seeds.
_FIRST_SEED: Final = 800_000
_TOKENS: Final = 64
# Kinds of drawn frames without a thing: for every 12 scenes, one of each.
_STATES: Final[tuple[Kind, ...]] = ("empty", "dark", "covered", "glare", "blur")
_SIZE: Final = (640, 480)


def scene_figures(
    engine: Engine, models: SmallModels, scenes: int, textures: Iterable[Image.Image]
) -> tuple[list[Figure], list[str]]:
    """Return the figures over `scenes` drawn scenes and as many textures, and what was invented."""
    finder = Finder(Settings())
    speaking = cast(PullEngine, with_finder(engine, finder, Settings()))
    drawn = [frame.image for frame in _frames(scenes, ("objects", "words"))]
    spoken = [_caption(speaking, image) for image in tqdm(drawn, desc="drawn", unit="scene")]
    stolen = sum(result.stats.by != "model" for result in spoken)
    without_things = [
        *(frame.image for frame in _frames(scenes // 2, ("unfamiliar",))),
        *(frame.image for frame in _frames(5 * max(1, scenes // 12), _STATES)),
        *plain_frames(),
        *textures,
    ]
    others = [_caption(speaking, image) for image in tqdm(without_things, desc="others")]
    invented = [result.text for result in [*spoken, *others] if names_something(result)]
    alone = sum(
        not models.look(image)[1].is_empty
        for image in tqdm([*drawn, *without_things], desc="finder alone")
    )
    count = len(drawn) + len(without_things)
    finder.close()
    return [
        share("stolen", stolen, len(drawn), "drawn scenes", most=0.01),
        share("invented", len(invented), count, "frames without a real thing", most=0.03),
        share("invented_alone", alone, count, "of them if the finder were asked first"),
    ], invented


def names_something(result: Result) -> bool:
    """Return whether the finder has said that a thing or place is there."""
    return result.stats.by == "finder" and result.text.startswith("Perhaps")


def plain_frames() -> Iterator[Image.Image]:
    """Yield frames of one colour, gradients, noise and stripes."""
    for colour in ("black", "white", "grey", (90, 60, 40), (30, 90, 200)):
        yield Image.new("RGB", _SIZE, colour)
    for gradient in (Image.linear_gradient, Image.radial_gradient):
        yield gradient("L").convert("RGB").resize(_SIZE)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (_SIZE[1], _SIZE[0], 3), np.uint8)
    yield Image.fromarray(noise)
    yield Image.fromarray(noise // 10)
    yield Image.fromarray(noise).filter(ImageFilter.GaussianBlur(9))
    rows, columns = np.mgrid[: _SIZE[1], : _SIZE[0]]
    patterns: tuple[Callable[[], npt.NDArray[Any]], ...] = (
        lambda: columns // 16 % 2,
        lambda: rows // 24 % 2,
        lambda: (columns + rows) // 20 % 2,
        lambda: (columns // 32 + rows // 32) % 2,
    )
    for pattern in patterns:
        yield Image.fromarray((pattern() * 200 + 30).astype(np.uint8)).convert("RGB")


def _frames(count: int, kinds: tuple[Kind, ...]) -> Iterator[Frame]:
    for number in range(count):
        yield make_frame(_FIRST_SEED + number, "held_out", kinds[number % len(kinds)])


def _caption(engine: PullEngine, image: Image.Image) -> Result:
    job = engine.begin(Request.about(image, DEFAULT_PROMPT, _TOKENS), never)
    *_, result = stream_alone(engine, job)
    assert isinstance(result, Result)
    return result
