"""One request under way at the servers, as the thread that asked for it sees it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from vlm.types import Result, Stats, StreamEvent, TokenChunk


class RemoteJob:
    """What has come of one request. `put` belongs to the servers' thread, all else to the asker."""

    def __init__(self, is_cancelled: Callable[[], bool]) -> None:
        """`is_cancelled` is asked by `take`."""
        self._is_cancelled = is_cancelled
        self._items: deque[StreamEvent | Exception] = deque()
        self._texts: list[str] = []
        self._ended = False
        self._begun_s = time.perf_counter()
        self._ttft_s = 0.0
        self._work: Future[None] | None = None

    @property
    def has_items(self) -> bool:
        """Whether there is something to take."""
        return bool(self._items)

    def works_by(self, work: Future[None]) -> None:
        """`work` is what makes the caption; cancelling it closes the connection."""
        self._work = work

    def put(self, item: StreamEvent | Exception) -> None:
        """The next item; a Result or an Exception is the last."""
        self._items.append(item)

    def take(self) -> list[StreamEvent | Exception]:
        """What has come since the last time, and the end at once where it is cancelled."""
        taken: list[StreamEvent | Exception] = []
        while self._items and not self._ended:
            item = self._items.popleft()
            taken.append(item)
            if isinstance(item, TokenChunk):
                self._ttft_s = self._ttft_s or time.perf_counter() - self._begun_s
                self._texts.append(item.text)
            else:
                self._ended = True
        if not self._ended and self._is_cancelled():
            self.close()
            taken.append(self._cancelled())
        return taken

    def close(self) -> None:
        """Give it up: its connection is closed at once. Idempotent."""
        self._ended = True
        if self._work is not None:
            self._work.cancel()

    def _cancelled(self) -> Result:
        total_s = time.perf_counter() - self._begun_s
        stats = Stats(
            ttft_s=self._ttft_s,
            tokens_per_s=len(self._texts) / total_s,
            image_tokens=0,
            prompt_tokens=0,
            tokens=len(self._texts),
            drafted=0,
            accepted=0,
            queued_s=0.0,
            total_s=total_s,
        )
        return Result("".join(self._texts), "cancelled", stats)
