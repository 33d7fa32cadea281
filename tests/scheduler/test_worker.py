"""The worker thread: order, bounds, cancellation, isolated errors."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image

from vlm.engine.engine import Engine
from vlm.errors import (
    BadRequestError,
    BusyError,
    CheckpointError,
    GenerationError,
    ModelFailedError,
    NotReadyError,
    SightlineError,
    StreamClosedError,
)
from vlm.results import Result, StreamEvent
from vlm.scheduler.worker import Worker
from vlm.types import Chosen, Request
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


def test_stream_of_a_worker_equals_that_of_the_engine(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    with running(endless_engine) as worker:
        assert (worker.state, worker.info, worker.error) == ("ready", endless_engine.info, None)
        items = read(worker.submit(request_for(0)))
    direct = list(endless_engine.stream(request_for(0)))
    assert items[:-1] == direct[:-1]
    assert isinstance(items[-1], Result)
    assert isinstance(direct[-1], Result)
    assert items[-1].text == direct[-1].text


def test_engine_runs_in_one_thread(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    threads = set()

    class Observed(SteppedEngine):
        def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> SteppedJob:
            threads.add(threading.get_ident())
            return super().begin(request, is_cancelled)

        def advance_now(self, jobs: Sequence[SteppedJob]) -> list[list[StreamEvent | Exception]]:
            threads.add(threading.get_ident())
            return super().advance_now(jobs)

        def close(self) -> None:
            threads.add(threading.get_ident())

    def load() -> Observed:
        threads.add(threading.get_ident())
        observed = Observed(endless_engine)
        observed.allow(1000)
        return observed

    worker = Worker(load, 2)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    for index in range(2):
        read(worker.submit(request_for(index)))
    worker.close(GUARD_S)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_submit_raises_until_the_model_is_loaded(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    loaded = threading.Event()

    def load() -> Engine:
        assert loaded.wait(GUARD_S)
        return endless_engine

    worker = Worker(load, 2)
    worker.start()
    assert (worker.state, worker.info, worker.error) == ("loading", None, None)
    with pytest.raises(NotReadyError):
        worker.submit(request_for(0))
    loaded.set()
    wait_until(lambda: worker.state == "ready")
    read(worker.submit(request_for(0)))
    worker.close(GUARD_S)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (CheckpointError("config.json is missing."), "config.json is missing."),
        (RuntimeError("driver too old\nand much more"), "could not be loaded: driver too old"),
        (MemoryError(), "not enough memory"),
        (ImportError("No module named 'torch'"), "torch"),
    ],
)
def test_submit_raises_after_a_failed_load(
    fault: Exception, words: str, request_for: Callable[[int], Request]
) -> None:
    def load() -> Engine:
        raise fault

    worker = Worker(load, 2)
    worker.start()
    wait_until(lambda: worker.state != "loading")
    assert worker.state == "failed"
    assert isinstance(worker.error, SightlineError)
    for _ in range(2):
        with pytest.raises(ModelFailedError, match=words) as refusal:
            worker.submit(request_for(0))
        assert "\n" not in str(refusal.value)
    worker.close(GUARD_S)


def test_requests_run_in_order(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped) as worker:
        requests = [request_for(index) for index in range(4)]
        streams = [worker.submit(request) for request in requests]
        wait_until(lambda: stepped.begun == requests[:1])
        assert (worker.queue.waiting, worker.busy) == (3, True)
        stepped.allow(1000)
        texts = [text_of(stream) for stream in streams]
        assert stepped.begun == requests
        assert (worker.queue.waiting, worker.busy) == (0, False)
    assert texts == [list(endless_engine.stream(request))[-1].text for request in requests]


def test_queued_time_excludes_the_work(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    choice = Chosen("low", 8, interval_s=1.5, latency_s=2.0, why="")
    with running(stepped) as worker:
        first = worker.submit(request_for(0))
        second = worker.submit(replace(request_for(1), chosen=choice))
        stepped.allow(1000)
        one, two = read(first)[-1], read(second)[-1]
    assert isinstance(one, Result)
    assert isinstance(two, Result)
    # The second waited until the first had ended.
    assert two.stats.queued_s > one.stats.total_s > one.stats.ttft_s
    assert one.stats.queued_s >= 0
    assert one.stats.chosen is None
    # The next frame of its camera comes so much later that it need not wait.
    assert two.stats.chosen == replace(choice, interval_s=1.5 + two.stats.queued_s)


def test_full_queue_refuses_requests(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped, max_queue=2) as worker:
        streams = [worker.submit(request_for(index)) for index in range(3)]
        for _ in range(3):
            with pytest.raises(BusyError, match="Try again in") as refusal:
                worker.submit(request_for(3))
            assert refusal.value.retry_after_s >= 1
        stepped.allow(1000)
        for stream in streams:
            read(stream)
        read(worker.submit(request_for(3)))


def test_worker_without_a_queue_runs_one_request(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped, max_queue=0) as worker:
        for index in range(3):
            stream = worker.submit(request_for(index))
            with pytest.raises(BusyError):
                worker.submit(request_for(index))
            stepped.allow(100)
            read(stream)


def test_cancelled_waiting_request_is_not_begun(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped, max_queue=2) as worker:
        requests = [request_for(index) for index in range(4)]
        first, second, third = (worker.submit(request) for request in requests[:3])
        wait_until(lambda: worker.queue.waiting == 2)
        second.close()
        second.close()
        assert worker.queue.waiting == 1
        fourth = worker.submit(requests[3])
        stepped.allow(1000)
        for stream in (first, third, fourth):
            read(stream)
        assert stepped.begun == [requests[0], requests[2], requests[3]]


def test_cancelling_stops_within_one_token(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped) as worker:
        cancelled = worker.submit(request_for(0, max_tokens=200))
        other = worker.submit(request_for(1))
        stepped.allow(8)
        wait_until(lambda: len(stepped.steps) == 8)
        cancelled.close()
        wait_until(lambda: len(stepped.begun) == 2)
        assert len(stepped.steps) == 8
        assert stepped.jobs[0].closed
        stepped.allow(1000)
        read(other)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (RuntimeError("secret of the house"), "failed"),
        (MemoryError("no room"), "not enough memory"),
        (ValueError(), "failed"),
    ],
)
def test_error_fails_one_request_only(
    endless_engine: Engine,
    request_for: Callable[[int], Request],
    fault: Exception,
    words: str,
) -> None:
    with running(FailingEngine(endless_engine, fault)) as worker:
        failing, other = worker.submit(request_for(0)), worker.submit(request_for(1))
        for _ in range(2):
            with pytest.raises(GenerationError, match=words) as failure:
                read(failing)
            assert "secret" not in str(failure.value)
        read(other)
        assert worker.state == "ready"


def test_the_engine_rests_when_nothing_else_is_to_do(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    rests: list[bool] = []

    class Resting(SteppedEngine):
        """Rests until a request comes, then fails once, then has no more to do."""

        def rest(self, is_needed: Callable[[], bool]) -> float | None:
            rests.append(is_needed())
            if len(rests) == 1:
                return 0.0
            if len(rests) == 2:
                wait_until(is_needed)
                raise MemoryError
            return None

    resting = Resting(endless_engine)
    resting.allow(1000)
    with running(resting) as worker:
        assert rests == []
        read(worker.submit(request_for(0)))
        wait_until(lambda: len(rests) == 2)
        assert isinstance(read(worker.submit(request_for(1)))[-1], Result)
        wait_until(lambda: len(rests) == 3)
    assert rests == [False] * 3


def test_invalid_request_raises_bad_request(
    endless_engine: Engine, frames: list[Image.Image]
) -> None:
    with running(endless_engine) as worker:
        stream = worker.submit(Request.about(frames[0], "word " * 390, max_tokens=2))
        read(stream)
        stream = worker.submit(Request.about(frames[0], QUESTION, max_tokens=0))
        with pytest.raises(BadRequestError, match="max_tokens"):
            stream.next(GUARD_S)


@pytest.mark.parametrize("fault_class", [RuntimeError, MemoryError, BadRequestError])
@pytest.mark.parametrize("of_all", [False, True])
def test_failed_pass_keeps_no_tensors(
    endless_engine: Engine,
    request_for: Callable[[int], Request],
    monkeypatch: pytest.MonkeyPatch,
    fault_class: type[Exception],
    of_all: bool,
) -> None:
    class Tensor:
        """A stand-in for what a pass holds on the device."""

    kept: list[weakref.ref[Tensor]] = []

    class Holding(FailingEngine):
        def advance_now(self, jobs: Sequence[SteppedJob]) -> list[list[StreamEvent | Exception]]:
            tensor = Tensor()
            kept.append(weakref.ref(tensor))
            return super().advance_now(jobs)

    # pytest keeps all log records, with their tracebacks.
    monkeypatch.setattr(logging.getLogger("sightline"), "disabled", True)
    with running(Holding(endless_engine, fault_class("x"), of_all=of_all)) as worker:
        unread = worker.submit(request_for(0))
        read(worker.submit(request_for(1)))
        gc.collect()
        assert not any(tensor() for tensor in kept)
        with pytest.raises(SightlineError):
            read(unread)


def test_next_returns_none_until_there_is_an_event(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped) as worker:
        stream = worker.submit(request_for(0))
        assert stream.next(timeout_s=0.01) is None
        stepped.allow(1000)
        done = read(stream)[-1]
        assert stream.next(timeout_s=0.01) is done
        stream.close()


def test_closing_a_stream_wakes_its_reader(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    with running(SteppedEngine(endless_engine)) as worker, ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            stream = worker.submit(request_for(0))
            reading = threads.submit(stream.next, GUARD_S)
            stream.close()
            with pytest.raises(StreamClosedError):
                reading.result(GUARD_S)
            with pytest.raises(StreamClosedError):
                stream.next(GUARD_S)


def test_close_ends_the_thread_during_a_request(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    before = threading.active_count()
    worker = Worker(lambda: stepped, 4)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    current, waiting = worker.submit(request_for(0, max_tokens=200)), worker.submit(request_for(1))
    stepped.allow(3)
    wait_until(lambda: len(stepped.steps) == 3)
    worker.close(GUARD_S)
    assert threading.active_count() == before
    for stream in (current, waiting):
        with pytest.raises(GenerationError, match="shutting down"):
            read(stream)
    assert stepped.jobs[0].closed
    assert stepped.closed
    with pytest.raises(BusyError, match="shutting down"):
        worker.submit(request_for(2))
    assert len(stepped.begun) == 1


def test_close_does_not_wait_for_a_load(endless_engine: Engine) -> None:
    loaded = threading.Event()

    def load() -> Engine:
        assert loaded.wait(GUARD_S)
        return endless_engine

    worker = Worker(load, 1)
    worker.start()
    worker.close(timeout_s=0.01)
    assert worker.state == "loading"
    loaded.set()
    worker.close(GUARD_S)


def test_unstarted_worker_can_be_closed(endless_engine: Engine) -> None:
    Worker(lambda: endless_engine, 1).close(GUARD_S)


def test_concurrent_requests_are_all_served_or_refused(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    def ask(index: int) -> str:
        try:
            stream = worker.submit(request_for(index % 20, max_tokens=2))
        except BusyError:
            return "refused"
        if index % 5 == 0:
            stream.close()
            return "cancelled"
        read(stream)
        return "served"

    with running(endless_engine, max_queue=4) as worker, ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(ask, range(50)))
        assert set(outcomes) <= {"served", "refused", "cancelled"}
        assert "served" in outcomes
        wait_until(lambda: not worker.busy and worker.queue.waiting == 0)
        assert worker.state == "ready"
