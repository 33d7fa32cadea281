"""The load of a small model: once, at the first need; and its failures, told once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vlm.errors import ModelFailedError, NotReadyError, PartFailedError, PartOffError
from vlm.finder.finder import Finder
from vlm.finder.parts import Part
from vlm.settings import Settings
from worker_kit import wait_until


def test_many_threads_load_once() -> None:
    loads: list[int] = []
    gate = threading.Event()

    def load() -> object:
        gate.wait(60)
        loads.append(1)
        return object()

    part = Part("reader", "some", load)
    assert not part.status.is_loaded
    with ThreadPoolExecutor(8) as threads:
        models = [threads.submit(part.get) for _ in range(8)]
        gate.set()
        assert len({id(model.result()) for model in models}) == 1
    assert (loads, part.status.is_loaded, part.status.problem) == ([1], True, None)


@pytest.mark.parametrize(
    ("error", "told"),
    [(ModelFailedError("The file is gone."), "The file is gone."), (OSError("no"), "no.")],
)
def test_a_failed_load_is_logged_once_and_not_repeated(
    caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    loads: list[int] = []

    def load() -> object:
        loads.append(1)
        raise error

    part = Part("detector", "some", load)
    for _ in range(3):
        with pytest.raises(PartFailedError, match="detector some could not be loaded"):
            part.get()
    assert (len(loads), part.is_usable, part.status.name) == (1, False, None)
    assert part.status.problem == f"The detector some could not be loaded. {told}"
    assert [record.getMessage() for record in caplog.records] == [part.status.problem]


def test_a_failure_on_a_frame_is_logged_once_and_over_with_the_next_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = Part("detector", "some", object)

    def fail(model: object) -> None:
        raise ValueError("broken frame\nwith details")

    for failures in (1, 2):
        with pytest.raises(PartFailedError, match="failed on a frame: broken frame"):
            part.call(fail)
        assert part.status.failures == failures
        assert part.status.problem is not None
    assert len(caplog.records) == 1
    assert part.call(lambda model: 7) == 7
    assert (part.is_usable, part.status.problem, part.status.failures) == (True, None, 2)


def test_nobody_waits_long_for_a_slow_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm.finder.parts.LOAD_WAIT_S", 0.1)
    gate = threading.Event()
    part = Part("detector", "some", lambda: gate.wait(60))
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(part.get)
        wait_until(part._loading.locked)
        for _ in range(2):
            with pytest.raises(NotReadyError):
                part.get()
        gate.set()
        assert loading.result() is part.get() is True


def test_a_part_that_is_off_loads_nothing() -> None:
    finder = Finder(Settings(detector="none"))
    finder.start()
    with pytest.raises(PartOffError, match="detector is switched off"):
        finder.detector.get()
    assert not finder.can_look
    assert not any(part.is_loaded for part in finder.parts())
    status = finder.status()
    assert (status.detector, status.classes, status.problem) == (None, (), None)
    finder.close()


def test_a_broken_detector_is_in_the_status(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*names: str, **options: object) -> None:
        raise ModelFailedError("Its file is damaged.")

    monkeypatch.setattr("vlm.detect.detector.load_detector", broken)
    caplog.set_level(logging.ERROR)
    finder = Finder(Settings())
    finder.start()
    with pytest.raises(PartFailedError):
        finder.detector.get()
    status = finder.status()
    assert status.detector is None
    assert status.problem == "The detector nanodet could not be loaded. Its file is damaged."
    assert len(caplog.records) == 1
