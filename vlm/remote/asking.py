"""Ask one server until it answers or fails; what it refuses is left out and remembered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from vlm.remote.answer import UpstreamAnswer
from vlm.remote.client import Client
from vlm.remote.failures import UpstreamFailure
from vlm.remote.fields import MAX_LESSONS, ServerFields
from vlm.remote.forms import form_fields, keeps_to_form
from vlm.remote.upstream import Upstream
from vlm.results import TokenChunk
from vlm.types import Request

_SEES_NOTHING: Final = re.compile(
    r"\b(?:not|no|only|without|missing|expected)\b.{0,80}(?:image|vision|multi-?modal|picture)|"
    r"content\b.{0,40}\bstring|(?:image|vision|multi-?modal|picture).{0,80}(?:\bnot\b|n't|unsupported|missing|mmproj|expected)",
    re.IGNORECASE | re.DOTALL,
)


async def ask(
    client: Client,
    upstream: Upstream,
    request: Request,
    body: dict[str, Any],
    key: str | None,
    on_chunk: Callable[[TokenChunk], object],
) -> UpstreamAnswer:
    """Return a complete answer, whose text went to `on_chunk`.

    A request is sent again without the fields that the server refuses, and without thinking if the
    model only thought. `key` is removed from the server's error messages. Raise UpstreamFailure.
    """
    learnt: set[str] = set()
    for lesson in range(MAX_LESSONS + 1):
        fields = upstream.fields
        asked = _asked(upstream, request, body)
        sent = fields.body(asked)
        answer = UpstreamAnswer(
            request, key, is_thinking=fields.starts_thinking, keeps_limit=fields.keeps_limit
        )
        try:
            await client.complete(upstream, sent, answer, on_chunk)
        except UpstreamFailure as failure:
            if not answer.is_complete:
                failure.has_begun = answer.stage != "waiting"
                if answer.has_thoughts:
                    fields.ask_for_no_thoughts()
                if lesson < MAX_LESSONS and _learn(upstream, failure, sent, learnt):
                    continue
                raise _with_advice(failure, sent) from None
        rest = answer.rest()
        if rest is not None:
            on_chunk(rest)
        fields.was_answered(sent)
        _learn_thoughts(fields, answer)
        if not answer.has_only_thoughts or fields.body(asked) == sent:
            break
    _check(upstream, request, answer)
    return answer


def _asked(upstream: Upstream, request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request to `upstream`, before it has refused any."""
    form = request.answer_task.form
    own = None if form is None else form_fields(form, upstream.owner)
    return {"model": upstream.model, **body, **(own or {})}


def _learn(
    upstream: Upstream, failure: UpstreamFailure, sent: dict[str, Any], learnt: set[str]
) -> bool:
    """Return whether the request is to be sent again, with other fields."""
    if failure.has_begun:
        return False
    left_out = upstream.fields.learn(failure, sent, learnt)
    for name in left_out or []:
        upstream.warn(name, f"does not take {name}: its answers are made without it.")
    return left_out is not None


def _learn_thoughts(fields: ServerFields, answer: UpstreamAnswer) -> None:
    if answer.has_shown_thoughts:
        fields.starts_thinking = True
    elif answer.guessed_wrong:
        fields.starts_thinking = False
    if answer.has_thoughts or answer.has_shown_thoughts:
        fields.ask_for_no_thoughts()


def _check(upstream: Upstream, request: Request, answer: UpstreamAnswer) -> None:
    """Raise UpstreamFailure for an answer that is empty, or not of the form that was asked for."""
    answer.finish_reason()
    if answer.is_whole and not keeps_to_form(answer.text, request.answer_task):
        raise UpstreamFailure(
            "broken", "did not keep to the form of the answer that was asked for."
        )
    if answer.unknown_reason is not None:
        upstream.warn(
            "finish_reason",
            f'ended an answer for the unknown reason "{answer.unknown_reason}". It is taken for '
            "whole.",
        )


def _with_advice(failure: UpstreamFailure, sent: dict[str, Any]) -> UpstreamFailure:
    """Return `failure`; if the model sees no pictures, with words on what to do."""
    has_images = any(isinstance(each["content"], list) for each in sent["messages"])
    if has_images and failure.body and _SEES_NOTHING.search(failure.words):
        failure.words += " If its model sees no pictures, name one that does with --remote-model."
    return failure
