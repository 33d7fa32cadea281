"""pydantic-ai: text and image, streamed, and a structured answer in two ways."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from scene import Scene, base_url, picture, prompt

provider = OpenAIProvider(base_url=base_url, api_key="any")
model = OpenAIChatModel("nano", provider=provider)
responses = OpenAIResponsesModel("nano", provider=provider)
question: Any = [prompt, BinaryContent(Path(picture).read_bytes(), media_type="image/jpeg")]


async def stream(model: Model) -> str:
    async with Agent(model).run_stream(question) as answer:
        return await answer.get_output()


found = {
    "text": Agent(model).run_sync(question).output,
    "streamed": asyncio.run(stream(model)),
    "tool": Agent(model, output_type=Scene).run_sync(question).output.model_dump(),
    "native": Agent(model, output_type=NativeOutput(Scene)).run_sync(question).output.model_dump(),
    "responses text": Agent(responses).run_sync(question).output,
    "responses streamed": asyncio.run(stream(responses)),
    "responses tool": Agent(responses, output_type=Scene).run_sync(question).output.model_dump(),
}
print(json.dumps(found))
