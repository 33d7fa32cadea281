"""Laws of servers that give no answer: a clear error, never a hang, never a part shown as whole."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from remote_kit import FRAME, broken_off, caption, engine_over
from upstream_server import Behaviour, Exchange, UpstreamServer, hold_on, upstreams, well

from vlm.errors import UpstreamError, UpstreamTimeoutError
from vlm.types import Request
from worker_kit import GUARD_S


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    with upstreams(1) as (one,):
        yield one


def html(exchange: Exchange) -> None:
    page = b"<html>Log in to this network</html>"
    exchange.refuse(200, page, {"Content-Type": "text/html"})


def no_stream(exchange: Exchange) -> None:
    message = {"role": "assistant", "content": "A red circle."}
    said = {"choices": [{"message": message, "finish_reason": "stop"}]}
    exchange.refuse(200, said, {"Content-Type": "application/json"})


def half_json(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.raw(b'data: {"choices": [{"index": 0, "delta": {"con\n\n')
    exchange.finish()


def half_an_event(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.raw(b'data: {"choices": [{"index": 0, "delta": {"content": " circle')
    exchange.end()


def no_end(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.end()


def nothing_at_all(exchange: Exchange) -> None:
    exchange.raw(b": hello\n\n")
    exchange.end()


def closes_midway(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.cut()


def error_event(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.event({"error": {"message": "CUDA out of memory", "code": 500}})
    exchange.event("[DONE]")
    exchange.end()


def filtered(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.finish("content_filter")


def huge_line(exchange: Exchange) -> None:
    exchange.text("A red")
    for _ in range(64):
        exchange.raw(b"data: " + b"x" * 65_536)
    exchange.end()


def huge_event(exchange: Exchange) -> None:
    for _ in range(64):
        exchange.raw(b"data: " + b"x" * 65_536 + b"\n")
    exchange.end()


def endless(exchange: Exchange) -> None:
    while True:
        exchange.text("and so on ")


def endless_without_text(exchange: Exchange) -> None:
    while True:
        exchange.text("")


def bytes_that_are_no_text(exchange: Exchange) -> None:
    exchange.raw(b"data: \xff\xfe\x00\x80\n\n")
    exchange.end()


def crashes(exchange: Exchange) -> None:
    exchange.refuse(500, {"error": {"message": "CUDA out of memory"}})


def teapot(exchange: Exchange) -> None:
    exchange.refuse(418, {})


def empty(exchange: Exchange) -> None:
    exchange.refuse(204, b"")


BROKEN: tuple[Behaviour, ...] = (
    html, no_stream, half_json, half_an_event, no_end, nothing_at_all, closes_midway, error_event,
    filtered, huge_line, huge_event, endless, endless_without_text, bytes_that_are_no_text,
    crashes, teapot, empty,
)  # fmt: skip


def test_an_answer_that_is_none_is_a_clear_error_and_not_asked_for_again(
    server: UpstreamServer,
) -> None:
    with engine_over(server) as engine:
        for behaviour in BROKEN:
            server.behaviour = behaviour
            asked = len(server.exchanges)
            error = broken_off(engine)
            assert isinstance(error, UpstreamError), behaviour.__name__
            assert str(error).startswith(f"{server.origin} "), behaviour.__name__
            assert len(server.exchanges) == asked + 1, behaviour.__name__
        assert engine.upstreams()[0].failures == len(BROKEN)
        assert engine.upstreams()[0].retries == 0
        server.behaviour = well
        assert caption(engine)[1].text == "A red circle."


def test_an_answer_cut_anywhere_is_whole_only_if_its_end_was_said(server: UpstreamServer) -> None:
    events = [
        b'data: {"choices": [{"delta": {"role": "assistant", "content": "A "}}]}\r\n\r\n',
        b": waiting\n\n",
        'data: {"choices": [{"delta": {"content": "🫐 red"}}]}\n\n'.encode(),
        b'event: message\ndata: {"choices":\ndata: [{"delta": {}, "finish_reason": "stop"}]}\n\n',
        b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\ndata: [DONE]\n\n',
    ]
    whole = b"".join(events)
    said_at = len(whole) - len(events[-1])
    cut_at = 0

    def cut(exchange: Exchange) -> None:
        exchange.raw(whole[: cut_at // 2])
        exchange.raw(whole[cut_at // 2 : cut_at])
        exchange.cut()

    server.behaviour = cut
    with engine_over(server, tries=1) as engine:
        for cut_at in [*range(2, said_at, 5), said_at - 1, said_at, len(whole) - 3, len(whole)]:
            if cut_at >= said_at:
                assert caption(engine)[1].text == "A 🫐 red"
            else:
                assert isinstance(broken_off(engine), UpstreamError)


def only_comments(exchange: Exchange) -> None:
    while True:
        exchange.raw(b": waiting\n\n")
        time.sleep(0.01)


def only_comments_midway(exchange: Exchange) -> None:
    exchange.text("A red")
    only_comments(exchange)


@pytest.mark.parametrize(
    "behaviour", [Exchange.wait_for_hang_up, hold_on, only_comments, only_comments_midway]
)
def test_a_server_that_falls_silent_is_left_and_not_asked_again(
    server: UpstreamServer, behaviour: Behaviour
) -> None:
    server.behaviour = behaviour
    with engine_over(server, first_text_s=0.1, silence_s=0.1) as engine:
        assert isinstance(broken_off(engine), UpstreamTimeoutError)
        assert server.exchanges[0].hung_up.wait(GUARD_S)
        assert len(server.exchanges) == 1


def test_an_answer_that_trickles_for_ever_is_left(server: UpstreamServer) -> None:
    def trickle(exchange: Exchange) -> None:
        while True:
            exchange.text("a")
            time.sleep(0.02)

    server.behaviour = trickle
    with engine_over(server, answer_s=0.2) as engine:
        error = broken_off(engine, Request.about(FRAME, "Go on.", 512))
        assert isinstance(error, UpstreamTimeoutError)
        assert server.exchanges[0].hung_up.wait(GUARD_S)


def test_once_the_end_was_said_nothing_more_is_waited_for(server: UpstreamServer) -> None:
    def never_hangs_up(exchange: Exchange) -> None:
        exchange.text("A cat.", finish_reason="stop")
        exchange.wait_for_hang_up()

    server.behaviour = never_hangs_up
    with engine_over(server, ending_s=0.05) as engine:
        assert caption(engine)[1].text == "A cat."
