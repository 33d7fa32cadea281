"""Nouns of a caption, compared with what the detector and the classifier found in the frame.

A caption is never changed by it. "Not found" is said of things that the detector has a name for,
and of animals and vehicles that only the classifier knows if it is sure of something else: it tells
one thing of a picture, so in a cluttered scene the absence of a word says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from vlm.classify.hedging import find_place, place_by_classes
from vlm.classify.words import Classes, Floats, Words, load_words
from vlm.finder.names import Known, vocabulary
from vlm.results import Box, Check, Verdict

MAX_CHECKS: Final = 16

# A caption is evidence of its own, so a box needs less to support it than to be shown.
_FOUND_SCORE: Final = 0.3
# The classifier supports a word from this share of what it needs to say the word by itself.
_FOUND_SHARE: Final = 0.5
# From so much the classifier is sure of a word; what then has less than the second is not found.
_SURE: Final = 0.6
_ABSENT: Final = 0.02
# Kinds of words whose things are mostly the subject of a picture.
_SUBJECTS: Final = frozenset({"animal", "vehicle"})
# A place is supported from here by its classes alone.
_FOUND_PLACE: Final = 0.2
# Things that the detector often misses: without a box nothing is said of them.
_OFTEN_MISSED: Final = frozenset({"ball", "backpack", "bench", "book", "handbag", "plant", "table"})
# Detector's names that it often takes for each other.
_CONFUSED: Final = tuple(
    map(
        frozenset,
        (
            {"car", "truck", "bus", "train"},
            {"chair", "couch", "bench", "bed"},
            {"bottle", "bowl", "cup", "vase", "wine glass"},
            {"laptop", "tv"},
            {"oven", "microwave", "toaster", "refrigerator"},
            {"handbag", "backpack", "suitcase"},
        ),
    )
)

# Forms that in a caption are mostly another word: a verb, a colour, a material.
_AMBIGUOUS_FORMS: Final = (
    "bag bow bug cab coat compass crane drink drinks fan fans female glass light lights lock male "
    "mask mouse orange remote ruler safe scale scales seal seals shell ski skis stage station suit "
    "swing swings tank tanks tie ties watch water"
)
_AMBIGUOUS: Final = frozenset(_AMBIGUOUS_FORMS.split())
_NEGATIONS: Final = frozenset({"no", "not", "without", "never", "neither", "nor", "any", "lacks"})
_NEGATION_REACH: Final = 4
# What may follow a noun that stands for itself. Another noun makes it a part of a name: in "a dog
# bed" there need be no dog.
_FOLLOWING: Final = (
    "a about above across after against along alongside among an and appear appears are around as "
    "at atop away because before behind being below beneath beside between beyond but by can "
    "close could crossing drives during each eat eating eats facing flies for from full hangs has "
    "have he heading her his holding holds hung in inside into is it its jumps lay lays lie lies "
    "looks lying made may near next of off on one onto or out outside over parked playing plays "
    "rests rides riding runs seated seems she sit sits sitting sleeps so standing stands that the "
    "their there they this three through to together toward towards two under underneath up walks "
    "was wearing wears were when where which while who whose with within"
)
_FOLLOWERS: Final = frozenset(_FOLLOWING.split())
_TOKEN: Final = re.compile(r"[^\W\d_]+")
_QUOTED: Final = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»")
_LONGEST_NAME: Final = 3


@dataclass(frozen=True)
class Look:
    """The output of detector and classifier for a frame."""

    boxes: Sequence[Box]
    """From the detector's lowest score on."""
    probabilities: Floats
    """Of the classifier's 1,000 classes."""
    words: Words = field(default_factory=load_words)

    @cached_property
    def sums(self) -> dict[str, float]:
        """The sum of each word's classes."""
        return self.words.sums(self.probabilities)

    @cached_property
    def scores(self) -> dict[str, float]:
        """The best score of each of the detector's names."""
        scores: dict[str, float] = {}
        for box in self.boxes:
            scores[box.name] = max(box.score, scores.get(box.name, 0.0))
        return scores

    @cached_property
    def sure_of(self) -> Classes:
        """The classes of the words that the classifier is sure of."""
        sure = [word.classes for word in self.words.words if self.sums[word.name] >= _SURE]
        return frozenset().union(*sure)


def checks(text: str, look: Look) -> tuple[Check, ...]:
    """Return the nouns of `text` that were compared with the frame, each thing once."""
    found: dict[str, Check] = {}
    for word, known in nouns_of(text):
        if known.name not in found and len(found) < MAX_CHECKS:
            found[known.name] = Check(word, known.name, verdict_of(known, look))
    return tuple(found.values())


def verdict_of(known: Known, look: Look) -> Verdict:
    """Return whether the thing or place was found in the frame."""
    score = max((look.scores.get(name, 0.0) for name in known.boxes), default=0.0)
    if score >= _FOUND_SCORE or _is_seen(known, look):
        return "found"
    if known.is_boxed:
        is_unclear = score > 0 or known.name in _OFTEN_MISSED or _is_confused(known, look)
        return "not_checkable" if is_unclear else "not_found"
    word = known.word
    is_absent = (
        word is not None
        and word.kind in _SUBJECTS
        and bool(look.sure_of - word.classes)
        and look.sums[word.name] < _ABSENT
        and not any(look.scores.get(name, 0.0) >= _FOUND_SCORE for name in known.wider_boxes)
    )
    return "not_found" if is_absent else "not_checkable"


def _is_seen(known: Known, look: Look) -> bool:
    """Return whether the classifier supports the thing or place."""
    word, place = known.word, known.place
    if word is not None and look.sums[word.name] >= _FOUND_SHARE * word.threshold:
        return True
    if place is None:
        return False
    if place_by_classes(place, look.probabilities) >= _FOUND_PLACE:
        return True
    return find_place(look.words, look.probabilities, look.scores) is place


def _is_confused(known: Known, look: Look) -> bool:
    """Return whether something was found that is often taken for the thing."""
    alike = {name for group in _CONFUSED if group & known.boxes for name in group}
    return any(look.scores.get(name, 0.0) >= _FOUND_SCORE for name in alike)


class _Token(NamedTuple):
    text: str
    start: int
    end: int


def nouns_of(text: str) -> Iterator[tuple[str, Known]]:
    """Yield the nouns of `text` that can be compared, as they stand there.

    Left out are quoted words, which may be text in the picture, what is said not to be there, and
    nouns inside longer names.
    """
    # Of the same length, so that places stay the same.
    text = _QUOTED.sub(lambda quoted: '"' * len(quoted[0]), text)
    tokens = [_Token(each[0].lower(), each.start(), each.end()) for each in _TOKEN.finditer(text)]
    index = 0
    while index < len(tokens):
        length, known = _longest(tokens, index, text)
        if known is not None and _stands_alone(tokens, index + length, text):
            span = text[tokens[index].start : tokens[index + length - 1].end]
            if span.lower() not in _AMBIGUOUS and not _is_denied(tokens, index, text):
                yield span, known
        index += max(1, length)


def _longest(tokens: Sequence[_Token], index: int, text: str) -> tuple[int, Known | None]:
    """Return the number of tokens of the longest name at `index`, and the name; 0 and None."""
    for length in range(min(_LONGEST_NAME, len(tokens) - index), 0, -1):
        part = tokens[index : index + length]
        if all(_gap(one, other, text) in (" ", "-") for one, other in pairwise(part)):
            known = vocabulary().get(" ".join(token.text for token in part))
            if known is not None:
                return length, known
    return 0, None


def _stands_alone(tokens: Sequence[_Token], after: int, text: str) -> bool:
    """Return whether the name that ends before token `after` is no part of a longer one."""
    if after == len(tokens):
        return True
    gap = _gap(tokens[after - 1], tokens[after], text)
    if gap == "-":
        return False
    following = tokens[after].text
    is_verb = following.endswith(("ing", "ed")) and vocabulary().get(following) is None
    return gap.strip() != "" or gap == "" or following in _FOLLOWERS or is_verb


def _is_denied(tokens: Sequence[_Token], index: int, text: str) -> bool:
    """Return whether the words before `index` say that the thing is not there."""
    for back in range(index - 1, max(-1, index - 1 - _NEGATION_REACH), -1):
        if "." in _gap(tokens[back], tokens[back + 1], text) or tokens[back].text == "but":
            return False
        if tokens[back].text in _NEGATIONS:
            return True
    return False


def _gap(one: _Token, other: _Token, text: str) -> str:
    return text[one.end : other.start]
