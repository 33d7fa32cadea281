"""`/api/models/...`: change the model that runs, cancel a change, dismiss the error of one."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import BadRequestError
from vlm.models.manager import Models

# Enough for every character of a name as an escape of 12 bytes.
MAX_BODY_BYTES: Final = 4096
NAME_MAX_CHARS: Final = 255

# The body of a switch in JSON Schema, for the reader below and the OpenAPI document.
SWITCH_FIELDS: Final[dict[str, Any]] = {
    "model": {
        "type": "string",
        "maxLength": NAME_MAX_CHARS,
        "description": "The name of one of the `models.choices` of `/api/status`.",
    }
}


def models_blueprint(models: Models) -> Blueprint:
    """Return the routes; each answers with the new `models` of `/api/status`."""
    blueprint = Blueprint("models", __name__, url_prefix="/api/models")

    @blueprint.post("/switch")
    def switch() -> tuple[Response, int]:
        models.switch(_read_name())
        return jsonify(models.status()), 202

    @blueprint.post("/cancel")
    def cancel() -> Response:
        models.cancel()
        return jsonify(models.status())

    @blueprint.post("/dismiss")
    def dismiss() -> Response:
        models.dismiss()
        return jsonify(models.status())

    return blueprint


def _read_name() -> str:
    request.max_content_length = MAX_BODY_BYTES
    try:
        body = request.get_json()
    except RequestEntityTooLarge:
        raise BadRequestError(f"At most {MAX_BODY_BYTES} bytes are accepted here.") from None
    except RecursionError:
        body = None
    name = body.get("model") if isinstance(body, dict) else None
    if not isinstance(name, str) or len(name) > NAME_MAX_CHARS:
        raise BadRequestError(
            'Send JSON with the name of a model: {"model": "nano"}. '
            f"A name has at most {NAME_MAX_CHARS} characters."
        )
    return name
