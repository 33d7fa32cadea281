"""langchain-ollama: an image, whole and streamed, a schema, a tool that is answered in words."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_ollama import ChatOllama
from scene import Scene, base_url, data_uri, prompt

model = ChatOllama(model="nano", base_url=base_url, validate_model_on_init=True)
parts: list[Any] = [
    {"type": "text", "text": prompt},
    {"type": "image_url", "image_url": {"url": data_uri}},
]
question = [HumanMessage(content=parts)]
whole = model.invoke(question)
assert whole.usage_metadata and whole.usage_metadata["output_tokens"] > 0
assert whole.response_metadata["done_reason"] == "stop"
typed = model.with_structured_output(Scene).invoke(question)
found = {
    "text": whole.text,
    "streamed": "".join(chunk.text for chunk in model.stream(question)),
    "with tools": model.bind_tools([Scene]).invoke(question).text,
    "schema": Scene.model_validate(typed).model_dump(),
}
print(json.dumps(found))
