"""`POST /api/captions` in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.prompts import DEFAULT_PROMPT, PRESETS, PROMPT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT, Settings
from web.caption_request import CAMERA_MAX_CHARS
from web.openapi.schemas import OPENAI, Schema, answer, event, events, object_of, ref, refusals

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


def chat_paths(settings: Settings) -> dict[str, Any]:
    """The path items of the routes under `settings`."""
    keyed = settings.client_key_file is not None
    common: dict[str, Any] = {"tags": ["openai"], "security": [{"key": []}] if keyed else []}
    unauthorised = (401,) if keyed else ()
    upstream = (502, 504) if settings.engine == "openai" else ()
    completion = answer("The whole answer.", ref(f"{OPENAI}ChatCompletion"))
    stream = events(
        "With `stream`: chunks of the answer, and `[DONE]` last; an error where the work failed "
        "midway.",
        event(ref(f"{OPENAI}ChatCompletionChunk")),
        event(ref(f"{OPENAI}ErrorAnswer")),
        {"properties": {"data": {"const": "[DONE]"}}, "required": ["data"]},
    )
    return {
        "/v1/models": {
            "get": common
            | {
                "operationId": "listModels",
                "summary": "The models that answer",
                "responses": {
                    "200": answer("The models.", ref(f"{OPENAI}ModelList")),
                    **refusals(*unauthorised, 503, openai=True),
                },
            }
        },
        "/v1/models/{model}": {
            "get": common
            | {
                "operationId": "retrieveModel",
                "summary": "One of the models that answer",
                "parameters": [
                    {
                        "name": "model",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
                "responses": {
                    "200": answer("The model.", ref(f"{OPENAI}Model")),
                    **refusals(*unauthorised, 404, 503, openai=True),
                },
            }
        },
        "/v1/chat/completions": {
            "post": common
            | {
                "operationId": "createChatCompletion",
                "summary": "A chat with pictures in, its answer out",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": ref("ChatCompletionRequest")}},
                },
                "responses": {
                    "200": {
                        "description": f"{completion['description']} {stream['description']}",
                        "content": completion["content"] | stream["content"],
                    },
                    **refusals(*unauthorised, *upstream, 400, 404, 413, 415, 503, openai=True),
                },
            }
        },
    }


_SWITCH: Final = object_of(
    model={
        "type": "string",
        "pattern": "^[A-Za-z0-9._/-]{1,128}$",
        "description": "The name of one of the `models.choices` of `/api/status`.",
    }
) | {"additionalProperties": False}


def service_paths() -> dict[str, Any]:
    """The path items of the routes."""
    return {
        "/api/status": _get(
            "status", "What the model, the queue and the limits are", ref("Status")
        ),
        "/healthz": _get("health", "Whether the process serves", ref("Health")),
        "/metrics": _get(
            "metrics",
            "What was done, in Prometheus' text format",
            {"type": "string"},
            "text/plain",
        ),
        "/openapi.json": _get("document", "This document", {"type": "object"}),
        "/api/models/switch": _post(
            "switchModel",
            "Change to another model, which is fetched where it is not here",
            202,
            refused=(400, 404, 409, 413, 415),
            requestBody={
                "required": True,
                "content": {"application/json": {"schema": _SWITCH}},
            },
        ),
        "/api/models/cancel": _post("cancelChange", "Give the change under way up", 200),
        "/api/models/dismiss": _post("dismissProblem", "Forget what went wrong", 200),
    }


def _get(
    name: str, summary: str, schema: dict[str, Any], media_type: str = "application/json"
) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "tags": ["service"],
            "summary": summary,
            "responses": {"200": answer("As it is now.", schema, media_type), **refusals()},
        }
    }


def _post(
    name: str, summary: str, status: int, refused: tuple[int, ...] = (), **more: Any
) -> dict[str, Any]:
    answers = {
        str(status): answer("The models as they are now.", ref("ModelsStatus")),
        **refusals(*refused),
    }
    operation = {"operationId": name, "tags": ["models"], "summary": summary, "responses": answers}
    return {"post": operation | more}
