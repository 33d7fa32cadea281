"""Chats for the stress test: bodies of all routes that read one, changed at random."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

from tools.stress.pictures import changed_bytes, encoded, smooth

_SCHEMA: Final = {
    "type": "object",
    "properties": {"shape": {"enum": ["circle", "square"]}, "count": {"enum": [1, 2, 3]}},
    "required": ["shape", "count"],
    "additionalProperties": False,
}
_TOOL: Final = {"type": "function", "function": {"name": "see", "parameters": _SCHEMA}}
_CALL: Final = {"id": "c1", "type": "function", "function": {"name": "see", "arguments": "{}"}}
# Values that some program sends in place of another, or that are at a bound.
_ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, -(2**31), 2**64, 1e308, 0.5, "", "0", "a\u0000b", "\ufffd",
    "x" * 40_000, "\U0001f600", [], {}, [None], [[]], {"type": "text"}, {"url": ""}, [""] * 300,
    "data:image/jpeg;base64,", "http://127.0.0.1:9/a.jpg", {"$ref": "#/a"}, {"type": "object"},
)  # fmt: skip
_LIMITS: Final = ("max_tokens", "max_output_tokens", "options")
_TOKENS: Final = (b"null", b"1e999", b"NaN", b'"', b"\\u", b"\xff", b"{", b"]", b",", b"\\ud800")


def mutated_chats(count: int, seed: int = 3) -> Iterator[tuple[str, bytes]]:
    """Yield `count` paths with bodies: some values, names and bytes of sound ones are changed."""
    chance = random.Random(seed)
    sound = _sound()
    for _ in range(count):
        path, body = chance.choice(sound)
        # A copy: the changes are made in place.
        changed = json.loads(json.dumps(body))
        for _ in range(chance.randint(0, 3)):
            _change_value(changed, chance)
        # Else a small model may fill what the context holds, which takes long and shows nothing.
        changed |= {name: body[name] for name in _LIMITS if name in body and name not in changed}
        data = json.dumps(changed).encode()
        if chance.random() < 0.3:
            at = chance.randrange(len(data))
            data = data[:at] + chance.choice(_TOKENS) + data[at + chance.randint(0, 2) :]
        elif chance.random() < 0.1:
            data = changed_bytes(data, chance)
        yield path, data


def _sound() -> list[tuple[str, dict[str, Any]]]:
    """Return bodies that are answered, with most fields that their routes know."""
    image = base64.b64encode(encoded(smooth(48, 36), "JPEG")).decode()
    uri = f"data:image/jpeg;base64,{image}"
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "seed": 1}
    penalties = {"presence_penalty": 0.1, "frequency_penalty": 0.1}
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": uri}}]
    turns = [{"role": "assistant", "content": None, "tool_calls": [_CALL]}]
    openai = {
        "model": "nano", "messages": [*turns, {"role": "user", "content": parts}], "max_tokens": 2,
        "stop": ["no such words"], "logprobs": True, "top_logprobs": 2, "logit_bias": {"5": 1},
        "stream_options": {"include_usage": True}, "user": "a", "n": 1, **sampling, **penalties,
    }  # fmt: skip
    asked = {"type": "json_schema", "json_schema": {"name": "scene", "schema": _SCHEMA}}
    forced = {"tools": [_TOOL], "tool_choice": "required", "stream": True}
    user = {"role": "user", "content": "[img]?", "images": [image]}
    chat = {
        "model": "nano", "messages": [*turns, user],
        "tools": [_TOOL], "keep_alive": "5m", "think": False, "format": _SCHEMA,
        "options": {
            "num_predict": 2, "stop": ["no such words"], "repeat_penalty": 1.1, "num_ctx": 1024,
            **sampling, **penalties,
        },
    }  # fmt: skip
    generate = {"prompt": "What?", "images": [image], "system": "Be brief.", "suffix": ""}
    items = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": uri}]
    responses = {
        "model": "nano", "instructions": "Be brief.", "max_output_tokens": 2, "tools": [],
        "input": [{"role": "user", "content": items}], "store": False, "include": [],
        "text": {"format": {"type": "json_schema", "name": "scene", "schema": _SCHEMA}},
    }  # fmt: skip
    return [
        ("/v1/chat/completions", openai),
        ("/v1/chat/completions", {**openai, "response_format": asked, "stream": True}),
        ("/v1/chat/completions", {**openai, **forced}),
        ("/v1/responses", responses),
        ("/v1/responses", {**responses, "stream": True, "text": {}}),
        ("/api/chat", chat),
        ("/api/chat", {**chat, "format": "json", "stream": False}),
        ("/api/generate", {**chat, **generate}),
        ("/api/show", {"model": "nano", "name": "nano"}),
    ]


def _change_value(body: dict[str, Any], chance: random.Random) -> None:
    """Replace, remove, repeat or move one value somewhere in `body`."""
    here: Any = body
    while True:
        steps = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not steps:
            return
        step = chance.choice(steps)
        inner = here[step]
        if not (isinstance(inner, dict | list) and inner and chance.random() < 0.7):
            break
        here = inner
    kind = chance.randrange(5)
    if kind == 0:
        del here[step]
    elif kind == 1:
        here[step] = [inner] * chance.choice((1, 2, 300))
    elif kind == 2:
        for _ in range(chance.choice((1, 40, 120))):
            inner = {"a": inner} if chance.random() < 0.5 else [inner]
        here[step] = inner
    elif kind == 3 and isinstance(here, dict):
        here[chance.choice(("type", "role", "stop", "x", "n", "", "\u00e9"))] = inner
    else:
        here[step] = copy.deepcopy(chance.choice(_ODD))
