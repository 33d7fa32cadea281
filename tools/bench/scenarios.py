"""What is timed: one question about frames that the engine knows more or less of."""

from __future__ import annotations

import time

from PIL import Image

from tools.bench.pictures import panned, touched
from vlm.engine.engine import Engine
from vlm.errors import BadRequestError, SightlineError
from vlm.prompts import PRESETS
from vlm.types import Request, Result, Stats


class Scenarios:
    """Each call is one caption of `tokens` tokens; no two frames are alike."""

    def __init__(self, engine: Engine, image: Image.Image, prompt: str, tokens: int) -> None:
        """Raises BadRequestError where the model has no room for that many tokens."""
        self._engine = engine
        self._image = image
        self._prompt = prompt
        self._other_prompt = next(each.prompt for each in PRESETS if each.prompt != prompt)
        self._tokens = tokens
        self._number = 0
        self._turns = 0
        room = engine.ask(Request.about(image, prompt, tokens)).limit
        if room < tokens:
            raise BadRequestError(
                f"This model has room for {room} tokens after the image and the prompt. Choose a "
                "smaller --tokens."
            )

    @property
    def shares_passes(self) -> bool:
        """Whether the engine takes several questions at once."""
        return self._engine.at_once > 1

    def new_scene(self) -> Stats:
        """A frame and a camera that the engine knows nothing of: plain decoding, no drafts."""
        return self._caption(self._new_request())

    def moving_scene(self) -> Stats:
        """The next frame of a camera that turns about: the last caption is the draft."""
        self._turns += 1
        return self._ask(panned(self._frame(), self._turns), self._prompt, "moving")

    def steady_scene(self) -> Stats:
        """A frame that shows what the one before it showed."""
        return self._ask(self._frame(), self._prompt, "steady")

    def second_question(self) -> Stats:
        """Another question about a frame that one has been answered about just before."""
        frame = self._frame()
        camera = f"camera-{self._number}"
        self._ask(frame, self._prompt, camera)
        return self._ask(frame, self._other_prompt, camera)

    def together(self) -> float:
        """How many times as many captions a second as one after the other, so many at once as pay.

        Each of new frames, of as many cameras.
        """
        count = self._engine.at_once
        started = time.perf_counter()
        for _ in range(count):
            self.new_scene()
        apart_s = time.perf_counter() - started
        jobs = [self._engine.begin(self._new_request()) for _ in range(count)]
        started = time.perf_counter()
        while jobs:
            made = self._engine.advance(jobs)
            for item in (item for items in made for item in items):
                if isinstance(item, Exception):
                    raise item
            jobs = [
                job
                for job, items in zip(jobs, made, strict=True)
                if not (items and isinstance(items[-1], Result))
            ]
        return apart_s / (time.perf_counter() - started)

    def _new_request(self) -> Request:
        frame = self._frame()
        camera = f"camera-{self._number}"
        return Request.about(frame, self._prompt, self._tokens, camera=camera)

    def _frame(self) -> Image.Image:
        self._number += 1
        return touched(self._image, self._number)

    def _ask(self, frame: Image.Image, prompt: str, camera: str) -> Stats:
        return self._caption(Request.about(frame, prompt, self._tokens, camera=camera))

    def _caption(self, request: Request) -> Stats:
        for item in self._engine.stream(request):
            if isinstance(item, Result):
                return item.stats
        raise SightlineError("The engine ended a caption without a result.")
