"""Each limit of what another server may answer is where `docs/http.md` says, in pieces of any size.

The other server sends one less than the limit, the limit, and one more, and a caption is asked of a
real server before it; of a long answer as tests/raw_requests.py has it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from remote_kit import LIMITS, engine_over
from upstream_server import MODEL, Behaviour, Exchange, UpstreamServer, upstreams

from raw_requests import CHUNK_BYTES, WAYS, Sent, ask, pieces_of
from vlm.errors import ModelFailedError
from vlm.remote import answer, client
from vlm.remote.engine import RemoteEngine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import picture, served, started
from worker_kit import wait_until

ASKED_TOKENS = 4
ASKED = Sent(picture(), path=f"/api/captions?max_tokens={ASKED_TOKENS}")
TEXT_EVENT = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}


class Case(NamedTuple):
    """A limit; `behave(n, way)` answers with `n` of it, in these pieces."""

    name: str
    limit: int
    behave: Callable[[int, int | str], Behaviour]


def in_pieces(data: bytes, way: int | str) -> Iterator[bytes]:
    return pieces_of(data, CHUNK_BYTES if isinstance(way, str) else way)


def event_of_bytes(size: int, way: int | str) -> Behaviour:
    line = padded(TEXT_EVENT, size - len("data: "))

    def behave(exchange: Exchange) -> None:
        for piece in in_pieces(b"data: " + line + b"\n\n", way):
            exchange.raw(piece)
        exchange.finish()

    return behave


def padded(value: dict[str, Any], size: int) -> bytes:
    """`value` as JSON of `size` bytes, with one more field."""
    start = json.dumps(value | {"pad": ""}).encode().removesuffix(b'"}')
    return start.ljust(size - 2, b"x") + b'"}'


def events(count: int, way: int | str) -> Behaviour:
    # One has the text, and one the reason why it ends.
    data = b'data: {"choices": []}\n\n' * (count - 2)

    def behave(exchange: Exchange) -> None:
        for piece in in_pieces(data, way):
            exchange.raw(piece)
        exchange.text("x")
        exchange.finish()

    return behave


def text_of_chars(count: int, way: int | str) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        line = json.dumps({"choices": [{"delta": {"content": "x" * count}}]})
        for piece in in_pieces(f"data: {line}\n\n".encode(), way):
            exchange.raw(piece)
        exchange.finish()

    return behave


def bytes_without_text(size: int, way: int | str) -> Behaviour:
    text = f"data: {json.dumps(TEXT_EVENT)}\n\n".encode()
    comment = b":".ljust(59_999, b"x") + b"\n"
    before = (comment * (size // len(comment) + 1))[-(size - len(text)) :]

    def behave(exchange: Exchange) -> None:
        # The first line may be one of no known field, which counts too.
        for piece in in_pieces(before + text, way):
            exchange.raw(piece)
        exchange.finish()

    return behave


def thoughts(count: int) -> Behaviour:
    data = b'data: {"choices": [{"delta": {"reasoning_content": "x"}}]}\n\n' * count

    def behave(exchange: Exchange) -> None:
        exchange.raw(data)
        exchange.text("x")
        exchange.finish()

    return behave


CASES = [
    Case("bytes of an event", client._MAX_EVENT_BYTES, event_of_bytes),
    Case("events", answer._EVENTS_PER_TOKEN * ASKED_TOKENS + answer._SPARE_EVENTS, events),
    Case("bytes without text", answer._SPARE_BYTES, bytes_without_text),
    Case("characters of a text", answer._TOKEN_MAX_CHARS * ASKED_TOKENS, text_of_chars),
]


@contextmanager
def answering() -> Iterator[tuple[UpstreamServer, int]]:
    """Another server, and the port of a Sightline that sends its frames there."""
    with upstreams(1) as (upstream,), engine_over(upstream) as engine:
        worker = Worker(lambda: engine, 1)
        with started(worker), served(worker, Settings()) as (port, _):
            yield upstream, port


def around(limit: int) -> tuple[int, int, int]:
    return limit - 1, limit, limit + 1


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_is_bounded(way: int | str) -> None:
    wrong = []
    with answering() as (upstream, port):
        for case in CASES:
            for n in around(case.limit):
                upstream.behaviour = case.behave(n, way)
                got = ask(port, ASKED, 0)
                if got.code != ("" if n <= case.limit else "upstream_failed"):
                    wrong.append((case.name, n - case.limit, got))
    assert wrong == []


def test_thoughts_are_bounded() -> None:
    with answering() as (upstream, port):
        for n in around(answer._MAX_THOUGHTS):
            upstream.behaviour = thoughts(n)
            code = ask(port, ASKED, 0).code
            assert code == ("" if n <= answer._MAX_THOUGHTS else "upstream_failed")


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_is_quoted_if_it_is_short(way: int | str) -> None:
    quotes = []
    with answering() as (upstream, port):
        upstream.cut = partial(in_pieces, way=way)
        for n in around(client._MAX_ERROR_BYTES):
            body = padded({"error": {"message": "no pictures today"}}, n)
            upstream.behaviour = partial(Exchange.respond, status=400, content=body)
            got = ask(port, ASKED, 0)
            assert got.code == "bad_request"
            quotes.append("no pictures today" in got.message)
    assert quotes == [True, True, False]


def list_of_bytes(size: int) -> object:
    return json.loads(padded({"data": [{"id": MODEL}]}, size))


def list_of_name(chars: int) -> object:
    return {"data": [{"id": "m" * chars}]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("limit", "make"),
    [(client._MAX_LIST_BYTES, list_of_bytes), (client._MAX_NAME_CHARS, list_of_name)],
)
def test_a_list_of_models_is_bounded(
    limit: int, make: Callable[[int], object], way: int | str
) -> None:
    for n in around(limit):
        with upstreams(1) as (upstream,):
            upstream.cut = partial(in_pieces, way=way)
            upstream.models = make(n)
            if n <= limit:
                with engine_over(upstream) as engine:
                    assert engine.upstreams()[0].healthy
                continue
            settings = Settings(engine="openai", base_url=(upstream.base_url,))
            engine = RemoteEngine(settings, LIMITS, random.Random(0))
            with ThreadPoolExecutor(1) as pool:
                opened = pool.submit(engine.open, lambda _: None)
                # Two were read and refused by then.
                wait_until(lambda: upstream.lists >= 3)
                engine.stop_waiting()
                assert isinstance(opened.exception(), ModelFailedError)
            engine.close()
