"""How far a fetch is, told a few times a second. Standard library only."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_TOLD_EVERY_S: Final = 0.2
_SPEED_OF_LAST_S: Final = 5.0


@dataclass(frozen=True)
class FetchProgress:
    """`received_bytes` count what an earlier fetch had left as well; `total_bytes` are exact.

    `left_s` is None where nothing comes. `note` is a sentence for people, mostly empty: why it
    waits.
    """

    received_bytes: int
    total_bytes: int
    bytes_per_s: float
    left_s: float | None
    note: str = ""


class Meter:
    """Counts received bytes, and tells `on_progress` of them and of their speed."""

    def __init__(self, on_progress: Callable[[FetchProgress], None]) -> None:
        self._on_progress = on_progress
        self._marks: deque[tuple[float, int]] = deque()
        self._told_at = -_TOLD_EVERY_S
        self._came_bytes = 0
        self.received_bytes = 0
        self.total_bytes = 0
        self.note = ""

    def found(self, size_bytes: int) -> None:
        """These lie here already (or, where negative, are lost): no part of the speed."""
        self.received_bytes += size_bytes
        self.note = ""
        self.tick()

    def came(self, size_bytes: int) -> None:
        """These came over the network."""
        self.received_bytes += size_bytes
        self._came_bytes += size_bytes
        self.note = ""
        self.tick()

    def tick(self, always: bool = False) -> None:
        """Tell how far it is, where it has not been told just now."""
        now = time.monotonic()
        if not always and now - self._told_at < _TOLD_EVERY_S:
            return
        self._told_at = now
        self._marks.append((now, self._came_bytes))
        while now - self._marks[0][0] > _SPEED_OF_LAST_S:
            self._marks.popleft()
        since, came_before = self._marks[0]
        speed = (self._came_bytes - came_before) / (now - since) if now > since else 0.0
        left_bytes = self.total_bytes - self.received_bytes
        self._on_progress(
            FetchProgress(
                self.received_bytes,
                self.total_bytes,
                speed,
                left_bytes / speed if speed else None,
                self.note,
            )
        )
