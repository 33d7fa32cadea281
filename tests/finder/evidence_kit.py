"""Witnesses for tests: boxes, and probabilities given by words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vlm.classify.words import CLASS_COUNT, Floats, load_words
from vlm.finder.first_line import first_line
from vlm.finder.sentence import FirstLine
from vlm.results import Box

WORDS = load_words()


def probabilities_of(parts: Mapping[str, float]) -> Floats:
    """Return probabilities whose parts are spread over the classes of words, the rest over all."""
    probabilities = np.full(CLASS_COUNT, (1 - sum(parts.values())) / CLASS_COUNT, np.float32)
    for name, part in parts.items():
        classes = sorted(WORDS.by_name[name].classes)
        probabilities[classes] += part / len(classes)
    return probabilities


def box(name: str, score: float, left: float = 0.1, side: float = 0.4) -> Box:
    """Return a square box."""
    return Box(name, score, left, 0.2, left + side, 0.2 + side)


def line(
    boxes: Sequence[Box] = (),
    frame: Mapping[str, float] | None = None,
    crop: Mapping[str, float] | None = None,
    texts: Sequence[str] = (),
) -> FirstLine:
    """Return the first line for boxes, the classifier's frame and its answer for each crop."""
    return first_line(
        boxes, probabilities_of(frame or {}), lambda _: probabilities_of(crop or {}), texts
    )
