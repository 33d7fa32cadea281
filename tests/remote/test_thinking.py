"""Models that think before they answer: thoughts are not shown, and switched off if possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from remote_kit import QUESTION, caption, captions, engine_over, failure, stream
from test_odd_servers import DONE, choice, ended, event
from upstream_server import TEXT, Behaviour, Exchange, UpstreamServer, answer, upstreams

from vlm.errors import SightlineError, UpstreamError
from vlm.results import Result
from worker_kit import GUARD_S

SWITCHES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "chat_template_kwargs": lambda body: (
        body.get("chat_template_kwargs", {}).get("enable_thinking") is False
    ),
    "reasoning_effort": lambda body: body.get("reasoning_effort") in ("none", "minimal", "low"),
    "think": lambda body: body.get("think") is False,
    "enable_thinking": lambda body: body.get("enable_thinking") is False,
    "thinking": lambda body: body.get("thinking") == {"type": "disabled"},
}
# Thoughts that fill the answer up to the limit.
ENDLESS = {
    "reasoning_content": event(choices=[choice(None, delta={"reasoning_content": "Hm."})]) * 16,
    "reasoning": event(choices=[choice(None, delta={"reasoning": "Hm."})]) * 16,
    "an open block": event("<think>") + event(" Hm.") * 15,
    "hidden": event(choices=[], usage={"completion_tokens_details": {"reasoning_tokens": 16}}),
}


def thinking_unless(switch: str, thoughts: bytes, *, is_strict: bool = False) -> Behaviour:
    """Think unless the switch is there; with `is_strict`, refuse the other switches."""

    def behave(exchange: Exchange) -> None:
        refused = [name for name in SWITCHES if name in exchange.body and name != switch]
        if is_strict and refused:
            exchange.respond(400, {"error": {"message": f"Unknown parameter: '{refused[0]}'."}})
        elif switch in SWITCHES and SWITCHES[switch](exchange.body):
            exchange.text(TEXT)
            exchange.finish()
        else:
            exchange.raw(thoughts + ended("length") + DONE)
            exchange.end()

    return behave


def test_thinking_is_switched_off_once_it_is_seen() -> None:
    wrong = []
    for switch in SWITCHES:
        for name, thoughts in ENDLESS.items():
            for is_strict in (False, True):
                with upstreams(1) as (server,), engine_over(server) as engine:
                    server.behaviour = thinking_unless(switch, thoughts, is_strict=is_strict)
                    try:
                        texts = [caption(engine).text for _ in range(2)]
                    except SightlineError as error:
                        texts = [str(error)]
                    refused = len(SWITCHES) - 1 if is_strict else 0
                    if texts != [TEXT] * 2 or len(server.exchanges) != 3 + refused:
                        wrong.append((switch, name, is_strict, texts, len(server.exchanges)))
                    assert not set(SWITCHES) & set(server.exchanges[0].body)
    assert wrong == []


def test_a_server_that_fails_by_the_switches_gets_none(server: UpstreamServer) -> None:
    thoughts = event(choices=[choice(None, delta={"reasoning": "Hm."})])
    for status, words in ((400, b""), (422, b"Bad request"), (500, b"{}"), (500, b"KeyError")):

        def behave(exchange: Exchange, status: int = status, words: bytes = words) -> None:
            if set(SWITCHES) & set(exchange.body):
                exchange.respond(status, words)
                return
            exchange.raw(thoughts)
            answer(exchange)

        server.behaviour = behave
        with engine_over(server) as engine:
            sent = len(server.exchanges)
            assert [caption(engine).text for _ in range(3)] == [TEXT] * 3
            assert len(server.exchanges) == sent + 4
            assert engine.upstreams()[0].failures == 0


def test_an_effort_that_the_server_knows_is_taken(server: UpstreamServer) -> None:
    def behave(exchange: Exchange) -> None:
        effort = exchange.body.get("reasoning_effort")
        if effort in ("none", "minimal"):
            words = "Input should be 'low', 'medium' or 'high'"
            exchange.respond(422, {"detail": [{"loc": ["body", "reasoning_effort"], "msg": words}]})
        else:
            thinking_unless("reasoning_effort", ENDLESS["reasoning"])(exchange)

    server.behaviour = behave
    with engine_over(server) as engine:
        assert [caption(engine).text for _ in range(2)] == [TEXT] * 2
    assert server.exchanges[-1].body["reasoning_effort"] == "low"


def test_a_model_that_is_said_to_think_is_asked_not_to_at_once(server: UpstreamServer) -> None:
    server.models = {"data": [{"id": "x", "capabilities": ["completion", "vision", "thinking"]}]}
    server.behaviour = thinking_unless("think", ENDLESS["reasoning"])
    with engine_over(server) as engine:
        assert caption(engine).text == TEXT
    assert len(server.exchanges) == 1


def test_an_answer_that_is_only_thoughts_is_told_as_that(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        for name, thoughts in ENDLESS.items():
            server.behaviour = thinking_unless("no switch", thoughts)
            error = failure(engine)
            assert isinstance(error, UpstreamError)
            assert "spent its whole answer on thinking" in str(error), name
            assert "--max-tokens" in str(error)
        # Once it was asked to think and once not to; later only not to.
        assert len(server.exchanges) == len(ENDLESS) + 1


def test_requests_in_flight_together_are_all_asked_for_again(server: UpstreamServer) -> None:
    are_here = threading.Barrier(4)

    def behave(exchange: Exchange) -> None:
        if "think" not in exchange.body:
            are_here.wait(GUARD_S)
        thinking_unless("think", ENDLESS["reasoning"])(exchange)

    server.behaviour = behave
    with engine_over(server) as engine:
        assert captions(engine, 4) == [TEXT] * 4


def test_an_answer_that_is_all_parsed_as_thoughts_is_told_as_that(server: UpstreamServer) -> None:
    server.behaviour = lambda exchange: exchange.respond(
        200, ENDLESS["reasoning_content"] + ended("stop") + DONE
    )
    with engine_over(server) as engine:
        assert "parser of thoughts" in str(failure(engine))


def test_thoughts_that_only_their_end_marks_are_shown_once_at_most(server: UpstreamServer) -> None:
    def behave(exchange: Exchange) -> None:
        for text in (
            "The user",
            " wants",
            " a caption.",
            "\n</th",
            "ink>\n\n",
            "A red",
            " circle.",
        ):
            exchange.text(text)
        exchange.finish()

    server.behaviour = behave
    with engine_over(server) as engine:
        assert "with its model's thoughts" in str(failure(engine))
        assert [caption(engine).text for _ in range(2)] == [TEXT] * 2
        # Without thoughts the answer is shown as it is, and the next one as it comes.
        server.behaviour = lambda exchange: (
            exchange.text("A red"),
            exchange.text(" circle."),
            exchange.finish(),
        )[0]
        assert caption(engine).text == TEXT
        *chunks, result = stream(engine, QUESTION)
        assert isinstance(result, Result)
        assert len(chunks) == 2
