"""langchain-openai: plain, streamed, an image, and a structured answer in its three methods."""

from __future__ import annotations

import json

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from scene import Scene, base_url, data_uri, prompt

model = ChatOpenAI(model="nano", base_url=base_url, api_key="any", max_retries=0)
parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": data_uri}}]
question = [HumanMessage(content=parts)]
responses = ChatOpenAI(
    model="nano", base_url=base_url, api_key="any", max_retries=0, use_responses_api=True
)

found: dict[str, object] = {
    "text": model.invoke(question).text,
    "streamed": "".join(chunk.text for chunk in model.stream(question)),
    "responses text": responses.invoke(question).text,
    "responses streamed": "".join(chunk.text for chunk in responses.stream(question)),
    "json_mode": model.with_structured_output(None, method="json_mode").invoke(question),
}
answer = responses.with_structured_output(Scene).invoke(question)
found["responses schema"] = Scene.model_validate(answer).model_dump()
for method in ("json_schema", "function_calling"):
    answer = model.with_structured_output(Scene, method=method).invoke(question)
    found[method] = Scene.model_validate(answer).model_dump()
print(json.dumps(found))
