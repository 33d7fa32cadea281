"""`POST /api/captions`: caption a frame, in a stream of server-sent events."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TypeAlias

from flask import Blueprint, Response, request
from flask import Request as HttpRequest

from vlm.errors import NotSupportedError, SightlineError
from vlm.images.frame import Frame
from vlm.processing.tokenizer import END_OF_UTTERANCE
from vlm.results import Explained, Looks, Result, StreamEvent, TokenLogprob
from vlm.scheduler.controller import Controller
from vlm.scheduler.worker import Worker
from vlm.scoring.calibration import calibration_of
from vlm.scoring.sure import Alternative, Sure, lead_of, spans_of, sure_of
from vlm.settings import Settings
from vlm.timeline.timeline import Timeline
from vlm.types import Explain, Request
from web.caption_fields import read_caption_fields
from web.errors import error_body
from web.estimating import estimate
from web.picture_body import read_picture
from web.request_log import request_log
from web.streaming import (
    WAITING,
    Admission,
    Place,
    event_stream,
    read_events,
    server_sent,
)

# Makes an estimate of a result and its tokens, step by step.
Estimate: TypeAlias = Callable[
    [Result, Sequence[TokenLogprob]], Generator[None, None, Looks | None]
]


@dataclass(frozen=True)
class Token:
    """The data of a `token` event: the text that the newest tokens completed."""

    text: str


@dataclass(frozen=True)
class AnswerToken:
    """A token of an answer, and what the model would have written in its place."""

    text: str
    # Its place in the answer, in characters; empty for a part of a character.
    start: int
    end: int
    probability: float
    # The likeliest first. The text has the blank before it; it is empty for the answer's end.
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class CaptionResult(Result):
    """The data of a `done` event."""

    # Null unless it was asked for, and if the model did not make the text, or its server does not
    # send the log probabilities of tokens.
    sure: Sure | None
    # Null unless `alternatives` were asked for.
    tokens: tuple[AnswerToken, ...] | None


def captions_blueprint(
    settings: Settings,
    worker: Worker,
    controller: Controller,
    admission: Admission,
    timeline: Timeline,
) -> Blueprint:
    """Return the route over a started `worker`.

    `controller` chooses what live frames leave open; `admission` bounds the requests in flight.
    `timeline` is told how sure the model was.
    """
    blueprint = Blueprint("captions", __name__)

    @blueprint.post("/api/captions")
    def caption() -> Response:
        entry = request_log()
        entry.wants_answer = True
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            entry.request, explain = read_caption_request(
                request, settings, worker, controller, place
            )
            stream = held.enter_context(admission.submitted(worker, entry))
            events = read_events(stream, admission, entry)
            explained: Estimate | None = None
            if explain == "estimate":
                explained = partial(
                    estimate, entry.request, worker, admission, entry, request.environ
                )
            response = event_stream(_events_of(events, entry.request, worker, timeline, explained))
            # Runs however the answer ends: read to its end, cancelled, or never started.
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


def _events_of(
    events: Iterator[StreamEvent | None],
    request: Request,
    worker: Worker,
    timeline: Timeline,
    explained: Estimate | None,
) -> Iterator[str]:
    task, frame = request.answer_task, request.frame
    tokens: list[TokenLogprob] = []
    try:
        for event in events:
            if event is None:
                yield WAITING
            elif isinstance(event, Result):
                looks = event.looks if isinstance(event, Explained) else None
                if explained is not None:
                    looks = yield from _comments(explained(event, tokens))
                if looks is not None:
                    yield server_sent("looks", asdict(looks))
                sure = _sure(event, tokens, worker) if task.sure else None
                if sure is not None and frame is not None:
                    timeline.add_sure(frame.camera or "", frame.captured_at, sure.probability)
                yield server_sent(
                    "done", _done(event, sure, _tokens(event, tokens, task.top_logprobs))
                )
            else:
                tokens += event.logprobs
                yield server_sent("token", asdict(Token(event.text)))
    except SightlineError as error:
        yield server_sent("error", error_body(error.code, str(error)))


def _comments(steps: Generator[None, None, Looks | None]) -> Generator[str, None, Looks | None]:
    """Yield a comment line at each step, and return what the steps return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            looks: Looks | None = end.value
            return looks
        yield WAITING


def _done(
    result: Result, sure: Sure | None, tokens: tuple[AnswerToken, ...] | None
) -> dict[str, object]:
    values = {each.name: getattr(result, each.name) for each in fields(Result)}
    return asdict(CaptionResult(**values, sure=sure, tokens=tokens))


def _tokens(
    result: Result, tokens: Sequence[TokenLogprob], count: int | None
) -> tuple[AnswerToken, ...] | None:
    """Return the tokens of the answer with alternatives, `count` of them at most with the token.

    None if none were asked for. Raise NotSupportedError if the model's server sent none.
    """
    if count is None:
        return None
    if not result.text:
        return ()
    written = b"".join(each.token_bytes for each in tokens).decode("utf-8", "replace")
    lead = lead_of(result.text, written)
    if lead is None:
        raise NotSupportedError(
            "The server of this model sends no log probabilities of its words, so alternatives "
            "to them are not known. Leave out `alternatives`."
        )
    found = []
    for token, (first, last) in spans_of(tokens, lead):
        start, end = max(first, 0), min(last, len(result.text))
        # A text that was cut has tokens beyond its end.
        if start < len(result.text):
            others = [each for each in token.top if each.token_bytes != token.token_bytes]
            found.append(
                AnswerToken(
                    result.text[start:end],
                    start,
                    end,
                    math.exp(token.logprob),
                    tuple(_alternative(each) for each in others[: count - 1]),
                )
            )
    return tuple(found)


def _alternative(token: TokenLogprob) -> Alternative:
    text = "" if token.token == END_OF_UTTERANCE else token.token
    return Alternative(text, math.exp(token.logprob))


def _sure(result: Result, tokens: Sequence[TokenLogprob], worker: Worker) -> Sure | None:
    """Return how sure the model is of its text; None if another one made it."""
    info = worker.info
    if result.stats.by != "model" or info is None:
        return None
    return sure_of(result.text, tokens, calibration_of(info.model, info.dtype))


def read_caption_request(
    request: HttpRequest,
    settings: Settings,
    worker: Worker,
    controller: Controller,
    place: Place,
) -> tuple[Request, Explain]:
    """Return the model's request, and how it is explained.

    Query fields win over form fields; unknown ones are ignored.
    What a live frame leaves open is chosen by `controller`. Raises what `read_picture` raises, and
    BadRequestError.
    """
    image, fields = read_picture(request, read_caption_fields, place)
    info, chosen = worker.info, None
    if fields.kind == "live" and fields.camera is not None and info is not None:
        chosen = controller.choose(fields.camera, info)
        chosen = replace(
            chosen,
            detail=fields.detail or chosen.detail,
            max_tokens=fields.max_tokens or chosen.max_tokens,
        )
    asked = Frame(image, fields.camera, source=fields.source).request(
        fields.prompt,
        chosen.max_tokens if chosen else fields.max_tokens or settings.max_tokens,
        chosen.detail if chosen else fields.detail or "low",
        fields.kind,
        # What was read is no part of the next prompt of an answer that goes on.
        "model" if fields.begin or fields.alternatives else fields.reading,
        fields.stop_loops,
        fields.turns,
        # An estimate compares the probabilities of words.
        fields.sure or fields.explain == "estimate",
        fields.claims,
        fields.explain == "1",
        fields.begin,
        # The token itself is among the likeliest.
        fields.alternatives + 1 if fields.alternatives else None,
    )
    return replace(asked, chosen=chosen), fields.explain
