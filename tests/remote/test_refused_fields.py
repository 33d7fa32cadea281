"""Fields that a server refuses by name are renamed or left out once, and that is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
from remote_kit import FRAME, QUESTION, Running, caption, engine_over, failure
from upstream_server import TEXT, Behaviour, Exchange, UpstreamServer, upstreams

from engine_kit import chat_request, with_task
from vlm.errors import BadRequestError
from vlm.types import Form, Message, Request, Sampling
from worker_kit import wait_until

SAMPLED = with_task(QUESTION, sampling=Sampling(temperature=0.5, seed=3, top_p=0.9))
NAMED = Request.about(FRAME, "What is this?", 16, camera="door")


class Refusal(NamedTuple):
    """A refusal of a field: its status, and its body for the name of the field."""

    status: int
    body: Callable[[str], object]


def openai(code: str, words: str) -> Callable[[str], object]:
    return lambda name: {
        "error": {
            "message": words.format(name=name),
            "type": "invalid_request_error",
            "param": name,
            "code": code,
        }
    }


def text(words: str) -> Callable[[str], object]:
    return lambda name: {"error": {"message": words.format(name=name), "param": None}}


def pydantic(name: str) -> list[object]:
    path = ["body", "messages", 0, "content", 0, "image_url"] if name == "detail" else ["body"]
    return [{"type": "extra_forbidden", "loc": [*path, name], "msg": "Extra inputs", "input": 1}]


# As these servers write it.
REFUSALS = {
    "OpenAI": Refusal(
        400,
        openai("unsupported_parameter", "Unsupported parameter: '{name}' is not supported here."),
    ),
    "OpenAI, a value": Refusal(
        400,
        openai("unsupported_value", "Unsupported value: '{name}' does not support 0 here."),
    ),
    "OpenAI, unknown": Refusal(400, openai("unknown_parameter", "Unknown parameter: '{name}'.")),
    "Azure": Refusal(400, text("Unrecognized request argument supplied: {name}")),
    "Azure, a path": Refusal(400, text("Validation at #/{name}: Extra inputs are not permitted")),
    "FastAPI": Refusal(422, lambda name: {"detail": pydantic(name)}),
    "Mistral": Refusal(422, lambda name: {"message": {"detail": pydantic(name)}}),
    "vLLM": Refusal(
        400, lambda name: {"object": "error", "message": str(pydantic(name)), "param": None}
    ),
    "Fireworks": Refusal(400, text("Extra inputs are not permitted, field: '{name}'")),
    "Groq": Refusal(400, text("property '{name}' is unsupported")),
    "llama.cpp": Refusal(400, text("Unsupported param: {name}")),
    "serde": Refusal(422, text("Failed to deserialize the JSON body: unknown field `{name}`")),
    "Cohere": Refusal(
        400, lambda name: {"message": f"unknown field: parameter '{name}' is not a valid field"}
    ),
    "Gemini": Refusal(
        400,
        lambda name: [
            {"error": {"code": 400, "message": f'Unknown name "{name}": Cannot find field.'}}
        ],
    ),
    "LiteLLM": Refusal(
        400,
        lambda name: {
            "error": {"message": f"openai does not support parameters: ['{name}']", "param": "None"}
        },
    ),
    "a proxy": Refusal(500, text("upstream said: unexpected keyword argument '{name}'")),
    "plain text": Refusal(400, lambda name: f"unknown parameter '{name}'".encode()),
}
FIELDS = {
    "max_tokens": QUESTION,
    "temperature": QUESTION,
    "stream_options": QUESTION,
    "stream": QUESTION,
    "detail": QUESTION,
    "user": NAMED,
    "seed": SAMPLED,
    "top_p": SAMPLED,
}


def has_field(body: dict[str, Any], name: str) -> bool:
    return name in (json.dumps(body["messages"]) if name == "detail" else body)


def refusing(refusal: Refusal, *names: str) -> Behaviour:
    """Refuse each request with one of `names`, the first one that it has."""

    def behave(exchange: Exchange) -> None:
        for name in names:
            if has_field(exchange.body, name):
                exchange.respond(refusal.status, refusal.body(name))
                return
        answer_as_asked(exchange)

    return behave


def answer_as_asked(exchange: Exchange) -> None:
    if exchange.body.get("stream"):
        exchange.text(TEXT)
        exchange.finish()
    else:
        message = {"role": "assistant", "content": TEXT}
        exchange.respond(200, {"choices": [{"message": message, "finish_reason": "stop"}]})


def test_a_field_that_a_server_refuses_is_left_out_once_and_for_all() -> None:
    wrong = []
    for kind, refusal in REFUSALS.items():
        for name, request in FIELDS.items():
            with upstreams(1) as (server,), engine_over(server) as engine:
                server.behaviour = refusing(refusal, name)
                try:
                    texts = [caption(engine, request).text for _ in range(3)]
                except BadRequestError as error:
                    texts = [str(error)]
                bodies = [exchange.body for exchange in server.exchanges]
                if texts != [TEXT] * 3 or len(bodies) != 4 or engine.upstreams()[0].failures:
                    wrong.append((kind, name, texts, len(bodies)))
                # The picture and the question are in each.
                for body in bodies:
                    assert "image_url" in json.dumps(body["messages"])
                    assert "What is this?" in json.dumps(body["messages"])
    assert wrong == []


def test_several_refused_fields_are_left_out_one_after_the_other(server: UpstreamServer) -> None:
    names = ("stream_options", "temperature", "max_tokens", "detail", "seed", "top_p")
    server.behaviour = refusing(REFUSALS["OpenAI"], *names)
    with engine_over(server) as engine:
        assert [caption(engine, SAMPLED).text for _ in range(2)] == [TEXT] * 2
    *refused, second, third = [exchange.body for exchange in server.exchanges]
    assert len(refused) == len(names)
    assert second == third
    assert second["max_completion_tokens"] == 16


def test_the_limit_has_two_names_and_is_kept_here_if_both_are_refused(
    server: UpstreamServer,
) -> None:
    refusal = REFUSALS["FastAPI"]
    with engine_over(server) as engine:
        server.behaviour = refusing(refusal, "max_tokens")
        caption(engine)
        assert server.exchanges[-1].body["max_completion_tokens"] == 16
        # Another version, perhaps, that takes the other name.
        server.behaviour = refusing(refusal, "max_completion_tokens")
        caption(engine)
        assert server.exchanges[-1].body["max_tokens"] == 16

        def endless(exchange: Exchange) -> None:
            if {"max_tokens", "max_completion_tokens"} & set(exchange.body):
                refusing(refusal, "max_tokens", "max_completion_tokens")(exchange)
                return
            for _ in range(40):
                exchange.text("on ")
            exchange.wait_for_hang_up()

        server.behaviour = endless
        result = caption(engine)
    assert (result.text, result.finish_reason) == ("on " * 16, "length")


def test_stops_that_are_refused_are_kept_here(server: UpstreamServer) -> None:
    def behave(exchange: Exchange) -> None:
        if "stop" in exchange.body:
            refusing(REFUSALS["llama.cpp"], "stop")(exchange)
            return
        for text in ("A red circle.", "\nEN", "D of it"):
            exchange.text(text)
        exchange.wait_for_hang_up()

    server.behaviour = behave
    with engine_over(server) as engine:
        result = caption(engine, with_task(QUESTION, stop=("\nEND",)))
    assert (result.text, result.finish_reason) == (TEXT, "stop")


def test_a_wrong_value_is_told_and_its_field_is_kept(server: UpstreamServer) -> None:
    too_large = "max_tokens is too large: 16. This model supports at most 8."
    # Not a word of the prompt either.
    too_long = "This model's maximum context length is 80 tokens (max_tokens among them)."
    with engine_over(server) as engine:
        for words in (too_large, too_long, "`top_p` must be between 0 and 0.5"):
            server.behaviour = partial(
                Exchange.respond, status=400, content={"error": {"message": words}}
            )
            sent = len(server.exchanges)
            error = failure(engine, SAMPLED)
            assert isinstance(error, BadRequestError)
            assert words in str(error)
            assert len(server.exchanges) == sent + 1
        server.behaviour = answer_as_asked
        caption(engine, SAMPLED)
    body = server.exchanges[-1].body
    assert (body["max_tokens"], body["top_p"]) == (16, 0.9)


def test_a_server_that_refuses_a_temperature_of_zero_gets_almost_that(
    server: UpstreamServer,
) -> None:
    def strict(exchange: Exchange) -> None:
        if exchange.body.get("temperature") == 0:
            words = "`temperature` must be strictly positive"
            exchange.respond(422, {"error": words, "error_type": "validation"})
        else:
            answer_as_asked(exchange)

    server.behaviour = strict
    with engine_over(server) as engine:
        assert [caption(engine).text for _ in range(2)] == [TEXT] * 2
        assert [each.body["temperature"] for each in server.exchanges] == [0, 0.01, 0.01]
        caption(engine, SAMPLED)
    assert server.exchanges[-1].body["temperature"] == 0.5


def test_images_are_plain_texts_for_a_server_that_wants_them_so(server: UpstreamServer) -> None:
    def strict(exchange: Exchange) -> None:
        (message,) = exchange.body["messages"]
        if isinstance(message["content"][0]["image_url"], str):
            answer_as_asked(exchange)
            return
        path = ["body", "messages", 0, "content", 0, "image_url"]
        words = "Input should be a valid string"
        exchange.respond(422, {"detail": [{"loc": path, "msg": words, "type": "string_type"}]})

    server.behaviour = strict
    with engine_over(server) as engine:
        assert [caption(engine).text for _ in range(2)] == [TEXT] * 2
    assert len(server.exchanges) == 3


SCHEMA = Form("json_schema", '{"type": "object"}')
CHAT = (Message("user", (FRAME, "Go.")),)


def test_what_a_person_asked_for_is_never_left_out(server: UpstreamServer) -> None:
    cases = {
        "response_format": chat_request(CHAT, 16, form=SCHEMA),
        "logprobs": chat_request(CHAT, 16, top_logprobs=2),
        "image_url": QUESTION,
        "messages": QUESTION,
        "model": QUESTION,
    }
    with engine_over(server) as engine:
        caption(engine)
        for name, request in cases.items():
            for refusal in (each for each in REFUSALS.values() if each.status != 500):
                server.behaviour = lambda exchange, name=name, refusal=refusal: exchange.respond(
                    refusal.status, refusal.body(name)
                )
                sent = len(server.exchanges)
                failure(engine, request)
                bodies = [exchange.body for exchange in server.exchanges[sent:]]
                assert len(bodies) == 1, (name, refusal.body(name))


def test_a_model_that_sees_no_pictures_is_told_with_a_way_on(server: UpstreamServer) -> None:
    cases = (
        (400, "tiny is not a multimodal model"),
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
        (404, "No endpoints found that support image input"),
        (400, "this model is missing data required for image input"),
        (422, "unknown variant `image_url`, expected `text`"),
        (422, "messages.0.content: Input should be a valid string"),
    )
    for status, words in cases:
        server.behaviour = partial(
            Exchange.respond, status=status, content={"error": {"message": words}}
        )
        with engine_over(server) as engine:
            message = str(failure(engine))
            assert words in message
            assert "sees no pictures, name one that does with --remote-model" in message, words


def test_a_refusal_without_a_name_drops_what_changes_no_answer(server: UpstreamServer) -> None:
    def strict(exchange: Exchange) -> None:
        if {"stream_options", "user"} & set(exchange.body):
            exchange.respond(400, {"error": {"message": "Additional properties are not allowed"}})
        else:
            answer_as_asked(exchange)

    server.behaviour = strict
    with engine_over(server) as engine:
        assert [caption(engine, NAMED).text for _ in range(2)] == [TEXT] * 2
        assert len(server.exchanges) == 3
        # A server that refuses all is asked twice, and then as before.
        server.behaviour = partial(Exchange.respond, status=400, content=b"Unknown field")
    with engine_over(server) as engine:
        for sent in (2, 1):
            before = len(server.exchanges)
            assert isinstance(failure(engine, NAMED), BadRequestError)
            assert len(server.exchanges) == before + sent
        assert {"stream_options", "user"} <= set(server.exchanges[-1].body)


def test_only_so_many_lessons_are_taken(server: UpstreamServer) -> None:
    def never_content(exchange: Exchange) -> None:
        names = [each for each in exchange.body if each not in ("model", "messages")]
        exchange.respond(400, REFUSALS["OpenAI"].body(names[0] if names else "messages"))

    server.behaviour = never_content
    with engine_over(server) as engine:
        assert isinstance(failure(engine, SAMPLED), BadRequestError)
    assert len(server.exchanges) < 13
    assert all("image_url" in json.dumps(each.body["messages"]) for each in server.exchanges)


def test_what_is_left_out_of_sampling_is_told_once(
    server: UpstreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = refusing(REFUSALS["FastAPI"], "temperature", "stream_options", "seed")
    with engine_over(server) as engine:
        for _ in range(3):
            caption(engine, SAMPLED)
    assert [record.getMessage() for record in caplog.records] == [
        f"{server.origin} does not take {name}: its answers are made without it."
        for name in ("temperature", "seed")
    ]


def test_what_was_learnt_outlasts_a_failure_and_not_another_model() -> None:
    refusal = REFUSALS["OpenAI"]
    with upstreams(1) as (first,), engine_over(first) as engine:

        def sent_by(server: UpstreamServer, request: Request = QUESTION) -> int:
            sent = len(server.exchanges)
            Running(engine, request).result()
            return len(server.exchanges) - sent

        first.behaviour = refusing(refusal, "temperature")
        assert [sent_by(first), sent_by(first)] == [2, 1]
        first.close()
        wait_until(lambda: not engine.upstreams()[0].healthy)
        again = UpstreamServer(first.port)
        try:
            again.behaviour = refusing(refusal, "temperature")
            wait_until(lambda: engine.upstreams()[0].healthy)
            assert sent_by(again) == 1, "the server came back"
            for change in ({"id": "other-vlm"}, {"id": "other-vlm", "owned_by": "vllm"}):
                again.models = {"data": [change]}
                lists = again.lists
                wait_until(lambda lists=lists: again.lists >= lists + 3)
                assert [sent_by(again), sent_by(again)] == [2, 1], change
            again.version = "tiny/2.0"
            lists = again.lists
            wait_until(lambda: again.lists >= lists + 3)
            assert [sent_by(again), sent_by(again)] == [2, 1], "another version"
        finally:
            again.close()


def test_servers_do_not_share_what_was_learnt() -> None:
    with upstreams(2) as (strict, plain), engine_over(strict, plain) as engine:
        strict.behaviour = refusing(REFUSALS["OpenAI"], "temperature")
        wait_until(lambda: all(each.healthy for each in engine.upstreams()))
        for _ in range(4):
            caption(engine)
        assert plain.exchanges
        assert all("temperature" in each.body for each in plain.exchanges)
