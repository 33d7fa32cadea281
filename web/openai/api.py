"""The OpenAI-compatible API: its routes."""

from __future__ import annotations

import time

from flask import Blueprint, Response, jsonify, request

from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.admission import Admission
from web.openai.models import running_model


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
        from web.openai.chat import answer_chat

        return answer_chat(request, settings, worker, admission)

    return blueprint
