"""The words that people say for the classifier's classes: `words.json` as values.

docs/object-finder.md explains the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Classes = frozenset[int]

CLASS_COUNT: Final = 1000
_FILE: Final = Path(__file__).with_name("words.json")


@dataclass(frozen=True)
class Noun:
    """A noun with its forms."""

    name: str
    """In the singular, if it has one."""
    article: str
    """ "a", "an", or empty for a noun without one ("broccoli", "scissors")."""
    plural: str | None
    """None if it has none."""

    def phrase(self, is_many: bool = False) -> str:
        """Return the noun as it stands in a list of things: "a cat", "cats", "broccoli"."""
        if is_many and self.plural is not None:
            return self.plural
        return f"{self.article} {self.name}".strip()


@dataclass(frozen=True)
class Word:
    """A word for some of the classes."""

    noun: Noun
    kind: str
    """Such as "animal" or "food"."""
    parent: str | None
    """The next broader word; it holds all classes of this one."""
    threshold: float
    """Sum of the classes' probabilities from which the word is said."""
    classes: Classes

    @property
    def name(self) -> str:
        return self.noun.name


@dataclass(frozen=True)
class Place:
    """A place, told by its things."""

    name: str
    say: str
    """With its article: "a kitchen", "water"."""
    threshold: float
    """Sum of weighted probabilities and scores from which the place is said."""
    weights: Mapping[int, float]
    """The weight of each class, 0.5 or 1."""
    shown_by: Classes
    """Classes that show the place and not a thing in it."""
    boxes: Mapping[str, float]
    """The weight of the best score of each of the detector's names."""
    shown_by_boxes: Mapping[str, float]
    """Names of the detector that show the place from this score."""


@dataclass(frozen=True)
class BoxName:
    """One of the detector's names."""

    name: str
    noun: Noun
    """The word that is said."""
    extra: float
    """Added to the score that the name needs: higher if it is often wrong."""
    classes: Classes
    """Classes of the classifier that support it; empty if ImageNet has none."""


@dataclass(frozen=True)
class Words:
    """The contents of `words.json`."""

    words: tuple[Word, ...]
    places: tuple[Place, ...]
    boxes: Mapping[str, BoxName]

    @cached_property
    def by_name(self) -> Mapping[str, Word]:
        return {word.name: word for word in self.words}

    @cached_property
    def _nouns(self) -> Mapping[str, Noun]:
        nouns = {box.noun.name: box.noun for box in self.boxes.values()}
        return nouns | {word.name: word.noun for word in self.words}

    def box_name(self, name: str) -> BoxName:
        """Return a name of the detector; one that the file does not know stands for itself."""
        known = self.boxes.get(name)
        if known is not None:
            return known
        article = "an" if name[:1].lower() in "aeiou" else "a"
        return BoxName(name, Noun(name, article, None), 0.0, frozenset())

    def noun(self, name: str) -> Noun:
        """Return the noun of a word or of a box."""
        return self._nouns.get(name) or self.box_name(name).noun

    def sums(self, probabilities: Floats) -> dict[str, float]:
        """Return for each word the sum of its classes' probabilities."""
        values = (self._members @ probabilities).tolist()
        return dict(zip(self.by_name, values, strict=True))

    @cached_property
    def _members(self) -> Floats:
        members = np.zeros((len(self.words), CLASS_COUNT), np.float32)
        for row, word in zip(members, self.words, strict=True):
            row[list(word.classes)] = 1
        return members


@cache
def load_words() -> Words:
    """Return the words of `words.json`."""
    data = json.loads(_FILE.read_text("utf-8"))
    return Words(
        words=tuple(_word(entry) for entry in data["words"]),
        places=tuple(_place(entry) for entry in data["places"]),
        boxes={entry["box"]: _box_name(entry) for entry in data["boxes"]},
    )


def total(probabilities: Floats, classes: Iterable[int]) -> float:
    """Return the sum of the classes' probabilities."""
    return float(probabilities[list(classes)].sum())


def _noun(entry: Mapping[str, Any]) -> Noun:
    return Noun(entry["word"], entry["article"], entry["plural"])


def _word(entry: Mapping[str, Any]) -> Word:
    return Word(
        noun=_noun(entry),
        kind=entry["kind"],
        parent=entry["parent"],
        threshold=entry["threshold"],
        classes=_classes(entry["classes"]),
    )


def _place(entry: Mapping[str, Any]) -> Place:
    half, whole = _classes(entry["half"]), _classes(entry["classes"])
    return Place(
        name=entry["place"],
        say=entry["say"],
        threshold=entry["threshold"],
        weights=dict.fromkeys(half, 0.5) | dict.fromkeys(whole, 1.0),
        shown_by=_classes(entry["shown_by"]),
        boxes=entry["boxes"],
        shown_by_boxes=entry["shown_by_boxes"],
    )


def _box_name(entry: Mapping[str, Any]) -> BoxName:
    return BoxName(entry["box"], _noun(entry), entry["extra"], _classes(entry["classes"]))


def _classes(text: str) -> Classes:
    """Return the numbers of a list like "3,7-9"."""
    numbers: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
