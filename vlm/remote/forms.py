"""The form of an answer in the fields of each server.

JSON schemas have a field of OpenAI's API. Regular expressions and choices have none, and a server
ignores the fields that it does not know, so that only known servers get them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from vlm.types import AnswerTask, Form


def form_fields(form: Form, owner: str) -> dict[str, Any] | None:
    """Return the fields of a request that demand `form`; None if the server has none for it.

    `owner` is what serves the model, as its list says (`owned_by`).
    """
    if form.kind == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": json.loads(form.source)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    value = json.loads(form.source) if form.kind == "choice" else form.source
    if owner == "vllm":
        # Before release 0.12 the second one.
        return {"structured_outputs": {form.kind: value}, f"guided_{form.kind}": value}
    if owner == "sightline":
        return {"structured_outputs": {form.kind: value}}
    if owner == "sglang":
        return {"regex": value if form.kind == "regex" else "|".join(map(_escaped, value))}
    if owner == "llamacpp" and form.kind == "choice":
        return {"grammar": "root ::= " + " | ".join(map(_quoted, value))}
    return None


def keeps_to_form(text: str, task: AnswerTask) -> bool:
    """Return whether `text` is one of the choices, or JSON, if that was asked for.

    Servers that do not know a field ignore it. Regular expressions and schemas are not checked.
    """
    kind = None if task.form is None else task.form.kind
    if kind == "choice" and task.form is not None:
        return text.strip() in json.loads(task.form.source)
    if not task.json_object and kind != "json_schema":
        return True
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or not task.json_object


def _escaped(text: str) -> str:
    # Python escapes a blank, which other dialects do not know.
    return re.escape(text).replace("\\ ", " ")


def _quoted(text: str) -> str:
    """Return `text` as a terminal of llama.cpp's grammars."""
    return json.dumps(text, ensure_ascii=False)
