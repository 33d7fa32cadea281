"""Laws of several servers: the idlest is asked, one that fails is left out and taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from remote_kit import LIMITS, QUESTION, broken_off, caption, engine_over
from upstream_server import MODEL, Exchange, UpstreamServer, upstreams, well

from vlm.errors import ModelFailedError, UpstreamError
from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from vlm.types import Result
from worker_kit import GUARD_S, wait_until


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    with upstreams(1) as (one,):
        yield one


def asked(*servers: UpstreamServer) -> list[int]:
    return [len(server.exchanges) for server in servers]


def finish(engine: RemoteEngine, count: int) -> list[str]:
    """Has so many captions made at once, each to its end."""
    jobs = [engine.begin(QUESTION) for _ in range(count)]
    texts: list[str] = []
    while len(texts) < count:
        for items in engine.advance(jobs):
            for item in items:
                assert not isinstance(item, Exception), item
                if isinstance(item, Result):
                    texts.append(item.text)
    return texts


def wait_for_health(engine: RemoteEngine, *healthy: bool) -> None:
    wait_until(lambda: [each.healthy for each in engine.upstreams()] == list(healthy))


# -- balance --


def test_requests_that_are_under_way_together_are_spread_evenly() -> None:
    all_are_here = threading.Barrier(12)

    def together(exchange: Exchange) -> None:
        all_are_here.wait(GUARD_S)
        well(exchange)

    with upstreams(3) as servers, engine_over(*servers) as engine:
        wait_for_health(engine, True, True, True)
        for server in servers:
            server.behaviour = together
        assert finish(engine, 12) == ["A red circle."] * 12
        assert asked(*servers) == [4, 4, 4]


def test_requests_one_after_the_other_take_turns() -> None:
    with upstreams(3) as servers, engine_over(*servers) as engine:
        wait_for_health(engine, True, True, True)
        for _ in range(6):
            caption(engine)
        assert asked(*servers) == [2, 2, 2]


def test_a_server_that_is_slower_gets_less() -> None:
    with upstreams(2) as (slow, quick), engine_over(slow, quick) as engine:
        wait_for_health(engine, True, True)
        let_go = threading.Event()

        def held(exchange: Exchange) -> None:
            assert let_go.wait(GUARD_S)
            well(exchange)

        slow.behaviour = held
        jobs = [engine.begin(QUESTION) for _ in range(2)]
        wait_until(lambda: asked(slow, quick) == [1, 1])
        wait_until(lambda: engine.upstreams()[1].outstanding == 0)
        for _ in range(5):
            caption(engine)
        assert asked(slow, quick) == [1, 6]
        let_go.set()
        for job in jobs:
            job.close()


# -- health --


def test_a_server_that_is_down_is_left_out_and_taken_back_once_it_is_up() -> None:
    with upstreams(2) as (first, second), engine_over(first, second) as engine:
        wait_for_health(engine, True, True)
        first.close()
        for _ in range(4):
            assert caption(engine)[1].text == "A red circle."
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


def test_what_was_not_begun_at_a_server_that_dies_is_made_by_another() -> None:
    with upstreams(2) as (dying, other), engine_over(dying, other) as engine:
        wait_for_health(engine, True, True)
        dying.behaviour = Exchange.cut
        assert finish(engine, 8) == ["A red circle."] * 8
        told = engine.upstreams()[0]
        assert told.retries == told.failures > 0


def test_a_busy_server_is_passed_over_for_one_that_is_not() -> None:
    with upstreams(2) as (busy, free), engine_over(busy, free) as engine:
        wait_for_health(engine, True, True)
        busy.behaviour = lambda exchange: exchange.refuse(429, {}, {"Retry-After": "30"})
        assert finish(engine, 6) == ["A red circle."] * 6
        turned_away = len(busy.exchanges)
        assert finish(engine, 3) == ["A red circle."] * 3
        assert len(busy.exchanges) == turned_away


def test_one_bad_answer_among_good_ones_leaves_nobody_out(server: UpstreamServer) -> None:
    with engine_over(server, check_every_s=60.0) as engine:
        for _ in range(4):
            server.behaviours.append(lambda exchange: exchange.refuse(500, {}))
            assert isinstance(broken_off(engine), UpstreamError)
            assert engine.upstreams()[0].healthy
            assert caption(engine)[1].text == "A red circle."


def test_a_server_that_only_fails_draws_no_more_requests() -> None:
    with (
        upstreams(2) as (bad, good),
        engine_over(bad, good, pause_s=60.0, longest_pause_s=60.0) as engine,
    ):
        wait_for_health(engine, True, True)
        bad.behaviour = lambda exchange: exchange.refuse(500, {})
        failed = 0
        while engine.upstreams()[0].healthy:
            try:
                caption(engine)
            except UpstreamError:
                failed += 1
        assert failed == LIMITS.faults_in_a_row
        assert finish(engine, 4) == ["A red circle."] * 4
        assert len(bad.exchanges) == failed


@pytest.mark.parametrize(
    ("status", "listed", "words"),
    [
        (404, {}, "--base-url"),
        (401, {}, "--api-key-file"),
        (200, {"models": []}, "--base-url"),
        (200, [], "--base-url"),
        (200, {"data": [{"name": "x"}]}, "--base-url"),
        (200, {"data": []}, "serves no model yet"),
        (200, {"data": [{"id": 5}, {"id": "\n"}]}, "serves no model yet"),
        (503, {}, "come again later"),
        (500, {}, "failed"),
        (302, {}, "redirect"),
    ],
)
def test_what_is_wrong_with_a_server_is_told_while_it_is_waited_for(
    server: UpstreamServer, status: int, listed: object, words: str
) -> None:
    well_listed = server.listed
    server.list_status, server.listed = status, listed
    engine = RemoteEngine(Settings(engine="openai", base_url=(server.base_url,)), LIMITS)
    told: list[str] = []

    def heal(progress: str) -> None:
        if progress:
            told.append(progress)
            server.list_status, server.listed = 200, well_listed

    engine.open(heal)
    engine.close()
    assert len(told) == 1
    assert words in told[0]
    assert server.origin in told[0]
    assert engine.info.model == MODEL


def test_an_engine_that_waits_for_a_server_can_be_given_up(server: UpstreamServer) -> None:
    server.list_status = 503
    engine = RemoteEngine(Settings(engine="openai", base_url=(server.base_url,)), LIMITS)
    with pytest.raises(ModelFailedError):
        engine.open(lambda _: engine.stop_waiting())
    assert "upstreams" not in [thread.name for thread in threading.enumerate()]
