"""The OpenAI-compatible API: its routes, and the key that a client may have to show."""

from __future__ import annotations

import hmac
import time

from flask import Blueprint, Flask, Response, jsonify, request

from routes.admission import Admission
from routes.openai_errors import FieldError, is_openai_path
from routes.openai_models import running_model
from vlm.settings import Settings, read_key
from vlm.worker import Worker


def openai_blueprint(settings: Settings, worker: Worker, admission: Admission) -> Blueprint:
    """The routes, over a `worker` that has been started and the `admission` that bounds it."""
    blueprint = Blueprint("openai", __name__, url_prefix="/v1")
    created = int(time.time())

    def model_object(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": created, "owned_by": "sightline"}

    @blueprint.get("/models")
    def models() -> Response:
        data = [model_object(running_model(worker).model)]
        return jsonify({"object": "list", "data": data})

    # A hub id has a slash in it.
    @blueprint.get("/models/<path:name>")
    def model(name: str) -> Response:
        return jsonify(model_object(running_model(worker, name).model))

    @blueprint.post("/chat/completions")
    def chat_completions() -> Response:
        from routes.openai_chat import answer_chat

        return answer_chat(request, settings, worker, admission)

    return blueprint


def install_client_key(app: Flask, settings: Settings) -> None:
    """Ask whoever calls /v1 for the key that `settings` name a file of, where they do.

    Raises SettingsError where that file holds no key.
    """
    if settings.client_key_file is None:
        return
    key = read_key(settings.client_key_file).encode()

    @app.before_request
    def refuse_without_key() -> None:
        if not is_openai_path(request.path):
            return
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        # Compared in a time that does not tell how much of it is right.
        is_right = hmac.compare_digest(shown.strip().encode(), key)
        if scheme.lower() != "bearer" or not is_right:
            raise FieldError(
                "This server asks for its key: send it as `Authorization: Bearer KEY`.",
                None,
                "invalid_api_key",
                status=401,
            )
