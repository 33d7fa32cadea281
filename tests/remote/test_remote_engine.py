"""Requests to other servers: their events arrive as they are made, and cancelling hangs up."""

from __future__ import annotations

import base64
import io
import threading

import pytest
from PIL import Image
from remote_kit import FRAME, QUESTION, Running, caption, captions, engine_over, stream
from upstream_server import MODEL, TEXT, Exchange, UpstreamServer, answer, stall, upstreams

from engine_kit import with_task
from vlm.errors import BadRequestError, GenerationError, NotSupportedError
from vlm.results import Result, TokenChunk
from vlm.types import Request
from worker_kit import GUARD_S, running, text_of, wait_until


def test_a_request_sends_a_jpeg_and_returns_the_answer_with_its_cost(
    server: UpstreamServer,
) -> None:
    with engine_over(server) as engine:
        result = caption(engine)
        assert (engine.info.model, engine.info.remote) == (MODEL, (server.origin,))
    assert result.text == TEXT
    assert (result.finish_reason, result.stats.tokens, result.stats.prompt_tokens) == (
        "stop",
        4,
        80,
    )
    assert 0 < result.stats.ttft_s <= result.stats.total_s
    body = server.exchanges[0].body
    assert (body["model"], body["max_tokens"]) == (MODEL, QUESTION.task.max_tokens)
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
    assert (sent.format, sent.size) == ("JPEG", FRAME.size)


def test_each_chunk_arrives_before_the_next_one_is_made(server: UpstreamServer) -> None:
    go = threading.Semaphore(0)

    def step_by_step(exchange: Exchange) -> None:
        for text in ("One", " two"):
            exchange.text(text)
            assert go.acquire(timeout=GUARD_S)
        exchange.finish("length")

    server.behaviour = step_by_step
    with engine_over(server) as engine:
        events = stream(engine)
        for text in ("One", " two"):
            assert next(events) == TokenChunk(text)
            go.release()
        result = next(events)
        assert isinstance(result, Result)
        assert (result.text, result.finish_reason, result.stats.tokens) == ("One two", "length", 2)


def test_an_answer_that_repeats_itself_is_cut_and_its_server_stops(
    server: UpstreamServer,
) -> None:
    def loop(exchange: Exchange) -> None:
        for text in (" It is", " red.") * 3:
            exchange.text(text)
        exchange.text(" It")
        exchange.wait_for_hang_up()

    def end_by_itself(exchange: Exchange) -> None:
        for text in (" It is", " red.") * 3:
            exchange.text(text)
        exchange.finish()

    def go_on(exchange: Exchange) -> None:
        for text in (" It is", " red.") * 2 + (" It is",):
            exchange.text(text)
        exchange.finish()

    twice = "It is red. It is red."
    server.behaviours += [loop, end_by_itself, go_on, end_by_itself]
    looping = with_task(QUESTION, stop_loops=True)
    with engine_over(server) as engine:
        ends = [caption(engine, request) for request in (*[looping] * 3, QUESTION)]
        assert server.exchanges[0].hung_up.wait(GUARD_S)
        assert engine.upstreams()[0].failures == 0
    assert [(each.text, each.finish_reason) for each in ends] == [
        (twice, "loop"),
        (twice, "loop"),
        (f"{twice} It is", "stop"),
        (f"{twice} It is red.", "stop"),
    ]
    assert "stop_loops" not in server.exchanges[0].body


def test_a_whole_batch_is_in_flight_at_once(server: UpstreamServer) -> None:
    all_are_here = threading.Barrier(12)

    def together(exchange: Exchange) -> None:
        all_are_here.wait(GUARD_S)
        answer(exchange)

    server.behaviour = together
    with engine_over(server) as engine:
        assert engine.max_batch >= 12
        assert captions(engine, 12) == [TEXT] * 12


def test_the_worker_runs_it_like_any_engine(server: UpstreamServer) -> None:
    with engine_over(server) as engine, running(engine) as worker:
        assert worker.info == engine.info
        streams = [worker.submit(QUESTION) for _ in range(4)]
        assert [text_of(stream) for stream in streams] == [TEXT] * 4


def test_closing_a_stream_of_the_worker_hangs_up_and_frees_its_place(
    server: UpstreamServer,
) -> None:
    server.behaviours.append(stall)
    with engine_over(server) as engine, running(engine) as worker:
        stream = worker.submit(QUESTION)
        assert stream.next(GUARD_S) == TokenChunk("One")
        stream.close()
        assert server.exchanges[0].hung_up.wait(GUARD_S)
        wait_until(lambda: worker.queue.in_flight == 0)
        assert text_of(worker.submit(QUESTION)) == TEXT


def test_closing_the_worker_hangs_up_and_ends_streams(server: UpstreamServer) -> None:
    server.behaviour = stall
    with engine_over(server) as engine, running(engine) as worker:
        stream = worker.submit(QUESTION)
        assert stream.next(GUARD_S) == TokenChunk("One")
        worker.close(GUARD_S)
        with pytest.raises(GenerationError, match="shutting down"):
            stream.next(GUARD_S)
        assert server.exchanges[0].hung_up.wait(GUARD_S)


def test_fields_that_a_server_rejects_are_left_out_from_then_on() -> None:
    fields = ("stream_options", "user")
    refusals = (
        {"error": {"message": f"Unknown fields: {fields}"}},
        {"detail": [{"loc": ["body", name], "msg": "Extra"} for name in fields]},
    )
    request = Request.about(FRAME, "What is this?", 16, camera="door")
    for refusal in refusals:

        def strict(exchange: Exchange, refusal: object = refusal) -> None:
            if set(fields) & set(exchange.body):
                exchange.respond(422, refusal)
                return
            exchange.text(TEXT)
            exchange.finish()

        with upstreams(1) as (server,):
            server.behaviour = strict
            with engine_over(server) as engine:
                assert [caption(engine, request).stats.tokens for _ in range(2)] == [1, 1]
                assert engine.upstreams()[0].failures == 0
            assert len(server.exchanges) == 3, "the rejected fields were sent again"


def test_a_connection_is_used_again(server: UpstreamServer) -> None:
    with engine_over(server, check_every_s=60.0) as engine:
        for _ in range(5):
            caption(engine)
    assert len({exchange.client for exchange in server.exchanges}) == 1


def test_what_cannot_be_asked_of_a_server_is_refused_at_once(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        with pytest.raises(BadRequestError):
            Running(engine, Request.about(FRAME, "What?", 0))
        for fields in ({"claims": "mark"}, {"explain": True}):
            with pytest.raises(NotSupportedError, match="runs here"):
                Running(engine, with_task(QUESTION, **fields))


# -- cancelling --


def test_closing_a_job_hangs_up_and_ends_its_events(server: UpstreamServer) -> None:
    for behaviour, texts in ((stall, ["One"]), (Exchange.wait_for_hang_up, [])):
        server.behaviour = behaviour
        sent = len(server.exchanges)
        with engine_over(server) as engine:
            running = Running(engine, QUESTION)
            events = running.read()
            assert [next(events) for _ in texts] == [TokenChunk(text) for text in texts]
            wait_until(lambda sent=sent: len(server.exchanges) > sent)
            running.close()
            running.close()
            assert server.exchanges[-1].hung_up.wait(GUARD_S)
            wait_until(lambda engine=engine: engine.upstreams()[0].outstanding == 0)
            assert engine.upstreams()[0].failures == 0
        assert running.events.empty()


def test_a_job_may_be_closed_by_the_receiver_of_an_event(server: UpstreamServer) -> None:
    def send_on(exchange: Exchange) -> None:
        for _ in range(8):
            exchange.text("a")
        exchange.wait_for_hang_up()

    server.behaviour = send_on
    begun, closed = threading.Event(), threading.Event()
    received: list[object] = []

    def close_at_once(event: object) -> None:
        received.append(event)
        assert begun.wait(GUARD_S)
        job.close()
        closed.set()

    with engine_over(server) as engine:
        job = engine.begin(QUESTION, close_at_once)
        begun.set()
        assert closed.wait(GUARD_S)
        assert server.exchanges[0].hung_up.wait(GUARD_S)
    assert received == [TokenChunk("a")]


def test_a_receiver_that_fails_is_logged_and_hangs_up(
    server: UpstreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviours.extend([answer, stall])
    for fails_at, text in ((Result, TEXT), (TokenChunk, "One")):
        received: list[object] = []

        def fail(event: object, kind: type = fails_at, received: list[object] = received) -> None:
            received.append(event)
            if isinstance(event, kind):
                raise ArithmeticError("the receiver fails")

        with engine_over(server) as engine:
            engine.begin(QUESTION, fail)
            wait_until(lambda engine=engine: bool(engine.upstreams()[0].requests))
            wait_until(lambda engine=engine: engine.upstreams()[0].outstanding == 0)
        shown = "".join(event.text for event in received if isinstance(event, TokenChunk))
        assert shown == text
    assert "could not be delivered" in caplog.text
    assert server.exchanges[1].hung_up.wait(GUARD_S)
    assert isinstance(received[-1], ArithmeticError)


def test_closing_the_engine_ends_requests_in_flight(server: UpstreamServer) -> None:
    server.behaviour = stall
    with engine_over(server) as engine:
        events = stream(engine)
        assert next(events) == TokenChunk("One")
        engine.close()
        with pytest.raises(GenerationError):
            next(events)
        assert server.exchanges[0].hung_up.wait(GUARD_S)
        with pytest.raises(GenerationError):
            Running(engine, QUESTION)
        engine.close()
