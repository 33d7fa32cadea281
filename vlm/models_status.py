"""What is told of models: what there is to choose, what changes, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlm.model_choice import Candidate

Step = Literal["fetching", "loading"]


@dataclass(frozen=True)
class Choice:
    """One model that a person may choose.

    `memory_bytes` is what it needs to run, None while nothing is known of it; `received_bytes` is
    what an unfinished fetch has left; `fits` is against the memory that was free at the last look.
    """

    name: str
    title: str
    good_for: str
    download_bytes: int
    received_bytes: int
    memory_bytes: int | None
    here: bool
    fits: bool
    running: bool


@dataclass(frozen=True)
class Change:
    """How far a change has come; bytes and speed are those of its fetch."""

    model: str
    title: str
    step: Step
    received_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float = 0.0
    left_s: float | None = None
    detail: str | None = None
    cancelling: bool = False


@dataclass(frozen=True)
class Problem:
    """Why the last change came to nothing."""

    model: str
    title: str
    code: str
    message: str


@dataclass(frozen=True)
class ModelsStatus:
    """All that `/api/status` tells of models."""

    auto: bool
    offline: bool
    choices: tuple[Choice, ...]
    change: Change | None
    problem: Problem | None


def choice_of(candidate: Candidate, running: str | None) -> Choice:
    """`candidate` as a person sees it while the model named `running` runs, None for none."""
    return Choice(
        name=candidate.name,
        title=candidate.title,
        good_for=candidate.good_for,
        download_bytes=candidate.download_bytes,
        received_bytes=candidate.received_bytes,
        memory_bytes=candidate.fit.needed_bytes if candidate.fit else None,
        here=candidate.here,
        # What runs has the memory that it needs, whatever is free beside it.
        fits=candidate.fits or candidate.name == running,
        running=candidate.name == running,
    )
