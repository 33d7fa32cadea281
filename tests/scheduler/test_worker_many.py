"""Several requests at once: newest frames, turns, batches, records."""

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
from vlm.results import Result
from vlm.scheduler.queue import Stream
from vlm.scheduler.worker import Worker
from vlm.types import Request
from worker_kit import (
    GUARD_S,
    QUESTION,
    FailingEngine,
    SteppedEngine,
    SteppedJob,
    read,
    running,
    text_of,
    wait_until,
)


class Recorder:
    """Keeps the records of a worker."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.passes: list[int] = []

    def request_ended(self, record: Record) -> None:
        self.records.append(record)

    def step_ran(self, batch_size: int) -> None:
        self.passes.append(batch_size)


@pytest.fixture
def frame_of(frames: list[Image.Image]) -> Callable[..., Request]:
    """`frame_of(camera, n)` returns frame n of a live camera."""

    def make(camera: str, index: int = 0, max_tokens: int = 4) -> Request:
        return Request.about(frames[index], QUESTION, max_tokens, camera=camera, kind="live")

    return make


def texts_alone(engine: Engine, requests: list[Request]) -> list[str]:
    done = [list(engine.stream(request))[-1] for request in requests]
    return [result.text for result in done if isinstance(result, Result)]


def test_superseded_frame_raises(endless_engine: Engine, frame_of: Callable[..., Request]) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped) as worker:
        in_flight = worker.submit(frame_of("a", 0))
        wait_until(lambda: stepped.begun != [])
        older, newer = worker.submit(frame_of("a", 1)), worker.submit(frame_of("a", 2))
        with pytest.raises(SupersededError):
            older.next(GUARD_S)
        assert worker.queue.waiting == 1
        older.close()
        assert worker.queue.waiting == 1
        stepped.allow(1000)
        read(in_flight)
        read(newer)
        assert stepped.begun == [in_flight.request, newer.request]


def test_a_full_queue_takes_a_newer_frame_of_a_camera_that_waits(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped, max_queue=1) as worker:
        in_flight = worker.submit(frame_of("a"))
        wait_until(lambda: stepped.begun != [])
        worker.submit(frame_of("b"))
        with pytest.raises(BusyError):
            worker.submit(frame_of("c"))
        newer = worker.submit(frame_of("b", 1))
        assert worker.queue.waiting == 1
        stepped.allow(1000)
        read(in_flight)
        read(newer)


def test_a_question_overtakes_the_frames_that_wait(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped) as worker:
        first = worker.submit(frame_of("a"))
        wait_until(lambda: stepped.begun != [])
        streams = [worker.submit(frame_of(name)) for name in ("b", "c")]
        question = worker.submit(replace(frame_of("d"), kind="question"))
        stepped.allow(1000)
        for stream in (first, *streams, question):
            read(stream)
        assert [request.camera for request in stepped.begun] == ["a", "d", "b", "c"]


def test_cameras_share_the_worker_evenly(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    names = [f"camera-{number}" for number in range(6)]
    count = 10 * len(names)

    class GatedEngine(SteppedEngine):
        def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> SteppedJob:
            # Until all other cameras have sent their next frame, however slow their threads are.
            wait_until(lambda: worker.queue.waiting == len(names) - 1 or len(self.begun) >= count)
            return super().begin(request, is_cancelled)

    def send_frames(camera: str) -> None:
        while len(gated.begun) < count:
            read(worker.submit(frame_of(camera, max_tokens=1)))

    gated = GatedEngine(endless_engine)
    gated.allow(10_000)
    with running(gated) as worker, ThreadPoolExecutor(len(names)) as clients:
        list(clients.map(send_frames, names))
    served = Counter(request.camera for request in gated.begun[:count])
    assert served == dict.fromkeys(names, 10)


@pytest.mark.parametrize("max_batch", [1, 3])
def test_parallel_requests_do_not_change_the_texts(
    endless_engine: Engine, request_for: Callable[[int], Request], max_batch: int
) -> None:
    requests = [request_for(index) for index in range(7)]
    stepped = SteppedEngine(endless_engine, max_batch)
    stepped.allow(10_000)
    with running(stepped) as worker:
        streams = [worker.submit(request) for request in requests]
        assert [text_of(stream) for stream in streams] == texts_alone(endless_engine, requests)
    assert max(stepped.steps) <= max_batch


def test_requests_join_and_leave_between_steps(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine, max_batch=2)
    with running(stepped) as worker:
        long = worker.submit(request_for(0, max_tokens=100))
        stepped.allow(4)
        wait_until(lambda: len(stepped.steps) == 4)
        short = worker.submit(request_for(1, max_tokens=2))
        third = worker.submit(request_for(2, max_tokens=2))
        wait_until(lambda: worker.queue.waiting + worker.queue.in_flight == 3)
        stepped.allow(20)
        read(short)
        read(third)
        assert worker.queue.in_flight == 1
        assert set(stepped.steps) == {1, 2}
        assert long.next(GUARD_S) is not None
        long.close()
        wait_until(lambda: not worker.busy)
        assert all(job.closed for job in stepped.jobs)


def test_cancelling_does_not_change_the_other_text(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine, max_batch=2)
    other_request = request_for(1, max_tokens=12)
    with running(stepped) as worker:
        cancelled = worker.submit(request_for(0, max_tokens=200))
        other = worker.submit(other_request)
        stepped.allow(6)
        wait_until(lambda: len(stepped.steps) == 6)
        cancelled.close()
        wait_until(lambda: stepped.jobs[0].closed)
        assert stepped.jobs[0].steps == 6
        stepped.allow(1000)
        assert [text_of(other)] == texts_alone(endless_engine, [other_request])


@pytest.mark.parametrize("fault", [RuntimeError("secret"), MemoryError(), GenerationError("x")])
def test_error_does_not_change_other_texts(
    endless_engine: Engine, request_for: Callable[[int], Request], fault: Exception
) -> None:
    requests = [request_for(index) for index in range(4)]
    with running(FailingEngine(endless_engine, fault, max_batch=3)) as worker:
        failing, *others = [worker.submit(request) for request in requests]
        with pytest.raises(GenerationError) as failure:
            read(failing)
        assert "secret" not in str(failure.value)
        assert list(map(text_of, others)) == texts_alone(endless_engine, requests[1:])
        assert (worker.state, worker.restarts) == ("ready", 0)


def test_failed_step_fails_the_requests_in_flight_only(
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


def test_each_request_is_recorded_once(
    endless_engine: Engine, frame_of: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    recorder = Recorder()
    with running(stepped, max_queue=2) as worker:
        worker.subscribe(recorder)
        in_flight = worker.submit(frame_of("a"))
        wait_until(lambda: stepped.begun != [])
        worker.submit(frame_of("b", 0))
        newer = worker.submit(frame_of("b", 1))
        waiting = worker.submit(replace(frame_of("c"), kind="question"))
        with pytest.raises(BusyError):
            worker.submit(frame_of("d"))
        waiting.close()
        stepped.allow(1000)
        done = [read(in_flight)[-1], read(newer)[-1]]
        cancelled = worker.submit(frame_of("e", max_tokens=200))
        cancelled.next(GUARD_S)
        cancelled.close()
        wait_until(lambda: len(recorder.records) == 6)
    assert [
        (record.outcome, record.request.kind, record.error_code) for record in recorder.records
    ] == [
        ("superseded", "live", "superseded"),
        ("refused", "live", "busy"),
        ("cancelled", "question", None),
        ("done", "live", None),
        ("done", "live", None),
        ("cancelled", "live", None),
    ]
    stats = [record.result.stats for record in recorder.records if record.result is not None]
    assert stats == [result.stats for result in done if isinstance(result, Result)]
    assert all(record.queued_s >= 0 for record in recorder.records)
    assert recorder.passes == stepped.steps


def test_failed_request_is_recorded_with_its_code(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    recorder = Recorder()
    with running(FailingEngine(endless_engine, RuntimeError("x"))) as worker:
        worker.subscribe(recorder)
        streams = [
            worker.submit(request_for(0)),
            worker.submit(with_task(request_for(1), max_tokens=0)),
        ]
        for stream in streams:
            wait_until(lambda stream=stream: _has_failed(stream))  # type: ignore[misc]
    assert [(record.outcome, record.error_code) for record in recorder.records] == [
        ("failed", "generation_failed"),
        ("failed", "bad_request"),
    ]


def test_refusal_while_loading_is_recorded(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    recorder = Recorder()
    worker = Worker(lambda: endless_engine, 1)
    worker.subscribe(recorder)
    with pytest.raises(Exception, match="loading"):
        worker.submit(request_for(0))
    assert [(record.outcome, record.error_code) for record in recorder.records] == [
        ("refused", "loading")
    ]


def _has_failed(stream: Stream) -> bool:
    try:
        stream.next(0.01)
    except Exception:
        return True
    return False
