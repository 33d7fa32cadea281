"""llm, with the server in its file of further models: an image, streamed or not, and a schema."""

from __future__ import annotations

import json
import os
from pathlib import Path

from scene import Scene, base_url, picture, prompt

folder = Path(os.environ["HOME"], "llm-settings")
folder.mkdir(exist_ok=True)
os.environ["LLM_USER_PATH"] = str(folder)
Path(folder, "extra-openai-models.yaml").write_text(
    "- model_id: sightline\n"
    "  model_name: nano\n"
    f"  api_base: {base_url}\n"
    "  vision: true\n"
    "  supports_schema: true\n"
)
# It reads the file when it is imported.
import llm  # noqa: E402

model = llm.get_model("sightline")
picture_part = llm.Attachment(path=picture)
schema = model.prompt(prompt, attachments=[picture_part], schema=Scene, stream=False).text()
found = {
    "text": model.prompt(prompt, attachments=[picture_part], stream=False).text(),
    "streamed": "".join(model.prompt(prompt, attachments=[picture_part], stream=True)),
    "schema": Scene.model_validate_json(schema).model_dump(),
}
print(json.dumps(found))
