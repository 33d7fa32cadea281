"""Claims that are doubtful are looked at once more: the thing alone, cut out of the frame.

A model that mistook a small thing mostly confirms its mistake on the same frame, but less often on
a part of the frame in which the thing is large.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from vlm.results import Looked, Patched, Result, Scored
from vlm.scoring.calibration import Calibration
from vlm.scoring.claims import Phrase, support
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.phrasing import phrasing_of
from vlm.scoring.where import WhereQuestion, boxes_of
from vlm.types import Detail, ScoreTask, Task

# The surest of the doubtful ones are not looked at again: each takes two passes of the encoder.
MAX_SECOND_LOOKS: Final = 4
# The side of the part around a box, as a share of the box's longer side.
_MARGIN: Final = 1.8


@dataclass(frozen=True)
class Doubts:
    """The claims of a caption, as they were first judged."""

    image: Image.Image
    phrases: Sequence[Phrase]
    asked: Sequence[float]
    """Of each: the probability by the answer to its question, 0 to 1."""
    said: Sequence[float]
    """Of each: the probability by the words of the caption."""
    model: str
    """That judged, as in `EngineInfo`."""
    detail: Detail = "low"

    def first(self) -> list[float]:
        """Return the probability of each claim without a second look."""
        return [support(*pair) for pair in zip(self.asked, self.said, strict=True)]


def second_look(doubts: Doubts, calibration: Calibration) -> Generator[Task, Result, list[float]]:
    """Yield tasks, receive their results, and return the probability of each claim.

    Of the most doubtful ones the question on the whole frame is replaced by that on the part.
    Ends early at the result of a task that was cancelled.
    """
    values, phrasing = doubts.first(), phrasing_of(doubts.model)
    order = sorted(range(len(values)), key=values.__getitem__)
    for index in order[:MAX_SECOND_LOOKS]:
        if values[index] >= calibration.doubtful:
            break
        thing = doubts.phrases[index].thing
        question = WhereQuestion(doubts.image, thing, doubts.model, doubts.detail)
        looked = yield question.looks
        patched = yield question.patches
        if not isinstance(looked, Looked) or not isinstance(patched, Patched):
            raise TypeError("each task has a result of its own kind")
        if not looked.tokens or patched.features is None:
            break
        part = around(doubts.image, boxes_of(looked, patched.features, 1.0)[0].box)
        scored = yield ScoreTask(part, existence_choices([thing], phrasing))
        if not isinstance(scored, Scored) or not scored.logprobs:
            break
        found = existence(scored.logprobs[0], phrasing, calibration).probability
        values[index] = support(found, doubts.said[index])
    return values


def around(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """Return the square around a box, in 0 to 1 of `image`, as far as the image goes."""
    x0, y0, x1, y1 = (side * share for side, share in zip(2 * image.size, box, strict=True))
    reach = max(x1 - x0, y1 - y0) * _MARGIN / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return image.crop(
        (
            max(0, int(x - reach)),
            max(0, int(y - reach)),
            min(image.width, int(x + reach) + 1),
            min(image.height, int(y + reach) + 1),
        )
    )
