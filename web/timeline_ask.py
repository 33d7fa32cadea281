"""`POST /api/timeline/ask`: answer a question about what was kept, in a stream of events."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from flask import Blueprint, Response
from PIL import Image

from vlm.checkpoints.catalogue import BUNDLED_MODEL
from vlm.errors import BadRequestError, NotSupportedError, SightlineError
from vlm.images.frame import Frame
from vlm.results import Result, Scored, StreamEvent
from vlm.scheduler.worker import Worker
from vlm.scoring.calibration import calibration_of
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.phrasing import phrasing_of, with_article
from vlm.timeline.plans import plan_of
from vlm.timeline.query import Query
from vlm.timeline.recall import (
    MOST_PICTURES,
    NOTHING,
    NOTHING_YET,
    chat_of,
    quoted,
    relevant,
    reranked,
    sourced,
)
from vlm.timeline.records import Sentence, recorded
from vlm.timeline.search import Moment, moments_of, picture_of
from vlm.timeline.store import count_moments
from vlm.timeline.timeline import Timeline
from vlm.types import AnswerTask, Request, ScoreTask
from web.errors import error_body
from web.field_reader import FieldReader
from web.json_body import read_json_object
from web.request_log import request_log
from web.streaming import (
    WAITING,
    Admission,
    event_stream,
    read_events,
    run_task,
    running_model,
    server_sent,
)
from web.timeline import moment_fields
from web.timeline_fields import ASK_BODY

_MAX_TOKENS: Final = 96
_DIGITS: Final = 4
# A question in words of four bytes, and its other fields.
_MOST_BYTES: Final = 8192


def timeline_ask_blueprint(timeline: Timeline, worker: Worker, admission: Admission) -> Blueprint:
    """Return the route over `timeline`; `worker` runs the model, which most questions need not."""
    blueprint = Blueprint("timeline_ask", __name__)

    @blueprint.post("/api/timeline/ask")
    def ask() -> Response:
        began_s, now_s = time.perf_counter(), time.time()
        body = read_json_object('{"question": "When was the last dog?"}', _MOST_BYTES)
        fields = FieldReader(body, ASK_BODY["properties"])
        question = (fields.read("question") or "").strip()
        if not question:
            raise BadRequestError("question must be a question about what was seen.")
        plan = plan_of(question, now_s)
        query = Query(
            from_s=_latest(fields.read("from"), plan.from_s),
            to_s=_earliest(fields.read("to"), plan.to_s),
            camera=fields.read("camera") or "",
        )
        moments: tuple[Moment, ...] = ()
        answer: tuple[Sentence, ...] | None = None
        pictures: dict[int, Image.Image] = {}
        with timeline.reading() as connection:
            has_moments = connection is not None and count_moments(connection) > 0
            if connection is not None and plan.kind != "recall":
                found = recorded(connection, plan, query, now_s)
                if found is not None:
                    answer = found.sentences
                    ids = dict.fromkeys(each for told in answer for each in told.moments)
                    there = moments_of(connection, [*ids])
                    moments = tuple(there[each] for each in ids if each in there)
            elif connection is not None:
                moments = relevant(connection, plan, query, timeline.vectors)
                jpegs = {each.id: picture_of(connection, each.id) for each in moments}
                pictures = {each: _opened(jpeg) for each, jpeg in jpegs.items() if jpeg}
        if not moments:
            said = _Said("nothing", (), began_s)
            text = NOTHING
            if not has_moments:
                text = NOTHING_YET
            elif plan.words and plan.kind != "recall":
                text = f"No caption names {with_article(plan.phrase)}."
            return event_stream(said.told((Sentence(text, ()),)))
        if answer is not None:
            return event_stream(_Said(plan.kind, moments, began_s).told(answer))
        with ExitStack() as held:
            held.enter_context(admission.place()).hold_images(pictures.values())
            model = running_model(worker).model
            if plan.words and pictures:
                yes = _yes(plan.phrase, pictures, worker, admission)
                if yes is None:
                    return Response()
                moments = reranked(moments, yes)
            said = _Said("recall", moments, began_s)
            if model == BUNDLED_MODEL:
                # It answers about one picture.
                return event_stream(said.told(quoted(moments, now_s)))
            shown = {each.id: pictures[each.id] for each in moments if each.id in pictures}
            shown = dict([*shown.items()][:MOST_PICTURES])
            entry = request_log()
            entry.wants_answer = True
            chat = chat_of(question, moments, shown, now_s)
            entry.request = Request(AnswerTask(chat, _MAX_TOKENS, stop_loops=True, reading="model"))
            stream = held.enter_context(admission.submitted(worker, entry))
            response = event_stream(said.written(read_events(stream, admission, entry)))
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


class _Said:
    """The events of one answer."""

    def __init__(self, plan: str, moments: Sequence[Moment], began_s: float) -> None:
        self._plan = plan
        self._moments = moments
        self._began_s = began_s

    def told(self, sentences: Sequence[Sentence]) -> Iterator[str]:
        """Yield the events of an answer that no model wrote."""
        yield self._found()
        for index, each in enumerate(sentences):
            yield server_sent("token", {"text": (" " if index else "") + each.text})
        yield self._done(" ".join(each.text for each in sentences), "stop", sentences)

    def written(self, events: Iterator[StreamEvent | None]) -> Iterator[str]:
        """Yield the events of an answer that the model writes."""
        yield self._found()
        try:
            for event in events:
                if event is None:
                    yield WAITING
                elif isinstance(event, Result):
                    text = event.text.strip()
                    yield self._done(text, event.finish_reason, sourced(text, self._moments))
                else:
                    yield server_sent("token", {"text": event.text})
        except SightlineError as error:
            yield server_sent("error", error_body(error.code, str(error)))

    def _found(self) -> str:
        moments = [moment_fields(each, False) for each in self._moments]
        return server_sent("found", {"plan": self._plan, "moments": moments})

    def _done(self, text: str, finish: str, sentences: Sequence[Sentence]) -> str:
        told = [{"text": each.text, "moments": [*each.moments]} for each in sentences]
        total_s = round(time.perf_counter() - self._began_s, _DIGITS)
        done = {"text": text, "finish": finish, "plan": self._plan, "sentences": told}
        return server_sent("done", done | {"total_s": total_s})


def _yes(
    phrase: str, pictures: Mapping[int, Image.Image], worker: Worker, admission: Admission
) -> dict[int, float] | None:
    """Return how likely the model finds `phrase` in each picture, 0 to 1, by moment.

    Empty if the model gives no probabilities; None if the client has left.
    """
    info = running_model(worker)
    phrasing, calibration = phrasing_of(info.model), calibration_of(info.model, info.dtype)
    found = {}
    for moment, image in pictures.items():
        task = ScoreTask(image, existence_choices([phrase], phrasing))
        with ExitStack() as held:
            try:
                scored = run_task(task, Frame(image), worker, admission, held)
            except NotSupportedError:
                return {}
        if not isinstance(scored, Scored):
            return None
        found[moment] = existence(scored.logprobs[0], phrasing, calibration).probability
    return found


def _opened(jpeg: bytes) -> Image.Image:
    """Return a picture that the timeline made itself, and that its schema bounds."""
    return Image.open(io.BytesIO(jpeg), formats=["JPEG"]).convert("RGB")


def _latest(*times: float | None) -> float | None:
    return max((each for each in times if each is not None), default=None)


def _earliest(*times: float | None) -> float | None:
    return min((each for each in times if each is not None), default=None)
