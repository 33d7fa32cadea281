"""`GET /openapi.json`: what each route takes and answers, as OpenAPI has it."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, Final

from flask import Blueprint, Response, jsonify

from vlm import __version__
from vlm.settings import Settings

# The first version that can describe the events of a stream.
OPENAPI_VERSION: Final = "3.2.0"


def openapi_blueprint(settings: Settings) -> Blueprint:
    """The route; the page and its files are no part of the document."""
    blueprint = Blueprint("openapi", __name__)
    made = cache(lambda: document(settings))
    making = threading.Lock()

    @blueprint.get("/openapi.json")
    def tell() -> Response:
        with making:
            return jsonify(made())

    return blueprint


def document(settings: Settings) -> dict[str, Any]:
    """The document for a server with these `settings`; takes some tenths of a second."""
    # Most servers are never asked, and pydantic takes a while to make schemas.
    from web.openapi.captions import caption_path, chat_paths, service_paths
    from web.openapi.schemas import schemas

    made: dict[str, Any] = {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Sightline",
            "version": __version__,
            "summary": "Live captions for what a camera sees, made on your own machine.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "captions", "description": "One picture, one question."},
            {"name": "openai", "description": "Chats, as programs for OpenAI's API ask them."},
            {"name": "models", "description": "Which model runs."},
            {"name": "service", "description": "What the server tells of itself."},
        ],
        "paths": {
            "/api/captions": caption_path(settings),
            **chat_paths(settings),
            **service_paths(),
        },
        "components": {"schemas": schemas()},
    }
    if settings.client_key_file is not None:
        scheme = {"type": "http", "scheme": "bearer", "description": "The key of this server."}
        made["components"]["securitySchemes"] = {"key": scheme}
    return made
