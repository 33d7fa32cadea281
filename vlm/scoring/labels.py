"""Own labels for a picture: one of them, or any of them, with a probability for each.

One of them: labels are captions of one thing, and compete for the probability of the caption. Any
of them: each label is a yes/no question of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from PIL import Image

from vlm.errors import BadRequestError
from vlm.prompts import clean_text
from vlm.results import Scored
from vlm.scoring.calibration import Calibration, calibration_of, log_sum
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.phrasing import phrasing_of
from vlm.types import Choices, Detail, ScoreTask

MAX_LABELS: Final = 200
MAX_LABEL_CHARS: Final = 80
SYNONYM_MARK: Final = "|"

Mode = Literal["one", "many"]


@dataclass(frozen=True)
class LabelScore:
    """A label with its probability."""

    label: str
    """As it was given."""
    probability: float
    """0 to 1; of all labels and `none` together 1, if one of them was asked for."""
    logprob: float
    """Natural logarithm of the model's own probability, without calibration."""


@dataclass(frozen=True)
class Labels:
    """Labels, the likeliest first."""

    labels: tuple[LabelScore, ...]
    none: float | None
    """The probability that none of them fits; None for a model without calibration."""
    calibrated: bool


def read_labels(text: str) -> tuple[str, ...]:
    """Return the labels in `text`: one a line, or with commas between; each once.

    Raise BadRequestError if there are none, too many, or one is too long.
    """
    given = text.splitlines() if "\n" in text.strip() else text.split(",")
    labels = tuple(dict.fromkeys(filter(None, (_plain(each) for each in given))))
    if not labels:
        raise BadRequestError("labels must name at least one label.")
    if len(labels) > MAX_LABELS:
        raise BadRequestError(
            f"labels has {len(labels)} labels; at most {MAX_LABELS} are taken. Send fewer."
        )
    for label in labels:
        if len(label) > MAX_LABEL_CHARS:
            raise BadRequestError(
                f"A label has {len(label)} characters; at most {MAX_LABEL_CHARS} are taken. Make "
                "it shorter."
            )
    return labels


class LabelQuestion:
    """The question for some labels, as a task for one model, and what its scores mean."""

    def __init__(self, labels: Sequence[str], mode: Mode, model: str) -> None:
        """`labels` are those of `read_labels`; `model` is the one that runs, as in `EngineInfo`."""
        self._labels = labels
        self._mode = mode
        self._phrasing = phrasing_of(model)
        self._synonyms = [
            tuple(filter(None, map(str.strip, label.split(SYNONYM_MARK)))) for label in labels
        ]

    def task(self, image: Image.Image, detail: Detail = "low") -> ScoreTask:
        """Return the task about `image`."""
        if self._mode == "many":
            things = [each for synonyms in self._synonyms for each in synonyms]
            return ScoreTask(image, existence_choices(things, self._phrasing), detail)
        answers = tuple(text for each in self._synonyms for text in self._answers(each))
        return ScoreTask(image, (Choices(self._phrasing.label_question, answers),), detail)

    def read(self, scored: Scored) -> Labels:
        """Return the labels with what `scored`, the result of the task, says of them.

        Calibrated only if the model that answered is one that the question was made for.
        """
        calibration = None
        if phrasing_of(scored.model) == self._phrasing:
            calibration = calibration_of(scored.model, scored.dtype)
        scores = (self._any_of if self._mode == "many" else self._one_of)(scored, calibration)
        found, none = scores
        ordered = sorted(found, key=lambda each: (-each.probability, -each.logprob))
        return Labels(tuple(ordered), none, calibration is not None)

    def _answers(self, synonyms: Sequence[str]) -> tuple[str, ...]:
        return tuple(text for each in synonyms for text in self._phrasing.label_texts(each))

    def _one_of(
        self, scored: Scored, calibration: Calibration | None
    ) -> tuple[list[LabelScore], float | None]:
        rest = iter(scored.logprobs[0])
        sums = [log_sum(list(islice(rest, len(self._answers(each))))) for each in self._synonyms]
        return one_of(self._labels, sums, calibration)

    def _any_of(
        self, scored: Scored, calibration: Calibration | None
    ) -> tuple[list[LabelScore], float | None]:
        rest = iter(scored.logprobs)
        found = []
        for label, synonyms in zip(self._labels, self._synonyms, strict=True):
            # Synonyms are names of one thing, so the likeliest one counts.
            each = max(
                (existence(next(rest), self._phrasing, calibration) for _ in synonyms),
                key=lambda one: one.probability,
            )
            found.append(LabelScore(label, each.probability, each.logprob))
        none = math.prod(1 - each.probability for each in found)
        return found, none if calibration is not None else None


def one_of(
    labels: Sequence[str], logprobs: Sequence[float], calibration: Calibration | None
) -> tuple[list[LabelScore], float | None]:
    """Return the probabilities of labels that exclude each other, and that of none of them."""
    scaled, none = list(logprobs), None
    if calibration is not None:
        scaled = [each / calibration.label_temperature for each in logprobs]
        none = calibration.none_logprob / calibration.label_temperature
    total = log_sum([*scaled, *([] if none is None else [none])])
    found = [
        LabelScore(label, math.exp(value - total), logprob)
        for label, value, logprob in zip(labels, scaled, logprobs, strict=True)
    ]
    return found, None if none is None else math.exp(none - total)


def _plain(label: str) -> str:
    """Return `label` on one line with single blanks, and without empty synonyms."""
    synonyms = (" ".join(each.split()) for each in clean_text(label).split(SYNONYM_MARK))
    return SYNONYM_MARK.join(filter(None, synonyms))
