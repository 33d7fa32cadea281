"""Which patches of a camera's next frame are encoded, and what is kept of the others.

A camera that stands still shows mostly what it showed before. A patch is encoded again if it
differs from what was last encoded there by more than noise, or if a patch beside it does. From time
to time a frame is encoded whole, which bounds the drift and measures it.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.engine.drift import Drift, numbers
from vlm.engine.prompt_reuse import FedPrompt
from vlm.processing.image_processor import ImageProcessor, PixelValues
from vlm.processing.patches import Cells, Mask, Patches, differences, with_neighbours
from vlm.runtimes.base import MAX_VISION_STATE_BYTES, ImageFeatures, VisionState
from vlm.types import Detail

log = logging.getLogger("sightline")

# Mean absolute difference of a patch's cells, whose values are -1 to 1: `python -m tools.evals
# changed` compares such values on nano (docs/experiments.md).
CHANGED: Final = 0.03
# A noisy camera's patches differ by more; the threshold follows up to here.
MOST_CHANGED: Final = 0.20
_NOISE_FACTOR: Final = 1.6
# The newest frame's share in the mean, and the most that counts, in medians of the frame.
_NOISE_SHARE: Final = 0.2
_MOST_NOISE: Final = 3.0
# If more than this share has changed, all of the frame is encoded: it was a cut or a pan.
_WIDE_CHANGE: Final = 0.5
# At rest a frame is encoded whole if so many patches were encoded since the last whole one; fewer
# are noise.
_RENEWED_AT_REST: Final = 0.08
# A frame is encoded whole at the latest after so many others, or so long.
WHOLE_EVERY_FRAMES: Final = 30
WHOLE_EVERY_S: Final = 20.0
# A camera's state is dropped so long after its last frame.
STATE_LIFETIME_S: Final = 60.0
# So long after its last caption a camera is at rest; its frame is encoded whole at most so often.
_REST_S: Final = 1.0
_REST_EVERY_S: Final = 5.0
_LEAST_REST_S: Final = 0.05
# Another camera takes its place after so long without a frame, if there is no room for both.
_EVICTED_AFTER_S: Final = 10.0

# The prompt's ids, and those of a whole greedy answer.
Captioned: TypeAlias = tuple[Sequence[int], Sequence[int]]


@dataclass
class _Camera:
    state: VisionState
    tile: Patches
    size: tuple[int, int]
    """Width and height of its frames, in pixels."""
    encoded: Cells
    """Of each patch what was last encoded."""
    last: Cells
    """The last frame."""
    noise: npt.NDArray[np.float32] | None = None
    """Of each patch the usual difference of two frames, [rows, columns]."""
    features: ImageFeatures | None = None
    """None while a frame is being encoded."""
    image: Image.Image | None = None
    """The last frame, if it was encoded in part."""
    prompt: FedPrompt | None = None
    captioned: Captioned | None = None
    """The last frame's."""
    frames: int = 0
    """Frames since the last whole one."""
    renewed: int = 0
    """Patches that were encoded since then, each time counted."""
    whole_s: float = 0.0
    used_s: float = 0.0

    @property
    def nbytes(self) -> int:
        """Memory of the state and the kept prompt."""
        return self.state.nbytes + (self.prompt.state.nbytes if self.prompt else 0)


@dataclass(frozen=True)
class Plan:
    """The patches to encode of a camera's next frame, and the state to encode them with."""

    camera: str
    state: VisionState
    pixel_values: PixelValues
    cells: Cells
    changed: npt.NDArray[np.int64]
    """The patches to encode. If there are none, the frame's features are `kept`."""
    is_whole: bool
    kept: ImageFeatures | None = None
    """Features of the frame before, unless most of it has changed."""
    mask: Mask | None = None
    """With `kept`: the patches that have changed, [rows, columns]."""


class VisionReuse:
    """The cameras' vision states. `runtime` has the capability "changed"."""

    def __init__(
        self,
        runtime: Any,
        processor: ImageProcessor,
        max_bytes: int = MAX_VISION_STATE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.drift = Drift()
        self._runtime = runtime
        self.patches: int = runtime.patches
        """Patches of a frame of detail "low"."""
        self._tile_of = cache(lambda detail: Patches(processor, detail, runtime.patch_px))
        self._max_bytes = max_bytes
        self._clock = clock
        # Of a camera, by the side of its tile.
        self._camera_bytes: dict[int, int] = {}
        self._cameras: OrderedDict[str, _Camera] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Return False once the error of kept features has stayed too large."""
        return self.drift.is_bearable

    def plan(self, camera: str, image: Image.Image, detail: Detail = "low") -> Plan | None:
        """Return how to encode an RGB frame of `camera` in one tile; `detail` is any but "high".

        Return None if another frame of the camera is being encoded, or if there is no room for a
        state: then the frame is encoded whole. A plan must be followed by `keep` or `drop`.
        """
        now_s = self._clock()
        self._drop_old(now_s)
        found, tile = self._cameras.get(camera), self._tile_of(detail)
        cells = tile.cells(image)
        if found is None or (found.size, found.tile) != (image.size, tile):
            return self._first(camera, tile, image, cells, now_s)
        if found.features is None:
            return None
        mask = self._changed(found, cells)
        kept, found.features = found.features, None
        found.last, found.used_s, found.image, found.captioned = cells, now_s, image, None
        self._cameras.move_to_end(camera)
        # The scene has come to rest: what was kept has seen things that are gone.
        is_at_rest = found.renewed > _RENEWED_AT_REST * mask.size and not mask.any()
        is_due = found.frames >= WHOLE_EVERY_FRAMES or now_s - found.whole_s >= WHOLE_EVERY_S
        is_wide = mask.mean() > _WIDE_CHANGE
        if is_wide or is_at_rest or is_due:
            every = np.ones_like(mask)
            measured = None if is_wide else mask
            return self._plan(camera, image, cells, every, kept, measured)
        return self._plan(camera, image, cells, mask, kept, mask)

    def keep(self, plan: Plan, features: ImageFeatures) -> bool:
        """Note the features of a plan; return False, and drop them, if they are no numbers."""
        found = self._cameras.get(plan.camera)
        if not np.isfinite(numbers(features)).all():
            self.drop(plan)
            return False
        if found is None or found.state is not plan.state:
            return True
        found.features = features
        if plan.is_whole:
            found.encoded, found.image = plan.cells.copy(), None
            found.frames, found.whole_s, found.renewed = 0, found.used_s, 0
            if plan.kept is not None and plan.mask is not None:
                self.drift.measure(plan.kept, features, plan.mask)
                if not self.is_on:
                    self.forget()
            return True
        found.frames += 1
        found.renewed += len(plan.changed)
        rows, columns = np.divmod(plan.changed, found.tile.side)
        found.encoded[:, rows, :, columns] = plan.cells[:, rows, :, columns]
        return True

    def encoded(self, camera: str, image: Image.Image) -> ImageFeatures | None:
        """Return the features of `image` if it is the last frame of `camera`, encoded in part."""
        found = self._cameras.get(camera)
        return found.features if found is not None and found.image is image else None

    def drop(self, plan: Plan) -> None:
        """Drop the state of a plan that was not run to its end."""
        found = self._cameras.get(plan.camera)
        if found is not None and found.state is plan.state:
            del self._cameras[plan.camera]

    def captioned(self, camera: str, captioned: Captioned | None) -> None:
        """Note the end of an answer about the last frame of `camera`."""
        found = self._cameras.get(camera)
        if found is not None:
            found.captioned, found.used_s = captioned, self._clock()

    def at_rest(self) -> str | None:
        """Return a camera whose last frame should be encoded whole while nothing else is to do."""
        now_s = self._clock()
        self._drop_old(now_s)
        due = (name for name, each in self._cameras.items() if self._rests_at_s(each) <= now_s)
        return next(due, None)

    def next_rest_s(self) -> float | None:
        """Return after how many s `at_rest` has something to do; None if never."""
        times_s = [
            min(self._rests_at_s(each), each.used_s + STATE_LIFETIME_S)
            for each in self._cameras.values()
        ]
        return max(_LEAST_REST_S, min(times_s) - self._clock()) if times_s else None

    def plan_again(self, camera: str) -> tuple[Plan, Captioned | None]:
        """Return how to encode the last frame of a camera `at_rest` whole, and its caption."""
        found = self._cameras[camera]
        assert found.image is not None
        none = np.zeros((found.tile.side, found.tile.side), np.bool_)
        kept, found.features = found.features, None
        plan = self._plan(camera, found.image, found.last, ~none, kept, none)
        return plan, found.captioned

    def prompt(self, camera: str) -> FedPrompt | None:
        """Return the prompt about a frame of `camera` that was fed whole last."""
        found = self._cameras.get(camera)
        return found.prompt if found is not None else None

    def keep_prompt(self, camera: str, prompt: FedPrompt) -> None:
        """Keep `prompt` as long as the state of `camera`."""
        found = self._cameras.get(camera)
        if found is not None:
            found.prompt = prompt
            self._camera_bytes[found.tile.tile_px] = found.nbytes

    def forget(self) -> None:
        """Drop all states."""
        self._cameras.clear()

    def _rests_at_s(self, camera: _Camera) -> float:
        """Return when a frame is to be encoded whole, if no other comes; infinity if never."""
        if camera.image is None or camera.features is None or not camera.renewed:
            return math.inf
        return max(camera.used_s + _REST_S, camera.whole_s + _REST_EVERY_S)

    def _drop_old(self, now_s: float) -> None:
        for name, each in list(self._cameras.items()):
            if now_s - each.used_s >= STATE_LIFETIME_S:
                del self._cameras[name]

    def _first(
        self, camera: str, tile: Patches, image: Image.Image, cells: Cells, now_s: float
    ) -> Plan | None:
        self._cameras.pop(camera, None)
        needed_bytes = self._camera_bytes.get(tile.tile_px, 0)
        while self._cameras and self._nbytes + needed_bytes > self._max_bytes:
            name, oldest = next(iter(self._cameras.items()))
            if now_s - oldest.used_s < _EVICTED_AFTER_S:
                # Many cameras would evict each other before their next frames.
                return None
            del self._cameras[name]
        try:
            state = self._runtime.new_vision_state(tile.tile_px)
        except MemoryError:
            log.warning("There is no memory to keep what a camera's frames have in common")
            return None
        self._camera_bytes.setdefault(tile.tile_px, state.nbytes)
        self._cameras[camera] = _Camera(state, tile, image.size, cells, cells, used_s=now_s)
        every = np.ones((tile.side, tile.side), np.bool_)
        return self._plan(camera, image, cells, every, None, None)

    @property
    def _nbytes(self) -> int:
        return sum(each.nbytes for each in self._cameras.values())

    def _plan(
        self,
        camera: str,
        image: Image.Image,
        cells: Cells,
        encoded: Mask,
        kept: ImageFeatures | None,
        mask: Mask | None,
    ) -> Plan:
        found, changed = self._cameras[camera], np.flatnonzero(encoded)
        values, is_whole = found.tile.pixel_values(image, encoded), bool(encoded.all())
        return Plan(camera, found.state, values, cells, changed, is_whole, kept, mask)

    def _changed(self, found: _Camera, cells: Cells) -> Mask:
        """Return which patches to encode, [rows, columns]."""
        noise = differences(cells, found.last)
        usual = float(np.median(noise))
        if found.noise is None:
            found.noise = np.full_like(noise, usual)
        # What moves is not noise.
        found.noise += _NOISE_SHARE * (noise.clip(max=_MOST_NOISE * usual) - found.noise)
        threshold = _NOISE_FACTOR * np.maximum(found.noise, usual)
        threshold = threshold.clip(CHANGED, MOST_CHANGED) * self.drift.scale
        return with_neighbours(differences(cells, found.encoded) > threshold)
