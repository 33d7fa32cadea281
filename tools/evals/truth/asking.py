"""A model that is asked: one that runs here, or one behind an OpenAI-compatible server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from PIL import Image

from tools.nano.evaluate import ANSWER_TOKENS
from vlm.errors import SightlineError
from vlm.finder.claims_engine import ClaimsEngine
from vlm.finder.looks_engine import LooksEngine
from vlm.images.frame import Frame
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.remote.engine import RemoteEngine
from vlm.results import Explained, Hidden, Looked, Patched, Result, Scored, TokenChunk, TokenLogprob
from vlm.scheduler.protocol import stream_alone
from vlm.scheduler.worker import Worker
from vlm.scoring.aspects import Aspects, aspects_of, aspects_task, read_aspects
from vlm.scoring.calibration import Calibration, calibration_of
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.labels import LabelQuestion, Labels, Mode
from vlm.scoring.phrasing import phrasing_of
from vlm.scoring.second_look import Doubts, second_look
from vlm.scoring.where import WhereBox, WhereQuestion, boxes_of, read_phrase
from vlm.settings import Settings
from vlm.types import ClaimCheck, HideTask, Request, ScoreTask

_WAIT_S: Final = 600.0
_CLOSE_S: Final = 10.0
_POLL_S: Final = 0.05


class LocalModel:
    """A model that runs here, without the finder."""

    scores: Final = True

    def __init__(self, settings: Settings) -> None:
        self._engine = LooksEngine(ClaimsEngine(load_engine(settings)))
        info = self._engine.info
        self.name, self.dtype = info.model, info.dtype
        self._phrasing = phrasing_of(info.model)

    def caption(self, image: Image.Image, claims: ClaimCheck = "off") -> str:
        """Return a short caption."""
        return self._run(Frame(image).request(DEFAULT_PROMPT, ANSWER_TOKENS, claims=claims))[0].text

    def explained(self, image: Image.Image) -> Explained:
        """Return a short caption with what its words looked at."""
        result, _ = self._run(Frame(image).request(DEFAULT_PROMPT, ANSWER_TOKENS, explain=True))
        assert isinstance(result, Explained), "the result of an explained request"
        return result

    def hidden(
        self,
        image: Image.Image,
        text: str,
        place: tuple[int, int],
        regions: Sequence[tuple[int, ...]],
    ) -> tuple[float, ...]:
        """Return the log probability of a part of a caption with each of `regions` hidden."""
        messages = Frame(image).request(DEFAULT_PROMPT, 1).answer_task.messages
        result, _ = self._run(Request(HideTask(messages, text, *place, tuple(regions))))
        assert isinstance(result, Hidden), "the result of a HideTask"
        return result.logprobs

    def where(self, image: Image.Image, thing: str) -> tuple[WhereBox, ...]:
        """Return the boxes of a thing, by the model alone."""
        question = WhereQuestion(image, read_phrase(thing), self.name)
        probability = question.probability(self._scored(question.is_there))
        if probability is None:
            return ()
        looked, _ = self._run(Request(question.looks))
        patched, _ = self._run(Request(question.patches))
        assert isinstance(looked, Looked) and isinstance(patched, Patched), "results of the tasks"
        return boxes_of(looked, patched.features, probability)

    def second_look(self, doubts: Doubts, calibration: Calibration) -> list[float]:
        """Return the probability of each claim after a second look at the doubtful ones."""
        steps = second_look(doubts, calibration)
        result: Result | None = None
        while True:
            try:
                task = next(steps) if result is None else steps.send(result)
            except StopIteration as end:
                values: list[float] = end.value
                return values
            result, _ = self._run(Request(task))

    def answer_tokens(self, image: Image.Image, prompt: str) -> tuple[str, list[TokenLogprob]]:
        """Return the answer to a question, and its tokens."""
        result, tokens = self._run(Frame(image).request(prompt, ANSWER_TOKENS, sure=True))
        return result.text, tokens

    def existence(
        self, image: Image.Image, things: Sequence[str], *, calibrated: bool = True
    ) -> list[float]:
        """Return the probability that each of `things` is there."""
        scored = self._scored(ScoreTask(image, existence_choices(things, self._phrasing)))
        calibration = calibration_of(self.name, self.dtype) if calibrated else None
        return [
            existence(each, self._phrasing, calibration).probability for each in scored.logprobs
        ]

    def labels(self, image: Image.Image, labels: Sequence[str], mode: Mode = "one") -> Labels:
        """Return the labels with their probabilities."""
        question = LabelQuestion(labels, mode, self.name)
        return question.read(self._scored(question.task(image)))

    def aspects(self, image: Image.Image) -> Aspects:
        """Return the aspects that the model is asked for."""
        asked = aspects_of(self.name)
        return read_aspects(self._scored(aspects_task(image, asked)), asked)

    def close(self) -> None:
        """Free the model."""
        self._engine.close()

    def _scored(self, task: ScoreTask) -> Scored:
        result, _ = self._run(Request(task))
        assert isinstance(result, Scored), "the result of a ScoreTask"
        return result

    def _run(self, request: Request) -> tuple[Result, list[TokenLogprob]]:
        tokens: list[TokenLogprob] = []
        events = stream_alone(self._engine, self._engine.begin(request, lambda: False))
        for event in events:
            if isinstance(event, TokenChunk):
                tokens += event.logprobs
        assert isinstance(event, Result), "a stream ends with its result"
        return event, tokens


class RemoteModel:
    """A model behind a server; it answers in text alone."""

    scores: Final = False

    def __init__(self, url: str) -> None:
        """Raise SettingsError for a wrong address; wait until the server is healthy."""
        remote = RemoteEngine(Settings.from_args(["--engine", "openai", "--base-url", url], {}))

        def load() -> RemoteEngine:
            remote.open(print)
            return remote

        self._worker = Worker(load, 1)
        self._worker.start()
        while self._worker.state == "loading":
            time.sleep(_POLL_S)
        if self._worker.error is not None:
            raise self._worker.error
        self.name = remote.info.model

    def caption(self, image: Image.Image) -> str:
        """Return a short caption."""
        return self.answer(image, DEFAULT_PROMPT)

    def answer(self, image: Image.Image, prompt: str) -> str:
        """Return the answer to a question."""
        stream = self._worker.submit(Frame(image).request(prompt, ANSWER_TOKENS))
        while True:
            event = stream.next(_WAIT_S)
            if event is None:
                raise SightlineError("The server does not answer.")
            if isinstance(event, Result):
                return event.text

    def close(self) -> None:
        """Close the connections."""
        self._worker.close(_CLOSE_S)
