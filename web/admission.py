"""How many captions may be under way at once, so that none of many clients is left hanging."""

from __future__ import annotations

import threading

from vlm.errors import BusyError
from vlm.scheduler.queue import MAX_IN_FLIGHT

RETRY_AFTER_S = 1


class Admission:
    """Counts caption requests from their first look at the body to the end of their stream.

    Each holds a server thread meanwhile, so at most `limit` are let in and the others are told at
    once. `stop()` asks the streams under way to end, for a server that is shutting down.
    """

    def __init__(self, max_queue: int) -> None:
        """`max_queue` may wait beside those that an engine works on.

        The worker, which knows how many these are, refuses the others in better words.
        """
        self.limit = max_queue + MAX_IN_FLIGHT
        self.under_way = 0
        self.stopping = False
        self._counting = threading.Lock()

    def enter(self) -> None:
        """Take a place; raises BusyError where none is free. Every `enter` needs one `leave`."""
        with self._counting:
            if self.stopping or self.under_way >= self.limit:
                raise BusyError(
                    f"Too many captions are under way. Try again in {RETRY_AFTER_S} s.",
                    RETRY_AFTER_S,
                )
            self.under_way += 1

    def leave(self) -> None:
        """Give the place back."""
        with self._counting:
            self.under_way -= 1

    def stop(self) -> None:
        """Let no more in and end the streams under way. Safe to call from a signal handler."""
        self.stopping = True
