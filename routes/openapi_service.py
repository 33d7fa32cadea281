"""What the server tells of itself, and the change of its model, in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from routes.openapi_answers import answer, refusals
from routes.openapi_schemas import object_of, ref

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
