"""The finder's text about one frame: written by its own thread, read in steps by the engine's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from vlm.results import By

State = Literal["working", "ended", "failed"]


class Speech:
    """A text that grows, then ends or fails. Any thread may use it."""

    def __init__(self, on_news: Callable[[], None]) -> None:
        """`on_news` is called after each change."""
        self.by: By = "finder"
        self._on_news = on_news
        self._lock = threading.Lock()
        self._new = ""
        self._state: State = "working"

    def add(self, text: str) -> None:
        """Append `text`."""
        with self._lock:
            self._new += text
        self._on_news()

    def end(self, by: By = "finder") -> None:
        """End a whole text, made by `by`."""
        self.by = by
        self._finish("ended")

    def fail(self) -> None:
        """End without more text: the finder could not say anything, or not all."""
        self._finish("failed")

    @property
    def is_over(self) -> bool:
        """Return whether it has ended or failed: nobody hears what is added."""
        return self._state != "working"

    def take(self) -> tuple[str, State]:
        """Return the text since the last call, and the state after it."""
        with self._lock:
            new, self._new = self._new, ""
            return new, self._state

    def _finish(self, state: State) -> None:
        with self._lock:
            if self._state == "working":
                self._state = state
        self._on_news()
