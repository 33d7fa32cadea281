"""Laws of an engine that takes the place of another, between two requests."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from vlm.engine.engine import Engine
from vlm.errors import CheckpointError
from vlm.scheduler.worker import Worker
from vlm.types import Request, Result
from worker_kit import GUARD_S, HeldEngine, read, running, text_of, wait_until


def test_another_engine_takes_over_between_two_requests(
    endless_engine: Engine, engine: Engine, request_for: Callable[[int], Request]
) -> None:
    held = HeldEngine(endless_engine)
    with running(held) as worker, ThreadPoolExecutor(1) as beside:
        under_way, waiting = worker.submit(request_for(0)), worker.submit(request_for(1))
        wait_until(lambda: len(held.begun) == 1)
        replaced = beside.submit(worker.replace, engine)
        assert worker.info is endless_engine.info
        held.allow(1000)
        replaced.result(GUARD_S)
        assert worker.info is engine.info
        texts = text_of(under_way), text_of(waiting)
        assert len(held.begun) == 1
        assert held.closed
    direct = [
        list(each.stream(request_for(index)))[-1]
        for index, each in enumerate((endless_engine, engine))
    ]
    assert texts == tuple(done.text for done in direct if isinstance(done, Result))


def test_an_engine_for_a_worker_whose_load_failed_makes_it_ready(
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


def test_an_engine_that_was_replaced_is_let_go(
    endless_engine: Engine, request_for: Callable[[int], Request]
) -> None:
    first = HeldEngine(endless_engine)
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


def test_closing_does_not_wait_for_a_successor(endless_engine: Engine) -> None:
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
