"""The images of one request, as passes of the vision encoder: all of them, tiles, or patches."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from PIL import Image

from vlm.engine.frame_cache import EncodedFrame
from vlm.engine.model import Model, Prepared
from vlm.engine.passes import Encode, EncodeChanged, Pass, SharedPassError
from vlm.results import Kept, Stats
from vlm.runtimes.base import ImageFeatures


class Encoding:
    """The encoded images of one request. `passes` may be called once."""

    def __init__(self, model: Model, prepared: Prepared, is_cancelled: Callable[[], bool]) -> None:
        self.keys: list[bytes] = []
        """Of the images that are encoded."""
        self.frames: list[EncodedFrame] = []
        self.patches = 0
        """Patches of a camera's image that were computed."""
        self.kept: Kept | None = None
        """Error and agreement of frames encoded in part; None if this was no camera's frame."""
        self.is_whole = True
        """All patches were encoded; if false, the features are not put into the frame cache."""
        self.is_planned = False
        """The image was encoded by a plan of VisionReuse, as a camera's next frame."""
        self._model = model
        self._prepared = prepared
        self._detail = prepared.request.task.detail
        self._is_cancelled = is_cancelled
        self._started_s = time.perf_counter()

    def passes(self) -> Generator[Pass, Any, None]:
        """Yield the passes; `frames` lacks the last ones if the request was cancelled."""
        for image in self._prepared.images:
            key = self._model.frames.key(image, self._detail)
            frame = self._model.frames.get(key)
            if frame is None:
                if self._may_reuse:
                    features = yield from self._encode_changed(image, key)
                else:
                    features = yield from self._encode(image, key)
                frame = EncodedFrame(features)
                if self._is_cancelled():
                    return
                if self.is_whole:
                    self._model.frames.put(key, frame)
            self.keys.append(key)
            self.frames.append(frame)

    def stats(self, prompt_tokens: int) -> Stats:
        """Return the cost so far of a request that writes nothing."""
        total_s = time.perf_counter() - self._started_s
        return Stats.silent(total_s, self._prepared.image_tokens, prompt_tokens, self.patches)

    @property
    def _may_reuse(self) -> bool:
        request, reuse = self._prepared.request, self._model.reuse
        return (
            reuse is not None
            and reuse.is_on
            and request.kind == "live"
            and request.camera is not None
            and self._detail != "high"
            and len(self._prepared.images) == 1
        )

    def _encode_changed(
        self, image: Image.Image, key: bytes
    ) -> Generator[Pass, Any, list[ImageFeatures]]:
        """Return the features of a camera's `image`."""
        reuse, camera = self._model.reuse, self._prepared.request.camera
        assert reuse is not None and camera is not None
        last = reuse.encoded(camera, image)
        if last is not None:
            # Another question about the frame, such as whether its caption is true.
            self.is_whole = False
            return [last]
        plan = reuse.plan(camera, image, self._detail)
        if plan is None:
            return (yield from self._encode(image, key))
        features = plan.kept
        if len(plan.changed):
            try:
                features = yield EncodeChanged(plan.state, plan.pixel_values, plan.changed)
            except BaseException:
                reuse.drop(plan)
                raise
        self.patches += len(plan.changed)
        if not reuse.keep(plan, features):
            return (yield from self._encode(image, key))
        self.is_whole, self.is_planned, self.kept = plan.is_whole, True, reuse.drift.kept
        return [features]

    def _encode(
        self, image: Image.Image, frame_key: bytes
    ) -> Generator[Pass, Any, list[ImageFeatures]]:
        """Return the features of `image`, tile by tile; fewer than all if it was cancelled.

        Tiles that a kept frame has are not encoded again.
        """
        processor, frames = self._model.inputs.image_processor, self._model.frames
        tiles = processor.tiles(image, self._detail)
        keys = [frames.tile_key(tile) for tile in tiles] if len(tiles) > 1 else [frame_key]
        features = {key: found for key in keys if (found := frames.tile(key)) is not None}
        # Equal tiles are encoded once.
        missing = {key: tile for key, tile in zip(keys, tiles, strict=True) if key not in features}
        count = self._model.runtime.tiles_per_pass
        for start in range(0, len(missing), count):
            if self._is_cancelled():
                break
            named = list(missing)[start : start + count]
            wanted = Encode(processor.normalised(np.stack([missing[key] for key in named])))
            try:
                made = yield wanted
            except SharedPassError:
                made = yield wanted
            rows = len(made) // len(named)
            for index, key in enumerate(named):
                features[key] = made[index * rows : (index + 1) * rows]
                frames.note_tile(key, features[key])
        return [features[key] for key in keys if key in features]
