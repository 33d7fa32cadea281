"""The routes of `/v1/responses`. Nothing is kept: an answer cannot be fetched again or built on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vlm.models.manager import Models
from web.chats.answering import Asked, answer_chat
from web.errors import ResponseNotFoundError
from web.streaming import Admission

if TYPE_CHECKING:
    from web.openai.responses_schema import ResponsesRequest


def add_responses(blueprint: Blueprint, models: Models, admission: Admission) -> None:
    """Add the routes to those of the OpenAI-compatible API."""

    @blueprint.post("/responses")
    def create_response() -> Response:
        # With the first request: pydantic takes longer to import than the rest of the web side.
        from web.openai.responses_body import read_responses_body

        return answer_chat(request, models.worker, admission, read_responses_body, _asked)

    @blueprint.route("/responses/<path:name>", methods=["GET", "DELETE", "POST"])
    def kept_response_not_offered(name: str) -> Response:
        raise ResponseNotFoundError(
            "This server keeps no answers, so there is none to fetch, cancel or delete. Keep what "
            "`POST /v1/responses` returns."
        )


def _asked(body: ResponsesRequest, model: str, is_cancelled: Callable[[], bool]) -> Asked:
    """Return what `body` asks of `model`; raises FieldError."""
    from web.openai.responses_answers import ResponseMaker
    from web.openai.responses_body import responses_request

    asked = responses_request(body, is_cancelled)
    sampling = asked.request.answer_task.sampling
    answer = ResponseMaker(
        model,
        max_output_tokens=body.max_output_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        tool=asked.tool,
    )
    return Asked(asked.request, answer, bool(body.stream), asked.ignored, texts_param="input")
