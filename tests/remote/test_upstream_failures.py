"""Servers that fail: a clear error or another try, never a hang, never a part taken as whole."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from remote_kit import FRAME, caption, engine_over, failure
from upstream_server import TEXT, Behaviour, Exchange, UpstreamServer, answer, stall, upstreams

from vlm.errors import (
    BadRequestError,
    BusyError,
    UpstreamDownError,
    UpstreamError,
    UpstreamTimeoutError,
)
from vlm.remote.engine import RemoteEngine
from vlm.types import Request
from web.terminal import _Printer
from web_client import wait_until
from worker_kit import GUARD_S

EVENTS = "text/event-stream"


class Terminal:
    """The terminal's view of the servers of an engine."""

    def __init__(self, engine: RemoteEngine) -> None:
        self._engine = engine
        self._printer = _Printer("here")

    def wait_for_checks(self, server: UpstreamServer) -> None:
        """Print what has changed after some checks, which pass."""
        lists = server.lists
        wait_until(lambda: server.lists >= lists + 3)
        self.update()

    def update(self) -> None:
        self._printer._print_upstreams(self._engine.upstreams())


def responding(
    status: int, content: object = None, headers: dict[str, str] | None = None
) -> Behaviour:
    return lambda exchange: exchange.respond(status, content, headers)


# -- answers that are invalid: an error, and not sent again --


def html(exchange: Exchange) -> None:
    page = b"<html>Log in to this network</html>"
    exchange.respond(200, page, {"Content-Type": "text/html"})


def half_json(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.raw(b'data: {"choices": [{"index": 0, "delta": {"con\n\n')
    exchange.finish()


def half_an_event(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.raw(b'data: {"choices": [{"index": 0, "delta": {"content": " circle')
    exchange.end()


def no_finish_reason(exchange: Exchange) -> None:
    exchange.text("A red")
    exchange.end()


def comments_only(exchange: Exchange) -> None:
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


def endless_text(exchange: Exchange) -> None:
    while True:
        exchange.text("and so on ")


def endless_empty_events(exchange: Exchange) -> None:
    while True:
        exchange.text("")


def comments_without_end(exchange: Exchange) -> None:
    while True:
        exchange.raw(b": waiting\n" * 1000)


def fields_without_data(exchange: Exchange) -> None:
    exchange.text("A red")
    while True:
        exchange.raw(b"id: 5\n\nretry: 5\n\n\n" * 1000)


def compressed(exchange: Exchange) -> None:
    packed = gzip.compress(b": waiting\n" * 10_000_000)
    exchange.respond(200, packed, {"Content-Type": EVENTS, "Content-Encoding": "gzip"})


def compressed_refusal(exchange: Exchange) -> None:
    exchange.respond(500, gzip.compress(bytes(10**8)), {"Content-Encoding": "gzip"})


def invalid_utf8(exchange: Exchange) -> None:
    exchange.raw(b"data: \xff\xfe\x00\x80\n\n")
    exchange.end()


INVALID: tuple[Behaviour, ...] = (
    html, half_json, half_an_event, no_finish_reason, comments_only,
    closes_midway, error_event, filtered, huge_line, huge_event, endless_text,
    endless_empty_events, comments_without_end, fields_without_data,
    compressed, compressed_refusal, invalid_utf8,
    responding(500, {"error": {"message": "Out of memory"}}), responding(418, {}),
    responding(204, b""),
)  # fmt: skip


def test_an_invalid_answer_is_a_clear_error_and_not_sent_again(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        for sent, behaviour in enumerate(INVALID, 1):
            server.behaviour = behaviour
            error = failure(engine)
            assert isinstance(error, UpstreamError), behaviour.__name__
            assert str(error).startswith(f"{server.origin} "), behaviour.__name__
            assert len(server.exchanges) == sent, behaviour.__name__
        status = engine.upstreams()[0]
        assert (status.failures, status.retries) == (len(INVALID), 0)
        server.behaviour = answer
        assert caption(engine).text == TEXT


def test_an_answer_cut_anywhere_is_complete_only_after_its_finish_reason(
    server: UpstreamServer,
) -> None:
    events = [
        b'data: {"choices": [{"delta": {"role": "assistant", "content": "A "}}]}\r\n\r\n',
        b": waiting\n\n",
        'data: {"choices": [{"delta": {"content": "🫐 red"}}]}\n\n'.encode(),
        b'event: message\ndata: {"choices":\ndata: [{"delta": {}, "finish_reason": "stop"}]}\n\n',
        b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\ndata: [DONE]\n\n',
    ]
    whole = b"".join(events)
    complete_at = len(whole) - len(events[-1])
    cut_at = 0

    def cut(exchange: Exchange) -> None:
        exchange.raw(whole[: cut_at // 2])
        exchange.raw(whole[cut_at // 2 : cut_at])
        exchange.cut()

    server.behaviour = cut
    ends = (complete_at - 1, complete_at, len(whole) - 3, len(whole))
    with engine_over(server, tries=1) as engine:
        for cut_at in [*range(2, complete_at, 7), *ends]:
            if cut_at >= complete_at:
                assert caption(engine).text == "A 🫐 red"
            else:
                assert isinstance(failure(engine), UpstreamError)


# -- time limits --


def comments_for_ever(exchange: Exchange) -> None:
    while True:
        exchange.raw(b": waiting\n\n")
        time.sleep(0.01)


def comments_for_ever_midway(exchange: Exchange) -> None:
    exchange.text("A red")
    comments_for_ever(exchange)


def events_without_text_for_ever_midway(exchange: Exchange) -> None:
    exchange.text("A red")
    while True:
        for delta in ({}, {"role": "assistant"}, {"content": ""}, {"reasoning_content": ""}):
            exchange.text(None, delta=delta)
        exchange.event({"choices": [], "usage": {"completion_tokens": 1}})
        exchange.event({})
        time.sleep(0.02)


def spaces_for_ever(exchange: Exchange) -> None:
    while True:
        exchange.text(" \n")
        time.sleep(0.02)


def thinks_for_ever(exchange: Exchange) -> None:
    while True:
        exchange.text(None, delta={"reasoning_content": "Hm."})
        time.sleep(0.02)


def trickles(exchange: Exchange) -> None:
    while True:
        exchange.text("a")
        time.sleep(0.02)


def test_an_answer_that_takes_too_long_is_cancelled_and_not_sent_again(
    server: UpstreamServer,
) -> None:
    limits = {"first_text_s": 0.1, "silence_s": 0.1, "answer_s": 0.3}
    with engine_over(server, **limits) as engine:
        for behaviour in (
            Exchange.wait_for_hang_up,
            stall,
            comments_for_ever,
            comments_for_ever_midway,
            events_without_text_for_ever_midway,
            spaces_for_ever,
            thinks_for_ever,
            trickles,
        ):
            server.behaviour = behaviour
            sent = len(server.exchanges)
            error = failure(engine, Request.about(FRAME, "Go on.", 512))
            assert isinstance(error, UpstreamTimeoutError), behaviour.__name__
            assert server.exchanges[-1].hung_up.wait(GUARD_S)
            assert len(server.exchanges) == sent + 1, behaviour.__name__


def test_thoughts_before_an_answer_are_progress(server: UpstreamServer) -> None:
    def thinks_first(exchange: Exchange) -> None:
        # More events and bytes than an answer may have without text.
        thought = {"choices": [{"delta": {"reasoning_content": "Hm. " * 200}}]}
        for _ in range(40):
            exchange.raw(f"data: {json.dumps(thought)}\n\n".encode() * 100)
        answer(exchange)

    server.behaviour = thinks_first
    with engine_over(server) as engine:
        assert caption(engine).text == TEXT


def test_a_stream_that_stays_open_after_its_answer_is_left(server: UpstreamServer) -> None:
    def stays_open(exchange: Exchange) -> None:
        exchange.text("A cat.", finish_reason="stop")
        exchange.wait_for_hang_up()

    server.behaviour = stays_open
    with engine_over(server, ending_s=0.05) as engine:
        assert caption(engine).text == "A cat."


# -- retries --


def hangs_up(exchange: Exchange) -> None:
    exchange.cut()


def hangs_up_after_a_comment(exchange: Exchange) -> None:
    exchange.raw(b": waiting\n\n")
    exchange.cut()


def test_a_request_is_sent_again_if_no_answer_had_begun(server: UpstreamServer) -> None:
    odd_values = ("", "soon", "-5", "1e9", "9" * 400, "Thu, 1 Jan 1970 00:00 GMT")
    faults = [
        hangs_up,
        hangs_up_after_a_comment,
        *(responding(status) for status in (408, 429, 502, 503)),
        *(responding(429, {}, {"Retry-After": value}) for value in ("0", *odd_values)),
    ]
    with engine_over(server) as engine:
        for fault in faults:
            server.behaviours.append(fault)
            assert caption(engine).text == TEXT
        status = engine.upstreams()[0]
        assert (status.failures, status.retries) == (len(faults), len(faults))
        assert (status.requests, status.problem) == (2 * len(faults), None)


def test_a_server_that_stays_busy_gets_a_request_three_times(server: UpstreamServer) -> None:
    server.behaviour = responding(429)
    with engine_over(server) as engine:
        assert isinstance(failure(engine), BusyError)
    assert len(server.exchanges) == 3


def test_a_server_that_names_a_long_pause_gets_no_request_meanwhile() -> None:
    for value in ("77", "Fri, 21 Nov 2098 12:00:00 GMT"):
        with upstreams(1) as (server,), engine_over(server, longest_rest_s=50.0, wait_s=5.0) as it:
            server.behaviour = responding(503, {}, {"Retry-After": value})
            for _ in range(2):
                error = failure(it)
                assert isinstance(error, BusyError)
                assert 1 <= error.retry_after_s <= 50
            assert len(server.exchanges) == 1


def test_the_error_says_why_no_server_is_available(server: UpstreamServer) -> None:
    with engine_over(server, wait_s=0.1) as engine:
        server.close()
        error = failure(engine)
        assert isinstance(error, UpstreamDownError)
        assert f"{server.origin} cannot be reached: nothing listens there." in str(error)
        (status,) = engine.upstreams()
        assert (status.healthy, status.outstanding) == (False, 0)


def test_each_status_has_its_error_and_a_way_on() -> None:
    too_long = {"error": {"message": "The prompt has 9000 tokens."}}
    cases = (
        (400, too_long, BadRequestError, "The prompt has 9000 tokens."),
        (401, {}, UpstreamError, "--api-key-file"),
        (403, {}, UpstreamError, "--api-key-file"),
        (404, {}, UpstreamError, "--remote-model"),
        (504, {}, UpstreamTimeoutError, "timed out"),
        *((status, {}, UpstreamError, "redirect") for status in (301, 302, 307, 308)),
    )
    with upstreams(2) as (server, elsewhere), engine_over(server) as engine:
        to_elsewhere = {"Location": f"{elsewhere.base_url}/chat/completions"}
        for sent, (status, content, error_class, words) in enumerate(cases, 1):
            server.behaviour = responding(status, content, to_elsewhere)
            error = failure(engine)
            assert isinstance(error, error_class), status
            assert words in str(error), status
            assert len(server.exchanges) == sent, "it was sent again"
        assert elsewhere.exchanges == []


def test_a_server_that_fails_each_request_does_not_come_back_by_turns(
    server: UpstreamServer, capsys: pytest.CaptureFixture[str]
) -> None:
    # What a server says, and what the terminal prints meanwhile.
    for behaviour, words in (
        (responding(500, {"error": {"message": "No pictures here"}}), "failed (500)"),
        (responding(401), "rejects the key (401)"),
        (responding(404), "has no such address or model (404)"),
        (hangs_up, "closed the connection before it answered"),
    ):
        with engine_over(server) as engine:
            terminal = Terminal(engine)
            server.behaviour = behaviour
            for _ in range(5):
                failure(engine)
                terminal.wait_for_checks(server)
            (status,) = engine.upstreams()
            assert not status.healthy
            assert words in str(status.problem)
            server.behaviour = answer
            caption(engine)
            terminal.update()
            (status,) = engine.upstreams()
            assert (status.healthy, status.problem) == (True, None)
        printed = capsys.readouterr()
        (problem,) = printed.err.splitlines()
        assert problem.startswith(f"{server.origin} {words}")
        assert printed.out == f"{server.origin} answers again.\n"


def test_a_rejected_request_does_not_count_against_the_server(server: UpstreamServer) -> None:
    server.behaviour = responding(400)
    with engine_over(server) as engine:
        for _ in range(5):
            assert isinstance(failure(engine), BadRequestError)
        status = engine.upstreams()[0]
        assert (status.healthy, status.failures) == (True, 0)
