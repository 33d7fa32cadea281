"""openai-agents over chats and responses: text and image, streamed, and an output type."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from openai import AsyncOpenAI
from scene import Scene, base_url, data_uri, prompt

client = AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0)
parts = [{"type": "input_text", "text": prompt}, {"type": "input_image", "image_url": data_uri}]
question: Any = [{"role": "user", "content": parts}]


async def ask(model: Any, name: str) -> dict[str, Any]:
    plain = Agent(name="plain", model=model)
    typed = Agent(name="typed", model=model, output_type=Scene)
    streamed = Runner.run_streamed(plain, question)
    async for _ in streamed.stream_events():
        pass
    return {
        f"{name}text": (await Runner.run(plain, question)).final_output,
        f"{name}streamed": streamed.final_output,
        f"{name}typed": (await Runner.run(typed, question)).final_output.model_dump(),
    }


async def ask_both() -> dict[str, Any]:
    return {
        **await ask(OpenAIChatCompletionsModel("nano", client), ""),
        **await ask(OpenAIResponsesModel("nano", client), "responses "),
    }


print(json.dumps(asyncio.run(ask_both())))
