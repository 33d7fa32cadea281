"""llm with llm-ollama: the model is found by its list; an image, streamed or not, and a schema."""

from __future__ import annotations

import json
import os
from pathlib import Path

from scene import Scene, base_url, picture, prompt

folder = Path(os.environ["HOME"], "llm-ollama-settings")
folder.mkdir(exist_ok=True)
os.environ |= {"LLM_USER_PATH": str(folder), "OLLAMA_HOST": base_url}
# They read the variables when they are imported.
import llm  # noqa: E402

model = llm.get_model("ollama/nano")
image = [llm.Attachment(path=picture)]
schema = model.prompt(prompt, attachments=image, schema=Scene, stream=False).text()
found = {
    "text": model.prompt(prompt, attachments=image, stream=False).text(),
    "streamed": "".join(model.prompt(prompt, attachments=image, stream=True)),
    "schema": Scene.model_validate_json(schema).model_dump(),
}
print(json.dumps(found))
