"""Laws of captions made by other servers: they come as they are made, and end when asked to."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator

import pytest
from PIL import Image
from remote_kit import FRAME, QUESTION, caption, engine_over
from upstream_server import MODEL, Exchange, UpstreamServer, hold_on, upstreams, well

from vlm.errors import BadRequestError, GenerationError
from vlm.types import Request, Result, TokenChunk
from worker_kit import GUARD_S, running, text_of, wait_until


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    with upstreams(1) as (one,):
        yield one


def test_a_caption_comes_in_pieces_and_whole(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        texts, done = caption(engine)
    assert texts == ["A red", " circle", "."]
    assert (done.finish_reason, done.stats.tokens, done.stats.prompt_tokens) == ("stop", 4, 80)
    assert 0 < done.stats.ttft_s <= done.stats.total_s


def test_the_frame_goes_out_as_a_jpeg_and_the_model_by_its_name(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        caption(engine)
        assert engine.info.model == MODEL
        assert engine.info.remote == (server.origin,)
    body = server.exchanges[0].body
    assert (body["model"], body["max_tokens"]) == (MODEL, QUESTION.max_tokens)
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
    assert (sent.format, sent.size) == ("JPEG", FRAME.size)


def test_each_piece_is_handed_on_before_the_next_one_is_made(server: UpstreamServer) -> None:
    go = threading.Semaphore(0)

    def step_by_step(exchange: Exchange) -> None:
        for text in ("One", " two"):
            exchange.text(text)
            assert go.acquire(timeout=GUARD_S)
        exchange.finish("length")

    server.behaviour = step_by_step
    with engine_over(server) as engine:
        items = engine.stream(QUESTION)
        for text in ("One", " two"):
            assert next(items) == TokenChunk(text)
            go.release()
        done = next(items)
        assert isinstance(done, Result)
        assert (done.text, done.finish_reason, done.stats.tokens) == ("One two", "length", 2)


def test_many_requests_are_under_way_at_once(server: UpstreamServer) -> None:
    all_are_here = threading.Barrier(12)

    def together(exchange: Exchange) -> None:
        all_are_here.wait(GUARD_S)
        well(exchange)

    server.behaviour = together
    with engine_over(server) as engine:
        assert engine.at_once >= 12
        jobs = [engine.begin(QUESTION) for _ in range(12)]
        ended = 0
        while ended < len(jobs):
            for items in engine.advance(jobs):
                ended += sum(isinstance(item, Result) for item in items)
        assert engine.advance(jobs) == [[]] * len(jobs)


def test_the_worker_serves_by_it_as_by_any_engine(server: UpstreamServer) -> None:
    with engine_over(server) as engine, running(engine) as worker:
        assert worker.info == engine.info
        streams = [worker.submit(QUESTION) for _ in range(4)]
        assert [text_of(stream) for stream in streams] == ["A red circle."] * 4


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "Unknown fields: stream_options, user"}},
        {
            "detail": [
                {"loc": ["body", name], "msg": "Extra"} for name in ("stream_options", "user")
            ]
        },
    ],
)
def test_a_server_that_knows_less_of_the_api_is_asked_in_what_it_knows(
    server: UpstreamServer, refusal: object
) -> None:
    def strict(exchange: Exchange) -> None:
        if {"stream_options", "user"} & set(exchange.body):
            exchange.refuse(422, refusal)
            return
        exchange.text("A red circle.")
        exchange.finish()

    server.behaviour = strict
    request = Request.about(FRAME, "What is this?", 16, camera="door")
    with engine_over(server) as engine:
        for _ in range(2):
            assert caption(engine, request)[1].stats.tokens == 1
        assert engine.upstreams()[0].failures == 0
    assert len(server.exchanges) == 3, "it is tried once"


def test_a_connection_is_used_again(server: UpstreamServer) -> None:
    with engine_over(server, check_every_s=60.0) as engine:
        for _ in range(5):
            caption(engine)
    assert len({exchange.client for exchange in server.exchanges}) == 1


def test_a_request_for_nothing_is_refused_at_once(server: UpstreamServer) -> None:
    with engine_over(server) as engine, pytest.raises(BadRequestError):
        engine.begin(Request.about(FRAME, "What?", 0))


# -- cancelling --


def test_cancelling_midway_hangs_up_and_keeps_what_was_said(server: UpstreamServer) -> None:
    server.behaviour = hold_on
    cancelled = threading.Event()
    with engine_over(server) as engine:
        items = engine.stream(QUESTION, cancelled.is_set)
        assert next(items) == TokenChunk("One")
        cancelled.set()
        done = next(items)
        assert isinstance(done, Result)
        assert (done.text, done.finish_reason) == ("One", "cancelled")
        assert server.exchanges[0].hung_up.wait(GUARD_S)
        wait_until(lambda: engine.upstreams()[0].outstanding == 0)
        assert engine.upstreams()[0].failures == 0


def test_cancelling_before_the_first_word_hangs_up(server: UpstreamServer) -> None:
    server.behaviour = Exchange.wait_for_hang_up
    with engine_over(server) as engine:
        (done,) = engine.stream(QUESTION, lambda: bool(server.exchanges))
        assert isinstance(done, Result)
        assert (done.text, done.finish_reason) == ("", "cancelled")
        assert server.exchanges[0].hung_up.wait(GUARD_S)


def test_a_stream_that_nobody_reads_on_hangs_up(server: UpstreamServer) -> None:
    server.behaviour = hold_on
    with engine_over(server) as engine:
        items = engine.stream(QUESTION)
        assert next(items) == TokenChunk("One")
        items.close()
        assert server.exchanges[0].hung_up.wait(GUARD_S)


def test_an_engine_that_is_closed_ends_what_is_under_way(server: UpstreamServer) -> None:
    server.behaviour = hold_on
    with engine_over(server) as engine:
        items = engine.stream(QUESTION)
        assert next(items) == TokenChunk("One")
        engine.close()
        with pytest.raises(GenerationError):
            next(items)
        assert server.exchanges[0].hung_up.wait(GUARD_S)
        with pytest.raises(GenerationError):
            next(engine.stream(QUESTION))
        engine.close()
