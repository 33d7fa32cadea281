"""Values that schemathesis cannot generate: real images, and the name of the running model.

Requests that are invalid on purpose stay invalid.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image

MODEL = "nano"
CAMERA = "door"
LIMIT = 4
LABELS = "red star,dog|cat"
PHRASE = "red star"
TURNS = '[{"question": "Is there a star?", "answer": "Yes."}]'

_LIMITS = {"/v1/chat/completions": "max_tokens", "/v1/responses": "max_output_tokens"}
_FORMATS = ("JPEG", "PNG", "WebP")
_SIDES_PX = strategies.integers(1, 64)


def _picture(image_format: str, side_px: int = 32) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((side_px, 2 * side_px)).save(out, image_format)
    return out.getvalue()


for _format in _FORMATS:
    _strategy = strategies.builds(_picture, strategies.just(_format), _SIDES_PX)
    schemathesis.openapi.media_type(f"image/{_format.lower()}", _strategy)
schemathesis.openapi.media_type(
    "application/octet-stream",
    strategies.builds(_picture, strategies.sampled_from(_FORMATS), _SIDES_PX),
)

# A line of a timeline's export.
_MOMENT = b'{"type": "moment", "from": 1, "to": 2, "kind": "caption", "text": "A red star."}\n'
schemathesis.openapi.media_type("application/jsonl", strategies.just(_MOMENT))

_BASE64 = base64.b64encode(_picture("PNG")).decode()
_DATA_URI = f"data:image/png;base64,{_BASE64}"


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Set the running model, real images and a limit in chats, and a camera in live frames."""
    body = case.body if isinstance(case.body, dict) else {}
    if case.operation.path == "/api/captions":
        fields = (case.query or {}, body)
        for each in fields:
            # A text that is JSON of a certain form.
            if "turns" in each:
                each["turns"] = TURNS
        if any(each.get("explain") == "estimate" for each in fields):
            # Only questions are estimated.
            for each in fields:
                each.pop("kind", None)
            case.query = {**(case.query or {}), "kind": "question"}
            fields = (case.query, body)
        is_live = any(each.get("kind") == "live" for each in fields)
        if is_live and not any("camera" in each for each in fields):
            case.query = {**(case.query or {}), "camera": CAMERA}
    elif case.operation.path == "/api/labels":
        # Required, in the query or in the form; a text of a certain form.
        fields = (case.query or {}, body)
        for each in fields:
            if isinstance(each.get("labels"), str) and each["labels"]:
                each["labels"] = LABELS
        if not any("labels" in each for each in fields):
            case.query = {**(case.query or {}), "labels": LABELS}
    elif case.operation.path == "/api/where":
        fields = (case.query or {}, body)
        for each in fields:
            # Most generated texts name nothing.
            if isinstance(each.get("phrase"), str) and each["phrase"]:
                each["phrase"] = PHRASE
        if not any("phrase" in each for each in fields):
            case.query = {**(case.query or {}), "phrase": PHRASE}
    elif case.operation.path in _LIMITS and body:
        # Without a limit some answers fill the context, which takes half a minute.
        if body.get(_LIMITS[case.operation.path]) is None:
            body = {**body, _LIMITS[case.operation.path]: LIMIT}
        if isinstance(body.get("model"), str) and body["model"]:
            body = {**body, "model": MODEL}
        case.body = _with_pictures(body)
    elif case.operation.path in ("/api/chat", "/api/generate") and body:
        case.body = _with_base64(body)


def _with_pictures(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_pictures(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_pictures(each) for each in value]
    if isinstance(value, str) and value.startswith("data:") and ";base64," in value:
        return _DATA_URI
    return value


def _with_base64(value: Any) -> Any:
    """Return a body of Ollama's API with real images in its lists of texts named `images`."""
    if isinstance(value, list):
        return [_with_base64(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: [_BASE64 if isinstance(image, str) else image for image in each]
        if name == "images" and isinstance(each, list)
        else _with_base64(each)
        for name, each in value.items()
    }
