"""What a person chooses for the timeline, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from vlm.option_types import LEAST_TIMELINE_MB, MOST_TIMELINE_MB
from vlm.timeline.database import FaultCode

Keep = Literal["off", "words", "pictures"]
KEEPS: Final = ("off", "words", "pictures")
DAYS: Final = (1, 7, 30, 0)
LEAST_MB: Final = LEAST_TIMELINE_MB
MOST_MB: Final = MOST_TIMELINE_MB
UNDO_S: Final = 10.0


@dataclass(frozen=True)
class Choice:
    """What a person has chosen."""

    keep: Keep = "off"
    days: int = 7
    """Moments are deleted when they are older; 0: never."""
    mb: int = 500
    """The oldest moments are deleted when there are more megabytes."""

    def changed(self, values: Mapping[str, str]) -> Choice:
        """Return the choice with those of "keep", "days" and "mb" that are in `values`."""
        return Choice(
            keep=cast(Keep, values.get("keep", self.keep)),
            days=int(values.get("days", self.days)),
            mb=int(values.get("mb", self.mb)),
        )


@dataclass(frozen=True)
class FaultSince:
    """Why nothing is kept, and since when."""

    code: FaultCode
    why: str
    since: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class TimelineStatus:
    """What is kept, and where."""

    keep: Keep
    days: int
    mb: int
    # False if the server was started with --no-timeline.
    available: bool
    # The file, null before there is one.
    file: str | None
    bytes: int
    moments: int
    # Null while all is well.
    fault: FaultSince | None


@dataclass(frozen=True)
class Deletion:
    """Moments that are deleted, and come back if it is undone in time."""

    deletion: int
    moments: int
    undo_s: float


@dataclass(frozen=True)
class Clock:
    """Sources of time; tests have their own."""

    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    steady: Callable[[], float] = time.monotonic
