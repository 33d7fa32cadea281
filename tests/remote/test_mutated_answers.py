"""Mutated answers of a server: each ends in a caption or in an error that was meant.

With `-m slow`, 20,000 of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest
from remote_kit import FRAME, Running, engine_over
from test_model_choice import LISTS
from test_odd_servers import BODIES, TYPES
from test_refused_fields import REFUSALS
from upstream_server import Exchange, UpstreamServer

from engine_kit import chat_request
from vlm.errors import SightlineError
from vlm.remote.failures import UpstreamFailure, failure_of_status
from vlm.remote.fields import ServerFields
from vlm.remote.models_list import choose, read_list
from vlm.types import Message, Request

# Pieces that a mutation puts in.
PIECES = (
    *(b"\n", b"\n\n", b"\r", b": x\n", b"data: ", b"event: error\n", b"[DONE]", b"{", b"}", b"[]"),
    *(b"null", b"-1", b"1e999", b"NaN", b'""', b'"\\ud83d"', b"\\u0000", b"\xff", b"\xf0\x9f"),
    *(b"\\", b"<think>", b"</think>", b"</s>", b"<|im_end|>", b'"content": ', b'"delta": '),
    *(b'"choices": ', b'"message": 5, ', b'"usage": {"completion_tokens": -1}, ', b"9" * 40),
    *(b'"finish_reason": "x", ', b'"logprobs": {"content": [{}]}, ', b'"error": 1, ', b" " * 3000),
    *(b"[" * 2000, b'{"a":' * 500),
)


def mutated(body: bytes, pick: random.Random) -> bytes:
    """Return `body` with one to eight changes: bits, pieces put in, cut out, doubled or swapped."""
    data = bytearray(body)
    for _ in range(pick.randint(1, 8)):
        at, end = sorted(pick.randrange(len(data) + 1) for _ in range(2))
        end = min(end, at + 40)
        kind = pick.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << pick.randrange(8)
        elif kind == 1:
            data[at:at] = pick.choice(PIECES)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            data[at:end] = pick.choice(PIECES)
        else:
            del data[at:]
    return bytes(data)


def bodies(count: int, seed: int) -> Iterator[bytes]:
    pick = random.Random(seed)
    sources = [body for body in BODIES.values() if len(body) < 10_000]
    for _ in range(count):
        yield mutated(pick.choice(sources), pick)


REQUESTS = (
    Request.about(FRAME.resize((8, 8)), "What is this?", 16),
    chat_request((Message("user", ("Go.",)),), 4, top_logprobs=2, stop=("END",)),
    chat_request((Message("user", ("Go.",)),), 16, stop_loops=True),
)


def unexpected(server: UpstreamServer, count: int, seed: int) -> list[tuple[bytes, Exception]]:
    """Return the mutated answers that end in another exception than those that are meant."""
    pick = random.Random(seed)
    found: list[tuple[bytes, Exception]] = []
    with engine_over(server, faults_in_a_row=10**9, ending_s=0.02, tries=1) as engine:
        for body in bodies(count, seed):
            content_type, is_whole = pick.choice(TYPES), pick.random() < 0.5

            def behave(
                exchange: Exchange,
                body: bytes = body,
                content_type: str | None = content_type,
                is_whole: bool = is_whole,
            ) -> None:
                if is_whole:
                    headers = {} if content_type is None else {"Content-Type": content_type}
                    exchange.respond(200, body, headers)
                else:
                    for start in range(0, len(body), 1 + len(body) // 3):
                        exchange.raw(body[start : start + 1 + len(body) // 3])
                    exchange.end()

            server.behaviour = behave
            request = pick.choice(REQUESTS)
            try:
                result = Running(engine, request).result()
                result.text.encode()
            except SightlineError:
                continue
            except Exception as error:
                found.append((body, error))
    return found


def test_no_mutated_answer_ends_in_an_unexpected_exception(server: UpstreamServer) -> None:
    assert unexpected(server, 300, 1) == []


def test_mutated_lists_and_refusals_are_read_or_refused() -> None:
    pick = random.Random(3)
    lists = [json.dumps({"data": models}).encode() for models, _ in LISTS.values()]
    refusals = [json.dumps(each.body("seed"), default=str).encode() for each in REFUSALS.values()]
    sent = {"messages": [{"role": "user", "content": "Go."}], "seed": 3, "temperature": 0, "x": 1}
    for _ in range(2_000):
        body = mutated(pick.choice(lists), pick)
        with suppress(UpstreamFailure):
            choose(read_list(body, 256), "a")
        fields = ServerFields()
        failure = failure_of_status(400, {}, mutated(pick.choice(refusals), pick), "key")
        failure.words.encode()
        fields.learn(failure, sent, set())
        assert fields.body(sent)["messages"] == sent["messages"]


@pytest.mark.slow
def test_none_of_20_000_mutated_answers_ends_in_an_unexpected_exception(
    server: UpstreamServer,
) -> None:
    assert unexpected(server, 20_000, 2) == []
