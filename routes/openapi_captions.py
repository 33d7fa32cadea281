"""`POST /api/captions` in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from routes.caption_request import CAMERA_MAX_CHARS
from routes.openapi_answers import event, events, refusals
from routes.openapi_schemas import Schema, object_of, ref
from vlm.images import MAX_IMAGE_BYTES
from vlm.prompts import DEFAULT_PROMPT, PRESETS, PROMPT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT, Settings

IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/webp")


def caption_path(settings: Settings) -> dict[str, Any]:
    """The path item of the route under `settings`."""
    fields = _fields(settings)
    picture = {"type": "string", "format": "binary", "maxLength": MAX_IMAGE_BYTES}
    form = object_of(image=picture)
    form["properties"] |= fields
    bodies: dict[str, Any] = {name: {"schema": picture} for name in IMAGE_TYPES}
    bodies["application/octet-stream"] = {"schema": picture}
    bodies["multipart/form-data"] = {
        "schema": form,
        "encoding": {"image": {"contentType": ", ".join(IMAGE_TYPES)}},
    }
    return {
        "post": {
            "operationId": "caption",
            "tags": ["captions"],
            "summary": "A picture in, its caption out while it is made",
            "description": "The picture is the body, or the field `image` of a form. A field in "
            "the query goes before one in the form. A comment line comes about every second while "
            "the request waits. Hanging up gives the caption up.",
            "parameters": [
                {
                    "name": name,
                    "in": "query",
                    "schema": {key: value for key, value in schema.items() if key != "description"},
                    "description": schema["description"],
                }
                for name, schema in fields.items()
            ],
            "requestBody": {"required": True, "content": bodies},
            "responses": {
                "200": events(
                    "Tokens, and then `done`, or an `error` where the work failed midway.",
                    event(ref("Token"), "token"),
                    event(ref("Done"), "done"),
                    event(ref("Error"), "error"),
                ),
                **refusals(400, 413, 415, 503),
            },
        }
    }


def _fields(settings: Settings) -> dict[str, Schema]:
    """What may be asked beside the picture."""
    return {
        "prompt": {
            "type": "string",
            "maxLength": PROMPT_MAX_CHARS,
            # No control characters but tab and line ends, nor the sign for what is no character.
            "pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffd]*$",
            "default": DEFAULT_PROMPT,
            "description": "What to ask. Blank: the default.",
        },
        "preset": {
            "enum": [preset.id for preset in PRESETS],
            "description": "A question that is often asked, in place of `prompt`.",
        },
        "max_tokens": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_TOKENS_LIMIT,
            "default": settings.max_tokens,
            "description": "How many tokens the caption has at most.",
        },
        "detail": {
            "enum": ["low", "high"],
            "default": "low",
            "description": "`low`: the picture as one tile. `high`: the model's own tiling, "
            "slower, for small things.",
        },
        "camera": {
            "type": "string",
            "pattern": rf"^[A-Za-z0-9._-]{{1,{CAMERA_MAX_CHARS}}}$",
            "description": "Who asks. Cameras take turns.",
        },
        "kind": {
            "enum": ["live", "question"],
            "description": "`live`: a frame that a newer one of the same camera replaces while it "
            "waits. `question`: goes before live frames and is never replaced. Absent: `live` "
            "where a camera is named.",
        },
    }
