"""Helpers for tests of chats: clients, messages, images, and engines that fail."""

from __future__ import annotations

import base64
import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from openai import OpenAI
from PIL import Image
from werkzeug.test import TestResponse

from vlm.engine.engine import Engine
from vlm.results import StreamEvent, TokenChunk
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import HANG_GUARD_S, SteppedEngine, picture, served, started

MODEL = "nano"
CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


def client_of(port: int, key: str = "any", **options: Any) -> OpenAI:
    """Return OpenAI's client for the server at `port`; it never retries."""
    return OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key=key,
        timeout=HANG_GUARD_S,
        max_retries=0,
        **options,
    )


def data_uri(image: Image.Image | bytes | None = None) -> str:
    """Return an image as a data URI."""
    data = image if isinstance(image, bytes) else b""
    if image is None:
        data = picture()
    elif isinstance(image, Image.Image):
        out = io.BytesIO()
        image.save(out, "PNG")
        data = out.getvalue()
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def image_part(image: Image.Image | bytes | None = None, **fields: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(image), **fields}}


def question(*images: Image.Image | bytes, text: str = "What is this?") -> list[dict[str, Any]]:
    """Return one user message with images and a question about them."""
    parts = [image_part(image) for image in images] or [image_part()]
    return [{"role": "user", "content": [*parts, text_part(text)]}]


def chat_body(**fields: Any) -> dict[str, Any]:
    """Return the body of a short chat, with `fields` added."""
    return {"model": MODEL, "messages": question(), "max_tokens": 4, **fields}


def assert_refused(
    answer: TestResponse, status: int, code: str, param: str | None = None, words: str = ""
) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.get_json()) == {"error"}
    error = answer.get_json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert (error["code"], error["param"]) == (code, param), error
    assert len(error["message"]) > 10
    assert words in error["message"], (words, error)


class FailingEngine(SteppedEngine):
    """Yields a word, then raises `error`."""

    def __init__(self, engine: Engine, error: Exception, words: int = 1) -> None:
        super().__init__(engine)
        self._error = error
        self._words = words
        self.allow(10_000)

    def stream(self, *_: object) -> Generator[StreamEvent, None, None]:
        for _ in range(self._words):
            yield TokenChunk("A ")
        raise self._error


@contextmanager
def failing(engine: Engine, error: Exception, words: int = 1) -> Iterator[int]:
    """Yield the port of a server whose answers all fail with `error`."""
    worker = Worker(lambda: FailingEngine(engine, error, words), max_queue=1)
    with started(worker), served(worker, Settings()) as (port, _):
        yield port
