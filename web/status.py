"""`/api/status` and `/healthz`, and `/api/models/...`, which change the model that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from vlm import __version__
from vlm.errors import BadRequestError
from vlm.finder.finder import FinderStatus
from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.models.candidates import ModelsStatus
from vlm.models.manager import Models
from vlm.prompts import PRESETS, PROMPT_MAX_CHARS, Preset
from vlm.remote.upstream import UpstreamStatus
from vlm.results import EngineState
from vlm.scheduler.controller import Controller, LiveStatus
from vlm.settings import MAX_TOKENS_LIMIT, Settings
from vlm.timeline.choices import Keep
from vlm.timeline.timeline import Timeline
from web.access import REVALIDATED, is_same_machine, may_control


@dataclass(frozen=True)
class LoadError:
    """The reason why no model could be loaded."""

    code: str
    # For people: what to do about it.
    message: str


@dataclass(frozen=True)
class QueueStatus:
    """The requests that wait for the model."""

    waiting: int
    # The most that may wait.
    limit: int
    # Whether the model works on a request.
    busy: bool


@dataclass(frozen=True)
class WorkerStatus:
    """The thread that owns the model."""

    # How often it was restarted after a failure, and the last failure.
    restarts: int
    last_failure: str | None
    # Requests in flight, and the most of them.
    under_way: int
    at_once: int


@dataclass(frozen=True)
class RemoteStatus:
    """The servers that frames are sent to."""

    origins: tuple[str, ...]
    upstreams: tuple[UpstreamStatus, ...]


@dataclass(frozen=True)
class Limits:
    """The bounds of a request, and the default of its `max_tokens`."""

    max_body_bytes: int
    prompt_max_chars: int
    max_tokens_default: int
    max_tokens_limit: int


@dataclass(frozen=True)
class Status:
    """The answer of `/api/status`."""

    state: EngineState
    # Only in the state `failed`.
    error: LoadError | None
    # What the load does now, in words; only in the state `loading`.
    progress: str | None
    # The model that runs, or else the one that is loading, if it is known.
    model: str | None
    # What runs it, None until it is loaded.
    runtime: str | None
    device: str | None
    dtype: str | None
    # The longest side of a frame that is worth sending.
    frame_size_px: int | None
    models: ModelsStatus
    # Whether the client that asks may change the model.
    can_change_models: bool
    # Whether the client that asks runs on the server's machine.
    same_machine: bool
    finder: FinderStatus
    queue: QueueStatus
    live: LiveStatus
    # What is kept of captions and answers.
    timeline: Keep
    worker: WorkerStatus
    # None if the model runs on this machine.
    remote: RemoteStatus | None
    limits: Limits
    presets: tuple[Preset, ...]
    version: str


@dataclass(frozen=True)
class Health:
    """The process serves."""

    status: Literal["ok"]


def status_blueprint(
    settings: Settings, models: Models, controller: Controller, timeline: Timeline
) -> Blueprint:
    """Return both routes; they answer while the model loads and while it is busy."""
    blueprint = Blueprint("status", __name__)

    @blueprint.get("/api/status")
    def status() -> Response:
        answer = jsonify(_status(settings, models, controller, timeline))
        answer.headers["Cache-Control"] = REVALIDATED
        return answer

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify(Health("ok"))

    return blueprint


def _status(
    settings: Settings, models: Models, controller: Controller, timeline: Timeline
) -> Status:
    worker, queue = models.worker, models.worker.queue
    # Read the state first: if it is `ready`, the info read after it is there.
    state, info, error = worker.state, worker.info, worker.error
    upstreams = models.upstreams()
    origins = tuple(dict.fromkeys(upstream.origin for upstream in upstreams))
    return Status(
        state=state,
        error=LoadError(error.code, str(error)) if error else None,
        progress=worker.progress or None if state == "loading" else None,
        model=info.model if info else models.first,
        runtime=info.runtime if info else None,
        device=info.device if info else None,
        dtype=info.dtype if info else None,
        frame_size_px=info.frame_size_px if info else None,
        models=models.status(),
        can_change_models=may_control(settings, request),
        same_machine=is_same_machine(request),
        finder=models.finder.status(),
        queue=QueueStatus(queue.waiting, settings.max_queue, worker.busy),
        live=controller.status(),
        timeline=timeline.choice.keep,
        worker=WorkerStatus(worker.restarts, worker.last_failure, queue.in_flight, queue.max_batch),
        remote=RemoteStatus(origins, upstreams) if upstreams else None,
        limits=Limits(MAX_IMAGE_BYTES, PROMPT_MAX_CHARS, settings.max_tokens, MAX_TOKENS_LIMIT),
        presets=PRESETS,
        version=__version__,
    )


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
