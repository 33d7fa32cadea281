"""Laws of many who ask at once: newest frames, turns, requests side by side, and who is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image

from engine_kit import with_task
from vlm.engine.engine import Engine
from vlm.errors import BusyError, GenerationError, SupersededError
from vlm.events import Record
from vlm.scheduler.stream import Stream
from vlm.scheduler.worker import Worker
from vlm.types import Request, Result
from worker_kit import (
    GUARD_S,
    QUESTION,
    FailingEngine,
    HeldEngine,
    read,
    running,
    text_of,
    wait_until,
)


class Watcher:
    """Keeps what a worker publishes."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.passes: list[int] = []

    def request_ended(self, record: Record) -> None:
        self.records.append(record)

    def step_ran(self, batch_size: int) -> None:
        self.passes.append(batch_size)


@pytest.fixture
def frame_of(frames: list[Image.Image]) -> Callable[..., Request]:
    """`frame_of(camera, n)` is frame n of a live camera."""

    def make(camera: str, index: int = 0, max_tokens: int = 4) -> Request:
        return Request.about(frames[index], QUESTION, max_tokens, camera=camera, kind="live")

    return make


def texts_alone(engine: Engine, requests: list[Request]) -> list[str]:
    done = [list(engine.stream(request))[-1] for request in requests]
    return [each.text for each in done if isinstance(each, Result)]


def test_a_frame_that_waits_is_told_that_a_newer_one_has_come(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker:
        under_way = worker.submit(frame_of("a", 0))
        wait_until(lambda: held.begun != [])
        older, newer = worker.submit(frame_of("a", 1)), worker.submit(frame_of("a", 2))
        with pytest.raises(SupersededError):
            older.next(GUARD_S)
        assert worker.queue.waiting == 1
        older.close()
        assert worker.queue.waiting == 1
        held.allow(1000)
        read(under_way)
        read(newer)
        assert held.begun == [under_way.request, newer.request]


def test_a_full_queue_takes_a_newer_frame_of_a_camera_that_waits(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held, max_queue=1) as worker:
        under_way = worker.submit(frame_of("a"))
        wait_until(lambda: held.begun != [])
        worker.submit(frame_of("b"))
        with pytest.raises(BusyError):
            worker.submit(frame_of("c"))
        newer = worker.submit(frame_of("b", 1))
        assert worker.queue.waiting == 1
        held.allow(1000)
        read(under_way)
        read(newer)


def test_a_question_overtakes_the_frames_that_wait(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker:
        first = worker.submit(frame_of("a"))
        wait_until(lambda: held.begun != [])
        streams = [worker.submit(frame_of(name)) for name in ("b", "c")]
        asked = worker.submit(replace(frame_of("d"), kind="question"))
        held.allow(1000)
        for stream in (first, *streams, asked):
            read(stream)
        assert [each.camera for each in held.begun] == ["a", "d", "b", "c"]


def test_cameras_that_ask_again_at_once_are_served_alike(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    served: Counter[str] = Counter()
    names = [f"camera-{number}" for number in range(6)]

    def watch(camera: str) -> None:
        while sum(served.values()) < 60:
            read(worker.submit(frame_of(camera, max_tokens=1)))
            served[camera] += 1

    with running(endless_engine) as worker, ThreadPoolExecutor(len(names)) as viewers:
        for watching in [viewers.submit(watch, name) for name in names]:
            watching.result(GUARD_S)
    assert min(served.values()) >= 0.8 * sum(served.values()) / len(names)


@pytest.mark.parametrize("max_batch", [1, 3])
def test_requests_side_by_side_say_what_each_says_alone(
    endless_engine: Engine, request_for: Callable[[int], Request], max_batch: int
) -> None:
    requests = [request_for(index) for index in range(7)]
    held = HeldEngine(endless_engine, max_batch)
    held.allow(10_000)
    with running(held) as worker:
        streams = [worker.submit(request) for request in requests]
        assert [text_of(stream) for stream in streams] == texts_alone(endless_engine, requests)
    assert max(held.steps) <= max_batch


def test_requests_join_and_leave_between_two_steps(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine, max_batch=2)
    with running(held) as worker:
        long = worker.submit(request_for(0, max_tokens=100))
        held.allow(4)
        wait_until(lambda: len(held.steps) == 4)
        short = worker.submit(request_for(1, max_tokens=2))
        third = worker.submit(request_for(2, max_tokens=2))
        wait_until(lambda: worker.queue.waiting + worker.queue.in_flight == 3)
        held.allow(20)
        read(short)
        read(third)
        assert worker.queue.in_flight == 1
        assert set(held.steps) == {1, 2}
        assert long.next(GUARD_S) is not None
        long.close()
        wait_until(lambda: not worker.busy)
        assert all(job.closed for job in held.jobs)


def test_leaving_stops_one_request_and_leaves_the_other_its_text(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine, max_batch=2)
    staying_request = request_for(1, max_tokens=12)
    with running(held) as worker:
        leaving = worker.submit(request_for(0, max_tokens=200))
        staying = worker.submit(staying_request)
        held.allow(6)
        wait_until(lambda: len(held.steps) == 6)
        leaving.close()
        wait_until(lambda: held.jobs[0].closed)
        assert held.jobs[0].steps == 6
        held.allow(1000)
        assert [text_of(staying)] == texts_alone(endless_engine, [staying_request])


@pytest.mark.parametrize("fault", [RuntimeError("secret"), MemoryError(), GenerationError("x")])
def test_the_fault_of_one_request_leaves_the_text_of_another_identical(
    endless_engine: Engine, request_for: Callable[[int], Request], fault: Exception
) -> None:
    requests = [request_for(index) for index in range(4)]
    with running(FailingEngine(endless_engine, fault, max_batch=3)) as worker:
        struck, *spared = [worker.submit(request) for request in requests]
        with pytest.raises(GenerationError) as failure:
            read(struck)
        assert "secret" not in str(failure.value)
        assert [text_of(each) for each in spared] == texts_alone(endless_engine, requests[1:])
        assert (worker.state, worker.restarts) == ("ready", 0)


def test_a_step_that_fails_for_all_fails_those_under_way_and_no_others(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    failing = FailingEngine(endless_engine, RuntimeError("secret"), max_batch=2, of_all=True)
    requests = [request_for(index) for index in range(4)]
    with running(failing) as worker:
        streams = [worker.submit(request) for request in requests]
        failed = 0
        for stream in streams:
            try:
                read(stream)
            except GenerationError as error:
                assert "secret" not in str(error)
                failed += 1
        assert failed == len([job for job in failing.jobs[:2] if job.steps == 4])
        assert all(job.closed for job in failing.jobs)
        assert (worker.state, worker.restarts, worker.queue.in_flight) == ("ready", 0, 0)


def test_each_ending_is_told_once(endless_engine: Engine, frame_of: Callable[..., Request]) -> None:
    held = HeldEngine(endless_engine)
    watcher = Watcher()
    with running(held, max_queue=2) as worker:
        worker.subscribe(watcher)
        under_way = worker.submit(frame_of("a"))
        wait_until(lambda: held.begun != [])
        worker.submit(frame_of("b", 0))
        newer = worker.submit(frame_of("b", 1))
        left = worker.submit(replace(frame_of("c"), kind="question"))
        with pytest.raises(BusyError):
            worker.submit(frame_of("d"))
        left.close()
        held.allow(1000)
        done = [read(under_way)[-1], read(newer)[-1]]
        broken_off = worker.submit(frame_of("e", max_tokens=200))
        broken_off.next(GUARD_S)
        broken_off.close()
        wait_until(lambda: len(watcher.records) == 6)
    told = [(each.outcome, each.request.kind, each.error_code) for each in watcher.records]
    assert told == [
        ("superseded", "live", "superseded"),
        ("refused", "live", "busy"),
        ("cancelled", "question", None),
        ("done", "live", None),
        ("done", "live", None),
        ("cancelled", "live", None),
    ]
    stats = [each.result.stats for each in watcher.records if each.result is not None]
    assert stats == [each.stats for each in done if isinstance(each, Result)]
    assert all(each.queued_s >= 0 for each in watcher.records)
    assert watcher.passes == held.steps


def test_what_fails_is_told_by_its_code(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    watcher = Watcher()
    with running(FailingEngine(endless_engine, RuntimeError("x"))) as worker:
        worker.subscribe(watcher)
        streams = [
            worker.submit(request_for(0)),
            worker.submit(with_task(request_for(1), max_tokens=0)),
        ]
        for stream in streams:
            wait_until(lambda stream=stream: _has_failed(stream))  # type: ignore[misc]
    assert [(each.outcome, each.error_code) for each in watcher.records] == [
        ("failed", "generation_failed"),
        ("failed", "bad_request"),
    ]


def test_a_refusal_while_the_model_loads_is_told_too(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    watcher = Watcher()
    worker = Worker(lambda: endless_engine, 1)
    worker.subscribe(watcher)
    with pytest.raises(Exception, match="loading"):
        worker.submit(request_for(0))
    assert [(each.outcome, each.error_code) for each in watcher.records] == [("refused", "loading")]


def _has_failed(stream: Stream) -> bool:
    try:
        stream.next(0.01)
    except Exception:
        return True
    return False
