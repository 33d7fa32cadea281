"""Laws of who is served next: newest frames, fair turns, questions first, no one starved."""

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
    """Something that waits; `number` tells it from others of its camera."""

    request: Request
    number: int = 0


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


def test_nobody_waits_at_first() -> None:
    schedule = schedule_of()
    assert len(schedule) == 0
    assert schedule.take() is None


def test_a_newer_frame_replaces_the_one_that_waits_and_keeps_its_turn() -> None:
    schedule = schedule_of(frame("a", 1), frame("b", 1))
    older = schedule.add(frame("a", 2))
    assert older is not None
    assert (older.request.camera, older.number) == ("a", 1)
    assert len(schedule) == 2
    assert order_of(schedule) == [("a", 2), ("b", 1)]


def test_a_frame_replaces_neither_a_question_nor_another_cameras_frame() -> None:
    schedule = schedule_of(question("a", 1), frame("b", 1))
    assert schedule.add(frame("a", 2)) is None
    assert schedule.add(question("a", 3)) is None
    assert order_of(schedule) == [("a", 1), ("a", 3), ("b", 1), ("a", 2)]


def test_frames_of_no_camera_do_not_replace_each_other() -> None:
    schedule = schedule_of(frame(None, 1))
    assert schedule.add(frame(None, 2)) is None
    assert order_of(schedule) == [(None, 1), (None, 2)]


def test_questions_go_before_frames() -> None:
    schedule = schedule_of(frame("a"), frame("b"), question("c", 1))
    assert order_of(schedule) == [("c", 1), ("a", 0), ("b", 0)]


def test_cameras_take_turns_with_their_questions() -> None:
    schedule = schedule_of(*(question("a", n) for n in range(3)), question("b"), question(None))
    assert order_of(schedule) == [("a", 0), ("b", 0), (None, 0), ("a", 1), ("a", 2)]


def test_a_steady_stream_of_questions_starves_no_frame() -> None:
    schedule = schedule_of(frame("a"), frame("b"))
    served = []
    for number in range(3 * (QUESTIONS_IN_A_ROW + 1)):
        schedule.add(question("c", number))
        taken = schedule.take()
        assert taken is not None
        served.append(taken.request.kind)
    round_of_turns = ["question"] * QUESTIONS_IN_A_ROW + ["live"]
    assert served == 2 * round_of_turns + ["question"] * len(round_of_turns)


def test_background_requests_run_if_nothing_else_waits() -> None:
    schedule = schedule_of(background("x", 0), frame("a"), background("y", 0), question("b"))
    assert schedule.remove(background("x", 9)) is False
    assert order_of(schedule) == [("b", 0), ("a", 0), ("x", 0), ("y", 0)]


def test_questions_asked_while_no_frame_waits_are_not_held_against_the_next() -> None:
    schedule = schedule_of(*(question("a", n) for n in range(QUESTIONS_IN_A_ROW + 1)))
    assert [entry.number for entry in schedule.drain()] == list(range(QUESTIONS_IN_A_ROW + 1))
    schedule.add(frame("b"))
    schedule.add(question("a"))
    assert order_of(schedule) == [("a", 0), ("b", 0)]


def test_a_camera_that_asks_ten_times_as_often_is_served_as_often_as_the_others() -> None:
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


def test_whoever_waits_is_served_after_all_others_once_at_most() -> None:
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
def test_what_is_taken_out_is_never_served(make: Callable[..., Waiting]) -> None:
    out = make("a", 1)
    schedule = schedule_of(make("b"), out, make("c"))
    assert schedule.remove(out)
    assert not schedule.remove(out)
    assert len(schedule) == 2
    assert order_of(schedule) == [("b", 0), ("c", 0)]


def test_taking_out_a_frame_that_was_replaced_leaves_the_newer_one() -> None:
    older, newer = frame("a", 1), frame("a", 2)
    schedule = schedule_of(older, newer)
    assert not schedule.remove(older)
    assert schedule.take() is newer


def test_the_places_are_bounded_and_a_newer_frame_needs_none() -> None:
    schedule = schedule_of(frame("a"), question("b"))
    assert schedule.has_room(frame("c").request, places=3)
    assert not schedule.has_room(frame("c").request, places=2)
    assert not schedule.has_room(question("a").request, places=2)
    assert not schedule.has_room(frame(None).request, places=2)
    assert schedule.has_room(frame("a").request, places=2)


def test_after_any_history_as_many_are_served_as_wait() -> None:
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
