"""The rule that joins detector and classifier: what is said about a frame.

A name is said more easily if both witnesses or the place support it, and less easily if one stands
alone. docs/object-finder.md has the rule in words and its figures. The numbers were chosen on half
of 24 photographs and on drawn scenes; the other half was only measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vlm.classify.hedging import most_specific, without_overlaps
from vlm.classify.words import Floats, Word, Words, load_words
from vlm.finder.evidence import LEAST_SCORE, PERSON, CropProbabilities, Evidence, area, gather
from vlm.finder.sentence import MOST_NAMES, FirstLine, Name
from vlm.results import Box

# A box needs this score, more if the classifier knows such things and sees none, less with the
# classifier's agreement and in a fitting place.
_SCORE: Final = 0.5
_ALONE: Final = 0.15
_FOR_AGREEMENT: Final = 0.5
_MOST_AGREEMENT: Final = 0.4
_FOR_PLACE: Final = 0.35
_MOST_PLACE: Final = 0.5
# Below these, the classifier sees no such thing, and no place for it.
_NO_AGREEMENT: Final = 0.02
_NO_PLACE: Final = 0.2

# A second box of a name makes a plural if it is this close to the first one's threshold and shares
# less than half of the smaller box with it.
_SECOND_BELOW: Final = 0.06
_MOST_SHARED: Final = 0.5

# A broader word replaces a box's name up to this score, if the frame is so sure of the broader word
# and gives the name itself a smaller part of that.
_SURE_BOX: Final = 0.75
_SURE_PARENT: Final = 0.4
_SMALL_PART: Final = 0.4
# Words that would say too little instead of a name.
_TOO_BROAD: Final = frozenset({"clothes", "furniture", "food", "vehicle", "electronics"})

# A box that is not what the detector said is named by its crop, if the crop is so sure and the
# frame gives the word so much ("airplane" over a sea is a seabird).
_RENAMED_SCORE: Final = 0.4
_RENAMED_CROP: Final = 0.5
_RENAMED_FRAME: Final = 0.1
_RENAMED_SHARE: Final = 0.8
_RENAMED_KINDS: Final = frozenset({"animal", "food", "vehicle"})

# A word of the classifier needs less if a box of related classes has a score, but at least this.
_RELATED_SCORE: Final = 0.25
_FOR_RELATED: Final = 0.5
_LEAST_WORD: Final = 0.25
# Neither for words of so many classes.
_MANY_CLASSES: Final = 130
# A thing that belongs to the place needs this much to be said as well.
_WORD_OF_PLACE: Final = 0.5
# Where no box shows a word's thing, its area is this times its probability.
_AREA_OF_WORD: Final = 0.3
# A word is what a box already said if they share so much of the smaller set of classes.
_SAME_THING: Final = 0.5
_ANIMALS: Final = frozenset(
    {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"}
)
# The classifier's animal is not said beside a box of another animal of this area.
_LARGE_ANIMAL: Final = 0.1


@dataclass(frozen=True)
class _Candidate:
    """A name that may be said."""

    name: str
    area: float
    boxes: tuple[Box, ...]
    is_many: bool = False
    box_name: str | None = None
    """The detector's name if that is what it rests on."""


def first_line(
    boxes: Sequence[Box],
    probabilities: Floats,
    crop_probabilities: CropProbabilities,
    texts: Sequence[str] = (),
    words: Words | None = None,
) -> FirstLine:
    """Return what is said about a frame.

    `boxes` are the detector's from a score of 0.25, `probabilities` the classifier's of the frame.
    `crop_probabilities` returns those of a box's crop; it is called three times at most, and only
    where it can change the line.
    """
    words = words or load_words()
    evidence = gather(words, boxes, probabilities, crop_probabilities)
    candidates = _from_boxes(evidence)
    candidates = _with_words(evidence, candidates)
    return FirstLine(
        place=evidence.place.say if evidence.place else None,
        names=tuple(_names(words, candidates)),
        texts=tuple(texts),
    )


def _names(words: Words, candidates: Iterable[_Candidate]) -> list[Name]:
    """Return the largest candidates, each name once."""
    names: dict[str, Name] = {}
    for each in sorted(candidates, key=lambda each: -each.area):
        phrase = words.noun(each.name).phrase(each.is_many)
        names.setdefault(each.name, Name(each.name, phrase, each.area, each.boxes))
    return list(names.values())[:MOST_NAMES]


def _from_boxes(evidence: Evidence) -> list[_Candidate]:
    """Return the names that the boxes give."""
    candidates = []
    for name, found in evidence.found.items():
        needed = _needed_score(evidence, name, _deciding_agreement(evidence, name))
        if found[0].score >= needed:
            candidates.append(_hedged(evidence, _counted(evidence, name, needed)))
        elif (renamed := _renamed(evidence, name)) is not None:
            candidates.append(renamed)
    return candidates


def _deciding_agreement(evidence: Evidence, name: str) -> float:
    """Return the agreement; without the crop, which takes time, if that could change nothing."""
    in_frame = evidence.agreement(name, with_crop=False)
    at_most, at_least = (
        _needed_score(evidence, name, agreement) for agreement in (in_frame, _MOST_AGREEMENT)
    )
    score = evidence.best(name).score
    is_said = score >= at_most and _is_many(evidence, name, at_most) == _is_many(
        evidence, name, at_least
    )
    is_dropped = score < at_least and not (score >= _RENAMED_SCORE and in_frame < _NO_AGREEMENT)
    return in_frame if is_said or is_dropped else evidence.agreement(name)


def _needed_score(evidence: Evidence, name: str, agreement: float) -> float:
    """Return the score from which the detector's name is said."""
    box_name = evidence.words.box_name(name)
    needed = _SCORE + box_name.extra
    # ImageNet has no people; its classes of clothes say little about them.
    if box_name.classes and name != PERSON:
        place = evidence.place_support(name)
        if agreement < _NO_AGREEMENT and place < _NO_PLACE:
            needed += _ALONE
        needed -= _FOR_AGREEMENT * min(agreement, _MOST_AGREEMENT)
        needed -= _FOR_PLACE * min(place, _MOST_PLACE)
    return max(needed, LEAST_SCORE)


def _is_many(evidence: Evidence, name: str, needed: float) -> bool:
    """Return whether a second box stands beside the best one."""
    best, *others = evidence.found[name]
    second_needed = max(LEAST_SCORE, needed - _SECOND_BELOW)
    return any(
        other.score >= second_needed and _shared(other, best) < _MOST_SHARED for other in others
    )


def _counted(evidence: Evidence, name: str, needed: float) -> _Candidate:
    """Return the name as one thing or as many."""
    found = evidence.found[name]
    is_many = _is_many(evidence, name, needed)
    boxes = tuple(box for box in found if box.score >= LEAST_SCORE) if is_many else (found[0],)
    return _Candidate(
        name=evidence.words.box_name(name).noun.name,
        area=sum(area(box) for box in boxes),
        boxes=boxes,
        is_many=is_many,
        box_name=name,
    )


def _hedged(evidence: Evidence, candidate: _Candidate) -> _Candidate:
    """Return the candidate under its broader word if the frame is sure of no more than that."""
    word = evidence.words.by_name.get(candidate.name)
    parent = word.parent if word is not None else None
    if parent is None or parent in _TOO_BROAD or candidate.boxes[0].score >= _SURE_BOX:
        return candidate
    of_parent = evidence.sums[parent]
    if of_parent < _SURE_PARENT or evidence.sums[candidate.name] >= _SMALL_PART * of_parent:
        return candidate
    return replace(candidate, name=parent, is_many=False)


def _renamed(evidence: Evidence, name: str) -> _Candidate | None:
    """Return what the crop shows where the detector's name failed, None if that is unclear."""
    box = evidence.best(name)
    if (
        name not in evidence.doubtful
        or box.score < _RENAMED_SCORE
        or evidence.agreement(name, with_crop=False) >= _NO_AGREEMENT
        or evidence.agreement(name) >= _NO_AGREEMENT
    ):
        return None
    crop_probabilities = evidence.crop(name)
    assert crop_probabilities is not None
    in_crop = evidence.words.sums(crop_probabilities)

    def passes(word: Word) -> bool:
        crop, frame = in_crop[word.name], evidence.sums[word.name]
        return (
            word.kind in _RENAMED_KINDS
            and len(word.classes) < _MANY_CLASSES
            and crop >= _RENAMED_CROP
            and frame >= _RENAMED_FRAME
            and min(crop, (crop * frame) ** 0.5) >= _RENAMED_SHARE * word.threshold
        )

    passed = most_specific([word for word in evidence.words.words if passes(word)])
    if not passed:
        return None
    best = max(passed, key=lambda word: in_crop[word.name])
    return _Candidate(best.name, area(box), (box,))


def _with_words(evidence: Evidence, candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the candidates, refined and extended by the classifier's words of the frame."""
    candidates = list(candidates)
    passed = [
        word
        for word in evidence.words.words
        if evidence.sums[word.name] >= _LEAST_WORD
        and evidence.sums[word.name] >= _needed_sum(evidence, word)
    ]
    for word in without_overlaps(most_specific(passed), evidence.sums):
        same = next((i for i, each in enumerate(candidates) if _is_same(evidence, each, word)), -1)
        if same >= 0:
            candidates[same] = _refined(evidence, candidates[same], word)
        elif _is_worth_saying(evidence, candidates, word):
            related = evidence.related(word.classes, _RELATED_SCORE)
            by_probability = _AREA_OF_WORD * evidence.sums[word.name]
            size = max((area(box) for box in related), default=by_probability)
            candidates.append(_Candidate(word.name, size, ()))
    return candidates


def _needed_sum(evidence: Evidence, word: Word) -> float:
    related = evidence.related(word.classes, _RELATED_SCORE)
    if not related or len(word.classes) >= _MANY_CLASSES:
        return word.threshold
    eased = word.threshold - _FOR_RELATED * max(box.score for box in related)
    return min(word.threshold, max(_LEAST_WORD, eased))


def _is_same(evidence: Evidence, candidate: _Candidate, word: Word) -> bool:
    """Return whether the word is the thing that a box has named."""
    if candidate.box_name is None:
        return False
    classes = evidence.words.box_name(candidate.box_name).classes
    smaller = min(len(classes), len(word.classes))
    return bool(classes) and len(word.classes & classes) >= _SAME_THING * smaller


def _refined(evidence: Evidence, candidate: _Candidate, word: Word) -> _Candidate:
    """Return the candidate with a finer word for an animal: "a poodle" for "a dog"."""
    assert candidate.box_name is not None
    classes = evidence.words.box_name(candidate.box_name).classes
    is_finer = word.kind == "animal" and len(word.classes) < len(classes)
    return replace(candidate, name=word.name) if is_finer else candidate


def _is_worth_saying(evidence: Evidence, candidates: Sequence[_Candidate], word: Word) -> bool:
    """Return whether a word that no box names is said beside the candidates."""
    place = evidence.place
    if any(each.name == word.name for each in candidates):
        return False
    if place is not None and word.classes <= place.weights.keys():
        return evidence.sums[word.name] >= _WORD_OF_PLACE
    return word.kind != "animal" or not any(
        each.box_name in _ANIMALS and each.area > _LARGE_ANIMAL for each in candidates
    )


def _shared(one: Box, other: Box) -> float:
    """Return the overlap as a share of the smaller box."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(area(one), area(other))
