"""instructor: its default mode, which forces a tool, and its modes for JSON."""

from __future__ import annotations

import json

import instructor
from openai import OpenAI
from scene import Scene, base_url, picture, prompt

question = [{"role": "user", "content": [prompt, instructor.Image.from_path(picture)]}]
openai = OpenAI(base_url=base_url, api_key="any", max_retries=0)
found = {}
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.RESPONSES_TOOLS):
    client = instructor.from_openai(openai, mode=mode)
    answer = client.chat.completions.create(
        model="nano", messages=question, response_model=Scene, max_retries=0
    )
    found[mode.name] = answer.model_dump()
print(json.dumps(found))
