"""An engine whose captions are checked: the things that they name become yes/no questions.

After a caption the model is asked for all of them in one tree, on the frame that is cached. How
sure it was of their words counts too: a model that mistook a thing mostly confirms that, but it had
hesitated (of nano's captions, AUROC of invented things: 0.87 by the questions alone, 0.97 by both).
Doubtful ones are asked about once more, on the part of the frame that the model looked at
(`vlm.scoring.second_look`). The boxes' witness counts, too, if there was one. What is not supported
is marked, or left out. A camera's caption that is as its last one, of a frame that is as then, is
not checked again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vlm.errors import BadRequestError, NotSupportedError
from vlm.finder.speaker import image_of, images_of
from vlm.finder.wrapped import Event, WrappedEngine
from vlm.images.change import Thumbnail, has_changed, thumbnail_of
from vlm.results import Check, Claim, Result, Scored, TokenChunk, TokenLogprob
from vlm.scheduler.protocol import PullEngine
from vlm.scoring.calibration import calibration_of, logit, sigmoid
from vlm.scoring.claims import Phrase, phrases_of, said_probabilities, without
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.phrasing import phrasing_of
from vlm.scoring.second_look import Doubts, second_look
from vlm.scoring.sure import sure_of
from vlm.types import AnswerTask, Request, ScoreTask, Task

# Added to the log odds of a thing that detector and classifier found, or did not find.
_WITNESS_ODDS: Final = {"found": 2.0, "not_found": -2.0, "not_checkable": 0.0}
# Without a calibration.
_UNSUPPORTED: Final = 0.5
_MAX_CAMERAS: Final = 64


@dataclass(frozen=True)
class _Checked:
    """The last caption of a camera that was checked."""

    text: str
    thumbnail: Thumbnail
    probabilities: tuple[float, ...]
    model: str
    dtype: str


class ClaimsEngine(WrappedEngine):
    """`PullEngine` over another one."""

    def __init__(self, engine: PullEngine) -> None:
        super().__init__(engine)
        self._checked: OrderedDict[str, _Checked] = OrderedDict()

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> ClaimsJob:
        """Return a job; its answer is checked if it is one in words about one image."""
        task = request.task
        is_checked = (
            isinstance(task, AnswerTask)
            and task.claims != "off"
            and not task.has_form
            and len(images_of(task)) == 1
        )
        if is_checked:
            # With the probability of each word, which changes no text.
            request = replace(request, task=replace(request.answer_task, sure=True))
        inner = self._engine.begin(request, is_cancelled)
        return ClaimsJob(inner, request if is_checked else None, is_cancelled, self)

    def questions(
        self, request: Request, phrases: Sequence[Phrase], is_cancelled: Callable[[], bool]
    ) -> Any:
        """Return a job of the engine that asks for `phrases`, about the image of `request`."""
        phrasing = phrasing_of(self.info.model)
        choices = existence_choices([each.thing for each in phrases], phrasing)
        task = ScoreTask(image_of(request), choices, request.task.detail)
        return self._engine.begin(replace(request, task=task, chosen=None), is_cancelled)

    def known(self, request: Request, text: str) -> _Checked | None:
        """Return what was found last, if the camera's caption and frame are as they were."""
        last = self._checked.get(request.camera or "")
        if last is None or last.text != text:
            return None
        is_other = has_changed(last.thumbnail, thumbnail_of(image_of(request)))
        return None if is_other else last

    def step(self, request: Request, task: Task, is_cancelled: Callable[[], bool]) -> Any:
        """Return a job of the engine for a step of a second look.

        Raise NotSupportedError. A part of the frame is no frame of its camera.
        """
        is_frame = not isinstance(task, ScoreTask)
        own = replace(request, task=task, chosen=None) if is_frame else Request(task, request.kind)
        return self._engine.begin(own, is_cancelled)

    def keep(
        self, request: Request, text: str, probabilities: Sequence[float], scored: Scored
    ) -> _Checked:
        """Return how likely the phrases are, and keep it for the camera's next frame."""
        checked = _Checked(
            text,
            thumbnail_of(image_of(request)),
            tuple(probabilities),
            scored.model,
            scored.dtype,
        )
        if request.camera is not None:
            self._checked[request.camera] = checked
            self._checked.move_to_end(request.camera)
            if len(self._checked) > _MAX_CAMERAS:
                self._checked.popitem(last=False)
        return checked


class ClaimsJob:
    """One request: the job of the caption, then that of the questions."""

    def __init__(
        self,
        inner: Any,
        request: Request | None,
        is_cancelled: Callable[[], bool],
        engine: ClaimsEngine,
    ) -> None:
        """`request` is None if the answer is not checked."""
        self.inner = inner
        self._request = request
        self._is_cancelled = is_cancelled
        self._engine = engine
        # The caption's, while its questions are asked.
        self._result: Result | None = None
        self._phrases: tuple[Phrase, ...] = ()
        self._said: list[float] = []
        # The answers to the questions, and the second look at what is doubtful.
        self._scored: Scored | None = None
        self._doubts: list[float] = []
        self._second: Generator[Task, Result, list[float]] | None = None
        self._tokens: list[TokenLogprob] = []

    def close(self) -> None:
        """Cancel the work. Idempotent."""
        self.inner.close()

    def step(self, events: list[Event]) -> list[Event]:
        """Return what is due of the inner job's new `events`."""
        if self._request is None:
            return events
        for event in events:
            if isinstance(event, TokenChunk):
                self._tokens += event.logprobs
        last = events[-1] if events else None
        if self._result is not None:
            return self._answered(self._result, last)
        if not isinstance(last, Result):
            return [] if self._is_strict and not isinstance(last, Exception) else events
        # A strict caption is given as a whole, after the check.
        before = [] if self._is_strict else events[:-1]
        return [*before, *self._begin(self._request, last)]

    @property
    def _is_strict(self) -> bool:
        return self._request is not None and self._request.answer_task.claims == "strict"

    def _begin(self, request: Request, result: Result) -> list[Event]:
        """Ask for the things that the caption names; return its end if there is nothing to ask."""
        self._phrases = phrases_of(result.text)
        if result.finish_reason == "cancelled" or result.stats.by != "model":
            return self._whole(result)
        if not self._phrases:
            return self._whole(replace(result, stats=replace(result.stats, claims=())))
        known = self._engine.known(request, result.text)
        if known is not None:
            return self._end(result, known)
        self._said = said_probabilities(self._phrases, sure_of(result.text, self._tokens, None))
        self.inner.close()
        try:
            self.inner = self._engine.questions(request, self._phrases, self._is_cancelled)
        except NotSupportedError as error:
            return [error]
        except Exception:
            # Such as a context that has no room for a question.
            return self._whole(result)
        self._result = result
        return []

    def _answered(self, result: Result, last: Event | None) -> list[Event]:
        """Return the end of the caption once its questions are answered."""
        if last is None:
            return []
        if not isinstance(last, Result):
            return [last]
        if last.finish_reason == "cancelled":
            return self._whole(replace(result, finish_reason="cancelled"))
        assert self._request is not None, "only checked answers have questions"
        if self._second is not None:
            return self._look_again(self._request, result, self._second, last)
        assert isinstance(last, Scored), "the questions' result"
        self._scored = last
        phrasing = phrasing_of(last.model)
        calibration = calibration_of(last.model, last.dtype)
        doubts = Doubts(
            image_of(self._request),
            self._phrases,
            [existence(each, phrasing, calibration).probability for each in last.logprobs],
            self._said,
            last.model,
            self._request.task.detail,
        )
        self._doubts = doubts.first()
        if calibration is None:
            return self._judged(self._request, result, self._doubts)
        self._second = second_look(doubts, calibration)
        return self._look_again(self._request, result, self._second, None)

    def _look_again(
        self,
        request: Request,
        result: Result,
        second: Generator[Task, Result, list[float]],
        found: Result | None,
    ) -> list[Event]:
        """Begin the next step of the second look; return the end of the caption after the last."""
        try:
            task = next(second) if found is None else second.send(found)
        except StopIteration as end:
            return self._judged(request, result, end.value)
        self.inner.close()
        try:
            self.inner = self._engine.step(request, task, self._is_cancelled)
        except (BadRequestError, NotSupportedError):
            # Such as a runtime that does not tell what it looked at.
            return self._judged(request, result, self._doubts)
        return []

    def _judged(
        self, request: Request, result: Result, probabilities: Sequence[float]
    ) -> list[Event]:
        assert self._scored is not None, "the questions were answered"
        checked = self._engine.keep(request, result.text, probabilities, self._scored)
        return self._end(result, checked)

    def _end(self, result: Result, checked: _Checked) -> list[Event]:
        calibration = calibration_of(checked.model, checked.dtype)
        least = _UNSUPPORTED if calibration is None else calibration.unsupported
        claims = []
        for phrase, probability in zip(self._phrases, checked.probabilities, strict=True):
            odds = logit(probability) + _witness_odds(phrase, result.stats.checks)
            value = sigmoid(odds)
            claims.append(
                Claim(phrase.text, phrase.start, phrase.end, round(value, 4), value >= least)
            )
        if self._is_strict:
            result, claims = _strict(result, self._phrases, claims)
        return self._whole(replace(result, stats=replace(result.stats, claims=tuple(claims))))

    def _whole(self, result: Result) -> list[Event]:
        """Return the last events; a strict caption's whole text is among them."""
        if self._is_strict and result.text:
            return [TokenChunk(result.text), result]
        return [result]


def _strict(
    result: Result, phrases: Sequence[Phrase], claims: Sequence[Claim]
) -> tuple[Result, list[Claim]]:
    """Return the caption without what is not supported, and the claims at their new places."""
    pairs = [*zip(phrases, claims, strict=True)]
    text = without(result.text, [phrase for phrase, claim in pairs if not claim.supported])
    moved, at = [], 0
    for phrase, claim in pairs:
        # A phrase that begins the text now has a capital letter.
        start = text.lower().find(phrase.text.lower(), at) if claim.supported else -1
        if start < 0:
            moved.append(replace(claim, start=None, end=None))
            continue
        at = start + len(phrase.text)
        moved.append(replace(claim, phrase=text[start:at], start=start, end=at))
    return replace(result, text=text), moved


def _witness_odds(phrase: Phrase, checks: Sequence[Check]) -> float:
    """Return what the boxes' witness adds to the log odds of `phrase`."""
    words = phrase.text.lower()
    return sum(_WITNESS_ODDS[each.verdict] for each in checks if words.endswith(each.word.lower()))
