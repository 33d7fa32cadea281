"""The routes of Ollama's API, answered by the model that runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from flask import Blueprint, Response, jsonify, request

from vlm.models.manager import Models
from web.chats.answering import Asked, Ready, answer_chat, answer_headers, read_body
from web.errors import NOT_OFFERED, NotOfferedError
from web.ollama.models import OLLAMA_VERSION, OllamaVersion, is_running, listed, running, shown
from web.streaming import Admission, running_model
from web.wsgi import watch_client

if TYPE_CHECKING:
    from web.ollama.schema import OllamaChatRequest, OllamaGenerateRequest, OllamaShowRequest

_MODELS: Final = "This server runs one model, which is chosen on its page; it {}."
_NO_VECTORS: Final = "The model that runs makes no embeddings; it answers in text: see /api/chat."
# Routes of Ollama's that do what this server does not.
_NOT_OFFERED: Final = {
    "create": _MODELS.format("makes no new ones"),
    "push": _MODELS.format("sends none away"),
    "copy": _MODELS.format("gives it no other names, and answers to any"),
    "delete": _MODELS.format("deletes none"),
    "blobs/<path:digest>": _MODELS.format("takes no files of models"),
    "embed": _NO_VECTORS,
    "embeddings": _NO_VECTORS,
}


def ollama_blueprint(models: Models, admission: Admission) -> Blueprint:
    """Return the routes over started `models`; `admission` bounds the requests in flight."""
    blueprint = Blueprint("ollama", __name__, url_prefix="/api")
    since = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")

    @blueprint.get("/version")
    def version() -> Response:
        return jsonify(OllamaVersion(OLLAMA_VERSION))

    @blueprint.get("/tags")
    def tags() -> Response:
        return jsonify(listed(models, since))

    @blueprint.get("/ps")
    def ps() -> Response:
        return jsonify(running(models, since))

    @blueprint.post("/show")
    def show() -> Response:
        _read_name(admission)
        info = running_model(models.worker)
        answer = jsonify(shown(info, since))
        answer.headers.update(answer_headers(info.model))
        return answer

    @blueprint.post("/chat")
    def chat() -> Response:
        # With the first request: pydantic takes longer to import than the rest of the web side.
        from web.ollama.body import read_chat

        return answer_chat(
            request, models.worker, admission, read_chat, _asked_chat, needs_json_type=False
        )

    @blueprint.post("/generate")
    def generate() -> Response:
        from web.ollama.body import read_generate

        return answer_chat(
            request, models.worker, admission, read_generate, _asked_generate, needs_json_type=False
        )

    # Clients pull a model that is not listed, and Ollama answers so if it is there.
    @blueprint.post("/pull", endpoint=f"pull_{NOT_OFFERED}")
    def pull() -> Response:
        body = _read_name(admission)
        info = running_model(models.worker)
        name = body.model or body.name or ""
        if not is_running(name, info):
            raise NotOfferedError(
                f"`{info.model}` runs here and answers whatever model is asked for. Another one is "
                "chosen, and downloaded, on this server's page."
            )
        return jsonify({"status": "success"})

    for path, words in _NOT_OFFERED.items():
        blueprint.add_url_rule(
            f"/{path}",
            f"{path.partition('/')[0]}_{NOT_OFFERED}",
            partial(_refuse, words),
            methods=["HEAD", "POST", "DELETE"],
        )
    return blueprint


def _refuse(words: str, **_: str) -> NoReturn:
    raise NotOfferedError(words)


def _read_name(admission: Admission) -> OllamaShowRequest:
    """Return the body of a request that only names a model; raises FieldError, BusyError."""
    from web.ollama.body import read_show

    with admission.place() as place:
        return read_body(request, place, read_show, watch_client(request.environ))


def _asked_chat(
    body: OllamaChatRequest, model: str, is_cancelled: Callable[[], bool]
) -> Asked | Ready:
    """Return the chat that `body` asks of `model`; raises FieldError."""
    from web.ollama.answers import OllamaAnswer
    from web.ollama.body import chat_request

    answer = OllamaAnswer(model, is_chat=True)
    read = chat_request(body, is_cancelled)
    if read.request is None:
        return Ready(answer.loaded(), read.ignored)
    return Asked(
        read.request, answer, body.stream is not False, read.ignored, stop_param="options.stop"
    )


def _asked_generate(
    body: OllamaGenerateRequest, model: str, is_cancelled: Callable[[], bool]
) -> Asked | Ready:
    """Return the answer that `body` asks of `model`; raises FieldError."""
    from web.ollama.answers import OllamaAnswer
    from web.ollama.body import generate_request

    answer = OllamaAnswer(model, is_chat=False)
    read = generate_request(body, is_cancelled)
    if read.request is None:
        return Ready(answer.loaded(), read.ignored)
    return Asked(
        read.request,
        answer,
        body.stream is not False,
        read.ignored,
        texts_param="prompt",
        stop_param="options.stop",
    )
