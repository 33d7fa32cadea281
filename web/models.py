"""`/api/models/...`: change the model that runs, give a change up, forget why one failed."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import BadRequestError
from vlm.models.manager import Models

# A name in JSON; too short for an array in an array in an array that would exhaust the parser.
MAX_BODY_BYTES = 512


def models_blueprint(models: Models) -> Blueprint:
    """The routes; each answers with the `models` of `/api/status` as they are then."""
    blueprint = Blueprint("models", __name__, url_prefix="/api/models")

    @blueprint.post("/switch")
    def switch() -> tuple[Response, int]:
        models.switch(_asked_model())
        return _status(models), 202

    @blueprint.post("/cancel")
    def cancel() -> Response:
        models.cancel()
        return _status(models)

    @blueprint.post("/dismiss")
    def dismiss() -> Response:
        models.dismiss()
        return _status(models)

    return blueprint


def _asked_model() -> str:
    request.max_content_length = MAX_BODY_BYTES
    try:
        body = request.get_json()
    except RequestEntityTooLarge:
        raise BadRequestError(f"At most {MAX_BODY_BYTES} bytes are taken here.") from None
    name = body.get("model") if isinstance(body, dict) else None
    if not isinstance(name, str):
        raise BadRequestError('Send JSON with the name of a model: {"model": "nano"}.')
    return name


def _status(models: Models) -> Response:
    return jsonify(asdict(models.status()))
