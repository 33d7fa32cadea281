"""Who may call /v1: whoever shows the key, and pages of the origins that are named."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import openai
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import main
from chat_kit import CHAT, chat_body, client_of
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
    """An application that asks for the key under /v1."""
    return app_over(web_worker, Settings(client_key_file=key_file)).test_client()


@pytest.fixture
def shared(web_worker: Worker) -> FlaskClient:
    """An application whose /v1 pages of ORIGIN may use."""
    return app_over(web_worker, Settings(allow_origin=(ORIGIN,))).test_client()


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/nano", "/v1/no-such-route", "/v1"])
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"Authorization": ""},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": "Bearer \xe9"},
        {"X-Api-Key": KEY},
    ],
)
def test_without_the_right_key_nothing_is_told(
    locked: FlaskClient, path: str, shown: Mapping[str, str]
) -> None:
    answer = locked.get(path, headers=shown)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    error = answer.get_json()["error"]
    assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
    assert KEY not in answer.text


def test_with_the_key_all_of_it_is_there(
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


def test_the_client_shows_its_key(web_worker: Worker, key_file: str) -> None:
    with served(web_worker, Settings(client_key_file=key_file)) as (port, _):
        with client_of(port, KEY) as client:
            assert client.models.list().data
        with client_of(port, "wrong") as stranger:
            with pytest.raises(openai.AuthenticationError) as refused:
                stranger.models.list()
            assert refused.value.code == "invalid_api_key"


def test_a_key_file_that_is_not_there_is_told_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "none")
    assert main(["--port", "0", "--client-key-file", file], {}) == 2
    assert "key file" in capsys.readouterr().err


def from_page(origin: str = ORIGIN, **more: str) -> dict[str, str]:
    """The headers that a browser adds to what a page of `origin` asks."""
    more = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", **more}


def cors_headers(answer: TestResponse) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in answer.headers
        if name.lower().startswith("access-control-")
    }


def test_a_page_of_a_named_origin_may_chat(shared: FlaskClient) -> None:
    asked = from_page(
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type,x-stainless-lang",
    )
    preflight = shared.options(CHAT, headers=asked)
    assert preflight.status_code == 204
    told = cors_headers(preflight)
    assert told["access-control-allow-origin"] == ORIGIN
    assert "POST" in told["access-control-allow-methods"]
    assert told["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    answer = shared.post(CHAT, json=chat_body(), headers=from_page())
    assert answer.status_code == 200
    assert cors_headers(answer)["access-control-allow-origin"] == ORIGIN
    assert "Origin" in answer.vary


def test_a_page_may_read_why_it_is_refused(shared: FlaskClient) -> None:
    for answer in (
        shared.post(CHAT, json=chat_body(temperature=3), headers=from_page()),
        shared.get("/v1/no-such-route", headers=from_page()),
    ):
        assert answer.status_code in (400, 404)
        assert cors_headers(answer)["access-control-allow-origin"] == ORIGIN


def test_a_page_of_a_named_origin_may_read_the_document(shared: FlaskClient) -> None:
    answer = shared.get("/openapi.json", headers=from_page())
    assert answer.status_code == 200
    assert cors_headers(answer)["access-control-allow-origin"] == ORIGIN


def test_every_answer_says_that_it_depends_on_the_origin(shared: FlaskClient) -> None:
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
def test_only_that_very_origin_is_let_in(shared: FlaskClient, origin: str) -> None:
    asked = from_page(origin, Access_Control_Request_Method="POST")
    for answer in (
        shared.options(CHAT, headers=asked),
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
def test_the_rest_stays_closed_to_a_named_origin(
    shared: FlaskClient, method: str, path: str
) -> None:
    for answer in (
        shared.open(path, method=method, headers=from_page()),
        shared.options(path, headers=from_page(Access_Control_Request_Method=method)),
    ):
        assert answer.status_code == 403
        assert cors_headers(answer) == {}


def test_a_named_origin_does_not_open_another_host_name(shared: FlaskClient) -> None:
    answer = shared.get("/v1/models", headers=from_page(Host="chat.example"))
    assert answer.status_code == 403


def test_a_page_without_an_origin_header_is_still_another_site(shared: FlaskClient) -> None:
    answer = shared.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize("asked", ["a b", "x\xe9", "authorization;", "a" * 3000, ""])
def test_odd_names_of_headers_are_not_repeated(shared: FlaskClient, asked: str) -> None:
    headers = from_page(Access_Control_Request_Method="POST", Access_Control_Request_Headers=asked)
    told = cors_headers(shared.options(CHAT, headers=headers))
    assert "access-control-allow-headers" not in told


def test_a_page_asks_whether_it_may_before_it_shows_the_key(
    web_worker: Worker, key_file: str
) -> None:
    settings = Settings(client_key_file=key_file, allow_origin=(ORIGIN,))
    client = app_over(web_worker, settings).test_client()
    asked = from_page(Access_Control_Request_Method="POST")
    assert client.options(CHAT, headers=asked).status_code == 204
    refused = client.post(CHAT, json=chat_body(), headers=from_page())
    assert refused.status_code == 401
    assert cors_headers(refused)["access-control-allow-origin"] == ORIGIN


def test_by_default_no_origin_is_let_in(web_worker: Worker) -> None:
    client = app_over(web_worker).test_client()
    answer = client.get("/v1/models", headers=from_page())
    assert answer.status_code == 403
    assert "Origin" not in answer.vary
