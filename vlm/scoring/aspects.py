"""Several aspects of a picture at once: a closed question for each, all in one tree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from vlm.checkpoints.catalogue import BUNDLED_MODEL
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Scored
from vlm.scoring.calibration import calibration_of, log_sum
from vlm.types import Choices, Detail, ScoreTask


@dataclass(frozen=True)
class Aspect:
    """A question with its possible answers."""

    id: str
    question: str
    answers: dict[str, str]
    """What is shown, and how the model's answer begins."""
    rest: str | None = None
    """What is shown for all other answers; None: the given ones exclude all others."""


@dataclass(frozen=True)
class AspectLabel:
    """One possible answer."""

    label: str
    probability: float
    """0 to 1; of all labels of an aspect together 1."""


@dataclass(frozen=True)
class AspectScore:
    """What one aspect of the picture is."""

    id: str
    labels: tuple[AspectLabel, ...]
    """The likeliest first."""


@dataclass(frozen=True)
class Aspects:
    """All aspects, in their order."""

    aspects: tuple[AspectScore, ...]
    calibrated: bool
    """Measured on the model's scenes, that is for the bundled model."""


def _words(words: str) -> dict[str, str]:
    """Return answers of the given words, as a model writes them."""
    return {word: word.capitalize() for word in words.split(", ")}


_GENERAL: Final = (
    Aspect(
        "place", "What place is this? Answer in one word.",
        _words("kitchen, bedroom, bathroom, office, shop, street, garden, park, beach, forest"),
        "another place",
    ),
    Aspect("light", "How is the light? Answer in one word.", _words("bright, normal, dim, dark")),
    Aspect(
        "people", "How many people are there? Answer in one word.", _words("none, one, two, many"),
    ),
    Aspect(
        "activity", "What is going on? Answer in one word.",
        _words("nothing, working, eating, cooking, walking, playing, talking, reading, sleeping"),
        "something else",
    ),
    Aspect(
        "weather", "How is the weather? Answer in one word.",
        _words("sunny, cloudy, rainy, snowy, foggy"), "not to be seen",
    ),
    Aspect("view", "Is this a close view or a wide view?", _words("close, wide")),
    Aspect("text", "Is there text in this image?", {"text": "Yes", "no text": "No"}),
)  # fmt: skip
# Questions that it was taught.
_NANO: Final = (
    Aspect(
        "scene", DEFAULT_PROMPT,
        {
            "covered": "The camera is covered.",
            "dark": "It is too dark to see.",
            "glare": "Strong glare hides the scene.",
            "blurred": "The picture is too blurred to tell.",
            "empty": "An empty scene",
            "unfamiliar": "An unfamiliar scene",
        },
        "clear",
    ),
    Aspect(
        "light", "How is the light in this image?",
        {word: f"The light is {word}." for word in ("dim", "normal", "bright")},
    ),
    Aspect(
        "count", "How many objects are there?",
        _words("zero, one, two, three, four, five"), "not to be told",
    ),
    Aspect(
        "text", "What does the text say?",
        {"text": "It says", "no text": "There is no text."}, "not to be told",
    ),
)  # fmt: skip


def aspects_of(model: str) -> tuple[Aspect, ...]:
    """Return the aspects that `model`, as in `EngineInfo`, is asked for."""
    return _NANO if model == BUNDLED_MODEL else _GENERAL


def aspects_task(
    image: Image.Image, aspects: Sequence[Aspect], detail: Detail = "low"
) -> ScoreTask:
    """Return the task that scores all `aspects` of `image`."""
    choices = (Choices(each.question, tuple(each.answers.values())) for each in aspects)
    return ScoreTask(image, tuple(choices), detail)


def read_aspects(scored: Scored, aspects: Sequence[Aspect]) -> Aspects:
    """Return what `scored`, the result of `aspects_task`, says of them."""
    found = tuple(map(_read, aspects, scored.logprobs))
    is_own = tuple(aspects) == aspects_of(scored.model)
    return Aspects(found, is_own and calibration_of(scored.model, scored.dtype) is not None)


def _read(aspect: Aspect, logprobs: Sequence[float]) -> AspectScore:
    total = log_sum(logprobs)
    probabilities = [math.exp(each) for each in logprobs]
    if aspect.rest is None:
        probabilities = [math.exp(each - total) for each in logprobs]
        labels = [*aspect.answers]
    else:
        labels = [*aspect.answers, aspect.rest]
        probabilities.append(max(0.0, 1 - sum(probabilities)))
    pairs = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
    return AspectScore(aspect.id, tuple(AspectLabel(*pair) for pair in pairs))
