"""`/api/status`: the worker, and the servers that frames are sent to."""

from __future__ import annotations

from flask import Flask

from vlm.models.manager import Models
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.app import create_app
from web_client import HANG_GUARD_S, served, wait_until


def test_the_status_of_the_worker_is_reported(web_app: Flask, web_worker: Worker) -> None:
    status = web_app.test_client().get("/api/status").get_json()
    assert status["worker"] == {
        "restarts": 0,
        "last_failure": None,
        "under_way": 0,
        "at_once": web_worker.queue.max_batch,
    }
    assert status["remote"] is None


def test_upstreams_are_reported_from_the_start(web_worker: Worker) -> None:
    with served(web_worker, Settings()) as (port, _):
        origin = f"http://127.0.0.1:{port}"
        settings = Settings(engine="openai", base_url=(origin,))
        models = Models(settings)
        client = create_app(settings, models).test_client()
        before = client.get("/api/status").get_json()
        assert before["state"] == "loading"
        assert before["remote"]["origins"] == [origin]
        try:
            models.start()
            wait_until(lambda: models.worker.state != "loading")
            remote = client.get("/api/status").get_json()["remote"]
        finally:
            models.close(timeout_s=HANG_GUARD_S)
    info = web_worker.info
    assert info is not None
    assert remote["origins"] == [origin]
    assert remote["upstreams"] == [
        {
            "origin": origin,
            "healthy": True,
            "outstanding": 0,
            "requests": 0,
            "failures": 0,
            "retries": 0,
            "model": info.model,
            "problem": None,
        }
    ]
