"""Servers that answer in another form than OpenAI's, and mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from remote_kit import caption, engine_over, failure
from upstream_server import TEXT, Behaviour, Exchange, UpstreamServer

from vlm.errors import UpstreamError
from worker_kit import GUARD_S

EVENTS = "text/event-stream"
DONE = b"data: [DONE]\n\n"


def choice(text: str | None, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": None, **fields}


def event(text: str | None = None, choices: object = None, **fields: Any) -> bytes:
    """Return one event of a stream: with `text`, with these `choices`, with more `fields`."""
    found = [choice(text)] if choices is None else choices
    return f"data: {json.dumps({'choices': found, **fields})}\n\n".encode()


def ended(reason: str | None = "stop", **fields: Any) -> bytes:
    return event(choices=[choice(None, finish_reason=reason)], **fields)


RED, CIRCLE = event("A red"), event(" circle.")
WORDS = RED + CIRCLE
PLAIN = WORDS + ended() + DONE


def whole(reason: str | None = "stop", content: object = TEXT, **fields: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    found = {"choices": [{"index": 0, "message": message, "finish_reason": reason}], **fields}
    return json.dumps(found).encode()


def parts(text: str) -> bytes:
    """Return one event whose content is a list of parts."""
    return event(choices=[choice(None, delta={"content": [{"type": "text", "text": text}]})])


def without(name: str) -> bytes:
    """Return the words as events whose choice has no field `name`."""
    words = ("A red", " circle.")
    fields = [{k: v for k, v in choice(text).items() if k != name} for text in words]
    return b"".join(event(choices=[each]) for each in fields)


ONCE = json.dumps({"choices": [choice(TEXT)]}).encode()
HALF = ONCE.index(b"delta") - 1
OTHER_PARTS = [{"type": "reasoning", "text": "Hm."}, {"type": "audio"}, {"text": TEXT}]
TURN_ENDS = (
    *("<end_of_utterance>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>"),
    *("</s>", "<eos>"),
)

# The body of an answer that is the caption TEXT, ended by "stop".
BODIES: dict[str, bytes] = {
    "plain": PLAIN,
    # The form of the events.
    "CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "CR alone": PLAIN.replace(b"\n", b"\r"),
    "no space after the colon": PLAIN.replace(b"data: ", b"data:"),
    "a mark before UTF-8": b"\xef\xbb\xbf" + PLAIN,
    "empty lines first": b"\n\n" + PLAIN,
    "comments": b": ping\n\n" + RED + b":\n: OPENROUTER PROCESSING\n\n" + CIRCLE + ended() + DONE,
    "a comment at once before an event": b": ping\n" + PLAIN,
    "named events": PLAIN.replace(b"data:", b"event: message\ndata:"),
    "other fields": PLAIN.replace(b"data:", b"id: 5\nretry: 10\nx: y\ndata:"),
    "data in two lines": b"data: " + ONCE[:HALF] + b"\ndata: " + ONCE[HALF:] + b"\n\n" + DONE,
    "an event without data": b"data:\n\n" + RED + b"data\n\n" + CIRCLE + DONE,
    "separators of lines in a text": event("A red circle.", model="\u2028\u0085") + DONE,
    "raw separators of lines": b'data: {"x": "\xe2\x80\xa8\xc2\x85", ' + ONCE[1:] + b"\n\n" + DONE,
    "one event of 300 kB": event(TEXT, padding="x" * 300_000) + DONE,
    "spaces around [DONE]": WORDS + b"data:   [DONE]  \n\n",
    "no [DONE]": WORDS + ended(),
    "[DONE] alone": WORDS + DONE,
    "[DONE] twice": PLAIN + DONE,
    "text after [DONE]": PLAIN + RED,
    "nonsense after [DONE]": PLAIN + b"data: {\n\n",
    # What is in them.
    "a role first": event(choices=[choice(None, delta={"role": "assistant"})]) + PLAIN,
    "a role with each text": PLAIN.replace(b'"content"', b'"role": "assistant", "content"'),
    "no choices": event(choices=[]) + PLAIN,
    "choices that are null": b'data: {"choices": null}\n\n' + PLAIN,
    "an object that is empty": b"data: {}\n\n" + PLAIN,
    "a delta that is null": event(choices=[choice(None, delta=None)]) + PLAIN,
    "a delta that is empty": event(choices=[choice(None, delta={})]) + PLAIN,
    "no delta": event(choices=[{"index": 0, "finish_reason": None}]) + PLAIN,
    "empty texts": event("") + RED + event("") + CIRCLE + event("") + ended() + DONE,
    "no index": without("index") + ended() + DONE,
    "no finish reason": without("finish_reason") + ended() + DONE,
    "fields that are null": PLAIN.replace(
        b'"finish_reason"', b'"logprobs": null, "stop_reason": null, "finish_reason"'
    ),
    "tool calls that are none": PLAIN.replace(b'"content"', b'"tool_calls": [], "content"'),
    "the last text with its reason": RED
    + event(choices=[choice(" circle.", finish_reason="stop")]),
    "a reason twice": WORDS + ended() + ended() + DONE,
    "usage in each event": event("A red", usage={"completion_tokens": 1})
    + event(" circle.", usage={"completion_tokens": 2})
    + ended(usage=None)
    + DONE,
    "usage that is null": event(TEXT, usage=None) + ended() + DONE,
    "usage behind the reason": WORDS + ended() + event(choices=[], usage={}) + DONE,
    "an error that is empty": event("A red", error="") + event(" circle.", error={}) + ended(),
    "an error that is null": event(TEXT, error=None) + ended() + DONE,
    "an error that is false": event(TEXT, error=False) + ended() + DONE,
    "reasons that are empty": PLAIN.replace(b'"finish_reason": null', b'"finish_reason": ""'),
    "the space of the first token": event(" A red") + CIRCLE + ended() + DONE,
    # Other reasons.
    **{
        f"the reason {reason}": WORDS + ended(reason) + DONE
        for reason in ("STOP", "Stop", "eos", "eos_token", "end_turn", "END_TURN", "stop_sequence")
    },
    "reasons that are a text null": PLAIN.replace(
        b'"finish_reason": null', b'"finish_reason": "null"'
    ),
    "an empty reason at the end": WORDS + ended(""),
    "an unknown reason": WORDS + ended("because") + DONE,
    "a reason beside each text": event(choices=[choice("A red", finish_reason="stop")])
    + event(choices=[choice(" circle.", finish_reason="stop")]),
    "text after a reason": event(choices=[choice("A red", finish_reason="stop")]) + CIRCLE,
    "text after a reason, then [DONE]": RED + ended() + CIRCLE + DONE,
    # The content as parts, or in another field.
    "parts": parts("A red") + parts(" circle.") + ended() + DONE,
    "parts of other types": event(choices=[choice(None, delta={"content": OTHER_PARTS})]) + DONE,
    "one part": event(choices=[choice(None, delta={"content": {"text": TEXT}})]) + DONE,
    "no parts": event(choices=[choice(None, delta={"content": []})]) + PLAIN,
    "a message in place of the delta": event(choices=[{"message": {"content": TEXT}}]) + DONE,
    "a message at the end": WORDS + event(choices=[{"message": {"content": TEXT}}]) + DONE,
    "a text in place of the delta": event(choices=[{"text": "A red"}])
    + event(choices=[{"text": " circle."}])
    + DONE,
    # Tokens that end a turn.
    **{
        f"the token {token} {place}": body
        for token in TURN_ENDS
        for place, body in {
            "at the end": event(f"A red circle.{token}") + ended() + DONE,
            "in pieces": b"".join(map(event, ("A red circle.", *token))) + ended() + DONE,
            "behind white space": WORDS + event(f" {token}\n") + ended() + DONE,
            "twice": WORDS + event(token) + event(token) + ended() + DONE,
        }.items()
    },
    "another turn behind the token": WORDS + event("<|im_end|>\n<|im_start|>user\nWhat?") + RED * 9,
    # Thoughts before the answer.
    **{
        f"thoughts in {name}": event(choices=[choice(None, delta={name: thought})]) * 3 + PLAIN
        for name, thought in {
            "reasoning_content": "Hm.",
            "reasoning": "Hm.",
            "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}],
            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}],
        }.items()
    },
    **{
        f"thoughts in {start}{way}": thoughts + PLAIN
        for start, end in {"<think>": "</think>", "[THINK]": "[/THINK]"}.items()
        for way, thoughts in {
            "": event(f"{start}\nHm.\n{end}\n\n"),
            ", in pieces": b"".join(map(event, f" {start}Hm. <b> < {end}\n")),
            ", empty": event(f"{start}\n\n{end}\n\n"),
            ", twice": event(f"{start}a{end}") + event(f"\n{start}b{end}"),
        }.items()
    },
    # JSON.
    "whole, in parts": whole(content=[{"type": "text", "text": TEXT}]),
    "whole, with thoughts": whole(content=f"<think>Hm.</think>\n\n{TEXT}"),
    "whole, with thoughts that only their end marks": whole(content=f"Hm.\n</think>\n\n{TEXT}"),
    "whole, with a token that ends its turn": whole(content=f"{TEXT}<end_of_utterance>"),
    "an event on each line": WORDS.replace(b"data: ", b"") + ended().replace(b"data: ", b""),
    # One JSON object.
    "whole": whole(),
    "whole, with usage": whole(usage={"prompt_tokens": 80, "completion_tokens": 4}),
    "whole, on several lines": b"\n  " + whole().replace(b", ", b",\n") + b"\n",
    "whole, without a reason": whole(None),
    "whole, with an error that is null": whole(error=None),
    "whole, after a mark": b"\xef\xbb\xbf" + whole(),
}
TYPES = (
    EVENTS,
    "text/event-stream; charset=latin-1",
    "TEXT/EVENT-STREAM",
    "text/plain",
    "application/json",
    "application/x-ndjson",
    "application/octet-stream",
    "text/html",
    "",
    None,
)


def sending(body: bytes, content_type: str | None = EVENTS) -> Behaviour:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return lambda exchange: exchange.respond(200, body, headers)


def test_each_odd_answer_is_the_caption(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        found = {}
        for name, body in BODIES.items():
            server.behaviour = sending(body)
            try:
                result = caption(engine)
                found[name] = (result.text, result.finish_reason)
            except UpstreamError as error:
                found[name] = (str(error), "error")
    assert {name: each for name, each in found.items() if each != (TEXT, "stop")} == {}


def test_a_character_may_come_in_two_events(server: UpstreamServer) -> None:
    halves = event("A red \ud83d") + event("\udd34.") + DONE
    server.behaviour = sending(halves)
    with engine_over(server) as engine:
        assert caption(engine).text == "A red \U0001f534."


def test_events_and_json_are_told_apart_by_their_form(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        for content_type in TYPES:
            for body in (PLAIN, b"\n: ping\n\n" + PLAIN, b"id: 1\n" + PLAIN, whole()):
                server.behaviour = sending(body, content_type)
                assert caption(engine).text == TEXT, (content_type, body)


def test_reasons_of_the_token_limit_mean_length(server: UpstreamServer) -> None:
    with engine_over(server) as engine:
        for reason in ("length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length"):
            for body in (WORDS + ended(reason) + DONE, whole(reason)):
                server.behaviour = sending(body)
                assert caption(engine).finish_reason == "length", reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "No GPU is free"}}', 'with an error: "No GPU is free"'),
        (b'{"error": "No GPU is free"}', 'with an error: "No GPU is free"'),
        (b'{"object": "error", "message": "No GPU is free"}', "No GPU is free"),
        (b'{"detail": "No GPU is free"}', 'form of OpenAI\'s API: "No GPU is free"'),
        (event("A", error={"message": "No GPU is free"}), 'with an error: "No GPU is free"'),
        (whole(error={"message": "No GPU is free"}), 'with an error: "No GPU is free"'),
        (b'{"choices": []}', "not in the form of OpenAI's API."),
        (whole()[:-5], "not JSON"),
        (b"[1, 2]", "does not answer with a stream of events"),
        (b"No GPU is free", "does not answer with a stream of events"),
        (b"", "does not answer with a stream of events"),
    ],
)
def test_an_answer_that_is_none_is_told_in_the_servers_words(
    server: UpstreamServer, body: bytes, words: str
) -> None:
    server.behaviour = sending(body, "application/json")
    with engine_over(server) as engine:
        error = failure(engine)
    assert isinstance(error, UpstreamError)
    assert words in str(error)


def test_nothing_is_waited_for_after_the_end(server: UpstreamServer) -> None:
    def stays_open(exchange: Exchange) -> None:
        exchange.raw(PLAIN)
        exchange.wait_for_hang_up()

    server.behaviour = stays_open
    # The end of a stream without [DONE] is waited for so long that the test would fail.
    with engine_over(server, ending_s=10 * GUARD_S) as engine:
        assert caption(engine).text == TEXT
