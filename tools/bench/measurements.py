"""The times of one caption, the samples of a run, and their statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

import numpy as np

from vlm.errors import SightlineError
from vlm.results import EngineInfo, Result, Stats, StreamEvent
from vlm.types import Request

Samples = dict[str, list[float]]


class StreamingEngine(Protocol):
    """The part of `vlm.engine.engine.Engine` that is measured."""

    info: EngineInfo

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Yield the events of one request."""


@dataclass(frozen=True)
class TimedCaption:
    """One caption, timed by its reader."""

    # Seconds from the request to the first event.
    first_word_s: float
    # Seconds from the request to the result.
    all_s: float
    text: str
    # The engine's own figures.
    stats: Stats

    @property
    def first_word_late_s(self) -> float:
        """Seconds from the engine's first token to the first event at the reader."""
        return self.first_word_s - self.stats.ttft_s

    @property
    def token_s(self) -> float | None:
        """Seconds for each token after the first; None with fewer than two tokens."""
        further = self.stats.tokens - 1
        return (self.all_s - self.first_word_s) / further if further > 0 else None


def time_caption(
    engine: StreamingEngine,
    make_request: Callable[[], Request],
    clock: Callable[[], float] = time.perf_counter,
) -> TimedCaption:
    """Make one request and run it to its end, both timed by `clock` in seconds."""
    started_s = clock()
    first_word_s = None
    for event in engine.stream(make_request()):
        now_s = clock() - started_s
        first_word_s = now_s if first_word_s is None else first_word_s
        if isinstance(event, Result):
            return TimedCaption(first_word_s, now_s, event.text, event.stats)
    raise SightlineError("The engine ended a caption without a result.")


@dataclass
class Measured:
    """The samples of one run, by the keys of the figures."""

    samples: Samples = field(default_factory=dict)
    # Samples of the other implementations, by name (`--against`).
    references: dict[str, Samples] = field(default_factory=dict)
    reference_dtypes: dict[str, str] = field(default_factory=dict)
    # Samples of frames of which a share has changed, by that share.
    changed: dict[str, Samples] = field(default_factory=dict)
    # Samples of frames in one tile, by its detail.
    sides: dict[str, Samples] = field(default_factory=dict)

    def add(self, key: str, value: float | None, way: str | None = None) -> None:
        """Add a sample of a figure, ours or that of another `way`; None adds nothing."""
        samples = self.samples if way is None else self.references.setdefault(way, {})
        if value is not None:
            samples.setdefault(key, []).append(value)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return minimum, median and maximum; None without values."""
    if not values:
        return None
    return {"min": min(values), "median": median(values), "max": max(values)}


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the quantile `share` (0..1), interpolated linearly; None without values."""
    return float(np.quantile(values, share)) if values else None
