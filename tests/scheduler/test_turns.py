"""The order of the queue: newest frames, fair turns, questions first, no starvation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from vlm.scheduler.turns import QUESTIONS_IN_A_ROW, TurnOrder
from vlm.types import AnswerTask, Message, Request

TASK = AnswerTask((Message("user", ("?",)),), 8)


@dataclass(frozen=True, eq=False)
class Waiting:
    request: Request
    number: int = 0
    """Distinguishes requests of one camera."""


def frame(camera: str | None, number: int = 0) -> Waiting:
    return Waiting(Request(TASK, kind="live", camera=camera), number)


def question(camera: str | None, number: int = 0) -> Waiting:
    return Waiting(Request(TASK, camera=camera), number)


def background(camera: str | None, number: int = 0) -> Waiting:
    return Waiting(Request(TASK, kind="background", camera=camera), number)


def schedule_of(*entries: Waiting) -> TurnOrder[Waiting]:
    schedule: TurnOrder[Waiting] = TurnOrder()
    for entry in entries:
        schedule.add(entry)
    return schedule


def order_of(schedule: TurnOrder[Waiting]) -> list[tuple[str | None, int]]:
    return [(entry.request.camera, entry.number) for entry in schedule.drain()]


def test_new_queue_is_empty() -> None:
    schedule = schedule_of()
    assert len(schedule) == 0
    assert schedule.take() is None


def test_newer_frame_supersedes_and_keeps_the_turn() -> None:
    schedule = schedule_of(frame("a", 1), frame("b", 1))
    older = schedule.add(frame("a", 2))
    assert older is not None
    assert (older.request.camera, older.number) == ("a", 1)
    assert len(schedule) == 2
    assert order_of(schedule) == [("a", 2), ("b", 1)]


def test_frame_supersedes_only_frames_of_its_camera() -> None:
    schedule = schedule_of(question("a", 1), frame("b", 1))
    assert schedule.add(frame("a", 2)) is None
    assert schedule.add(question("a", 3)) is None
    assert order_of(schedule) == [("a", 1), ("a", 3), ("b", 1), ("a", 2)]


def test_frames_without_a_camera_are_not_superseded() -> None:
    schedule = schedule_of(frame(None, 1))
    assert schedule.add(frame(None, 2)) is None
    assert order_of(schedule) == [(None, 1), (None, 2)]


def test_questions_precede_frames() -> None:
    schedule = schedule_of(frame("a"), frame("b"), question("c", 1))
    assert order_of(schedule) == [("c", 1), ("a", 0), ("b", 0)]


def test_cameras_take_turns_with_questions() -> None:
    schedule = schedule_of(*(question("a", n) for n in range(3)), question("b"), question(None))
    assert order_of(schedule) == [("a", 0), ("b", 0), (None, 0), ("a", 1), ("a", 2)]


def test_questions_do_not_starve_frames() -> None:
    schedule = schedule_of(frame("a"), frame("b"))
    served = []
    for number in range(3 * (QUESTIONS_IN_A_ROW + 1)):
        schedule.add(question("c", number))
        taken = schedule.take()
        assert taken is not None
        served.append(taken.request.kind)
    round_of_turns = ["question"] * QUESTIONS_IN_A_ROW + ["live"]
    assert served == 2 * round_of_turns + ["question"] * len(round_of_turns)


def test_background_requests_are_last() -> None:
    schedule = schedule_of(background("x", 0), frame("a"), background("y", 0), question("b"))
    assert schedule.remove(background("x", 9)) is False
    assert order_of(schedule) == [("b", 0), ("a", 0), ("x", 0), ("y", 0)]


def test_questions_without_a_waiting_frame_do_not_count() -> None:
    schedule = schedule_of(*(question("a", n) for n in range(QUESTIONS_IN_A_ROW + 1)))
    assert [entry.number for entry in schedule.drain()] == list(range(QUESTIONS_IN_A_ROW + 1))
    schedule.add(frame("b"))
    schedule.add(question("a"))
    assert order_of(schedule) == [("a", 0), ("b", 0)]


def test_frequent_camera_gets_no_more_turns() -> None:
    schedule = schedule_of()
    served: Counter[str | None] = Counter()
    for turn in range(100):
        for name in ("b", "c", "d"):
            schedule.add(frame(name, turn))
        for number in range(10):
            schedule.add(frame("eager", number))
        taken = schedule.take()
        assert taken is not None
        served[taken.request.camera] += 1
    assert max(served.values()) - min(served.values()) <= 1


def test_camera_waits_for_one_turn_of_each_other() -> None:
    random = Random(0)
    names = [str(number) for number in range(12)]
    schedule = schedule_of(*(frame(name) for name in names))
    since = dict.fromkeys(names, 0)
    for _ in range(500):
        taken = schedule.take()
        assert taken is not None
        camera = taken.request.camera
        assert camera is not None
        assert since[camera] < len(names)
        since = {name: turns + 1 for name, turns in since.items()} | {camera: 0}
        for name in [camera, *random.sample(names, 3)]:
            schedule.add(frame(name))


@pytest.mark.parametrize("make", [frame, question])
def test_removed_request_is_not_taken(make: Callable[..., Waiting]) -> None:
    out = make("a", 1)
    schedule = schedule_of(make("b"), out, make("c"))
    assert schedule.remove(out)
    assert not schedule.remove(out)
    assert len(schedule) == 2
    assert order_of(schedule) == [("b", 0), ("c", 0)]


def test_removing_a_superseded_frame_keeps_the_newer_one() -> None:
    older, newer = frame("a", 1), frame("a", 2)
    schedule = schedule_of(older, newer)
    assert not schedule.remove(older)
    assert schedule.take() is newer


def test_superseding_frame_needs_no_place() -> None:
    schedule = schedule_of(frame("a"), question("b"))
    assert schedule.has_room(frame("c").request, places=3)
    assert not schedule.has_room(frame("c").request, places=2)
    assert not schedule.has_room(question("a").request, places=2)
    assert not schedule.has_room(frame(None).request, places=2)
    assert schedule.has_room(frame("a").request, places=2)


def test_random_operations_lose_no_request() -> None:
    random = Random(1)
    schedule = schedule_of()
    waiting: list[Waiting] = []
    for number in range(2000):
        make = random.choice((frame, question))
        entry = make(random.choice(("a", "b", "c", None)), number)
        chance = random.random()
        if chance < 0.5:
            older = schedule.add(entry)
            waiting.append(entry)
            if older is not None:
                waiting.remove(older)
        elif chance < 0.75 and waiting:
            out = random.choice(waiting)
            assert schedule.remove(out)
            waiting.remove(out)
        else:
            taken = schedule.take()
            assert (taken is None) == (not waiting)
            if taken is not None:
                waiting.remove(taken)
        assert len(schedule) == len(waiting)
    assert set(schedule.drain()) == set(waiting)
