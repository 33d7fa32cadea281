"""Hedged names: the most specific words whose classes together are likely enough.

Deng, Krause, Berg and Fei-Fei, "Hedging your bets", CVPR 2012, over curated words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from vlm.classify.words import Floats, Place, Word, Words
from vlm.results import Label

# A place needs so much from the classifier, whatever boxes there are.
_LEAST_BY_CLASSES: Final = 0.12
# Without its largest part, so much must be left: one stop sign is no street.
_LEAST_OF_OTHER_THINGS: Final = 0.1
# Classes that show the place itself need no second thing from here.
_SHOWN: Final = 0.25
# Boxes below this score do not count for a place.
_LEAST_SCORE: Final = 0.3


def hedged_labels(words: Words, probabilities: Floats) -> list[Label]:
    """Return the words that `probabilities` support, the likeliest first, then the place."""
    sums = words.sums(probabilities)
    passed = [word for word in words.words if sums[word.name] >= word.threshold]
    labels = [
        Label(word.name, min(1.0, sums[word.name]), word.kind)
        for word in without_overlaps(most_specific(passed), sums)
    ]
    place = find_place(words, probabilities, {})
    if place is not None:
        probability = min(1.0, place_by_classes(place, probabilities))
        labels.append(Label(place.name, probability, "place"))
    return labels


def most_specific(words: Collection[Word]) -> list[Word]:
    """Return the words without those that are broader than another of them."""
    return [word for word in words if not any(other.classes < word.classes for other in words)]


def without_overlaps(words: Collection[Word], sums: Mapping[str, float]) -> list[Word]:
    """Return the words, the likeliest first, without those that share a class with a likelier."""
    kept: list[Word] = []
    for word in sorted(words, key=lambda word: -sums[word.name]):
        if not any(word.classes & other.classes for other in kept):
            kept.append(word)
    return kept


def place_by_classes(place: Place, probabilities: Floats) -> float:
    """Return the weighted sum of the place's classes."""
    return sum(weight * float(probabilities[number]) for number, weight in place.weights.items())


def find_place(words: Words, probabilities: Floats, scores: Mapping[str, float]) -> Place | None:
    """Return the place that is furthest above its threshold, told by two things at least.

    `scores` holds the best score of each of the detector's names in the picture.
    """
    best: Place | None = None
    best_margin = 0.0
    for place in words.places:
        by_classes = place_by_classes(place, probabilities)
        seen = {
            name: weight * scores[name]
            for name, weight in place.boxes.items()
            if scores.get(name, 0) >= _LEAST_SCORE
        }
        margin = by_classes + sum(seen.values()) - place.threshold
        if (
            by_classes >= _LEAST_BY_CLASSES
            and margin >= 0
            and (best is None or margin > best_margin)
            and (
                _is_shown(place, probabilities, scores)
                or _of_other_things(words, place, probabilities, seen) >= _LEAST_OF_OTHER_THINGS
            )
        ):
            best, best_margin = place, margin
    return best


def _is_shown(place: Place, probabilities: Floats, scores: Mapping[str, float]) -> bool:
    """Return whether the place itself is seen, and not only a thing in it."""
    by_classes = sum(place.weights[number] * probabilities[number] for number in place.shown_by)
    return by_classes >= _SHOWN or any(
        scores.get(name, 0) >= least for name, least in place.shown_by_boxes.items()
    )


def _of_other_things(
    words: Words, place: Place, probabilities: Floats, seen: Mapping[str, float]
) -> float:
    """Return what supports the place without its strongest thing.

    A box and the classes that are the same thing count as one thing.
    """
    single = {
        number: weight * float(probabilities[number]) for number, weight in place.weights.items()
    }
    things = [
        by_box + sum(single.pop(number, 0.0) for number in words.boxes[name].classes)
        for name, by_box in seen.items()
    ]
    things += single.values()
    return sum(things) - max(things)
