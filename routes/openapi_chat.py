"""`/v1`, the API that is compatible with OpenAI's, in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from routes.openapi_answers import answer, event, events, refusals
from routes.openapi_schemas import OPENAI, ref
from vlm.settings import Settings


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
