"""The end of an answer: whole by `[DONE]` or a finish reason, else torn, which is an error."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import pytest
from remote_kit import caption, engine_over, failure
from test_odd_servers import CIRCLE, DONE, RED, WORDS, choice, ended, event, parts, whole
from upstream_server import TEXT, Exchange, UpstreamServer, answer

from vlm.errors import UpstreamError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import JPEG, ask, picture, read_events, served, started


class Ending(NamedTuple):
    """An answer as a server sends it, its end, and whether the answer is whole."""

    body: bytes
    is_cut: bool
    """The connection breaks, where HTTP would have had it end."""
    is_whole: bool


def with_reason(text: str, reason: str) -> bytes:
    return event(choices=[choice(text, finish_reason=reason)])


ENDINGS = {
    "a reason by itself": Ending(WORDS + ended(), is_cut=True, is_whole=True),
    "a reason beside the last text": Ending(RED + with_reason(" circle.", "stop"), True, True),
    "a reason beside each text": Ending(
        with_reason("A red", "stop") + with_reason(" circle.", "stop"), True, False
    ),
    "a reason beside the only text": Ending(with_reason(TEXT, "stop"), True, False),
    "text after a reason": Ending(RED + ended() + CIRCLE, True, False),
    "text after a reason, which comes again": Ending(RED + ended() + CIRCLE + ended(), True, False),
    "an unknown reason": Ending(WORDS + ended("because"), True, True),
    "[DONE] alone": Ending(WORDS + DONE, True, True),
    "no reason": Ending(WORDS, False, False),
    "an empty reason": Ending(WORDS + ended(""), is_cut=False, is_whole=True),
    "an empty reason, torn": Ending(WORDS + ended(""), True, False),
    "an empty reason, then text": Ending(RED + ended("") + CIRCLE, False, False),
    **{
        f"the reason {reason} beside each text": Ending(
            with_reason("A red", reason) + with_reason(" circle.", reason), False, False
        )
        for reason in ("null", "None")
    },
    "an empty reason beside each text": Ending(
        with_reason("A red", "") + with_reason(" circle.", ""), False, False
    ),
    "half of [DONE]": Ending(WORDS + DONE[:-4], True, False),
    "parts without an end": Ending(parts("A red"), False, False),
    "an event on each line, the last one torn": Ending(
        (WORDS + ended()).replace(b"data: ", b"")[:-9], False, False
    ),
    "an event on each line, without a reason": Ending(WORDS.replace(b"data: ", b""), False, False),
    "one event in JSON, without a reason": Ending(RED.removeprefix(b"data: "), False, False),
    "half of a whole answer": Ending(whole()[:-20], False, False),
    **{
        f"the reason {reason}": Ending(WORDS + ended(reason) + DONE, False, False)
        for reason in ("content_filter", "SAFETY", "abort", "error", "insufficient_system_resource")
    },
    "an event of the type error": Ending(
        RED + b'event: error\ndata: {"message": "No GPU is free"}\n\n' + DONE, False, False
    ),
}


def sending(ending: Ending, exchange: Exchange) -> None:
    exchange.raw(ending.body)
    if ending.is_cut:
        exchange.cut()
    else:
        exchange.end()


def test_a_torn_answer_is_an_error_and_a_whole_one_is_not(server: UpstreamServer) -> None:
    wrong = {}
    with engine_over(server) as engine:
        for name, ending in ENDINGS.items():
            server.behaviour = partial(sending, ending)
            try:
                text = caption(engine).text
                if not ending.is_whole or text != TEXT:
                    wrong[name] = text
            except UpstreamError as error:
                if ending.is_whole:
                    wrong[name] = str(error)
    assert wrong == {}


@contextmanager
def sightline_over(server: UpstreamServer) -> Iterator[int]:
    """Yield the port of a Sightline that sends its frames to `server`."""
    with engine_over(server) as engine:
        worker = Worker(lambda: engine, 1)
        with started(worker), served(worker, Settings()) as (port, _):
            yield port


def test_a_torn_answer_is_an_error_over_http(server: UpstreamServer) -> None:
    server.behaviour = partial(sending, ENDINGS["no reason"])
    messages = [{"role": "user", "content": "What is this?"}]
    with sightline_over(server) as port:
        status, _, body = ask(port, "POST", "/api/captions", picture(), JPEG)
        *tokens, (name, data) = read_events(body)
        assert (status, [each for each, _ in tokens], name) == (200, ["token"] * 2, "error")
        assert "in the middle of an answer" in data["error"]["message"]
        for stream in (True, False):
            chat = json.dumps({"messages": messages, "stream": stream}).encode()
            headers = {"Content-Type": "application/json"}
            status, _, body = ask(port, "POST", "/v1/chat/completions", chat, headers)
            assert "in the middle of an answer" in body
            assert "[DONE]" not in body
            assert '"stop"' not in body
            assert status == (200 if stream else 502)


def test_an_unknown_reason_is_told_once(
    server: UpstreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = partial(sending, ENDINGS["an unknown reason"])
    with engine_over(server) as engine:
        assert [caption(engine).finish_reason for _ in range(3)] == ["stop"] * 3
    (record,) = caplog.records
    assert 'the unknown reason "because"' in record.getMessage()


EMPTY = {
    "nothing": (ended() + DONE, "ended its answer without a word."),
    "an end of the turn": (event("</s>") + ended() + DONE, "ended its answer without a word."),
    "a refusal": (
        event(choices=[choice(None, delta={"refusal": "I cannot do that."})]) + ended() + DONE,
        'answered that its model refuses: "I cannot do that.".',
    ),
    "a tool": (
        event(choices=[choice(None, delta={"tool_calls": [{"index": 0}]})]) + ended("tool_calls"),
        "called a tool and answered nothing.",
    ),
    "an end of the turn in the whole": (whole(content="<|im_end|>"), "without a word."),
}


def test_an_empty_answer_is_told_as_what_it_is(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        for name, (body, words) in EMPTY.items():
            server.behaviour = partial(sending, Ending(body, False, False))
            assert words in str(failure(engine)), name


def test_signs_of_life_keep_an_answer_alive(server: UpstreamServer) -> None:
    def waits(exchange: Exchange) -> None:
        exchange.raw(b": waiting\n\n")
        time.sleep(1.7)
        answer(exchange)

    server.behaviour = waits
    with engine_over(server, first_text_s=1.5) as engine:
        assert caption(engine).text == TEXT


def test_text_after_a_reason_is_waited_for(server: UpstreamServer) -> None:
    def hesitates(exchange: Exchange) -> None:
        exchange.raw(with_reason("A", "stop") + with_reason(" red", "stop"))
        time.sleep(0.3)
        exchange.text(" circle.")
        exchange.finish()

    server.behaviour = hesitates
    with engine_over(server, ending_s=0.05) as engine:
        assert caption(engine).text == TEXT


def test_each_server_is_closed_behind_a_cut(server: UpstreamServer) -> None:
    def goes_on(exchange: Exchange) -> None:
        exchange.text("A red circle.<|im_end|>\n<|im_start|>user\n")
        exchange.wait_for_hang_up()

    server.behaviour = goes_on
    with engine_over(server) as engine:
        result = caption(engine)
        assert (result.text, result.finish_reason) == (TEXT, "stop")
        assert server.exchanges[0].hung_up.wait(60)
        assert engine.upstreams()[0].failures == 0
