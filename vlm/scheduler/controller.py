"""The controller: what each camera's live frames get, by what the last ones took on this machine.

It chooses tile side, token budget and interval (`live_steps.py`). As a subscriber of the worker it
receives the record of each caption. Clients receive the choice with each caption.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vlm.events import Record
from vlm.results import EngineInfo
from vlm.scheduler.live_steps import (
    CameraState,
    Load,
    Sample,
    Wish,
    after,
    chosen,
    first_state,
    steps_of,
)
from vlm.types import Chosen

# A camera is at work if its last frame came in the last so many seconds, or three intervals.
_AT_WORK_S: Final = 2.0
_AT_WORK_INTERVALS: Final = 3.0
# A camera is forgotten so long after its last frame, and the oldest one if there are too many.
LIFETIME_S: Final = 60.0
MAX_CAMERAS: Final = 256
# Weight of the newest step in the mean number of requests that share a step.
_NEWEST_WEIGHT: Final = 0.1


@dataclass(frozen=True)
class LiveStatus:
    """The live captions of all cameras."""

    # The latency that is wanted, in seconds; None: as fast as steady.
    wanted_s: float | None
    # Cameras that sent a frame in the last minute.
    cameras: int
    # What was chosen for the newest frame; None without a camera.
    chosen: Chosen | None


class _Camera:
    def __init__(self, state: CameraState) -> None:
        self.state = state
        self.seen_s = 0.0


class Controller:
    """The states of all cameras. Safe from any thread."""

    def __init__(
        self,
        latency_s: float | None,
        max_tokens: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_tokens` is the budget of a caption that need not be faster; `clock` in seconds."""
        self._latency_s = latency_s
        self._max_tokens = max_tokens
        self._clock = clock
        self._lock = threading.Lock()
        self._info: EngineInfo | None = None
        self._wish = Wish(latency_s, ())
        self._batch = 1.0
        self._newest: Chosen | None = None
        # The one whose frame came last is the last one.
        self._cameras: OrderedDict[str, _Camera] = OrderedDict()

    def choose(self, camera: str, info: EngineInfo) -> Chosen:
        """Return what holds for a frame of `camera` that has just come."""
        now_s = self._clock()
        with self._lock:
            if info != self._info:
                # Another model takes another time.
                self._info = info
                self._wish = Wish(self._latency_s, steps_of(info.sides, self._max_tokens))
                self._cameras.clear()
                self._batch = 1.0
            self._forget(now_s)
            found = self._cameras.pop(camera, None) or _Camera(first_state(self._wish))
            found.seen_s = now_s
            self._cameras[camera] = found
            self._newest = chosen(found.state, self._wish)
            return self._newest

    def status(self) -> LiveStatus:
        """Return what holds now."""
        with self._lock:
            self._forget(self._clock())
            newest = self._newest if self._cameras else None
            return LiveStatus(self._latency_s, len(self._cameras), newest)

    def request_ended(self, record: Record) -> None:
        """Learn from a live caption that was made as it was chosen."""
        task, result = record.request.task, record.result
        if record.request.chosen is None or record.outcome != "done" or result is None:
            return
        stats = result.stats
        if stats.tokens == 0:
            return
        token_s = (stats.total_s - stats.ttft_s) / max(1, stats.tokens - 1)
        sample = Sample(stats.ttft_s, token_s, stats.tokens)
        with self._lock:
            found = self._cameras.get(record.request.camera or "")
            if found is None or self._wish.steps[found.state.step].side.detail != task.detail:
                return
            found.state = after(found.state, self._wish, sample, self._load(found))

    def step_ran(self, batch_size: int) -> None:
        """Note how many requests share the machine."""
        self._batch += _NEWEST_WEIGHT * (batch_size - self._batch)

    def _load(self, camera: _Camera) -> Load:
        if self._info is not None and self._info.remote:
            # Other servers run frames of several cameras side by side.
            return Load()
        now_s = self._clock()
        work_s = sum(
            each.state.work_s
            for each in self._cameras.values()
            if each is not camera
            and now_s - each.seen_s <= max(_AT_WORK_S, _AT_WORK_INTERVALS * each.state.interval_s)
        )
        return Load(work_s / self._batch, self._batch)

    def _forget(self, now_s: float) -> None:
        while self._cameras:
            oldest = next(iter(self._cameras.values()))
            is_old = now_s - oldest.seen_s > LIFETIME_S
            if not is_old and len(self._cameras) <= MAX_CAMERAS:
                return
            self._cameras.popitem(last=False)
