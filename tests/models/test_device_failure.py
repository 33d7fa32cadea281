"""A graphics card that fails while captions run: the CPU takes over, and says why."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from flask.testing import FlaskClient

from vlm.engine import watched
from vlm.models.manager import DEVICE_PROBLEM, Models
from vlm.runtimes import accelerator
from vlm.runtimes.accelerator import CHECK, Accelerator
from vlm.runtimes.torch.devices import Placement
from vlm.settings import Settings
from web.app import create_app
from web.terminal import _Printer
from web_client import HANG_GUARD_S, JPEG, picture, read_events, wait_until

HANG = "hang"
SILENT = (
    "The driver of the graphics card does not answer, so the CPU captions; a restart of this "
    "machine helps."
)
_PICTURES = itertools.count()
Fail = Callable[[str | None], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fail]:
    """Torch's CPU as an accelerator; `fail(message)` makes each of its passes fail (None: work).

    With HANG a pass does not return before the test has ended.
    """
    # The number tells it from the CPU that is none.
    placement = Placement(torch.device("cpu:0"), torch.float32, spread=False)
    ended = threading.Event()
    tick_s = watched.TICK_S
    monkeypatch.setattr("vlm.runtimes.torch.devices.place", lambda *_: placement)
    monkeypatch.setattr(accelerator, "_test", lambda on_progress: Accelerator("cuda:0"))
    monkeypatch.setattr("vlm.runtimes.load._memory_problem", lambda *_: "")
    layer_norm = torch.nn.functional.layer_norm

    def set_failure(message: str | None) -> None:
        def failing(*_: object, **__: object) -> NoReturn:
            if message == HANG:
                # Only now: before, a slow pass must not be taken for one that hangs.
                monkeypatch.setattr(watched, "TICK_S", 0.001)
                ended.wait(HANG_GUARD_S)
            raise RuntimeError(message)

        monkeypatch.setattr(watched, "TICK_S", tick_s)
        monkeypatch.setattr(torch.nn.functional, "layer_norm", failing if message else layer_norm)

    CHECK.forget()
    yield set_failure
    ended.set()
    wait_until(lambda: not any(thread.name == "device" for thread in threading.enumerate()))
    CHECK.forget()


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Models, FlaskClient]]:
    models = Models(settings)
    models.start()
    try:
        wait_until(lambda: models.worker.state != "loading" and bool(models.status().choices))
        yield models, create_app(settings, models).test_client()
    finally:
        wait_until(lambda: models.status().change is None)
        models.worker.close(HANG_GUARD_S)


def caption(client: FlaskClient) -> tuple[str, Any]:
    # Another picture each time: the engine keeps the newest ones encoded.
    data = picture(size=(64, 48 + next(_PICTURES)))
    answer = client.post("/api/captions?max_tokens=4", data=data, headers=JPEG)
    return read_events(answer.get_data(as_text=True))[-1]


def runtime(models: Models) -> tuple[str, str]:
    info = models.worker.info
    assert info is not None
    return info.model, info.runtime


@pytest.mark.parametrize("failure", ["CUDA error: unspecified launch failure", HANG])
def test_cpu_takes_over_from_a_card_that_is_lost(
    nano_dir: Path, tmp_path: Path, fail: Fail, capsys: pytest.CaptureFixture[str], failure: str
) -> None:
    folder = tmp_path / "second"
    shutil.copytree(nano_dir, folder)
    with running(Settings(model=str(folder), offline=True)) as (models, client):
        assert runtime(models) == ("second", "torch")
        assert caption(client)[0] == "done"
        assert models.status().problem is None
        fail(failure)
        name, data = caption(client)
        assert (name, data["error"]["code"]) == ("error", "generation_failed")
        assert data["error"]["message"].startswith("The graphics card failed on this caption.")
        wait_until(lambda: runtime(models) == ("second", "openvino"))
        assert caption(client)[0] == "done"
        problem = models.status().problem
        assert problem is not None
        assert (problem.model, problem.code) == ("second", DEVICE_PROBLEM)
        assert problem.message == SILENT
        printer = _Printer("here")
        printer.update(models)
        printer.update(models)
        assert capsys.readouterr().err.splitlines() == [problem.message]
        # "Try again" of the page tests the card, which is well now, and loads the model there.
        fail(None)
        assert client.post("/api/models/switch", json={"model": "second"}).status_code == 202
        wait_until(lambda: runtime(models) == ("second", "torch"))
        wait_until(lambda: models.status().change is None)
        assert models.status().problem is None
        assert caption(client)[0] == "done"


def test_reason_for_the_cpu_can_be_dismissed(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_test", lambda on_progress: Accelerator(None, "It is old."))
    with running(Settings(model="nano", offline=True)) as (models, client):
        assert runtime(models) == ("nano", "openvino")
        assert client.get("/api/status").get_json()["models"]["problem"]["message"] == "It is old."
        assert client.post("/api/models/dismiss").get_json()["problem"] is None
        assert models.status().problem is None


def test_cpu_takes_over_if_the_memory_of_a_card_stays_taken(fail: Fail) -> None:
    with running(Settings(model="nano", offline=True)) as (models, client):
        for failures in (2, 3):
            # A caption in between shows that there is memory.
            fail(None)
            assert caption(client)[0] == "done"
            fail("CUDA out of memory. Tried to allocate 2 GiB")
            for _ in range(failures):
                assert caption(client)[0] == "error"
        wait_until(lambda: runtime(models) == ("nano", "openvino"))
        problem = models.status().problem
        assert problem is not None
        assert problem.message.startswith("Other programs have taken the memory")
        assert caption(client)[0] == "done"


@pytest.mark.parametrize("failure", ["CUDA error: unspecified launch failure", HANG])
def test_named_device_is_not_left(fail: Fail, failure: str) -> None:
    with running(Settings(model="nano", device="cuda:0", offline=True)) as (models, client):
        fail(failure)
        assert caption(client)[0] == "error"
        problem = models.status().problem
        assert problem is not None
        assert problem.message == (
            "The driver of the graphics card does not answer, so captions fail; a restart of this "
            "machine helps. Without --device, the CPU captions."
        )
        fail(None)
        # A thread that hangs is not waited for again.
        assert caption(client)[0] == ("error" if failure == HANG else "done")
        assert runtime(models) == ("nano", "torch")


def test_card_that_hangs_while_a_model_is_loaded_leaves_the_cpu(fail: Fail) -> None:
    fail(HANG)
    with running(Settings(model="nano", offline=True)) as (models, client):
        assert runtime(models) == ("nano", "openvino")
        problem = models.status().problem
        assert problem is not None
        assert problem.message == SILENT
        assert caption(client)[0] == "done"


def test_waits_that_do_not_count_are_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "TICK_S", 0.001)
    thread, ended = watched.DeviceThread(), threading.Event()
    waits = itertools.count()

    def counts() -> bool:
        if next(waits) == 5:
            ended.set()
        return False

    assert thread.call(lambda: ended.wait(HANG_GUARD_S), 1, counts)
    with pytest.raises(TimeoutError):
        thread.call(lambda: (_ for _ in ()).throw(TimeoutError()).send(None), 1, counts)
    assert not thread.is_stuck
    thread.close()
