"""What the server is doing: `/api/status` for pages and people, `/healthz` for supervisors."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from flask import Blueprint, Response, jsonify

from vlm import __version__
from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.models.candidates import ModelsStatus
from vlm.models.manager import Models
from vlm.prompts import PRESETS, PROMPT_MAX_CHARS, Preset
from vlm.remote.upstream import UpstreamStatus
from vlm.settings import MAX_TOKENS_LIMIT, Settings
from vlm.types import EngineState


@dataclass(frozen=True)
class LoadError:
    """Why no model could be loaded, in words for people."""

    code: str
    message: str


@dataclass(frozen=True)
class QueueStatus:
    """How many requests wait for the model, how many may, and whether it works on any."""

    waiting: int
    limit: int
    busy: bool


@dataclass(frozen=True)
class WorkerStatus:
    """The thread that owns the model: how often it had to be begun anew, and why the last time.

    It works on `under_way` requests, and on `at_once` at most.
    """

    restarts: int
    last_failure: str | None
    under_way: int
    at_once: int


@dataclass(frozen=True)
class RemoteStatus:
    """Where frames are sent to be captioned, and how the servers there are."""

    origins: tuple[str, ...]
    upstreams: tuple[UpstreamStatus, ...]


@dataclass(frozen=True)
class Limits:
    """What a request may have at most, and how many tokens it gets that names no number."""

    max_body_bytes: int
    prompt_max_chars: int
    max_tokens_default: int
    max_tokens_limit: int


@dataclass(frozen=True)
class Status:
    """All of `/api/status`.

    What is loaded is None until it is, but for `model`, which may be known before. `progress` is
    what loading is at. `remote` is None where the model runs on this machine.
    """

    state: EngineState
    error: LoadError | None
    progress: str | None
    model: str | None
    runtime: str | None
    device: str | None
    dtype: str | None
    frame_size_px: int | None
    models: ModelsStatus
    queue: QueueStatus
    worker: WorkerStatus
    remote: RemoteStatus | None
    limits: Limits
    presets: tuple[Preset, ...]
    version: str


def status_blueprint(settings: Settings, models: Models) -> Blueprint:
    """Both routes; they answer while the model loads and while it is busy."""
    blueprint = Blueprint("status", __name__)

    @blueprint.get("/api/status")
    def status() -> Response:
        return jsonify(asdict(_status(settings, models)))

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    return blueprint


def _status(settings: Settings, models: Models) -> Status:
    worker, queue = models.worker, models.worker.queue
    # State first: `ready` is only ever told together with what is loaded.
    state, info, error = worker.state, worker.info, worker.error
    upstreams = models.upstreams()
    origins = tuple(dict.fromkeys(each.origin for each in upstreams))
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
        queue=QueueStatus(queue.waiting, settings.max_queue, worker.busy),
        worker=WorkerStatus(worker.restarts, worker.last_failure, queue.in_flight, queue.max_batch),
        remote=RemoteStatus(origins, upstreams) if upstreams else None,
        limits=Limits(MAX_IMAGE_BYTES, PROMPT_MAX_CHARS, settings.max_tokens, MAX_TOKENS_LIMIT),
        presets=PRESETS,
        version=__version__,
    )
