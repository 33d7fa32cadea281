"""Switching the model that runs: one at a time, and the old one serves until the end."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from flask import Flask
from flask.testing import FlaskClient

from vlm.errors import (
    ModelTooLargeError,
    OfflineError,
    SwitchingError,
    UnknownModelError,
)
from vlm.models.manager import Models
from vlm.settings import Settings
from web.app import create_app
from web_client import HANG_GUARD_S, JPEG, picture, read_events, wait_until


@contextmanager
def running(settings: Settings) -> Iterator[Models]:
    """Yield models after the first load and after the first list of the models."""
    models = Models(settings)
    models.start()
    try:
        wait_until(lambda: models.worker.state != "loading" and bool(models.status().choices))
        yield models
    finally:
        models.cancel()
        wait_until(lambda: models.status().change is None)
        models.worker.close(HANG_GUARD_S)


@pytest.fixture
def named_dir(nano_dir: Path, tmp_path: Path) -> Path:
    """A second model to switch to: a copy of the bundled one with another name."""
    folder = tmp_path / "second"
    shutil.copytree(nano_dir, folder)
    return folder


@pytest.fixture
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no model was ever downloaded."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("vlm.checkpoints.hub_cache.hub_cache_folder", lambda: folder)
    return folder


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


@pytest.fixture
def here(named_dir: Path) -> Settings:
    """Settings that name the second model, so that it is listed."""
    return Settings(model=str(named_dir), device="cpu", runtime="torch", offline=True)


def switch(models: Models, name: str) -> None:
    """Switch, and wait for the end."""
    models.switch(name)
    wait_until(lambda: models.status().change is None)


def caption(client: FlaskClient) -> tuple[str, Any]:
    answer = client.post("/api/captions?max_tokens=4", data=picture(), headers=JPEG)
    return read_events(answer.get_data(as_text=True))[-1]


def test_each_model_captions_after_a_switch(here: Settings) -> None:
    with running(here) as models:
        client = create_app(here, models).test_client()
        for name in ("second", "nano", "second", "nano"):
            switch(models, name)
            status = client.get("/api/status").get_json()
            assert status["model"] == name
            choices = status["models"]["choices"]
            assert [model["name"] for model in choices if model["running"]] == [name]
            assert caption(client)[0] == "done"


def test_failed_load_keeps_the_old_model(here: Settings) -> None:
    with running(here) as models:
        switch(models, "nano")
        (Path(here.model) / "model.safetensors").write_bytes(b"nothing")
        client = create_app(here, models).test_client()
        switch(models, "second")
        status = client.get("/api/status").get_json()
        assert (status["state"], status["model"]) == ("ready", "nano")
        problem = status["models"]["problem"]
        assert (problem["model"], problem["code"]) == ("second", "bad_checkpoint")
        assert caption(client)[0] == "done"
        assert client.post("/api/models/dismiss").get_json()["problem"] is None


def test_old_model_serves_while_the_new_one_loads(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(here) as models, blocked_loads(models, monkeypatch) as unblock:
        client = create_app(here, models).test_client()
        models.switch("nano")
        wait_until(lambda: models.status().change is not None)
        assert caption(client)[0] == "done"
        status = client.get("/api/status").get_json()
        assert (status["state"], status["model"]) == ("ready", "second")
        assert status["models"]["change"]["step"] == "loading"
        unblock()
        wait_until(lambda: models.status().change is None)
        assert client.get("/api/status").get_json()["model"] == "nano"


@contextmanager
def blocked_loads(models: Models, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Block loads of `models` until the yielded function is called."""
    go = threading.Event()
    load = models._load

    def held(model: str, on_progress: Callable[[str], None]) -> Any:
        on_progress("Holding.")
        assert go.wait(HANG_GUARD_S)
        return load(model, on_progress)

    monkeypatch.setattr(models, "_load", held)
    try:
        yield go.set
    finally:
        go.set()


def test_second_switch_is_refused_during_the_first(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(here) as models, blocked_loads(models, monkeypatch):
        models.switch("nano")
        with pytest.raises(SwitchingError):
            models.switch("nano")
        client = create_app(here, models).test_client()
        answer = client.post("/api/models/switch", json={"model": "second"})
        assert answer.status_code == 409
        assert answer.get_json()["error"]["code"] == "switching"


def test_cancelled_load_is_dropped(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(here) as models, blocked_loads(models, monkeypatch) as unblock:
        client = create_app(here, models).test_client()
        assert client.post("/api/models/switch", json={"model": "nano"}).status_code == 202
        change = client.post("/api/models/cancel").get_json()["change"]
        assert (change["model"], change["cancelling"]) == ("nano", True)
        unblock()
        wait_until(lambda: models.status().change is None)
        assert models.status().problem is None
        assert client.get("/api/status").get_json()["model"] == "second"


def test_running_model_is_not_loaded_again(here: Settings) -> None:
    with running(here) as models:
        models.switch("second")
        assert models.status().change is None


def test_bundled_model_is_the_fallback_for_one_that_cannot_be_loaded(named_dir: Path) -> None:
    weights = named_dir / "model.safetensors"
    weights.rename(named_dir / "kept")
    settings = Settings(model=str(named_dir), device="cpu", runtime="torch", offline=True)
    with running(settings) as models:
        client = create_app(settings, models).test_client()
        status = client.get("/api/status").get_json()
        assert (status["state"], status["model"], status["error"]) == ("ready", "nano", None)
        problem = status["models"]["problem"]
        assert (problem["model"], problem["code"]) == ("second", "bad_checkpoint")
        assert caption(client)[0] == "done"
        # "Try again" of the page.
        switch(models, "second")
        assert models.status().problem is not None
        (named_dir / "kept").rename(weights)
        switch(models, "second")
        assert models.status().problem is None
        assert client.get("/api/status").get_json()["model"] == "second"


def test_offline_downloads_nothing(empty_hub_cache: Path) -> None:
    with running(Settings(device="cpu", runtime="torch", offline=True)) as models:
        assert models.worker.info is not None
        assert models.worker.info.model == "nano"
        assert models.status().change is None
        absent = next(model for model in models.status().choices if not model.here)
        with pytest.raises(OfflineError, match="--offline"):
            models.switch(absent.name)
        assert models.status().problem is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"model": "no-such-model"}', 404, "unknown_model"),
        (b'{"model": "../../etc"}', 404, "unknown_model"),
        (b'{"model": 5}', 400, "bad_request"),
        (b"{}", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        (b"null", 400, "bad_request"),
        (b"nonsense", 400, "bad_request"),
        (b"", 400, "bad_request"),
        (b"[" * 400, 400, "bad_request"),
        (b"[" * 600, 400, "bad_request"),
        (b'"' + b"x" * 10_000 + b'"', 400, "bad_request"),
    ],
)
def test_invalid_switch_is_refused(
    client: FlaskClient, body: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/models/switch", data=body, headers=headers)
    assert answer.status_code == status
    assert answer.get_json()["error"]["code"] == code


def test_form_cannot_switch_models(client: FlaskClient) -> None:
    answer = client.post("/api/models/switch", data={"model": "nano"})
    assert answer.status_code == 415


def test_unknown_and_too_large_models_raise_different_errors(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(here) as models:
        with pytest.raises(UnknownModelError):
            models.switch(here.model)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**6))
        models.refresh()
        with pytest.raises(ModelTooLargeError):
            models.switch("smolvlm-256m")


def test_bundled_model_is_the_fallback_for_one_that_does_not_fit(
    empty_hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**6))
    settings = Settings(model="smolvlm-2.2b", device="cpu", runtime="torch")
    with running(settings) as models:
        status = models.status()
        assert models.worker.info is not None
        assert models.worker.info.model == "nano"
        assert status.change is None
        assert status.problem is not None
        assert (status.problem.model, status.problem.code) == ("smolvlm-2.2b", "model_too_large")


def test_absent_device_is_reported_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = Models(Settings(device="cuda:99", runtime="torch", offline=True))
    models.start()
    wait_until(lambda: models.worker.state == "failed")
    assert "'cuda:99' is not available here" in str(models.worker.error)
    assert caplog.records == []
    models.worker.close(HANG_GUARD_S)
