"""Make the finder's text about an unfamiliar frame, in threads beside the model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from PIL import Image

from vlm.errors import SightlineError
from vlm.finder.answers import answer, answer_in_json, asked_by
from vlm.finder.cameras import Cameras
from vlm.finder.checks import Look
from vlm.finder.finder import Finder
from vlm.finder.first_line import first_line
from vlm.finder.reading import reader_answer
from vlm.finder.sentence import FirstLine
from vlm.finder.speech import Speech
from vlm.results import TextLine
from vlm.types import Request, Task

log = logging.getLogger("sightline")

# Live frames that are or will be read; each is held until then.
MAX_READS: Final = 4


class Speaker:
    """Speaks for `finder`, with what it keeps of each camera. Safe from any thread."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._cameras = Cameras()
        self._places = threading.BoundedSemaphore(MAX_READS)

    @property
    def can_speak(self) -> bool:
        """Return whether there is anything to speak from, as far as known."""
        return self._finder.can_look or self._finder.reader.is_usable

    def speak(self, request: Request, model_text: str, on_news: Callable[[], None]) -> Speech:
        """Begin to say what `request`, about one frame, asks for; return the growing text.

        `model_text` is what the model said: a JSON object is answered by one. A live frame of a
        camera gets what its last frames agree on, and the text that was read in an earlier frame.
        """
        speech = Speech(on_news)
        asks_for_text = asked_by(prompt_of(request)).kind == "read"
        if asks_for_text and not _is_json(model_text):
            self._submit(self._finder.reading, speech, lambda: self._say_text(speech, request))
        else:
            self._submit(
                self._finder.looking, speech, lambda: self._say(speech, request, model_text)
            )
        return speech

    def _submit(self, pool: ThreadPoolExecutor, speech: Speech, task: Callable[[], None]) -> None:
        def run() -> None:
            if speech.is_over:
                # Its client has left.
                return
            try:
                task()
            except SightlineError:
                # The part has told it.
                speech.fail()
            except Exception:
                log.exception("The finder failed on a frame")
                speech.fail()

        try:
            pool.submit(run)
        except RuntimeError:
            # The finder was closed.
            speech.fail()

    def _say(self, speech: Speech, request: Request, model_text: str) -> None:
        """Say the first line, or the answer to a question."""
        image, camera = image_of(request), request.camera
        look = self._finder.look(image)
        line = self._first_line(image, look)
        if request.kind == "live" and camera is not None:
            texts, must_read = self._cameras.texts(camera, image)
            line = self._cameras.vote(camera, replace(line, texts=texts))
            if must_read:
                self._read_later(camera, image)
        asked = asked_by(prompt_of(request))
        is_json = _is_json(model_text)
        if asked.kind != "describe" and not is_json:
            speech.add(answer(asked, replace(line, texts=()), look))
            speech.end()
        elif request.kind == "live" or not self._finder.reader.is_usable:
            speech.add(answer_in_json(model_text, line) if is_json else line.sentence)
            speech.end()
        else:
            is_said = not is_json and not line.is_empty
            if is_said:
                speech.add(line.sentence)
            self._submit(
                self._finder.reading,
                speech,
                lambda: self._say_with_text(speech, image, line, model_text, is_said),
            )

    def _say_with_text(
        self, speech: Speech, image: Image.Image, line: FirstLine, model_text: str, is_said: bool
    ) -> None:
        """Add the text in the frame to the line, which may be said already."""
        try:
            texts = tuple(each.text for each in self._text(speech, image))
        except SightlineError:
            texts = ()
        whole = replace(line, texts=texts)
        if _is_json(model_text):
            speech.add(answer_in_json(model_text, whole))
        elif not is_said:
            speech.add(whole.sentence)
        elif texts:
            speech.add(f" {replace(whole, place=None, names=()).sentence}")
        speech.end()

    def _text(self, speech: Speech, image: Image.Image) -> list[TextLine]:
        return self._finder.text(image, is_cancelled=lambda: speech.is_over)

    def _say_text(self, speech: Speech, request: Request) -> None:
        """Say what the text in the frame says."""
        speech.add(reader_answer(self._text(speech, image_of(request))))
        speech.end("reader")

    def _read_later(self, camera: str, image: Image.Image) -> None:
        """Read `image` for the next captions of its camera, unless too many frames wait."""
        speech = Speech(lambda: None)

        def read() -> None:
            texts = None
            try:
                texts = tuple(line.text for line in self._finder.text(image))
            finally:
                self._cameras.have_read(camera, texts)
                self._places.release()

        if self._places.acquire(blocking=False):
            self._submit(self._finder.reading, speech, read)
        else:
            self._cameras.have_read(camera, None)

    def _first_line(self, image: Image.Image, look: Look) -> FirstLine:
        return first_line(
            look.boxes,
            look.probabilities,
            lambda box: self._finder.classifier.call(lambda each: each.probabilities(image, box)),
        )


def image_of(request: Request) -> Image.Image:
    """Return the only image of `request`."""
    (image,) = images_of(request.task)
    return image


def images_of(task: Task) -> list[Image.Image]:
    """Return all images of the chat."""
    return [
        part for message in task.messages for part in message.parts if not isinstance(part, str)
    ]


def prompt_of(request: Request) -> str:
    """Return the texts of the last message, which is what the answer is about."""
    parts = request.task.messages[-1].parts
    return " ".join(part for part in parts if isinstance(part, str))


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")
