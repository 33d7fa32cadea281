"""Several servers: the idlest gets the request, a failing one is left out until it recovers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from remote_kit import LIMITS, QUESTION, Running, caption, captions, engine_over, failure
from upstream_server import MODEL, TEXT, Exchange, UpstreamServer, answer, upstreams

from vlm.errors import ModelFailedError, UpstreamError
from vlm.remote.engine import RemoteEngine
from vlm.remote.upstream import Upstream
from vlm.settings import Settings
from worker_kit import GUARD_S, wait_until


def counts(*servers: UpstreamServer) -> list[int]:
    """Return how many requests each server got."""
    return [len(server.exchanges) for server in servers]


def wait_for_health(engine: RemoteEngine, *healthy: bool) -> None:
    wait_until(lambda: [each.healthy for each in engine.upstreams()] == list(healthy))


@contextmanager
def engine_over_healthy(*servers: UpstreamServer, **limits: float) -> Iterator[RemoteEngine]:
    with engine_over(*servers, **limits) as engine:
        wait_for_health(engine, *[True] * len(servers))
        yield engine


# -- balance --


def test_requests_are_spread_evenly() -> None:
    all_are_here = threading.Barrier(12)

    def together(exchange: Exchange) -> None:
        all_are_here.wait(GUARD_S)
        answer(exchange)

    with upstreams(3) as servers, engine_over_healthy(*servers) as engine:
        for _ in range(6):
            caption(engine)
        assert counts(*servers) == [2, 2, 2], "one after the other"
        for server in servers:
            server.behaviour = together
        assert captions(engine, 12) == [TEXT] * 12
        assert counts(*servers) == [6, 6, 6], "at once"


def test_a_slower_server_gets_fewer_requests() -> None:
    with upstreams(2) as (slow, quick), engine_over_healthy(slow, quick) as engine:
        proceed = threading.Event()

        def wait(exchange: Exchange) -> None:
            assert proceed.wait(GUARD_S)
            answer(exchange)

        slow.behaviour = wait
        in_flight = [Running(engine, QUESTION) for _ in range(2)]
        wait_until(lambda: counts(slow, quick) == [1, 1])
        wait_until(lambda: engine.upstreams()[1].outstanding == 0)
        for _ in range(5):
            caption(engine)
        assert counts(slow, quick) == [1, 6]
        proceed.set()
        assert [each.result().text for each in in_flight] == [TEXT] * 2


# -- health --


def test_a_server_that_is_down_is_left_out_until_it_is_up_again() -> None:
    with upstreams(2) as (first, second), engine_over_healthy(first, second) as engine:
        first.close()
        assert captions(engine, 4) == [TEXT] * 4
        wait_for_health(engine, False, True)
        assert "nothing listens there" in str(engine.upstreams()[0].problem)
        again = UpstreamServer(first.port)
        try:
            wait_for_health(engine, True, True)
            for _ in range(4):
                caption(engine)
            assert len(again.exchanges) == 2
            assert engine.upstreams()[0].problem is None
        finally:
            again.close()


def test_requests_that_a_dying_server_has_not_begun_run_on_another() -> None:
    with upstreams(2) as (dying, other), engine_over_healthy(dying, other) as engine:
        dying.behaviour = Exchange.cut
        assert captions(engine, 8) == [TEXT] * 8
        status = engine.upstreams()[0]
        assert status.retries == status.failures > 0


def test_a_busy_server_gets_no_request_until_the_time_that_it_named() -> None:
    with upstreams(2) as (busy, free), engine_over_healthy(busy, free) as engine:
        busy.behaviour = lambda exchange: exchange.respond(429, {}, {"Retry-After": "30"})
        assert captions(engine, 6) == [TEXT] * 6
        rejected = len(busy.exchanges)
        assert rejected > 0
        assert captions(engine, 3) == [TEXT] * 3
        assert len(busy.exchanges) == rejected


def test_a_single_failed_answer_leaves_no_server_out(server: UpstreamServer) -> None:
    with engine_over(server, check_every_s=60.0) as engine:
        for _ in range(4):
            server.behaviours.append(lambda exchange: exchange.respond(500, {}))
            assert isinstance(failure(engine), UpstreamError)
            assert engine.upstreams()[0].healthy
            assert caption(engine).text == TEXT


def test_a_server_that_only_fails_is_left_out() -> None:
    with (
        upstreams(2) as (bad, good),
        engine_over_healthy(bad, good, pause_s=60.0, longest_pause_s=60.0) as engine,
    ):
        bad.behaviour = lambda exchange: exchange.respond(500, {})
        failed = 0
        while engine.upstreams()[0].healthy:
            try:
                caption(engine)
            except UpstreamError:
                failed += 1
        assert failed == LIMITS.faults_in_a_row
        assert captions(engine, 4) == [TEXT] * 4
        assert len(bad.exchanges) == failed


# -- opening --

UNHEALTHY = (
    (404, {}, "--base-url"),
    (401, {}, "--api-key-file"),
    (200, {"models": []}, "--base-url"),
    (200, [], "--base-url"),
    (200, {"data": [{"name": "x"}]}, "--base-url"),
    (200, {"data": []}, "lists no model yet"),
    (200, {"data": [{"id": 5}, {"id": "\n"}]}, "lists no model yet"),
    (503, {}, "busy"),
    (500, {}, "failed"),
    (302, {}, "redirect"),
)


def test_open_reports_what_is_wrong_with_a_server_until_it_is_healthy(
    server: UpstreamServer,
) -> None:
    good_models = server.models
    for status, models, words in UNHEALTHY:
        server.list_status, server.models = status, models
        engine = RemoteEngine(Settings(engine="openai", base_url=(server.base_url,)), LIMITS)
        reports: list[str] = []

        def heal(report: str, reports: list[str] = reports) -> None:
            if report:
                reports.append(report)
                server.list_status, server.models = 200, good_models

        engine.open(heal)
        engine.close()
        (report,) = reports
        assert words in report
        assert server.origin in report
        assert engine.info.model == MODEL


def test_an_engine_that_waits_for_a_server_can_be_stopped(server: UpstreamServer) -> None:
    server.list_status = 503
    engine = RemoteEngine(Settings(engine="openai", base_url=(server.base_url,)), LIMITS)
    with pytest.raises(ModelFailedError):
        engine.open(lambda _: engine.stop_waiting())
    assert "upstreams" not in [thread.name for thread in threading.enumerate()]


def test_a_base_url_without_a_path_means_its_v1() -> None:
    for given, base_url, origin in (
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000/v1", "http://10.0.0.5:8000"),
        ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1", "http://10.0.0.5:8000"),
        ("https://gpu.example/a/v2", "https://gpu.example/a/v2", "https://gpu.example"),
        ("http://[::1]:8000", "http://[::1]:8000/v1", "http://[::1]:8000"),
    ):
        upstream = Upstream(given, None)
        assert (upstream.base_url, upstream.origin) == (base_url, origin)
