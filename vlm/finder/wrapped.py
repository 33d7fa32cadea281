"""The base of the engines around an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vlm.results import StreamEvent
from vlm.scheduler.protocol import PullEngine

Event = StreamEvent | Exception


class WrappedEngine:
    """Base of a `PullEngine` over another one. A subclass has `begin`.

    A job has the other engine's job as `inner`; its `step` turns events of that into its own.
    """

    def __init__(self, engine: PullEngine) -> None:
        self.info = engine.info
        self._engine = engine

    @property
    def max_batch(self) -> int:
        return self._engine.max_batch

    def advance(self, jobs: Sequence[Any]) -> list[list[Event]]:
        made = self._engine.advance([job.inner for job in jobs])
        return [job.step(events) for job, events in zip(jobs, made, strict=True)]

    def rest(self, is_needed: Callable[[], bool]) -> float | None:
        return self._engine.rest(is_needed)

    def close(self) -> None:
        self._engine.close()
