"""Laws of a worker whose thread dies: another one goes on, says so, and nobody is left hanging."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from vlm.engine.engine import Engine
from vlm.errors import GenerationError, ModelFailedError
from vlm.scheduler.worker import Worker
from vlm.types import Request
from web_client import JPEG, app_over, picture, read_events, started
from worker_kit import GUARD_S, FailingEngine, HeldEngine, read, running, text_of, wait_until


class DeadlyError(BaseException):
    """What no handler of exceptions catches."""


@pytest.mark.parametrize("max_batch", [1, 2])
def test_a_thread_that_dies_is_followed_by_one_with_the_same_engine(
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


def test_a_thread_that_dies_while_it_loads_is_followed_by_one_that_loads_anew(
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


def test_a_load_that_kills_its_thread_each_time_is_given_up_in_words(
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
    # And another model can still take over.
    worker.replace(endless_engine)
    read(worker.submit(request_for(0)))
    worker.close(GUARD_S)


def test_a_worker_that_has_died_can_be_closed(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    before = threading.active_count()
    with (
        running(FailingEngine(endless_engine, SystemExit())) as worker,
        pytest.raises(GenerationError),
    ):
        read(worker.submit(request_for(0)))
    assert threading.active_count() == before


def test_a_client_is_told_and_the_status_tells_of_it(endless_engine: Engine) -> None:
    with started(Worker(lambda: FailingEngine(endless_engine, DeadlyError()), 1)) as worker:
        client = app_over(worker).test_client()
        endings = []
        for _ in range(2):
            answer = client.post("/api/captions?max_tokens=8", data=picture(), headers=JPEG)
            endings.append(read_events(answer.text)[-1])
        assert [name for name, _ in endings] == ["error", "done"]
        assert endings[0][1]["error"]["code"] == "generation_failed"
        told = client.get("/api/status").get_json()["worker"]
    assert told["restarts"] == 1
    assert "DeadlyError" in told["last_failure"]


def test_what_a_watcher_raises_loses_no_answer(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    class Broken:
        def request_ended(self, record: object) -> None:
            raise ValueError("broken")

        def step_ran(self, batch_size: int) -> None:
            """Nothing to tell."""

    held = HeldEngine(endless_engine)
    held.allow(1000)
    with running(held) as worker:
        worker.subscribe(Broken())
        for index in range(2):
            read(worker.submit(request_for(index)))
        wait_until(lambda: worker.restarts == 2)
