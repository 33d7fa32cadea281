"""The decisions of the controller: pure functions, a state and a measurement in, a state out.

Latency is the time from a change in front of a camera to the end of the caption about it, at worst:
an interval between two frames, and a caption. It is lowered in steps that cost ever more: smaller
tiles, as far as their loss is known and small; then fewer tokens. What costs nothing comes before
all of them and is always on: the page's change gate, and the patches that the engine keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, NamedTuple

from vlm.results import TileSide
from vlm.types import Chosen

# The most that captions may lose in a figure of the model card.
ALLOWED_LOSS: Final = 0.005
# A caption of fewer tokens would end in the middle of its first sentence.
LEAST_TOKENS: Final = 24
# The longest interval: the page sends a frame after this long even if nothing has changed.
MAX_INTERVAL_S: Final = 10.0
# Captions that a decision rests on, at most and at least. A new step begins with none.
WINDOW: Final = 9
FEWEST: Final = 5
# A step up needs so many captions in a row with room for it, and twice as many after each step up
# that did not last.
FIRST_PATIENCE: Final = 18
_MOST_PATIENCE: Final = 1000
# The share of the latency that an interval and a step up may take, by what is expected of them.
_ROOM: Final = 0.8
# An interval is kept unless the measured one differs by more.
_TOLERANCE: Final = 0.15
# The share of the machine's time that is planned, so that a slow caption holds up no other camera.
_PLANNED: Final = 0.85


class Step(NamedTuple):
    """One step of the ladder: each is faster than the one before it, and costs more."""

    side: TileSide
    max_tokens: int


class Sample(NamedTuple):
    """Times of one caption, in seconds."""

    first_s: float
    """To the first token: encoding and prefill."""
    token_s: float
    """For each token after it."""
    tokens: int

    @property
    def total_s(self) -> float:
        """Return the time of the whole caption."""
        return self.first_s + max(0, self.tokens - 1) * self.token_s

    def moved(self, now: Step, then: Step) -> Sample:
        """Return what to expect of the same caption on another step than it was made on."""
        share = then.side.share / now.side.share
        # A caption that was cut would have been longer.
        is_cut = self.tokens >= now.max_tokens
        tokens = then.max_tokens if is_cut else min(self.tokens, then.max_tokens)
        return Sample(self.first_s * share, self.token_s, tokens)


class Wish(NamedTuple):
    """The wanted latency, and the steps that the model allows."""

    latency_s: float | None
    """None: as fast as steady."""
    steps: tuple[Step, ...]


class Load(NamedTuple):
    """Other work of the machine."""

    others_s: float = 0.0
    """Work for one frame of each other camera, in seconds of the machine."""
    batch: float = 1.0
    """Mean number of requests that share the machine."""


@dataclass(frozen=True)
class CameraState:
    """Measurements of one camera, and the step that it is on."""

    step: int
    interval_s: float = 0.0
    """0 until something is measured."""
    samples: tuple[Sample, ...] = ()
    """Of the newest captions on this step."""
    in_time: int = 0
    """Captions in a row after which there was room for the step before."""
    patience: int = FIRST_PATIENCE
    """So many of them lead to a step up."""
    came_up: bool = False
    """The last change was a step up."""

    @property
    def caption_s(self) -> float:
        """Return the time of a caption, if it is not one of the slowest quarter; 0 if unknown."""
        return _slow(each.total_s for each in self.samples)

    @property
    def work_s(self) -> float:
        """Return the median time of a caption; 0 if unknown."""
        return median(each.total_s for each in self.samples) if self.samples else 0.0

    @property
    def latency_s(self) -> float:
        """Return the latency to expect; 0 if unknown."""
        return self.interval_s + self.caption_s if self.samples else 0.0


def steps_of(sides: Sequence[TileSide], max_tokens: int) -> tuple[Step, ...]:
    """Return the ladder: the allowed sides, the largest first, then budgets of half the tokens.

    The side "low" is always allowed, one whose loss is unknown never.
    """
    allowed = [
        side
        for side in sorted(sides, key=lambda side: -side.share)
        if side.loss is not None and side.loss <= ALLOWED_LOSS
    ]
    steps = [Step(side, max_tokens) for side in allowed]
    while max_tokens // 2 >= LEAST_TOKENS:
        max_tokens //= 2
        steps.append(Step(allowed[-1], max_tokens))
    return tuple(steps)


def first_state(wish: Wish) -> CameraState:
    """Return the state of a camera of which nothing is known."""
    if wish.latency_s is not None:
        return CameraState(step=0)
    # As fast as steady: all pixels that may be saved are, and no tokens.
    uncut = [step for step in wish.steps if step.max_tokens == wish.steps[0].max_tokens]
    return CameraState(step=len(uncut) - 1)


def after(state: CameraState, wish: Wish, sample: Sample, load: Load) -> CameraState:
    """Return the state of a camera after one more of its captions."""
    state = replace(state, samples=(*state.samples, sample)[-WINDOW:])
    steady_s = _steady_s(state.samples, load)
    if wish.latency_s is None:
        return _with_interval(state, steady_s)
    if len(state.samples) < FEWEST:
        return _with_interval(state, steady_s)
    if _expected_s(state, wish, 0, load) > wish.latency_s:
        if state.step + 1 == len(wish.steps):
            return _with_interval(state, steady_s)
        doubled = 2 * state.patience if state.came_up else state.patience
        return CameraState(state.step + 1, state.interval_s, patience=min(doubled, _MOST_PATIENCE))
    has_room = state.step > 0 and _expected_s(state, wish, -1, load) <= _ROOM * wish.latency_s
    state = replace(state, in_time=state.in_time + 1 if has_room else 0)
    if state.in_time >= state.patience:
        return CameraState(state.step - 1, state.interval_s, patience=state.patience, came_up=True)
    return _with_interval(state, max(steady_s, _ROOM * wish.latency_s - state.caption_s))


def chosen(state: CameraState, wish: Wish) -> Chosen:
    """Return what `state` means for the next frame, and why."""
    step = wish.steps[state.step]
    return Chosen(
        step.side.detail, step.max_tokens, state.interval_s, state.latency_s, _why(state, wish)
    )


def _expected_s(state: CameraState, wish: Wish, by: int, load: Load) -> float:
    """Return the latency to expect `by` steps further, with the shortest steady interval."""
    now, then = wish.steps[state.step], wish.steps[state.step + by]
    samples = [each.moved(now, then) for each in state.samples]
    return _steady_s(samples, load) + _slow(each.total_s for each in samples)


def _steady_s(samples: Sequence[Sample], load: Load) -> float:
    """Return the shortest interval at which hardly a frame waits for another one."""
    if load.others_s == 0:
        return _slow(each.total_s for each in samples)
    work_s = median(each.total_s for each in samples)
    return (work_s / load.batch + load.others_s) / _PLANNED


def _slow(seconds: Iterable[float]) -> float:
    """Return the upper quartile: a whole frame now and then does not count. 0 of none."""
    ordered = sorted(seconds)
    return ordered[(3 * len(ordered) - 1) // 4] if ordered else 0.0


def _with_interval(state: CameraState, interval_s: float) -> CameraState:
    interval_s = min(interval_s, MAX_INTERVAL_S)
    if abs(interval_s - state.interval_s) <= _TOLERANCE * state.interval_s:
        return state
    return replace(state, interval_s=interval_s)


def _why(state: CameraState, wish: Wish) -> str:
    step, first = wish.steps[state.step], wish.steps[0]
    saved = []
    if step.side.share < first.side.share:
        saved.append("smaller tiles")
    if step.max_tokens < first.max_tokens:
        saved.append("fewer tokens")
    means = f" with {' and '.join(saved)}" if saved else ""
    if wish.latency_s is None:
        return f"As fast as steady{means}."
    wanted = f"{wish.latency_s:g} s"
    if not state.samples:
        return f"For captions within {wanted}{means}; not measured yet."
    if state.latency_s <= wish.latency_s:
        return f"Captions come within {wanted}{means}."
    return f"{wanted} cannot be kept on this machine{', even' if means else ''}{means}."
