"""Model, key, proxies and cookies of the requests to servers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from remote_kit import caption, engine_over, failure
from upstream_server import TEXT, UpstreamServer, upstreams

from vlm.errors import BadRequestError, SettingsError, UpstreamError
from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from worker_kit import wait_until

KEY = "sk-4f9a-secret"


def test_the_first_listed_model_is_used_unless_the_settings_name_one(
    server: UpstreamServer,
) -> None:
    server.models = {"data": [{"id": "first"}, {"id": "second"}]}
    for wanted, model in ((None, "first"), ("second", "second"), ("alias", "alias")):
        with engine_over(server, settings=Settings(remote_model=wanted)) as engine:
            assert engine.info.model == model
            caption(engine)
            assert server.exchanges[-1].body["model"] == model


def test_each_server_gets_the_name_of_its_own_model() -> None:
    with upstreams(2) as servers:
        for server, name in zip(servers, ("small", "large"), strict=True):
            server.models = {"data": [{"id": name}]}
        with engine_over(*servers) as engine:
            wait_until(lambda: all(each.healthy for each in engine.upstreams()))
            for _ in range(2):
                caption(engine)
            assert [server.exchanges[0].body["model"] for server in servers] == ["small", "large"]


def test_the_key_is_in_the_header_and_nowhere_else(
    server: UpstreamServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    content = {"error": {"message": f"Bad request by {KEY}"}}
    with engine_over(server, settings=Settings(api_key_file=str(key_file))) as engine:
        caption(engine)
        assert server.check_headers["Authorization"] == f"Bearer {KEY}"
        assert server.exchanges[0].headers["Authorization"] == f"Bearer {KEY}"
        shown = [repr(engine.info)]
        for status in (400, 401, 500):
            server.behaviour = lambda exchange, status=status: exchange.respond(status, content)
            error = failure(engine)
            assert isinstance(error, UpstreamError | BadRequestError)
            shown += [str(error), repr(engine.upstreams())]
        assert KEY not in "".join([*shown, caplog.text, str(server.exchanges[0].body)])


def test_a_key_file_that_is_missing_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    settings = Settings(engine="openai", base_url=("http://127.0.0.1:9/v1",))
    with pytest.raises(SettingsError):
        RemoteEngine(replace(settings, api_key_file=str(tmp_path / "none")))


def test_without_a_key_file_no_key_cookie_or_proxy_is_used(
    server: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.behaviours.append(lambda exchange: exchange.respond(500, {}, {"Set-Cookie": "who=me"}))
    with engine_over(server) as engine:
        failure(engine)
        assert caption(engine).text == TEXT
    headers = server.exchanges[1].headers
    assert (headers["Authorization"], headers["Cookie"]) == (None, None)
