"""llama-index-llms-ollama: an image, whole and streamed, a schema, the length of the context."""

from __future__ import annotations

import json
from pathlib import Path

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.ollama import Ollama
from scene import Scene, base_url, picture, prompt

model = Ollama(model="nano", base_url=base_url)
blocks = [TextBlock(text=prompt), ImageBlock(path=Path(picture))]
question = [ChatMessage(role="user", blocks=blocks)]
assert model.metadata.context_window == 2048
typed = model.as_structured_llm(Scene).chat(question)
found = {
    "text": model.chat(question).message.content,
    "streamed": "".join(part.delta or "" for part in model.stream_chat(question)),
    "schema": Scene.model_validate_json(typed.message.content or "").model_dump(),
}
print(json.dumps(found))
