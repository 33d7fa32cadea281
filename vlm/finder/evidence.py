"""The output of detector and classifier for one frame, computed side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vlm.classify.hedging import find_place, place_by_classes
from vlm.classify.words import BoxName, Classes, Floats, Place, Words, total
from vlm.results import Box

CropProbabilities = Callable[[Box], Floats]

# The smallest share of the picture that a box may have.
_LEAST_AREA: Final = 0.004
# A box below this score is never said, whatever supports it.
LEAST_SCORE: Final = 0.36
# Of one frame, so many boxes may be cut out and classified; more change nothing.
_MOST_CROPS: Final = 3
# If the whole frame gives the box's classes so much, its crop is not needed.
_SUPPORTED: Final = 0.3
PERSON: Final = "person"


@dataclass(frozen=True)
class Evidence:
    """Both witnesses' view of a frame."""

    words: Words
    found: Mapping[str, Sequence[Box]]
    """The boxes of each of the detector's names, the best first."""
    probabilities: Floats
    """Of the whole frame."""
    sums: Mapping[str, float]
    """The sum of each word's classes over the whole frame."""
    place: Place | None
    doubtful: Sequence[str]
    """Names whose best box may be cut out and classified."""
    crop_probabilities: CropProbabilities
    _crops: dict[str, Floats] = field(default_factory=dict)

    def best(self, name: str) -> Box:
        """Return the best box of a name that was found."""
        return self.found[name][0]

    def crop(self, name: str) -> Floats | None:
        """Return the probabilities of the name's best box, cut out once; None if not doubtful."""
        if name not in self.doubtful:
            return None
        if name not in self._crops:
            self._crops[name] = self.crop_probabilities(self.best(name))
        return self._crops[name]

    def agreement(self, name: str, with_crop: bool = True) -> float:
        """Return what the classifier gives the name's classes, in the frame or in its crop."""
        classes = self.words.box_name(name).classes
        in_frame = total(self.probabilities, classes)
        crop = self.crop(name) if with_crop else None
        return in_frame if crop is None else max(in_frame, total(crop, classes))

    def place_support(self, name: str) -> float:
        """Return how likely the likeliest place is in which such a thing counts."""
        places = [place for place in self.words.places if name in place.boxes]
        return max((place_by_classes(place, self.probabilities) for place in places), default=0.0)

    def related(self, classes: Classes, least_score: float) -> list[Box]:
        """Return the boxes from `least_score` whose names share a class with `classes`."""
        return [
            box
            for name, boxes in self.found.items()
            if classes & self.words.box_name(name).classes
            for box in boxes
            if box.score >= least_score
        ]


def gather(
    words: Words,
    boxes: Sequence[Box],
    probabilities: Floats,
    crop_probabilities: CropProbabilities,
) -> Evidence:
    """Return the evidence; `crop_probabilities` is called when a crop is first needed."""
    found = _by_name(boxes)
    best = {name: boxes[0] for name, boxes in found.items()}
    return Evidence(
        words=words,
        found=found,
        probabilities=probabilities,
        sums=words.sums(probabilities),
        place=find_place(words, probabilities, {name: box.score for name, box in best.items()}),
        doubtful=_doubtful(words, best, probabilities)[:_MOST_CROPS],
        crop_probabilities=crop_probabilities,
    )


def area(box: Box) -> float:
    """Return the box's share of the picture."""
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def _by_name(boxes: Sequence[Box]) -> dict[str, list[Box]]:
    found: dict[str, list[Box]] = {}
    for box in sorted(boxes, key=lambda box: -box.score):
        if area(box) >= _LEAST_AREA:
            found.setdefault(box.name, []).append(box)
    return found


def _doubtful(words: Words, best: Mapping[str, Box], probabilities: Floats) -> list[str]:
    """Return the names whose box the whole frame does not support, the best box first."""

    def is_doubtful(name: str, box_name: BoxName) -> bool:
        return (
            name != PERSON
            and bool(box_name.classes)
            and best[name].score >= LEAST_SCORE
            and total(probabilities, box_name.classes) < _SUPPORTED
        )

    names = [name for name in best if is_doubtful(name, words.box_name(name))]
    return sorted(names, key=lambda name: -best[name].score)
