"""Laws of the thread that owns the engine: order, bounds, cancelling, faults that stay apart."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

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
from vlm.scheduler.worker import Worker
from vlm.types import Request, Result, StreamEvent
from worker_kit import (
    GUARD_S,
    QUESTION,
    FailingEngine,
    HeldEngine,
    HeldJob,
    read,
    running,
    text_of,
    wait_until,
)


def test_a_worker_gives_what_its_engine_does(
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


def test_the_engine_lives_in_one_thread_of_its_own(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    threads = set()

    class Watched(HeldEngine):
        def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> HeldJob:
            threads.add(threading.get_ident())
            return super().begin(request, is_cancelled)

        def advance_now(self, jobs: Sequence[HeldJob]) -> list[list[StreamEvent | Exception]]:
            threads.add(threading.get_ident())
            return super().advance_now(jobs)

        def close(self) -> None:
            threads.add(threading.get_ident())

    def load() -> Watched:
        threads.add(threading.get_ident())
        watched = Watched(endless_engine)
        watched.allow(1000)
        return watched

    worker = Worker(load, 2)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    for index in range(2):
        read(worker.submit(request_for(index)))
    worker.close(GUARD_S)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_before_it_is_ready_it_says_so(
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
def test_a_failed_load_is_told_to_all(
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


def test_requests_are_served_in_their_order(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker:
        requests = [request_for(index) for index in range(4)]
        streams = [worker.submit(request) for request in requests]
        wait_until(lambda: held.begun == requests[:1])
        assert (worker.queue.waiting, worker.busy) == (3, True)
        held.allow(1000)
        texts = [text_of(stream) for stream in streams]
        assert held.begun == requests
        assert (worker.queue.waiting, worker.busy) == (0, False)
    assert texts == [list(endless_engine.stream(request))[-1].text for request in requests]


def test_the_wait_is_counted_apart_from_the_work(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker:
        first, second = worker.submit(request_for(0)), worker.submit(request_for(1))
        held.allow(1000)
        one, two = read(first)[-1], read(second)[-1]
    assert isinstance(one, Result)
    assert isinstance(two, Result)
    # The second waited for as long as the first took, whatever that was.
    assert two.stats.queued_s > one.stats.total_s > one.stats.ttft_s
    assert one.stats.queued_s >= 0


def test_the_queue_is_bounded(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held, max_queue=2) as worker:
        streams = [worker.submit(request_for(index)) for index in range(3)]
        for _ in range(3):
            with pytest.raises(BusyError, match="Try again in") as refusal:
                worker.submit(request_for(3))
            assert refusal.value.retry_after_s >= 1
        held.allow(1000)
        for stream in streams:
            read(stream)
        read(worker.submit(request_for(3)))


def test_a_queue_of_none_still_serves_one(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held, max_queue=0) as worker:
        for index in range(3):
            stream = worker.submit(request_for(index))
            with pytest.raises(BusyError):
                worker.submit(request_for(index))
            held.allow(100)
            read(stream)


def test_what_gives_up_while_waiting_is_never_begun_and_frees_its_place(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held, max_queue=2) as worker:
        requests = [request_for(index) for index in range(4)]
        first, second, third = (worker.submit(request) for request in requests[:3])
        wait_until(lambda: worker.queue.waiting == 2)
        second.close()
        second.close()
        assert worker.queue.waiting == 1
        fourth = worker.submit(requests[3])
        held.allow(1000)
        for stream in (first, third, fourth):
            read(stream)
        assert held.begun == [requests[0], requests[2], requests[3]]


def test_giving_up_midway_stops_within_one_token_and_the_next_is_served(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker:
        leaving = worker.submit(request_for(0, max_tokens=200))
        staying = worker.submit(request_for(1))
        held.allow(8)
        wait_until(lambda: len(held.steps) == 8)
        leaving.close()
        wait_until(lambda: len(held.begun) == 2)
        assert len(held.steps) == 8
        assert held.jobs[0].closed
        held.allow(1000)
        read(staying)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (RuntimeError("secret of the house"), "failed"),
        (MemoryError("no room"), "not enough memory"),
        (ValueError(), "failed"),
    ],
)
def test_a_fault_costs_its_own_request_only(
    endless_engine: Engine,
    request_for: Callable[[int], Request],
    fault: Exception,
    words: str,
) -> None:
    with running(FailingEngine(endless_engine, fault)) as worker:
        struck, spared = worker.submit(request_for(0)), worker.submit(request_for(1))
        for _ in range(2):
            with pytest.raises(GenerationError, match=words) as failure:
                read(struck)
            assert "secret" not in str(failure.value)
        read(spared)
        assert worker.state == "ready"


def test_what_cannot_be_asked_is_told_as_that(
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
def test_a_failed_pass_leaves_nothing_in_memory(
    endless_engine: Engine,
    request_for: Callable[[int], Request],
    monkeypatch: pytest.MonkeyPatch,
    fault_class: type[Exception],
    of_all: bool,
) -> None:
    class Tensor:
        """Stands for what a pass holds on the device."""

    kept: list[weakref.ref[Tensor]] = []

    class Holding(FailingEngine):
        def advance_now(self, jobs: Sequence[HeldJob]) -> list[list[StreamEvent | Exception]]:
            tensor = Tensor()
            kept.append(weakref.ref(tensor))
            return super().advance_now(jobs)

    # pytest keeps all log records, and with them the traceback.
    monkeypatch.setattr(logging.getLogger("sightline"), "disabled", True)
    with running(Holding(endless_engine, fault_class("x"), of_all=of_all)) as worker:
        unread = worker.submit(request_for(0))
        read(worker.submit(request_for(1)))
        gc.collect()
        assert not any(tensor() for tensor in kept)
        with pytest.raises(SightlineError):
            read(unread)


def test_nothing_yet_is_told_from_the_end(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker:
        stream = worker.submit(request_for(0))
        assert stream.next(timeout_s=0.01) is None
        held.allow(1000)
        done = read(stream)[-1]
        assert stream.next(timeout_s=0.01) is done
        stream.close()


def test_closing_a_stream_wakes_its_blocked_reader(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    with running(HeldEngine(endless_engine)) as worker, ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            stream = worker.submit(request_for(0))
            reading = threads.submit(stream.next, GUARD_S)
            stream.close()
            with pytest.raises(StreamClosedError):
                reading.result(GUARD_S)
            with pytest.raises(StreamClosedError):
                stream.next(GUARD_S)


def test_closing_ends_the_thread_midway(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    held = HeldEngine(endless_engine)
    before = threading.active_count()
    worker = Worker(lambda: held, 4)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    current, waiting = worker.submit(request_for(0, max_tokens=200)), worker.submit(request_for(1))
    held.allow(3)
    wait_until(lambda: len(held.steps) == 3)
    worker.close(GUARD_S)
    assert threading.active_count() == before
    for stream in (current, waiting):
        with pytest.raises(GenerationError, match="shutting down"):
            read(stream)
    assert held.jobs[0].closed
    assert held.closed
    with pytest.raises(BusyError, match="shutting down"):
        worker.submit(request_for(2))
    assert len(held.begun) == 1


def test_closing_does_not_wait_for_a_load(endless_engine: Engine) -> None:
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


def test_a_worker_never_started_can_be_closed(endless_engine: Engine) -> None:
    Worker(lambda: endless_engine, 1).close(GUARD_S)


def test_of_fifty_at_once_each_is_served_or_refused(
    endless_engine: Engine, request_for: Callable[..., Request]
) -> None:
    def ask(index: int) -> str:
        try:
            stream = worker.submit(request_for(index % 20, max_tokens=2))
        except BusyError:
            return "refused"
        if index % 5 == 0:
            stream.close()
            return "left"
        read(stream)
        return "served"

    with running(endless_engine, max_queue=4) as worker, ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(ask, range(50)))
        assert set(outcomes) <= {"served", "refused", "left"}
        assert "served" in outcomes
        wait_until(lambda: not worker.busy and worker.queue.waiting == 0)
        assert worker.state == "ready"
