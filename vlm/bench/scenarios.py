"""What is timed: one question about frames that the engine knows more or less of."""

from __future__ import annotations

from typing import Any

from PIL import Image

from vlm.bench.pictures import panned, touched
from vlm.engine import Engine
from vlm.errors import BadRequestError, SightlineError
from vlm.inputs import InputBuilder
from vlm.prompts import PRESETS
from vlm.runtimes.base import Runtime
from vlm.types import CaptionDone, CaptionRequest, Stats


class EndlessEngine(Engine):
    """An engine whose answers end at the limit alone, so that every one is of the same length."""

    def __init__(
        self,
        runtime: Runtime[Any],
        inputs: InputBuilder,
        stop_token_ids: frozenset[int],
        model_name: str,
    ) -> None:
        super().__init__(runtime, inputs, frozenset(), model_name)


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
        room = engine.ask(CaptionRequest.about(image, prompt, tokens)).limit
        if room < tokens:
            raise BadRequestError(
                f"This model has room for {room} tokens after the image and the prompt. Choose a "
                "smaller --tokens."
            )

    def new_scene(self) -> Stats:
        """A frame and a camera that the engine knows nothing of: plain decoding, no drafts."""
        return self._ask(self._frame(), self._prompt, f"camera-{self._number}")

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

    def _frame(self) -> Image.Image:
        self._number += 1
        return touched(self._image, self._number)

    def _ask(self, frame: Image.Image, prompt: str, camera: str) -> Stats:
        request = CaptionRequest.about(frame, prompt, self._tokens, camera=camera)
        for item in self._engine.stream(request):
            if isinstance(item, CaptionDone):
                return item.stats
        raise SightlineError("The engine ended a caption without a result.")
