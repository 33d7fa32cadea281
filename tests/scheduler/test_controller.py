"""The controller of live captions, with a simulated clock and machine."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from statistics import median

import pytest

from vlm.events import Record
from vlm.results import EngineInfo, Result, Stats, TileSide
from vlm.scheduler.controller import LIFETIME_S, MAX_CAMERAS, Controller
from vlm.scheduler.live_steps import (
    ALLOWED_LOSS,
    LEAST_TOKENS,
    MAX_INTERVAL_S,
    CameraState,
    Sample,
    Wish,
    chosen,
    first_state,
    steps_of,
)
from vlm.types import AnswerTask, Chosen, Request

LOW = TileSide("low", 1.0, 0.0)
INFO = EngineInfo("a", "openvino", "cpu", "int8", 512)


def stats_of(first_s: float, token_s: float, tokens: int) -> Stats:
    total_s = first_s + (tokens - 1) * token_s
    return Stats(
        first_s, tokens / total_s, 64, 80, tokens, drafted=0, accepted=0, queued_s=0.0,
        total_s=total_s,
    )  # fmt: skip


@dataclass
class Machine:
    """A machine that makes one caption after the other, and cameras with one frame in flight.

    A camera sends its next frame when the last caption is complete, and not before its interval.
    """

    controller_of: Callable[[Callable[[], float]], Controller]
    info: EngineInfo = INFO
    first_s: float = 0.4
    token_s: float = 0.02
    tokens: int = 20
    noise: float = 0.0
    """Times are longer by up to this share."""
    follows: bool = True
    now_s: float = 0.0
    free_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)
    sent_s: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.controller = self.controller_of(lambda: self.now_s)
        self._random = Random(0)
        self._due: list[tuple[float, str]] = []

    def run(self, cameras: Sequence[str], captions: int) -> None:
        """Make `captions` more captions of `cameras`, which all begin now."""
        self._due = [(self.now_s, camera) for camera in cameras]
        for _ in range(captions):
            self.now_s, camera = heapq.heappop(self._due)
            heapq.heappush(self._due, (self._caption(camera), camera))

    def _caption(self, camera: str) -> float:
        """Return when the camera sends its next frame."""
        sent_s = self.now_s
        choice = self.controller.choose(camera, self.info)
        share = next(each.share for each in self.info.sides if each.detail == choice.detail)
        slower = 1 + self._random.uniform(0, self.noise)
        tokens = min(self.tokens, choice.max_tokens)
        stats = stats_of(self.first_s * share * slower, self.token_s * slower, tokens)
        begun_s = max(sent_s, self.free_s)
        self.free_s = begun_s + stats.total_s
        self.waits_s.append(begun_s - sent_s)
        self.chosen.append(choice)
        self.sent_s.setdefault(camera, []).append(sent_s)
        self.now_s = self.free_s
        task = AnswerTask((), choice.max_tokens, detail=choice.detail)
        request = Request(task, kind="live", camera=camera, chosen=choice)
        self.controller.step_ran(1)
        self.controller.request_ended(
            Record(request, "done", sent_s, begun_s - sent_s, result=Result("", "stop", stats))
        )
        self.now_s = sent_s
        # The queue adds the wait.
        interval_s = choice.interval_s + begun_s - sent_s if self.follows else 0.0
        return max(self.free_s, sent_s + interval_s)


def wanting(latency_s: float | None, max_tokens: int = 64) -> Callable[..., Controller]:
    return lambda clock: Controller(latency_s, max_tokens, clock)


def with_sides(*sides: TileSide) -> EngineInfo:
    return replace(INFO, sides=(LOW, *sides))


SMALL = TileSide("small", 0.4, 0.001)


@pytest.mark.parametrize(
    ("losses", "max_tokens", "expected"),
    [
        ([], 64, [(1.0, 64), (1.0, 32)]),
        ([], 2 * LEAST_TOKENS - 1, [(1.0, 2 * LEAST_TOKENS - 1)]),
        ([], 128, [(1.0, 128), (1.0, 64), (1.0, 32)]),
        ([ALLOWED_LOSS], 64, [(1.0, 64), (0.9, 64), (0.9, 32)]),
        ([ALLOWED_LOSS * 1.01, None], 40, [(1.0, 40)]),
        ([-0.01, None, 0.0], 40, [(1.0, 40), (0.9, 40), (0.7, 40)]),
    ],
)
def test_pixels_come_before_tokens_and_no_side_loses_more_than_is_allowed(
    losses: list[float | None], max_tokens: int, expected: list[tuple[float, int]]
) -> None:
    sides = [
        TileSide("small", round(0.9 - 0.1 * index, 1), loss) for index, loss in enumerate(losses)
    ]
    steps = steps_of([*sides, LOW], max_tokens)
    assert [(step.side.share, step.max_tokens) for step in steps] == expected


def test_without_a_wish_pixels_are_saved_and_tokens_are_not() -> None:
    machine = Machine(wanting(None), with_sides(SMALL), first_s=5.0, tokens=100)
    machine.run(["a"], 40)
    assert {(each.detail, each.max_tokens) for each in machine.chosen} == {("small", 64)}


def kept(choices: Sequence[Chosen]) -> list[tuple[str, int]]:
    """Return the steps that `choices` went through."""
    steps = [(each.detail, each.max_tokens) for each in choices]
    return [steps[0], *(later for before, later in pairwise(steps) if before != later)]


@pytest.mark.parametrize(
    ("latency_s", "steps"),
    [
        # A caption takes 0.8 s, with small tiles 0.56 s, cut at 32 tokens no less.
        (2.5, [("low", 64)]),
        (1.9, [("low", 64)]),
        (1.5, [("low", 64), ("small", 64)]),
        (0.5, [("low", 64), ("small", 64), ("small", 32)]),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_steps_are_taken_one_by_one_until_the_latency_is_kept(
    latency_s: float, steps: list[tuple[str, int]], noise: float
) -> None:
    machine = Machine(wanting(latency_s), with_sides(SMALL), noise=noise)
    machine.run(["a"], 1000)
    assert kept(machine.chosen) == steps
    if latency_s > 1:
        assert machine.chosen[-1].latency_s <= latency_s


def test_tokens_are_cut_only_after_pixels_and_come_back_first() -> None:
    machine = Machine(wanting(2.2), with_sides(SMALL), tokens=100)
    machine.run(["a"], 30)
    # 64 tokens: 0.4 + 1.26 s, or 0.16 + 1.26 s; 32 tokens: 0.16 + 0.62 s.
    assert kept(machine.chosen) == [("low", 64), ("small", 64), ("small", 32)]
    machine.token_s /= 4
    seen = len(machine.chosen)
    machine.run(["a"], 200)
    assert kept(machine.chosen[seen:]) == [("small", 32), ("small", 64), ("low", 64)]


def test_slow_frames_now_and_then_change_nothing() -> None:
    machine = Machine(wanting(2.0), with_sides(SMALL))
    machine.run(["a"], 20)
    before = machine.chosen[-1]
    for _ in range(20):
        machine.first_s = 4.0
        machine.run(["a"], 1)
        machine.first_s = 0.4
        machine.run(["a"], 8)
    assert set(machine.chosen[20:]) == {before}


def test_a_step_up_that_does_not_last_is_tried_ever_more_rarely() -> None:
    # Small tiles promise a caption of 0.7 s in whole ones, which take 0.9 s.
    machine = Machine(wanting(1.85), with_sides(SMALL), first_s=0.5, token_s=0.005)
    low_s, small_s, trials = 0.9, 0.24, []
    for index in range(1500):
        detail = machine.controller.choose("a", machine.info).detail
        machine.first_s = low_s if detail == "low" else small_s / SMALL.share
        if detail == "low":
            trials.append(index)
        machine.run(["a"], 1)
    starts = [later for before, later in pairwise(trials) if later - before > 1]
    gaps = [later - before for before, later in pairwise(starts)]
    assert len(gaps) >= 3
    assert all(later > 1.7 * before for before, later in pairwise(gaps))


@pytest.mark.parametrize("cameras", [1, 2, 9])
def test_frames_of_cameras_that_follow_the_interval_hardly_wait(cameras: int) -> None:
    names = [f"camera {index}" for index in range(cameras)]
    waits, captions_s = {}, {}
    for follows in (False, True):
        machine = Machine(wanting(None), noise=0.2, follows=follows)
        machine.run(names, 60 * cameras)
        began_s = machine.now_s
        settled = len(machine.waits_s)
        machine.run(names, 200 * cameras)
        waits[follows] = median(machine.waits_s[settled + cameras :])
        captions_s[follows] = (machine.now_s - began_s) / (200 * cameras)
        served = [len(each) for each in machine.sent_s.values()]
        assert max(served) - min(served) <= 0.15 * max(served)
    caption_s = machine.first_s + (machine.tokens - 1) * machine.token_s
    assert waits[False] >= 0.9 * (cameras - 1) * caption_s
    assert waits[True] <= 0.1 * (cameras - 1) * caption_s
    # The price: a part of the machine's time stays free.
    assert captions_s[True] <= 1.35 * captions_s[False]


@pytest.mark.parametrize("latency_s", [3.0, 6.0, 60.0])
def test_a_generous_latency_saves_work(latency_s: float) -> None:
    machine = Machine(wanting(latency_s), noise=0.1)
    machine.run(["a"], 50)
    newest = machine.chosen[-1]
    assert newest.interval_s > 1.5
    assert newest.interval_s <= MAX_INTERVAL_S
    assert newest.latency_s <= latency_s
    assert newest.latency_s >= min(0.6 * latency_s, MAX_INTERVAL_S)


def test_noise_does_not_move_the_interval() -> None:
    machine = Machine(wanting(None), noise=0.2)
    machine.run(["a"], 500)
    intervals = [each.interval_s for each in machine.chosen[20:]]
    assert sum(one != other for one, other in pairwise(intervals)) <= 5


def test_other_cameras_count_only_while_they_are_at_work() -> None:
    machine = Machine(wanting(None))
    machine.run(["a", "b", "c"], 60)
    together = machine.chosen[-1].interval_s
    machine.run(["a"], 60)
    assert machine.chosen[-1].interval_s < 0.5 * together


def test_cameras_of_other_servers_do_not_wait_for_each_other() -> None:
    machine = Machine(wanting(None), replace(INFO, remote=("http://10.0.0.5",)))
    machine.run(["a", "b", "c"], 60)
    assert machine.chosen[-1].interval_s < 1.0


def test_cameras_are_forgotten_and_another_model_begins_anew() -> None:
    machine = Machine(wanting(None))
    machine.run(["a"], 20)
    assert machine.controller.status().cameras == 1
    assert machine.controller.status().chosen == machine.chosen[-1]
    machine.now_s += LIFETIME_S + 1
    assert machine.controller.status().cameras == 0
    assert machine.controller.status().chosen is None
    for index in range(MAX_CAMERAS + 9):
        machine.controller.choose(f"camera {index}", INFO)
    assert machine.controller.status().cameras <= MAX_CAMERAS + 1
    machine.run(["a"], 20)
    assert machine.controller.choose("a", replace(INFO, model="b")).interval_s == 0


def test_questions_and_frames_with_a_detail_of_their_own_teach_nothing() -> None:
    machine = Machine(wanting(None))
    machine.run(["a"], 20)
    before = machine.controller.choose("a", INFO)
    choice = replace(before, detail="high")
    for request in (
        Request(AnswerTask((), 64), camera="a"),
        Request(AnswerTask((), 64, detail="high"), kind="live", camera="a", chosen=choice),
    ):
        for _ in range(20):
            result = Result("", "stop", stats_of(9.0, 0.1, 9))
            machine.controller.request_ended(Record(request, "done", 0.0, 0.0, result=result))
    assert machine.controller.choose("a", INFO) == before


SAMPLE = Sample(0.5, 0.0, 5)


@pytest.mark.parametrize(
    ("latency_s", "state", "why"),
    [
        (None, CameraState(0), "As fast as steady."),
        (None, CameraState(1), "As fast as steady with smaller tiles."),
        (2, CameraState(0), "For captions within 2 s; not measured yet."),
        (2, CameraState(0, 1.0, (SAMPLE,)), "Captions come within 2 s."),
        (2, CameraState(1, 1.0, (SAMPLE,)), "Captions come within 2 s with smaller tiles."),
        (
            1.5,
            CameraState(2, 1.0, (SAMPLE,)),
            "Captions come within 1.5 s with smaller tiles and fewer tokens.",
        ),
        (1, CameraState(0, 1.0, (SAMPLE,)), "1 s cannot be kept on this machine."),
        (
            1,
            CameraState(2, 1.0, (SAMPLE,)),
            "1 s cannot be kept on this machine, even with smaller tiles and fewer tokens.",
        ),
    ],
)
def test_what_was_chosen_is_explained(
    latency_s: float | None, state: CameraState, why: str
) -> None:
    wish = Wish(latency_s, steps_of([LOW, SMALL], 64))
    assert chosen(state, wish).why == why
    assert first_state(wish).step == (1 if latency_s is None else 0)
