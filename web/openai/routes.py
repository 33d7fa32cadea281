"""The OpenAI-compatible API: models, chats, and routes of `responses.py`, `embeddings.py`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flask import Blueprint, Response, jsonify, request

from vlm.finder.meaning import Meaning
from vlm.models.manager import Models
from web.chats.answering import Asked, answer_chat
from web.errors import ModelNotFoundError
from web.openai.embeddings import add_embeddings
from web.openai.responses import add_responses
from web.streaming import Admission, running_model

if TYPE_CHECKING:
    from web.openai.schema import ChatCompletionRequest


@dataclass(frozen=True)
class Architecture:
    """The kinds of input and output of the model."""

    input_modalities: tuple[str, ...] = ("text", "image")
    output_modalities: tuple[str, ...] = ("text",)


@dataclass(frozen=True)
class ModelMeta:
    """The length of the context, as llama.cpp names it."""

    n_ctx: int | None


@dataclass(frozen=True)
class ModelStatus:
    """State of the model, in the form of llama.cpp's list."""

    value: Literal["loading", "loaded"]
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """The model that answers, with the fields that clients of other servers read."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    aliases: tuple[str, ...]
    max_model_len: int | None
    """Tokens of prompt and answer together; null while the model loads, or if it runs elsewhere."""
    meta: ModelMeta
    status: ModelStatus
    architecture: Architecture = Architecture()
    capabilities: tuple[str, ...] = ("completion", "vision")


@dataclass(frozen=True)
class ModelList:
    """The models that answer: one, or none before it is known which one loads."""

    object: Literal["list"]
    data: tuple[Model, ...]


def openai_blueprint(models: Models, meaning: Meaning, admission: Admission) -> Blueprint:
    """Return the routes over started `models` and a dual encoder.

    `admission` bounds the requests in flight.
    """
    blueprint = Blueprint("openai", __name__, url_prefix="/v1")
    created = int(time.time())

    @blueprint.get("/models")
    def list_models() -> Response:
        listed = _listed(models, created)
        return jsonify(ModelList("list", () if listed is None else (listed,)))

    # A hub id contains a slash.
    @blueprint.get("/models/<path:name>")
    def retrieve_model(name: str) -> Response:
        listed = _listed(models, created)
        names = [listed.id, *listed.aliases] if listed is not None else []
        if listed is None or name.lower() not in map(str.lower, names):
            raise ModelNotFoundError(
                f"This model is not served here; `{running_model(models.worker).model}` is."
            )
        return jsonify(listed)

    @blueprint.post("/chat/completions")
    def create_chat_completion() -> Response:
        # With the first request: pydantic takes longer to import than the rest of the web side.
        from web.openai.body import read_chat_body

        return answer_chat(request, models.worker, admission, read_chat_body, _asked)

    add_embeddings(blueprint, meaning, admission)
    add_responses(blueprint, models, admission)
    return blueprint


def _listed(models: Models, created: int) -> Model | None:
    """Return the model that runs, or the one that loads; None if that is not known yet.

    Raises ModelFailedError.
    """
    if models.worker.state != "loading":
        info = running_model(models.worker)
        tokens = info.context_tokens
        return Model(
            id=info.model,
            object="model",
            created=created,
            owned_by="sightline",
            aliases=info.aliases,
            max_model_len=tokens,
            meta=ModelMeta(tokens),
            status=ModelStatus("loaded"),
        )
    if models.first is None:
        return None
    return Model(
        id=models.first,
        object="model",
        created=created,
        owned_by="sightline",
        aliases=(),
        max_model_len=None,
        meta=ModelMeta(None),
        status=ModelStatus("loading"),
    )


def _asked(body: ChatCompletionRequest, model: str, is_cancelled: Callable[[], bool]) -> Asked:
    """Return the chat that `body` asks of `model`; raises FieldError."""
    from web.openai.answers import ChatAnswer
    from web.openai.body import chat_request

    chat = chat_request(body, is_cancelled)
    answer = ChatAnswer(
        model,
        with_logprobs=bool(body.logprobs),
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
        tool=chat.tool,
    )
    return Asked(chat.request, answer, bool(body.stream), chat.ignored)
