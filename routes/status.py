"""What the server is doing: `/api/status` for pages and people, `/healthz` for supervisors."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from routes.errors import error_body
from vlm import __version__
from vlm.images import MAX_IMAGE_BYTES
from vlm.models import Models
from vlm.prompts import PRESETS, PROMPT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT, Settings


def status_blueprint(settings: Settings, models: Models) -> Blueprint:
    """Both routes; they answer while the model loads and while it is busy."""
    blueprint = Blueprint("status", __name__)
    worker = models.worker

    @blueprint.get("/api/status")
    def status() -> Response:
        # State first: `ready` is only ever told together with what is loaded.
        state, info, error = worker.state, worker.info, worker.error
        return jsonify(
            {
                "state": state,
                "error": error_body(error.code, str(error))["error"] if error else None,
                "progress": worker.progress or None if state == "loading" else None,
                "model": info.model if info else models.first,
                "runtime": info.runtime if info else None,
                "device": info.device if info else None,
                "dtype": info.dtype if info else None,
                "frame_size_px": info.frame_size_px if info else None,
                "models": asdict(models.status()),
                "queue": {
                    "waiting": worker.waiting,
                    "limit": settings.max_queue,
                    "busy": worker.busy,
                },
                "limits": {
                    "max_body_bytes": MAX_IMAGE_BYTES,
                    "prompt_max_chars": PROMPT_MAX_CHARS,
                    "max_tokens_default": settings.max_tokens,
                    "max_tokens_limit": MAX_TOKENS_LIMIT,
                },
                "presets": [asdict(preset) for preset in PRESETS],
                "version": __version__,
            }
        )

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    return blueprint
