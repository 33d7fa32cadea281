"""From an HTTP request to a Request: each field checked, each refusal with a way on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from flask import Request as HttpRequest
from werkzeug.datastructures import MultiDict

from vlm.errors import BadRequestError, UnsupportedImageError
from vlm.images.decode import decode_image
from vlm.prompts import DEFAULT_PROMPT, PRESETS, checked_prompt
from vlm.settings import MAX_TOKENS_LIMIT, Settings
from vlm.types import Detail, Request
from web.errors import UnsupportedMediaTypeError

RAW_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
CAMERA_MAX_CHARS = 64
KINDS = ("live", "question")

Value = TypeVar("Value")

_CAMERA = re.compile(rf"[A-Za-z0-9._-]{{1,{CAMERA_MAX_CHARS}}}")
_DETAILS: dict[str, Detail] = {"low": "low", "high": "high"}


def read_caption_request(request: HttpRequest, settings: Settings) -> Request:
    """The question that `request` asks. Query fields win over form fields, others are ignored.

    Raises BadRequestError, UnsupportedMediaTypeError and whatever `decode_image` raises.
    """
    data = _image_bytes(request)
    fields = request.values
    camera: str | None = _field(fields, "camera", _camera, None)
    kind: str | None = _field(fields, "kind", _kind, None)
    prompt = _field(fields, "prompt", checked_prompt, DEFAULT_PROMPT)
    return Request.about(
        prompt=_field(fields, "preset", _preset, prompt),
        max_tokens=_field(fields, "max_tokens", _max_tokens, settings.max_tokens),
        detail=_field(fields, "detail", _detail, "low"),
        camera=camera,
        live=_is_live(kind, camera),
        image=decode_image(data),
    )


def _field(
    fields: MultiDict[str, str], name: str, read: Callable[[str], Value], default: Value
) -> Value:
    """The first value of that name. All of them are checked: one that is wrong is a slip."""
    values = [read(text) for text in fields.getlist(name)]
    return values[0] if values else default


def _image_bytes(request: HttpRequest) -> bytes:
    if request.mimetype == "multipart/form-data":
        upload = request.files.get("image")
        if upload is None:
            raise BadRequestError("The multipart body has no file in the field `image`.")
        data: bytes = upload.read()
        return data
    if request.mimetype in RAW_TYPES:
        return request.get_data(cache=False)
    if request.mimetype.startswith("image/"):
        raise UnsupportedImageError(
            f"{request.mimetype} is not taken. Send the picture as JPEG, PNG or WebP."
        )
    raise UnsupportedMediaTypeError(
        f"Content-Type must be one of {', '.join(RAW_TYPES)}, or multipart/form-data with the "
        "image in the field `image`."
    )


def _preset(preset_id: str) -> str:
    prompts = {preset.id: preset.prompt for preset in PRESETS}
    if preset_id not in prompts:
        raise BadRequestError(f"preset must be one of: {', '.join(prompts)}.")
    return prompts[preset_id]


def _max_tokens(text: str) -> int:
    # isdecimal alone lets other scripts' digits through, and int() reads "1_0" as 10.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= number <= MAX_TOKENS_LIMIT:
        raise BadRequestError(f"max_tokens must be a whole number from 1 to {MAX_TOKENS_LIMIT}.")
    return number


def _detail(text: str) -> Detail:
    if text not in _DETAILS:
        raise BadRequestError(f"detail must be one of: {', '.join(_DETAILS)}.")
    return _DETAILS[text]


def _camera(text: str) -> str:
    if not _CAMERA.fullmatch(text):
        raise BadRequestError(
            f"camera must be 1 to {CAMERA_MAX_CHARS} letters, digits, dots, dashes or underscores."
        )
    return text


def _kind(text: str) -> str:
    if text not in KINDS:
        raise BadRequestError(f"kind must be one of: {', '.join(KINDS)}.")
    return text


def _is_live(kind: str | None, camera: str | None) -> bool:
    if kind is None:
        return camera is not None
    if kind == "live" and camera is None:
        raise BadRequestError("kind=live is for frames of a camera: name it in the field `camera`.")
    return kind == "live"
