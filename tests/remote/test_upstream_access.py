"""Laws of how a server is spoken to: which model, by which key, and by no way round."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from remote_kit import broken_off, caption, engine_over
from upstream_server import UpstreamServer, upstreams

from vlm.errors import BadRequestError, SettingsError, UpstreamError
from vlm.remote.engine import RemoteEngine
from vlm.remote.upstream import Upstream
from vlm.settings import Settings
from worker_kit import wait_until

KEY = "sk-4f9a-secret"


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    with upstreams(1) as (one,):
        yield one


def test_the_first_model_that_is_listed_is_asked_for_unless_one_is_named() -> None:
    with upstreams(1) as (server,):
        server.listed = {"data": [{"id": "first"}, {"id": "second"}]}
        for wanted, model in ((None, "first"), ("second", "second"), ("alias", "alias")):
            with engine_over(server, settings=Settings(remote_model=wanted)) as engine:
                assert engine.info.model == model
                caption(engine)
                assert server.exchanges[-1].body["model"] == model


def test_each_server_is_asked_for_the_model_that_it_serves() -> None:
    with upstreams(2) as servers:
        for server, name in zip(servers, ("small", "large"), strict=True):
            server.listed = {"data": [{"id": name}]}
        with engine_over(*servers) as engine:
            wait_until(lambda: all(each.healthy for each in engine.upstreams()))
            for _ in range(2):
                caption(engine)
            assert [server.exchanges[0].body["model"] for server in servers] == ["small", "large"]


@pytest.fixture
def with_key(tmp_path: Path) -> Settings:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    return Settings(api_key_file=str(file))


def test_the_key_is_in_the_header_and_nowhere_else(
    server: UpstreamServer, with_key: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = {"error": {"message": f"Bad request by {KEY}"}}
    with engine_over(server, settings=with_key) as engine:
        caption(engine)
        assert server.check_headers["Authorization"] == f"Bearer {KEY}"
        assert server.exchanges[0].headers["Authorization"] == f"Bearer {KEY}"
        told = [repr(engine.info)]
        for status in (400, 401, 500):
            server.behaviour = lambda exchange, status=status: exchange.refuse(status, said)
            error = broken_off(engine)
            assert isinstance(error, UpstreamError | BadRequestError)
            told += [str(error), repr(engine.upstreams())]
        assert KEY not in "".join([*told, caplog.text, str(server.exchanges[0].body)])


def test_without_a_key_file_no_key_is_sent(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        caption(engine)
    assert server.exchanges[0].headers["Authorization"] is None


def test_a_key_file_that_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    settings = Settings(engine="openai", base_url=("http://127.0.0.1:9/v1",))
    with pytest.raises(SettingsError):
        RemoteEngine(replace(settings, api_key_file=str(tmp_path / "none")))


def test_the_environments_proxies_are_not_used(
    server: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with engine_over(server) as engine:
        assert caption(engine)[1].text == "A red circle."


def test_cookies_are_not_kept(server: UpstreamServer) -> None:
    server.behaviours.append(lambda exchange: exchange.refuse(500, {}, {"Set-Cookie": "who=me"}))
    with engine_over(server) as engine:
        broken_off(engine)
        caption(engine)
    assert server.exchanges[1].headers["Cookie"] is None


@pytest.mark.parametrize(
    ("base_url", "asked", "origin"),
    [
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000/v1", "http://10.0.0.5:8000"),
        ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1", "http://10.0.0.5:8000"),
        ("https://gpu.example/a/v2", "https://gpu.example/a/v2", "https://gpu.example"),
        ("http://[::1]:8000", "http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_an_address_without_a_path_means_its_v1(base_url: str, asked: str, origin: str) -> None:
    upstream = Upstream(base_url, None)
    assert (upstream.base_url, upstream.origin) == (asked, origin)
