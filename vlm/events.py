"""One record for each finished request, and the protocol of those who receive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vlm.results import Result
from vlm.types import Outcome, Request


@dataclass(frozen=True)
class Record:
    """The end of one request. The scheduler publishes it once, before the reader sees the end."""

    request: Request
    """With the frame, the question, the camera and the kind."""
    outcome: Outcome
    submitted_at: float
    """Seconds since 1970."""
    queued_s: float
    """Wait for the engine, until the end if the engine never began."""
    error_code: str | None = None
    result: Result | None = None
    """Text, finish reason and statistics, if there was an answer."""


class Subscriber(Protocol):
    """Receives what the scheduler publishes. Its methods must be quick and must not raise."""

    def request_ended(self, record: Record) -> None:
        """Handle the end of one request. Any thread may call it."""

    def step_ran(self, batch_size: int) -> None:
        """Handle one step that advanced `batch_size` requests; the worker's thread calls it."""
