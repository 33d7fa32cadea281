"""The body of a request in the form of OpenAI's chat API, with images as JPEG data URIs.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, replace
from typing import Any, Final

from PIL import Image

from vlm.errors import BadRequestError
from vlm.remote.forms import form_fields
from vlm.types import ANSWER_MAX_TOKENS, GREEDY, Detail, Message, Request, Sampling

# Longest side of an image of detail "low": one tile of the SmolVLM models.
FRAME_SIZE_PX: Final = 512
_LONGEST_PX: Final[dict[Detail, int]] = {
    "tiny": FRAME_SIZE_PX // 2,
    "small": FRAME_SIZE_PX * 3 // 4,
    "low": FRAME_SIZE_PX,
}
MAX_JPEG_BYTES: Final = 2 * 2**20

_JPEG_QUALITY: Final = 90
_SHRINK: Final = 0.75


def request_body(request: Request) -> dict[str, Any]:
    """Return the body of a streamed chat completion, without the model's name."""
    task = request.answer_task
    body: dict[str, Any] = {
        "messages": [_message(each, task.detail) for each in task.messages],
        "temperature": task.sampling.temperature,
        "stream": True,
    }
    # Without a limit, each server takes what its own context holds.
    if task.max_tokens < ANSWER_MAX_TOKENS:
        body["max_tokens"] = task.max_tokens
    body |= _sampling(task.sampling)
    if task.stop:
        body["stop"] = list(task.stop)
    if task.top_logprobs is not None or task.sure:
        body["logprobs"] = True
        body["top_logprobs"] = task.top_logprobs or 0
    if task.json_object:
        body["response_format"] = {"type": "json_object"}
    if task.form is not None:
        # A form that is not of OpenAI's API is added for the server that is chosen.
        body |= form_fields(task.form, "") or {}
    if task.prompt_end != "generation_prompt":
        body["add_generation_prompt"] = False
    if task.prompt_end == "final_text":
        body["continue_final_message"] = True
    if request.camera is not None:
        body["user"] = request.camera
    return body


def _sampling(sampling: Sampling) -> dict[str, Any]:
    """Return the fields that are not neutral, but for the temperature."""
    fields = asdict(replace(sampling, temperature=0.0))
    neutral = asdict(GREEDY)
    changed = {name: value for name, value in fields.items() if value != neutral[name]}
    if sampling.logit_bias:
        changed["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    return changed


def json_bytes(body: dict[str, Any]) -> bytes:
    """Return `body` as JSON in UTF-8; raise BadRequestError for text with lone surrogates."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise BadRequestError("The text must be plain UTF-8.") from None


def encode_jpeg(image: Image.Image, longest_px: int | None) -> bytes:
    """Return a JPEG of at most MAX_JPEG_BYTES, its longest side at most `longest_px`."""
    longest = max(image.size)
    scale = min(1.0, longest_px / longest) if longest_px else 1.0
    while True:
        scaled = image if scale == 1.0 else _scaled(image, scale)
        out = io.BytesIO()
        scaled.save(out, "JPEG", quality=_JPEG_QUALITY)
        if out.tell() <= MAX_JPEG_BYTES:
            return out.getvalue()
        scale *= _SHRINK


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _message(message: Message, detail: Detail) -> dict[str, Any]:
    texts = [part for part in message.parts if isinstance(part, str)]
    if len(texts) == len(message.parts) == 1:
        # Some servers accept a message without an image only as a plain string.
        return {"role": message.role, "content": texts[0]}
    return {"role": message.role, "content": [_part(part, detail) for part in message.parts]}


def _part(part: str | Image.Image, detail: Detail) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    jpeg = encode_jpeg(part, _LONGEST_PX.get(detail))
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    known = "high" if detail == "high" else "low"
    return {"type": "image_url", "image_url": {"url": url, "detail": known}}
