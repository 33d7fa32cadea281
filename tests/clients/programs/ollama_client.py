"""ollama: lists, a chat and a prompt with an image, streamed and not, a schema, and refusals."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import ollama
from scene import Scene, base_url, picture, prompt

client = ollama.Client(host=base_url)
messages: list[Any] = [{"role": "user", "content": prompt, "images": [picture]}]
(listed,) = client.list().models
(loaded,) = client.ps().models
assert listed.model == loaded.model == "nano"
shown = client.show("nano")
assert shown.capabilities == ["completion", "vision"]
assert (shown.modelinfo or {})["smolvlm.context_length"] == loaded.context_length
assert client.pull("nano").status == "success"
assert client.generate("nano").done_reason == "load"


def look() -> str:
    """Look at the picture."""
    return ""


async def asynchronous() -> str:
    stream = await ollama.AsyncClient(host=base_url).chat("nano", messages, stream=True)
    return "".join([part.message.content or "" async for part in stream])


def refusal(**options: Any) -> ollama.ResponseError:
    for stream in (False, True):
        try:
            list(client.chat("nano", messages, options=options, stream=stream))
        except ollama.ResponseError as error:
            found = error
        else:
            raise AssertionError(options)
    return found


*parts, last = client.chat("nano", messages, stream=True)
assert last.done and last.done_reason == "stop" and last.eval_count and last.prompt_eval_count
schema = client.chat("nano", messages, format=Scene.model_json_schema(), keep_alive="5m")
text = client.chat("nano", messages, think=False).message.content
generated = client.generate("nano", prompt, images=[Path(picture).read_bytes()], stream=True)
assert refusal(temperature=3).status_code == 400
empty = refusal(stop=[text[:1] if text else ""])
assert (empty.status_code, "begins with a text of `options.stop`" in empty.error) == (422, True)
found = {
    "text": text,
    "streamed": "".join(part.message.content or "" for part in parts),
    "asynchronous": asyncio.run(asynchronous()),
    "with tools": client.chat("nano", messages, tools=[look]).message.content,
    "generated": "".join(part.response for part in generated),
    "schema": Scene.model_validate_json(schema.message.content or "").model_dump(),
}
print(json.dumps(found))
