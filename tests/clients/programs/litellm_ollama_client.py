"""litellm with the names `ollama/NAME` and `ollama_chat/NAME`: whole, streamed, a schema."""

from __future__ import annotations

import json
import sys
from typing import Any

import litellm
from scene import Scene, base_url, data_uri, prompt

route = sys.argv[4]
parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": data_uri}}]
asked: dict[str, Any] = {
    "model": f"{route}/nano",
    "api_base": base_url,
    "max_retries": 0,
    "messages": [{"role": "user", "content": parts}],
}
whole = litellm.completion(**asked)
chunks = litellm.completion(**asked, stream=True)
schema = litellm.completion(**asked, response_format=Scene)
assert whole.usage.completion_tokens > 0
found = {
    "text": whole.choices[0].message.content,
    "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    "schema": Scene.model_validate_json(schema.choices[0].message.content).model_dump(),
}
print(json.dumps(found))
