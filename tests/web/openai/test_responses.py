"""`/v1/responses`: with OpenAI's own client, and bodies as other programs send them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple

import openai
import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from pydantic import BaseModel, Field

from chat_kit import MODEL, assert_refused, data_uri, image_part, question, text_part
from vlm.types import Message, Sampling
from web.openai.responses_body import read_responses_body, responses_request

RESPONSES = "/v1/responses"
TEXT = {"type": "input_text", "text": "What is this?"}
IMAGE = {"type": "input_image", "image_url": data_uri()}
USER = {"role": "user", "content": [IMAGE, TEXT]}


class Scene(BaseModel):
    """A structured answer that ends soon."""

    colour: Literal["red", "green", "blue"]
    count: Annotated[int, Field(ge=0, le=9)]
    note: Annotated[str, Field(max_length=8)] | None


SCHEMA = {**Scene.model_json_schema(), "additionalProperties": False}
TOOL = {"type": "function", "name": "look", "parameters": SCHEMA}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "A door."}
CUSTOM_OUTPUT = {**OUTPUT, "type": "custom_tool_call_output"}
REFUSAL = {"type": "refusal", "refusal": "No."}
EARLIER = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "A door.", "annotations": [], "logprobs": []}],
}
REASONING = {"type": "reasoning", "id": "r1", "summary": [], "encrypted_content": "x"}


def create(client: OpenAI, **fields: Any) -> Any:
    return client.responses.create(**{"model": MODEL, "input": [USER], **fields})


def test_a_response_has_the_text_of_a_chat(client: OpenAI) -> None:
    messages: Any = [{"role": "system", "content": "Be brief."}, *question()]
    chat = client.chat.completions.create(model=MODEL, messages=messages)
    answer = create(client, instructions="Be brief.")
    assert answer.output_text == chat.choices[0].message.content
    assert (answer.status, answer.object, answer.model) == ("completed", "response", MODEL)
    assert (answer.error, answer.incomplete_details, answer.store) == (None, None, False)
    (item,) = answer.output
    assert (item.type, item.role, item.status) == ("message", "assistant", "completed")
    assert item.content[0].annotations == []
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (
        chat.usage.prompt_tokens,  # type: ignore[union-attr]
        chat.usage.completion_tokens,  # type: ignore[union-attr]
        chat.usage.total_tokens,  # type: ignore[union-attr]
    )


def test_a_stream_has_the_events_that_clients_read(client: OpenAI) -> None:
    whole = create(client)
    events = list(create(client, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    kinds = [event.type.removeprefix("response.") for event in events if event not in deltas]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert "".join(event.delta for event in deltas) == whole.output_text
    assert len({event.item_id for event in deltas}) == 1
    last = events[-1].response
    assert last.output_text == whole.output_text
    assert last.usage == whole.usage
    assert last.id == events[0].response.id
    assert last.output == [events[-2].item]


def test_an_answer_cut_at_its_limit_is_incomplete(client: OpenAI) -> None:
    answer = create(client, max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.output[0].status == "incomplete"
    last = list(create(client, max_output_tokens=2, stream=True))[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    assert last.response.output_text == answer.output_text


def test_structured_answers_fit_their_schema(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "input": [USER]}
    parsed = client.responses.parse(**asked, text_format=Scene).output_parsed
    with client.responses.stream(**asked, text_format=Scene) as events:
        for _ in events:
            pass
        assert events.get_final_response().output_parsed == parsed
    assert isinstance(parsed, Scene)
    free = create(client, text={"format": {"type": "json_object"}}, max_output_tokens=40)
    assert free.output_text.startswith("{")


def test_a_forced_tool_is_called(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "input": [USER], "tools": [TOOL]}
    (call,) = client.responses.create(**asked, tool_choice="required").output
    named: Any = {"type": "function", "name": "look"}
    with client.responses.stream(**asked, tool_choice=named) as events:
        kinds = {event.type for event in events}
        (streamed,) = events.get_final_response().output
    assert call.type == streamed.type == "function_call"
    assert call.name == streamed.name == "look"
    assert call.arguments == streamed.arguments
    assert Scene.model_validate_json(call.arguments)
    assert "response.function_call_arguments.done" in kinds
    turns = [USER, call.model_dump(exclude_none=True), {**OUTPUT, "call_id": call.call_id}]
    assert create(client, input=turns, max_output_tokens=4).output_text


def test_log_probabilities_come_if_they_are_included(client: OpenAI) -> None:
    asked: Any = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    (part,) = create(client, **asked, max_output_tokens=3).output[0].content
    assert "".join(token.token for token in part.logprobs).strip() == part.text
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)
    events = list(create(client, **asked, max_output_tokens=3, stream=True))
    streamed = [each for event in events if "delta" in event.type for each in event.logprobs]
    assert [token.token for token in streamed] == [token.token for token in part.logprobs]


def test_items_become_turns_in_their_order() -> None:
    body = {
        "instructions": "Be brief.",
        "input": [{"role": "developer", "content": "Look."}, EARLIER, REASONING, CALL, OUTPUT],
        "temperature": 1,
        "top_p": 0.5,
        "seed": 3,
        "user": "the hall",
    }
    asked = responses_request(read_responses_body(json.dumps(body).encode()))
    assert asked.request.task.messages == (
        Message("system", ("Be brief.",)),
        Message("system", ("Look.",)),
        Message("assistant", ("A door.",)),
        Message("assistant", ('look({"at": 1})',)),
        Message("user", ("A door.",)),
    )
    assert asked.request.task.sampling == Sampling(temperature=1.0, top_p=0.5, seed=3)
    assert asked.request.camera == "the hall"
    assert asked.ignored == ("input.reasoning",)


class Case(NamedTuple):
    """Fields of a body, and the names in the header of its answer."""

    fields: dict[str, Any]
    ignored: str = ""


CASES = [
    Case({"input": "Hello."}),
    Case({"input": [{"role": "user", "content": "Hello."}], "model": None}),
    Case({"input": [USER, EARLIER, CALL, OUTPUT]}),
    Case({"input": [USER, CALL, {**OUTPUT, "output": [IMAGE, TEXT]}]}),
    Case({"input": [REASONING, USER]}, "input.reasoning"),
    Case({"input": [{"role": "user", "content": [*question()[0]["content"]]}]}),
    Case({"input": [USER, {**CALL, "type": "custom_tool_call", "input": "a"}, CUSTOM_OUTPUT]}),
    Case({"input": [USER, {**EARLIER, "content": [REFUSAL], "phase": "final_answer"}, USER]}),
    Case({"stop": ["no such words"]}),
    Case({"store": True, "metadata": {"a": "b"}}, "metadata, store"),
    Case({"store": False, "previous_response_id": None, "background": False, "include": []}),
    Case({"tools": [TOOL], "tool_choice": "auto"}, "tools"),
    Case({"tools": [{"type": "web_search"}], "tool_choice": "none"}),
    Case({"tool_choice": "required", "tools": []}),
    Case({"reasoning": {"effort": "low"}, "truncation": "auto"}, "reasoning, truncation"),
    Case({"text": {"format": {"type": "text"}, "verbosity": "low"}}, "text.verbosity"),
    Case({"include": ["reasoning.encrypted_content"], "top_logprobs": 2}, "include, top_logprobs"),
    Case({"max_output_tokens": 2.0, "temperature": 1, "top_k": 4, "seed": 1}),
]


@pytest.mark.parametrize("stream", [False, True])
def test_what_other_programs_send_is_answered(web: FlaskClient, stream: bool) -> None:
    for case in CASES:
        body = {"input": [USER], "max_output_tokens": 1, "stream": stream, **case.fields}
        answer = web.post(RESPONSES, json=body)
        assert answer.status_code == 200, (case, answer.text)
        assert "response.failed" not in answer.text
        assert answer.headers.get("X-Sightline-Ignored", "") == case.ignored, case
        assert answer.headers["X-Sightline-Model"] == MODEL


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": None}, "input", "invalid_type"),
    ({"input": []}, "input", "invalid_value"),
    ({"input": [REASONING]}, "input", "missing_required_parameter"),
    ({"input": ["Hello."]}, "input[0]", "invalid_type"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "invalid_value"),
    ({"input": [{"content": "Hello."}]}, "input[0].role", "missing_required_parameter"),
    (
        {"input": [{"role": "user", "content": [TEXT, {"type": "input_file"}]}]},
        "input[0].content[1].type",
        "invalid_value",
    ),
    (
        {"input": [{"role": "user", "content": [{**IMAGE, "image_url": "http://a/b.png"}]}]},
        "input[0].content[0].image_url",
        "invalid_value",
    ),
    (
        {"input": [USER, {**OUTPUT, "output": [{**IMAGE, "image_url": "data:,"}]}]},
        "input[1].output[0].image_url",
        "invalid_value",
    ),
    ({"input": "a" * 32_001}, "input", "invalid_value"),
    ({"input": [{"role": "user", "content": "a" * 30_000}] * 5}, "input", "invalid_value"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_value"),
    ({"conversation": {"id": "conv_1"}}, "conversation", "unsupported_value"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_value"),
    ({"background": True}, "background", "unsupported_value"),
    ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
    (
        {"text": {"format": {"type": "json_schema", "name": "a"}}},
        "text.format.schema",
        "missing_required_parameter",
    ),
    (
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"not": {}}}}},
        "text.format.schema",
        "invalid_value",
    ),
    ({"tools": [TOOL, TOOL], "tool_choice": "required"}, "tool_choice", "unsupported_value"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "b"}},
        "tool_choice",
        "invalid_value",
    ),
    (
        {"tools": [{"type": "web_search"}], "tool_choice": "required"},
        "tools[0].name",
        "invalid_value",
    ),
]


def test_each_refusal_names_its_field(web: FlaskClient) -> None:
    for fields, param, code in REFUSED:
        answer = web.post(RESPONSES, json={"input": [USER], "max_output_tokens": 1, **fields})
        assert_refused(answer, 400, code, param)


def test_a_chat_that_the_context_cannot_hold_is_refused(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            create(client, input="word " * 6_000, stream=stream)
        assert refused.value.param == "input"


def test_nothing_is_kept(client: OpenAI) -> None:
    answer = create(client, max_output_tokens=1)
    for act in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="keeps no answers"):
            act(answer.id)


def test_parts_of_chats_are_taken_too(web: FlaskClient) -> None:
    parts = [text_part("What is this?"), image_part()]
    answer = web.post(RESPONSES, json={"input": [{"role": "user", "content": parts}]})
    assert answer.get_json()["output"][0]["content"][0]["text"]
