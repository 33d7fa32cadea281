"""Laws of asking again: before the first word, so often and no more, and when the server says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from remote_kit import broken_off, caption, engine_over
from upstream_server import Behaviour, Exchange, UpstreamServer, upstreams

from vlm.errors import (
    BadRequestError,
    BusyError,
    UpstreamDownError,
    UpstreamError,
    UpstreamTimeoutError,
)


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    with upstreams(1) as (one,):
        yield one


def refusing(status: int, said: object = None, headers: dict[str, str] | None = None) -> Behaviour:
    return lambda exchange: exchange.refuse(status, said, headers)


def test_a_busy_server_is_asked_again_when_it_says(server: UpstreamServer) -> None:
    server.behaviours.extend([refusing(429, {}, {"Retry-After": "0"})] * 2)
    with engine_over(server) as engine:
        assert caption(engine)[1].text == "A red circle."
        told = engine.upstreams()[0]
        assert (told.requests, told.failures, told.retries) == (3, 2, 2)
        assert (told.healthy, told.problem) == (True, None)


@pytest.mark.parametrize("status", [408, 429, 502, 503])
def test_a_server_that_stays_busy_is_asked_so_often_and_no_more(
    server: UpstreamServer, status: int
) -> None:
    server.behaviour = refusing(status)
    with engine_over(server) as engine:
        assert isinstance(broken_off(engine), BusyError)
        assert len(server.exchanges) == 3


@pytest.mark.parametrize("told", ["77", "Fri, 21 Nov 2098 12:00:00 GMT"])
def test_a_server_that_wants_to_be_left_alone_for_long_is(
    server: UpstreamServer, told: str
) -> None:
    server.behaviour = refusing(503, {}, {"Retry-After": told})
    with engine_over(server, longest_rest_s=50.0, wait_s=5.0) as engine:
        for _ in range(2):
            error = broken_off(engine)
            assert isinstance(error, BusyError)
            assert 1 <= error.retry_after_s <= 50
        assert len(server.exchanges) == 1


@pytest.mark.parametrize("told", ["", "soon", "-5", "1e9", "9" * 400, "Thu, 1 Jan 1970 00:00 GMT"])
def test_a_retry_after_that_makes_no_sense_is_a_short_pause(
    server: UpstreamServer, told: str
) -> None:
    server.behaviours.append(refusing(429, {}, {"Retry-After": told}))
    with engine_over(server) as engine:
        assert caption(engine)[1].text == "A red circle."


def hangs_up(exchange: Exchange) -> None:
    exchange.cut()


def hangs_up_after_a_comment(exchange: Exchange) -> None:
    exchange.raw(b": waiting\n\n")
    exchange.cut()


@pytest.mark.parametrize("behaviour", [hangs_up, hangs_up_after_a_comment])
def test_a_connection_that_breaks_off_before_the_first_word_is_made_again(
    server: UpstreamServer, behaviour: Behaviour
) -> None:
    server.behaviours.append(behaviour)
    with engine_over(server) as engine:
        assert caption(engine)[1].text == "A red circle."
        assert engine.upstreams()[0].retries == 1


def test_where_no_server_is_left_the_reason_is_told(server: UpstreamServer) -> None:
    with engine_over(server, wait_s=0.1) as engine:
        server.close()
        error = broken_off(engine)
        assert isinstance(error, UpstreamDownError)
        assert server.origin in str(error)
        assert "nothing listens there" in str(error)
        (told,) = engine.upstreams()
        assert (told.healthy, told.outstanding) == (False, 0)


def test_what_a_server_refuses_the_asker_is_told_in_its_words(server: UpstreamServer) -> None:
    server.behaviour = refusing(400, {"error": {"message": "The prompt has 9000 tokens."}})
    with engine_over(server) as engine:
        for _ in range(5):
            error = broken_off(engine)
            assert isinstance(error, BadRequestError)
            assert "The prompt has 9000 tokens." in str(error)
        told = engine.upstreams()[0]
        assert (told.healthy, told.failures) == (True, 0), "that was not the server's fault"


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "--api-key-file"), (403, "--api-key-file"), (404, "--remote-model")],
)
def test_a_server_that_must_be_asked_otherwise_is_told_of_with_a_way_on(
    server: UpstreamServer, status: int, advice: str
) -> None:
    server.behaviour = refusing(status)
    with engine_over(server) as engine:
        error = broken_off(engine)
        assert isinstance(error, UpstreamError)
        assert advice in str(error)
        assert len(server.exchanges) == 1


def test_a_gateway_that_gave_up_waiting_is_not_asked_again(server: UpstreamServer) -> None:
    server.behaviour = refusing(504)
    with engine_over(server) as engine:
        assert isinstance(broken_off(engine), UpstreamTimeoutError)
        assert len(server.exchanges) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with upstreams(2) as (server, elsewhere), engine_over(server) as engine:
        target = {"Location": f"{elsewhere.base_url}/chat/completions"}
        server.behaviour = refusing(status, {}, target)
        assert "redirect" in str(broken_off(engine))
        assert elsewhere.exchanges == []
