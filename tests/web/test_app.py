"""The page, the status and the errors of the web application, as a client sees them."""

from __future__ import annotations

import io
import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from vlm import __version__
from vlm.errors import CheckpointError
from vlm.prompts import PRESETS
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.access import HEADERS
from web_client import JPEG, app_over, picture, started


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


def test_the_page_is_served_with_all_it_asks_for(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    own = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert own
    for address in own:
        # Relative, so that the page works under a path prefix.
        assert address.startswith("static/")
        with client.get(f"/{address}") as answer:
            assert answer.status_code == 200, address


def test_icons_are_where_browsers_look_for_them(client: FlaskClient) -> None:
    with client.get("/static/manifest.webmanifest") as answer:
        manifest = json.loads(answer.data)
    listed = [(f"/static/{icon['src']}", icon["sizes"]) for icon in manifest["icons"]]
    for path, sizes in [*listed, ("/favicon.ico", "48x48"), ("/apple-touch-icon.png", "180x180")]:
        with client.get(path) as answer:
            assert answer.status_code == 200, path
            if sizes != "any":
                width, height = Image.open(io.BytesIO(answer.data)).size
                assert f"{width}x{height}" == sizes, path


def test_the_page_names_no_other_host(client: FlaskClient) -> None:
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', client.get("/").text)


def test_modules_are_served_as_javascript(client: FlaskClient) -> None:
    script = re.search(r'src="(static/[^"]+\.js)"', client.get("/").text)
    assert script
    with client.get(f"/{script[1]}") as answer:
        assert answer.mimetype == "text/javascript"


@pytest.mark.parametrize("path", ["/", "/api/status", "/healthz", "/nothing-here"])
def test_every_answer_carries_the_safety_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("path", "caching"),
    # `no-store` would keep browsers from keeping the page for "Back".
    [("/", "no-cache"), ("/api/status", "no-cache"), ("/healthz", "no-store")],
)
def test_page_and_status_may_be_kept_for_back(client: FlaskClient, path: str, caching: str) -> None:
    assert client.get(path).headers["Cache-Control"] == caching


def test_the_policy_lets_nothing_but_this_server_in(client: FlaskClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy


def test_status_tells_what_a_page_needs(client: FlaskClient, web_worker: Worker) -> None:
    status = client.get("/api/status").get_json()
    info = web_worker.info
    assert info is not None
    assert status["state"] == "ready"
    assert status["error"] is status["progress"] is None
    loaded = [status[key] for key in ("model", "runtime", "device", "dtype", "frame_size_px")]
    assert loaded == [info.model, info.runtime, info.device, info.dtype, info.frame_size_px]
    assert status["queue"] == {"waiting": 0, "limit": Settings.max_queue, "busy": False}
    assert status["limits"]["max_tokens_default"] == Settings.max_tokens
    assert [preset["id"] for preset in status["presets"]] == [preset.id for preset in PRESETS]
    assert status["version"] == __version__


def test_health_is_ok_even_where_the_model_failed() -> None:
    def load() -> object:
        raise CheckpointError("The folder holds no model.")

    with started(Worker(load, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        assert client.get("/healthz").get_json() == {"status": "ok"}
        assert client.get("/").status_code == 200
        status = client.get("/api/status").get_json()
        assert status["state"] == "failed"
        assert "no model" in status["error"]["message"]
        refused = client.post("/api/captions", data=picture(), headers=JPEG)
        assert refused.status_code == 503
        assert refused.get_json()["error"]["code"] == "model_failed"
        assert "no model" in refused.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing-here", 404, "not_found"),
        ("GET", "/api/nothing-here", 404, "not_found"),
        ("GET", "/static/../app.py", 404, "not_found"),
        ("GET", "/static/%2e%2e/app.py", 404, "not_found"),
        ("GET", "/api/captions", 405, "method_not_allowed"),
        ("PUT", "/api/captions", 405, "method_not_allowed"),
        ("POST", "/api/status", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_refused_in_json(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.get_json()["error"]["code"] == code
    assert answer.get_json()["error"]["message"]
    assert (status == 405) == ("Allow" in answer.headers)


def test_an_unforeseen_error_shows_neither_trace_nor_path(
    web_app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        raise RuntimeError("secret of the house")

    web_app.add_url_rule("/fails", view_func=fail)
    answer = web_app.test_client().get("/fails")
    assert answer.status_code == 500
    assert answer.get_json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "/" not in answer.get_json()["error"]["message"]
    assert "Unexpected error in GET /fails" in caplog.text
