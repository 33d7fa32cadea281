"""Access to /v1: by the client key, and for pages of the allowed origins."""

from __future__ import annotations

import logging
from pathlib import Path

import openai
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import main
from chat_kit import CHAT, assert_refused, chat_body, client_of
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import JPEG, app_over, picture, served

KEY = "a-key-of-the-house"
ORIGIN = "https://chat.example"


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    return str(file)


@pytest.fixture
def locked(web_worker: Worker, key_file: str) -> FlaskClient:
    """An application that needs the key under /v1."""
    return app_over(web_worker, Settings(client_key_file=key_file)).test_client()


@pytest.fixture
def shared(web_worker: Worker) -> FlaskClient:
    """An application that allows pages of ORIGIN to use /v1."""
    return app_over(web_worker, Settings(allow_origin=(ORIGIN,))).test_client()


def test_requests_without_the_right_key_are_refused(locked: FlaskClient) -> None:
    keys = ("", KEY, f"Basic {KEY}", "Bearer", "Bearer wrong", f"Bearer {KEY}x", "Bearer \xe9")
    wrong: list[dict[str, str]] = [{"Authorization": key} for key in (*keys, f"Bearer {KEY[:-1]}")]
    for path in ("/v1/models", "/v1/models/nano", "/v1/no-such-route", "/v1"):
        for headers in (*wrong, {}, {"X-Api-Key": KEY}):
            answer = locked.get(path, headers=headers)
            assert_refused(answer, 401, "invalid_api_key")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert KEY not in answer.text


def test_the_key_opens_the_api_and_is_never_logged(
    locked: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = {"Authorization": f"bearer {KEY}"}
    assert locked.get("/v1/models", headers=shown).status_code == 200
    assert locked.post(CHAT, json=chat_body(), headers=shown).status_code == 200
    assert locked.get("/v1/no-such-route", headers=shown).status_code == 404
    assert KEY not in caplog.text


def test_the_page_and_its_routes_need_no_key(locked: FlaskClient) -> None:
    assert locked.get("/").status_code == 200
    assert locked.get("/api/status").status_code == 200
    assert locked.post("/api/captions", data=picture(), headers=JPEG).status_code == 200


def test_the_openai_client_sends_its_key(web_worker: Worker, key_file: str) -> None:
    with served(web_worker, Settings(client_key_file=key_file)) as (port, _):
        with client_of(port, KEY) as client:
            assert client.models.list().data
        with client_of(port, "wrong") as stranger:
            with pytest.raises(openai.AuthenticationError) as refused:
                stranger.models.list()
            assert refused.value.code == "invalid_api_key"


def test_a_missing_key_file_is_an_error_at_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "none")
    assert main(["--port", "0", "--client-key-file", file], {}) == 2
    assert "key file" in capsys.readouterr().err


def from_page(origin: str = ORIGIN, **more: str) -> dict[str, str]:
    """Return the headers that a browser adds to requests of a page of `origin`."""
    more = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", **more}


def cors_headers(answer: TestResponse) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in answer.headers
        if name.lower().startswith("access-control-")
    }


def test_a_page_of_an_allowed_origin_can_chat(shared: FlaskClient) -> None:
    headers = from_page(
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type,x-stainless-lang",
    )
    preflight = shared.options(CHAT, headers=headers)
    assert preflight.status_code == 204
    cors = cors_headers(preflight)
    assert cors["access-control-allow-origin"] == ORIGIN
    assert "POST" in cors["access-control-allow-methods"]
    assert cors["access-control-allow-headers"] == headers["Access-Control-Request-Headers"]
    answer = shared.post(CHAT, json=chat_body(), headers=from_page())
    assert answer.status_code == 200
    assert cors_headers(answer)["access-control-allow-origin"] == ORIGIN
    assert "Origin" in answer.vary


def test_a_page_of_an_allowed_origin_can_read_errors(shared: FlaskClient) -> None:
    for answer in (
        shared.post(CHAT, json=chat_body(temperature=3), headers=from_page()),
        shared.get("/v1/no-such-route", headers=from_page()),
    ):
        assert answer.status_code in (400, 404)
        assert cors_headers(answer)["access-control-allow-origin"] == ORIGIN


def test_a_page_of_an_allowed_origin_can_read_the_document(shared: FlaskClient) -> None:
    answer = shared.get("/openapi.json", headers=from_page())
    assert answer.status_code == 200
    assert cors_headers(answer)["access-control-allow-origin"] == ORIGIN


def test_every_answer_varies_by_origin(shared: FlaskClient) -> None:
    for headers in ({}, from_page("https://evil.example")):
        answer = shared.get("/v1/models", headers=headers)
        assert "Origin" in answer.vary
        assert cors_headers(answer) == {}


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://chat.example",
        "https://chat.example:8443",
        "https://chat.example.evil.example",
        "https://chat.example/",
        "HTTPS://CHAT.EXAMPLE",
        f"{ORIGIN}, {ORIGIN}",
        "null",
        "*",
    ],
)
def test_only_the_exact_origin_is_allowed(shared: FlaskClient, origin: str) -> None:
    headers = from_page(origin, Access_Control_Request_Method="POST")
    for answer in (
        shared.options(CHAT, headers=headers),
        shared.post(CHAT, json=chat_body(), headers=from_page(origin)),
    ):
        assert answer.status_code == 403
        assert cors_headers(answer) == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/status"),
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("GET", "/static/js/io/api.js"),
        ("POST", "/api/captions"),
        ("POST", "/api/models/switch"),
        ("GET", "/v1x"),
        ("GET", "/V1/models"),
    ],
)
def test_other_routes_stay_closed_to_an_allowed_origin(
    shared: FlaskClient, method: str, path: str
) -> None:
    for answer in (
        shared.open(path, method=method, headers=from_page()),
        shared.options(path, headers=from_page(Access_Control_Request_Method=method)),
    ):
        assert answer.status_code == 403
        assert cors_headers(answer) == {}


def test_an_allowed_origin_does_not_allow_another_host_name(shared: FlaskClient) -> None:
    answer = shared.get("/v1/models", headers=from_page(Host="chat.example"))
    assert answer.status_code == 403


def test_a_cross_site_request_without_an_origin_is_refused(shared: FlaskClient) -> None:
    answer = shared.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize("names", ["a b", "x\xe9", "authorization;", "a" * 3000, ""])
def test_malformed_header_names_are_not_echoed(shared: FlaskClient, names: str) -> None:
    headers = from_page(Access_Control_Request_Method="POST", Access_Control_Request_Headers=names)
    cors = cors_headers(shared.options(CHAT, headers=headers))
    assert "access-control-allow-headers" not in cors


def test_a_preflight_needs_no_key(web_worker: Worker, key_file: str) -> None:
    settings = Settings(client_key_file=key_file, allow_origin=(ORIGIN,))
    client = app_over(web_worker, settings).test_client()
    headers = from_page(Access_Control_Request_Method="POST")
    assert client.options(CHAT, headers=headers).status_code == 204
    refused = client.post(CHAT, json=chat_body(), headers=from_page())
    assert refused.status_code == 401
    assert cors_headers(refused)["access-control-allow-origin"] == ORIGIN


def test_no_origin_is_allowed_by_default(web_worker: Worker) -> None:
    client = app_over(web_worker).test_client()
    answer = client.get("/v1/models", headers=from_page())
    assert answer.status_code == 403
    assert "Origin" not in answer.vary
