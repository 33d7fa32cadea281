"""Helpers for tests of Ollama's API: bodies, and lines read back."""

from __future__ import annotations

import base64
import json
from typing import Any

from werkzeug.test import TestResponse

from web_client import picture

CHAT = "/api/chat"
GENERATE = "/api/generate"
IMAGE = base64.b64encode(picture()).decode()
USER: dict[str, Any] = {"role": "user", "content": "What is this?", "images": [IMAGE]}


def chat_body(**fields: Any) -> dict[str, Any]:
    """Return the body of a short chat in one piece, with `fields` added."""
    options = {"num_predict": 4}
    return {"model": "any", "messages": [USER], "stream": False, "options": options, **fields}


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the objects of a stream; each is one line, and none is blank."""
    *lines, rest = text.split("\n")
    assert rest == ""
    return [json.loads(line) for line in lines]


def text_of(answer: dict[str, Any]) -> str:
    """Return the text of an answer of either route, or of a line of it."""
    text: str = answer["message"]["content"] if "message" in answer else answer["response"]
    return text


def assert_ollama_refused(answer: TestResponse, status: int, words: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.get_json()) == {"error"}
    error = answer.get_json()["error"]
    assert isinstance(error, str)
    assert len(error) > 10
    assert words in error, (words, error)
