"""Restarts of a worker whose thread died, and replacement of its engine."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from vlm.engine.engine import Engine
from vlm.errors import CheckpointError, GenerationError, ModelFailedError
from vlm.results import Result
from vlm.scheduler.worker import Worker
from vlm.types import Request
from web_client import JPEG, app_over, picture, read_events, started
from worker_kit import GUARD_S, FailingEngine, SteppedEngine, read, running, text_of, wait_until


class DeadlyError(BaseException):
    """Not caught by `except Exception`."""


@pytest.mark.parametrize("max_batch", [1, 2])
def test_dead_thread_is_replaced_with_the_same_engine(
    endless_engine: Engine, request_for: Callable[[int], Request], max_batch: int
) -> None:
    failing = FailingEngine(endless_engine, DeadlyError("secret"), max_batch)
    loads = 0

    def load() -> FailingEngine:
        nonlocal loads
        loads += 1
        return failing

    worker = Worker(load, 8)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    assert (worker.restarts, worker.last_failure) == (0, None)
    requests = [request_for(index) for index in range(4)]
    streams = [worker.submit(request) for request in requests]
    with pytest.raises(GenerationError, match="Ask again"):
        read(streams[0])
    for stream in streams[max_batch:]:
        read(stream)
    assert (worker.state, worker.restarts, loads) == ("ready", 1, 1)
    assert worker.last_failure is not None
    assert "DeadlyError" in worker.last_failure
    assert "secret" not in worker.last_failure
    alone = list(endless_engine.stream(requests[0]))[-1]
    assert text_of(worker.submit(requests[0])) == alone.text
    worker.close(GUARD_S)


def test_thread_that_dies_while_loading_is_replaced(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    outcomes = [DeadlyError("secret"), endless_engine]

    def load() -> Engine:
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    worker = Worker(load, 1)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    assert worker.restarts == 1
    read(worker.submit(request_for(0)))
    worker.close(GUARD_S)


def test_load_that_always_kills_its_thread_fails(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    def load() -> Engine:
        raise DeadlyError("secret")

    worker = Worker(load, 1)
    worker.start()
    wait_until(lambda: worker.state == "failed")
    with pytest.raises(ModelFailedError, match="log") as refusal:
        worker.submit(request_for(0))
    assert "secret" not in str(refusal.value)
    # Another model can still replace it.
    worker.replace(endless_engine)
    read(worker.submit(request_for(0)))
    worker.close(GUARD_S)


def test_dead_worker_can_be_closed(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    before = threading.active_count()
    with (
        running(FailingEngine(endless_engine, SystemExit())) as worker,
        pytest.raises(GenerationError),
    ):
        read(worker.submit(request_for(0)))
    assert threading.active_count() == before


def test_restart_reaches_the_client_and_the_status(endless_engine: Engine) -> None:
    with started(Worker(lambda: FailingEngine(endless_engine, DeadlyError()), 1)) as worker:
        client = app_over(worker).test_client()
        endings = []
        for _ in range(2):
            answer = client.post("/api/captions?max_tokens=8", data=picture(), headers=JPEG)
            endings.append(read_events(answer.text)[-1])
        assert [name for name, _ in endings] == ["error", "done"]
        assert endings[0][1]["error"]["code"] == "generation_failed"
        status = client.get("/api/status").get_json()["worker"]
    assert status["restarts"] == 1
    assert "DeadlyError" in status["last_failure"]


def test_error_of_an_observer_loses_no_answer(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    class Broken:
        def request_ended(self, record: object) -> None:
            raise ValueError("broken")

        def step_ran(self, batch_size: int) -> None:
            pass

    stepped = SteppedEngine(endless_engine)
    stepped.allow(1000)
    with running(stepped) as worker:
        worker.subscribe(Broken())
        for index in range(2):
            read(worker.submit(request_for(index)))
        wait_until(lambda: worker.restarts == 2)


def test_engine_is_replaced_between_two_requests(
    endless_engine: Engine, engine: Engine, request_for: Callable[[int], Request]
) -> None:
    stepped = SteppedEngine(endless_engine)
    with running(stepped) as worker, ThreadPoolExecutor(1) as beside:
        in_flight, waiting = worker.submit(request_for(0)), worker.submit(request_for(1))
        wait_until(lambda: len(stepped.begun) == 1)
        replaced = beside.submit(worker.replace, engine)
        assert worker.info is endless_engine.info
        stepped.allow(1000)
        replaced.result(GUARD_S)
        assert worker.info is engine.info
        texts = text_of(in_flight), text_of(waiting)
        assert len(stepped.begun) == 1
        assert stepped.closed
    direct = [
        list(source.stream(request_for(index)))[-1]
        for index, source in enumerate((endless_engine, engine))
    ]
    assert texts == tuple(done.text for done in direct if isinstance(done, Result))


def test_replacement_after_a_failed_load_makes_ready(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    def load() -> Engine:
        raise CheckpointError("config.json is missing.")

    worker = Worker(load, 2)
    worker.start()
    wait_until(lambda: worker.state == "failed")
    worker.replace(endless_engine)
    assert (worker.state, worker.error) == ("ready", None)
    read(worker.submit(request_for(0)))
    worker.close(GUARD_S)


def test_replaced_engine_is_freed(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    first = SteppedEngine(endless_engine)
    kept = weakref.ref(first)
    first.allow(1000)
    worker = Worker(lambda found=[first]: found.pop(), 2)  # type: ignore[misc]
    del first
    worker.start()
    wait_until(lambda: worker.state == "ready")
    read(worker.submit(request_for(0)))
    worker.replace(endless_engine)
    gc.collect()
    assert kept() is None
    worker.close(GUARD_S)


def test_close_does_not_wait_for_a_replacement(endless_engine: Engine) -> None:
    loaded = threading.Event()

    def load() -> Engine:
        assert loaded.wait(GUARD_S)
        return endless_engine

    worker = Worker(load, 2)
    worker.start()
    with ThreadPoolExecutor(1) as beside:
        replaced = beside.submit(worker.replace, endless_engine)
        worker.close(0.01)
        replaced.result(GUARD_S)
    loaded.set()
