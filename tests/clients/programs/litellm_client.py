"""litellm with the name `openai/NAME`: text and image, streamed, a schema, a forced tool."""

from __future__ import annotations

import json
from typing import Any

import litellm
from scene import Scene, base_url, data_uri, prompt

parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": data_uri}}]
asked: dict[str, Any] = {
    "model": "openai/nano",
    "base_url": base_url,
    "api_key": "any",
    "max_retries": 0,
    "messages": [{"role": "user", "content": parts}],
}
tool = {"type": "function", "function": {"name": "see", "parameters": Scene.model_json_schema()}}
whole = litellm.completion(**asked)
chunks = litellm.completion(**asked, stream=True)
schema = litellm.completion(**asked, response_format=Scene)
forced = litellm.completion(**asked, tools=[tool], tool_choice="required")
items = [{"type": "input_text", "text": prompt}, {"type": "input_image", "image_url": data_uri}]
answer = litellm.responses(
    model="openai/nano",
    api_base=base_url,
    api_key="any",
    input=[{"role": "user", "content": items}],
    max_retries=0,
)
(call,) = forced.choices[0].message.tool_calls
found = {
    "text": whole.choices[0].message.content,
    "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    "schema": Scene.model_validate_json(schema.choices[0].message.content).model_dump(),
    "tool": Scene.model_validate_json(call.function.arguments).model_dump(),
    "responses text": answer.output[0].content[0].text,
}
print(json.dumps(found))
